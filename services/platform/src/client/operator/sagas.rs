//! `daybook sagas`: what has not ended, and the one way to end it by hand.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Asked, items, name, path, text};
use crate::client::connection::Method;
use crate::misuse::misused;
use crate::out;

/// What to do with sagas.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Subcommand)]
enum Verb {
    /// Lists those that have not ended, with what they wait for and since when, oldest first
    List {
        /// only those past their deadline, or without a step for this many seconds
        #[arg(long, num_args = 0..=1, default_missing_value = "60", value_name = "SECONDS")]
        stuck: Option<u32>,
        /// at most this many
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Ends one as its own deadline would, only sooner: what it holds is given back, what was paid stays paid
    End {
        /// as `list` names it: <aggregate>/<id>
        #[arg(value_parser = name)]
        name: String,
        /// Give it up; there is no other end that an operator can ask for
        #[arg(long, required = true)]
        refuse: bool,
        /// Who asks; the log keeps it with the event
        #[arg(long, env = "USER", default_value = "operator", value_name = "NAME")]
        actor: String,
        /// Why; the log keeps it with the event
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// Asks the running system.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let system = args.asked.system();
    match &args.verb {
        Verb::List { stuck, limit } => {
            let stuck = stuck.map(|seconds| format!("&stuck={seconds}")).unwrap_or_default();
            let found = system.ask(system.get(&format!("/sagas?limit={limit}{stuck}")), &["items", "silent"]).await?;
            args.asked.print(&found, table);
            for silent in items(&found, "silent") {
                out::note(format!("{} does not answer, and its sagas are missing here: {}", text(silent, "url"), text(silent, "why")));
            }
            let unowned: Vec<&str> = items(&found, "unowned").iter().filter_map(Value::as_str).collect();
            if !unowned.is_empty() {
                out::note(format!("nobody owns {} now, and their sagas are missing here: ask again shortly", unowned.join(", ")));
            }
        }
        Verb::End { name, refuse: _, actor, reason } => {
            let by = reason.as_ref().map_or_else(|| actor.clone(), |reason| format!("{actor}: {reason}"));
            if by.len() > 500 || !by.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
                misused!("actor and reason: at most 500 visible ASCII characters");
            }
            let request = system.request(Method::POST, &format!("/sagas/{}/end", path(name))).header("daybook-actor", by).header("prefer", "wait=30");
            let ended = system.ask(request.json(&json!({ "outcome": "refuse" })), &["command", "outcome"]).await?;
            args.asked.print(&ended, |ended| match text(ended, "outcome").as_str() {
                "accepted" => out::line(format!("{name} gives up (version {}): `daybook inspect {name}` shows how it ends", text(ended, "version"))),
                _ => out::line(format!("{name} is asked to give up, and has not answered yet: {}{}", args.asked.target.url, text(ended, "location"))),
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(found: &Value) {
    const COLUMNS: [&str; 6] = ["id", "status", "waits_for", "since", "waited_seconds", "deadline"];
    if items(found, "items").is_empty() {
        return out::line("No sagas wait.");
    }
    let mut table = out::table(COLUMNS.map(|column| column.replace('_', " ")));
    for saga in items(found, "items") {
        let late = if saga.get("overdue") == Some(&Value::Bool(true)) { " (passed)" } else { "" };
        table.add_row(COLUMNS.map(|column| if column == "deadline" { text(saga, column) + late } else { text(saga, column) }));
    }
    out::line(table);
    if found.get("more") == Some(&Value::Bool(true)) {
        out::line("There are more: --limit shows them.");
    }
}
