//! `daybook partitions`: which readers stand still at a record they cannot take, and what an operator settles for it.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Asked, actor, items, place, text};
use crate::args::Output;
use crate::client::connection::Method;
use crate::out;

/// What to do with stopped partitions.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    asked: Asked,
}

/// What is settled, and for whom.
#[derive(clap::Args)]
struct Settled {
    /// as `list` names it: <topic>/<partition>/<offset>
    #[arg(value_parser = record)]
    record: String,
    /// Only for this reader, as `list` names it; can be given more than once [default: all that stand still there]. One that
    /// stands behind the record, which led it there, must be named
    #[arg(long = "reader", value_name = "READER")]
    readers: Vec<String>,
    /// Who asks; the log keeps it
    #[arg(long, env = "USER", default_value = "operator", value_name = "NAME")]
    actor: String,
}

#[derive(Subcommand)]
enum Verb {
    /// Lists the readers that stand still, each with its record and why
    List,
    /// Shows the record at which they stand still
    Show {
        /// as `list` names it: <topic>/<partition>/<offset>
        #[arg(value_parser = record)]
        record: String,
    },
    /// Lets them try it again, when its cause is mended
    Retry {
        #[command(flatten)]
        settled: Settled,
    },
    /// Lets them pass over it for ever; an aggregate whose event it is, is closed: its commands become dead letters
    Skip {
        #[command(flatten)]
        settled: Settled,
        /// Why; the log keeps it
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

fn record(given: &str) -> Result<String, String> {
    place(given, "a record is named <topic>/<partition>/<offset>")
}

/// Asks the running system.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let system = args.asked.system();
    let settle = |verb: &str, settled: &Settled, reason: Option<&String>| {
        let mut body = json!({ "reason": reason });
        if !settled.readers.is_empty() {
            body["readers"] = json!(settled.readers);
        }
        let request = system.request(Method::POST, &format!("/partitions/{}/{verb}", settled.record));
        request.json(&body).header("daybook-actor", actor(&settled.actor))
    };
    let request = match &args.verb {
        Verb::List => system.get("/partitions"),
        Verb::Show { record } => system.get(&format!("/partitions/{record}")),
        Verb::Retry { settled } => settle("retry", settled, None),
        Verb::Skip { settled, reason } => settle("skip", settled, Some(reason)),
    };
    let fields: &[&str] = match args.verb {
        Verb::List => &["items", "silent"],
        Verb::Show { .. } => &["record", "readers"],
        Verb::Retry { .. } | Verb::Skip { .. } => &["settled", "record", "readers"],
    };
    let found = system.ask(request, fields).await?;
    match (&args.verb, args.asked.output) {
        (Verb::List, Output::Table) => table(&found),
        (Verb::Retry { .. } | Verb::Skip { .. }, Output::Table) => {
            let readers: Vec<&str> = items(&found, "readers").iter().filter_map(Value::as_str).collect();
            let how = if matches!(args.verb, Verb::Skip { .. }) { "is passed over by" } else { "is tried again by" };
            out::line(format!("{} {how} {}", text(&found, "record"), readers.join(", ")));
        }
        _ => out::line(format_args!("{found:#}")),
    }
    for silent in items(&found, "silent") {
        out::note(format!("{} does not answer, and what stands still there is missing here: {}", text(silent, "url"), text(silent, "why")));
    }
    Ok(ExitCode::SUCCESS)
}

fn table(found: &Value) {
    if items(found, "items").is_empty() {
        return out::line("No partition stands still.");
    }
    let mut table = out::table(["reader", "record", "since", "reason"]);
    for stop in items(found, "items") {
        let whole = stop.get("offset").is_some_and(Value::is_null);
        let record = if whole { "(all of it)".to_owned() } else { format!("{}/{}/{}", text(stop, "topic"), text(stop, "partition"), text(stop, "offset")) };
        table.add_row([text(stop, "reader"), record, text(stop, "since"), text(stop, "reason")]);
    }
    out::line(table);
}
