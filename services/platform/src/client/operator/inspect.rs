//! `daybook inspect`: one aggregate as its events made it, now, at a version or at a time.

use std::process::ExitCode;

use kernel::Timestamp;
use serde_json::Value;

use super::{Asked, items, name, number, path, text};
use crate::out;

/// Which aggregate, and when.
#[derive(clap::Args)]
pub struct Args {
    /// Which: its type, a slash and its id
    #[arg(value_parser = name)]
    name: String,
    /// Its state after this event of its history, instead of now
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    /// Its state at this time, as 2026-07-01T09:30:00Z, instead of now
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "version")]
    at: Option<Timestamp>,
    /// Of an aggregate that every partition has a copy of: which copy
    #[arg(long, value_name = "P")]
    partition: Option<u16>,
    /// Events of its history that are shown: the newest
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: usize,
    #[command(flatten)]
    asked: Asked,
}

fn time(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| format!("'{text}' is no time as RFC 3339 has it, like 2026-07-01T09:30:00Z"))
}

/// Asks the running system.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let version = args.version.map(|version| format!("&version={version}")).unwrap_or_default();
    let at = args.at.map(|at| format!("&at={at}")).unwrap_or_default();
    let partition = args.partition.map(|partition| format!("&partition={partition}")).unwrap_or_default();
    let path = format!("/inspect/{}?limit={}{version}{at}{partition}", path(&args.name), args.limit);
    let system = args.asked.system();
    args.asked.print(&system.ask(system.get(&path), &["id", "version", "state", "history"]).await?, people);
    Ok(ExitCode::SUCCESS)
}

fn people(shown: &Value) {
    let (version, as_of) = (text(shown, "version"), text(shown, "as_of"));
    let when = if version == as_of { format!("version {version}") } else { format!("as of version {as_of} of {version}") };
    let owner = text(shown, "owner");
    let at = if owner.is_empty() { String::new() } else { format!(" at {owner}") };
    out::line(format!("{}  {when}\nowner     {}, partition {}{at}", text(shown, "id"), text(shown, "service"), text(shown, "partition")));
    let (awaited, deadline) = (text(shown, "waits_for"), text(shown, "deadline"));
    if !awaited.is_empty() {
        out::line(format!("waits for {awaited}"));
    }
    if !deadline.is_empty() {
        out::line(format!("deadline  {deadline}"));
    }
    out::line(format_args!("{:#}", shown.get("state").unwrap_or(&Value::Null)));
    const COLUMNS: [&str; 6] = ["version", "event", "offset", "at", "causation", "actor"];
    let mut table = out::table(COLUMNS);
    for step in items(shown, "history") {
        table.add_row(COLUMNS.map(|column| text(step, column)));
    }
    out::line(table);
    let left_off = number(shown, "left_off");
    if left_off > 0 {
        out::line(format!("{left_off} earlier events are left off: --version {left_off} shows the newest of them"));
    }
}
