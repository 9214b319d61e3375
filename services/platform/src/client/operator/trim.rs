//! `daybook trim`: gives back what decided commands take. Deletes nothing that it was not told twice to delete.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Asked, items, number, text};
use crate::client::connection::Method;
use crate::misuse::misused;
use crate::out;

/// Whose commands.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("whose").required(true).args(["service", "all"])))]
pub struct Args {
    /// The service whose decided commands are deleted
    service: Option<String>,
    /// Those of every service
    #[arg(long)]
    all: bool,
    /// Only says what would be deleted
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Deletes it; without this the plan is printed, and nothing happens
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    asked: Asked,
}

/// Asks the running system.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let asked = json!({ "service": args.service, "all": args.all, "dry_run": !args.yes });
    let system = args.asked.system();
    let trimmed = system.ask(system.request(Method::POST, "/trim").json(&asked), &["items", "dry_run"]).await?;
    args.asked.print(&trimmed, |trimmed| people(trimmed, !args.yes));
    let offsets: u64 = items(&trimmed, "items").iter().map(|place| number(place, "offsets")).sum();
    if offsets > 0 && !args.yes && !args.dry_run {
        misused!("nothing was deleted: add --yes to delete what the plan says, or --dry-run to see no more than the plan");
    }
    Ok(ExitCode::SUCCESS)
}

fn people(trimmed: &Value, dry_run: bool) {
    let gone: Vec<&Value> = items(trimmed, "items").iter().filter(|place| number(place, "offsets") > 0).collect();
    if gone.is_empty() {
        return out::line("Nothing to trim: no command is decided that was not trimmed before.");
    }
    let mut table = out::table(["topic", "partition", "began", if dry_run { "would begin" } else { "begins" }, "offsets"]);
    for place in &gone {
        table.add_row(["topic", "partition", "began", "begins", "offsets"].map(|column| text(place, column)));
    }
    out::line(table);
    let offsets: u64 = gone.iter().map(|place| number(place, "offsets")).sum();
    out::line(if dry_run { format!("{offsets} offsets would be deleted; nothing was.") } else { format!("{offsets} offsets deleted.") });
}
