//! `audit-log`: what operators did and who was refused, and whether nothing of it was changed or taken away.

use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::args::{Output, Target};
use crate::client::connection::{Connection, Retry};
use crate::identity::trail::hash;
use crate::out;

/// How much of it is printed.
#[derive(clap::Args)]
pub struct Args {
    /// Only so many of the last entries are printed; all of them are checked
    #[arg(long, value_name = "N", default_value_t = 50)]
    last: usize,
    /// The hash of an entry that was noted before, as NUMBER:HASH: it must still be there, and what came after it is printed
    #[arg(long, value_name = "NUMBER:HASH", value_parser = noted)]
    since: Option<String>,
    #[command(flatten)]
    target: Target,
    /// How the result is printed
    #[arg(short, long, global = true, default_value = "table")]
    output: Output,
}

/// An entry as its number and hash, as they are printed.
fn noted(text: &str) -> Result<String, String> {
    let parts =
        text.split_once(':').filter(|(number, hash)| number.parse::<u64>().is_ok() && hash.len() == 64 && hash.bytes().all(|at| at.is_ascii_hexdigit()));
    parts.map(|_| text.to_owned()).ok_or_else(|| "an entry as it was printed to be noted: its number, a colon and 64 hex digits".to_owned())
}

#[derive(Deserialize, serde::Serialize)]
struct Row {
    number: u64,
    at: String,
    kind: String,
    actor: String,
    act: String,
    outcome: String,
    times: u64,
    previous: String,
    hash: String,
}

/// Asks the running system, and checks every link.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let system = Connection::to([&args.target.url]);
    let listed = system.list::<Row>("/audit-log", 500, &Retry::every(Duration::from_millis(200), Duration::ZERO)).await?;
    let rows = listed.map(|listing| listing.items).unwrap_or_default();
    let broken = broken(&rows, args.since.as_deref());
    let after = args.since.as_deref().and_then(|noted| noted.split_once(':')?.0.parse().ok()).unwrap_or(0);
    let new: Vec<&Row> = rows.iter().filter(|row| row.number > after || broken.is_some()).collect();
    let shown = &new[new.len().saturating_sub(args.last)..];
    match args.output {
        Output::Json => out::line(format_args!("{:#}", json!({ "items": shown, "entries": rows.len(), "broken": broken }))),
        Output::Table => {
            let mut table = out::table(["number", "at", "kind", "actor", "act", "outcome", "times"]);
            for Row { number, at, kind, actor, act, outcome, times, .. } in shown {
                table.add_row([&number.to_string(), at, kind, actor, act, outcome, &times.to_string()]);
            }
            out::line(table);
            match (&broken, rows.last()) {
                (Some(why), _) => out::line(format!("The trail is broken: {why}.")),
                (None, Some(last)) => {
                    out::line(format!("{} entries, and each holds the one before it. Note the last: {}:{}", rows.len(), last.number, last.hash))
                }
                (None, None) => out::line("No entry yet."),
            }
        }
    }
    Ok(if broken.is_some() { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

/// The first link that does not hold.
fn broken(rows: &[Row], since: Option<&str>) -> Option<String> {
    let mut previous = String::new();
    for (row, number) in rows.iter().zip(1..) {
        if row.number != number {
            return Some(format!("entry {number} is not there, and {} is", row.number));
        }
        let due = hash(&previous, row.number, &row.at, [&row.kind, &row.actor, &row.act, &row.outcome], row.times);
        if row.previous != previous || row.hash != due {
            return Some(format!("entry {number} is not what was written, or what came before it was another"));
        }
        previous.clone_from(&row.hash);
    }
    let noted = since?;
    let there = rows.iter().any(|row| format!("{}:{}", row.number, row.hash) == noted);
    (!there).then(|| format!("the entry {noted} that was noted is not in it"))
}

/// A row as it is written.
#[cfg(test)]
fn row(number: u64, act: &str, previous: &str) -> Row {
    let text = str::to_owned;
    let (at, kind, actor, outcome) = (text("2026-11-26T00:00:00Z"), text("act"), text("machine"), text("begun"));
    let hash = hash(previous, number, &at, [&kind, &actor, act, &outcome], 1);
    Row { number, at, kind, actor, act: text(act), outcome, times: 1, previous: text(previous), hash }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_or_taken_away_is_named() {
        let whole = || {
            let one = row(1, "POST /verify", "");
            let two = row(2, "POST /trim", &one.hash);
            let three = row(3, "POST /verify", &two.hash);
            vec![one, two, three]
        };
        let noted = format!("2:{}", whole()[1].hash);
        assert_eq!((broken(&whole(), None), broken(&whole(), Some(&noted)), broken(&[], None)), (None, None, None));
        let hurt = |hurt: fn(&mut Vec<Row>)| {
            let mut rows = whole();
            hurt(&mut rows);
            broken(&rows, Some(&noted)).unwrap_or_default()
        };
        assert!(hurt(|rows| rows[1].act.push('x')).starts_with("entry 2 is not what was written"));
        assert!(hurt(|rows| drop(rows.remove(1))).starts_with("entry 2 is not there"));
        assert!(hurt(|rows| rows.truncate(1)).ends_with("is not in it"), "its end is missed by who noted it");
        assert!(hurt(|rows| rows[1] = row(2, "GET /", &rows[0].hash)).starts_with("entry 3 is not what"));
    }
}
