//! `daybook trace`: what followed from a command, as a tree, from the log itself.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use serde_json::Value;

use super::{Asked, items, text};
use crate::out;
use crate::uri::part;

/// Which command.
#[derive(clap::Args)]
pub struct Args {
    /// The command's id, or its name in a `Location`: the correlation id of all that followed
    id: String,
    /// Records of the last so many seconds
    #[arg(long, default_value_t = 86_400, value_name = "SECONDS")]
    since: u32,
    #[command(flatten)]
    asked: Asked,
}

/// Asks the running system.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let system = args.asked.system();
    let path = format!("/trace/{}?since={}", part(&args.id), args.since);
    let found = system.ask(system.get(&path), &["id", "items"]).await?;
    args.asked.print(&found, |found| tree(found).into_iter().for_each(out::line));
    if found.get("more") == Some(&Value::Bool(true)) {
        out::note("not all of the log was looked at in time: a shorter --since looks at less");
    }
    Ok(ExitCode::SUCCESS)
}

/// The lines of the tree: under each record what it caused, in the order of the log.
fn tree(found: &Value) -> Vec<String> {
    let records = items(found, "items");
    let ids: BTreeSet<String> = records.iter().map(|record| text(record, "id")).collect();
    let mut caused = BTreeMap::<String, Vec<&Value>>::new();
    for record in records {
        let cause = text(record, "cause");
        let (own, letter) = (text(record, "id"), text(record, "sort") == "dead letter");
        // A letter has its record's own id, and stands under it.
        let above = if letter && ids.contains(&own) { own } else { cause };
        caused.entry(if ids.contains(&above) && (letter || above != text(record, "id")) { above } else { String::new() }).or_default().push(record);
    }
    let first = records.iter().filter_map(micros).min().unwrap_or_default();
    let (mut lines, mut seen) = (vec![], BTreeSet::new());
    for root in caused.remove("").unwrap_or_default() {
        branch(root, "", "", &caused, first, &mut seen, &mut lines);
    }
    lines
}

fn micros(record: &Value) -> Option<i64> {
    record.get("micros").and_then(Value::as_i64)
}

fn branch<'v>(
    record: &'v Value,
    edge: &str,
    below: &str,
    caused: &BTreeMap<String, Vec<&'v Value>>,
    first: i64,
    seen: &mut BTreeSet<(String, String, String)>,
    lines: &mut Vec<String>,
) {
    let field = |name| text(record, name);
    // Whoever writes a cause that is its own effect must not be followed round and round.
    if !seen.insert((field("topic"), field("partition"), field("offset"))) {
        return;
    }
    let ms = (micros(record).unwrap_or(first) - first) as f64 / 1_000.0;
    let (reason, folded) = (field("reason"), items(record, "folded_by"));
    let reason = if reason.is_empty() { reason } else { format!(" ({reason})") };
    let folded = if folded.is_empty() { String::new() } else { format!("  → {}", folded.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")) };
    let what = format!("{} {} {}{reason}", field("sort"), field("type"), field("subject"));
    lines.push(format!("{ms:>10.1} ms  {edge}{what}  [{}/{} {}]{folded}", field("topic"), field("partition"), field("offset")));
    if field("sort") == "dead letter" {
        return; // what its record caused stands under that
    }
    let effects = caused.get(&field("id")).map(Vec::as_slice).unwrap_or_default();
    for (at, effect) in effects.iter().enumerate() {
        let last = at + 1 == effects.len();
        branch(
            effect,
            &format!("{below}{}", if last { "└─ " } else { "├─ " }),
            &format!("{below}{}", if last { "   " } else { "│  " }),
            caused,
            first,
            seen,
            lines,
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_followed_stands_under_what_caused_it_and_circles_end() {
        let record = |sort: &str, id: &str, cause: Option<&str>, micros: i64| {
            json!({ "sort": sort, "type": "cart.checkout", "subject": "17", "id": id, "cause": cause, "topic": "t", "partition": 0, "offset": micros,
                    "micros": micros, "folded_by": [] })
        };
        let all = [
            record("command", "a", Some("outside"), 1_000),
            record("event", "b", Some("a"), 2_000),
            record("dead letter", "c", Some("b"), 4_000),
            record("command", "c", Some("b"), 3_500),
            record("event", "x", Some("y"), 5_000),
            record("event", "y", Some("x"), 6_000),
        ];
        let lines = tree(&json!({ "items": all }));
        let starts: Vec<_> = lines.iter().map(|line| line.split("  [").next().unwrap_or_default().trim().to_owned()).collect();
        assert_eq!(
            starts,
            [
                "0.0 ms  command cart.checkout 17",
                "1.0 ms  └─ event cart.checkout 17",
                "2.5 ms     └─ command cart.checkout 17",
                "3.0 ms        └─ dead letter cart.checkout 17"
            ],
            "{lines:#?}"
        );
    }
}
