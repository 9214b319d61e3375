//! `daybook tail`: the records of a topic, oldest first, as they lie in the log. Holds a page of each partition and no more.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use kernel::Timestamp;
use serde_json::Value;

use super::{items, number, text};
use crate::args::{Output, Target};
use crate::client::connection::{Connection, RequestError};
use crate::misuse::Misuse;
use crate::out;
use crate::uri::part;

/// Records of a page.
const PAGE: usize = 500;
/// How long it waits at the end for more.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a page may take. An instance that answers nothing is as good as away.
const ANSWER: Duration = Duration::from_secs(30);

/// Which records.
#[derive(clap::Args)]
pub struct Args {
    /// As `topics` names it, which begins with a service: its .events, its .commands, ...
    topic: String,
    /// One partition only
    #[arg(long, value_name = "P")]
    partition: Option<u16>,
    /// Where in each partition: beginning, end, an offset, or -N for the last N records
    #[arg(long, allow_hyphen_values = true, default_value = "-10", value_name = "PLACE", value_parser = place)]
    from: String,
    /// Go on with what comes, until stopped; one that goes away is waited for
    #[arg(short, long)]
    follow: bool,
    /// Stop after this many records
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    target: Target,
    /// How records are printed; json: one on a line
    #[arg(short, long, default_value = "table")]
    output: Output,
}

fn place(text: &str) -> Result<String, String> {
    let known = ["beginning", "end"].contains(&text) || text.strip_prefix('-').unwrap_or(text).parse::<u64>().is_ok();
    known.then(|| text.to_owned()).ok_or_else(|| "beginning, end, an offset, or -N for the last N records".to_owned())
}

/// A partition on the way.
struct PartitionCursor {
    partition: u16,
    /// read, not printed yet
    read: VecDeque<Value>,
    /// where the next page begins, as the route takes it
    next: String,
    /// where it stops, unless it follows
    end: u64,
    done: bool,
}

/// Prints until the ends of now, or for ever.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let system = Connection::to([&args.target.url]).within(ANSWER);
    let topic = format!("/topics/{}", part(&args.topic));
    let extents = system.ask(system.get(&topic), &["partitions"]).await?;
    let mut places: Vec<PartitionCursor> = items(&extents, "partitions")
        .iter()
        .filter_map(|extent| Some((u16::try_from(number(extent, "partition")).ok()?, extent)))
        .filter(|(partition, _)| args.partition.is_none_or(|only| only == *partition))
        .map(|(partition, extent)| {
            let end = number(extent, "end");
            // The end is the one of now, also where it is asked for only after an outage.
            let next = if args.from == "end" { end.to_string() } else { args.from.clone() };
            PartitionCursor { partition, read: VecDeque::new(), next, end, done: false }
        })
        .collect();
    if places.is_empty() {
        return Err(Misuse::new(format!("topic {} has no partition {}", args.topic, args.partition.unwrap_or_default())).into());
    }
    let mut away = false;
    let mut left = args.limit.unwrap_or(usize::MAX);
    while left > 0 {
        for place in places.iter_mut().filter(|place| place.read.is_empty() && !place.done) {
            match place.read_on(&system, &args, &topic).await {
                Ok(()) if away => {
                    out::note(format!("{} answers again", args.target.url));
                    away = false;
                }
                Ok(()) => {}
                Err(RequestError::Away(why)) if args.follow => {
                    if !away {
                        out::note(format!("waiting for it to come back: {why:#}"));
                    }
                    away = true;
                    break;
                }
                Err(why) => return Err(why.into()),
            }
        }
        // The oldest of those at hand: partitions have no order among themselves but time.
        let oldest = places.iter_mut().filter(|place| !place.read.is_empty()).min_by_key(|place| place.read.front().map(time));
        match oldest.and_then(|place| place.read.pop_front()) {
            Some(record) => {
                print(&record, args.output)?;
                left -= 1;
                if out::broken().is_some() {
                    break; // nobody reads on
                }
            }
            None if args.follow => tokio::time::sleep(PAUSE).await,
            None if places.iter().all(|place| place.done) => break,
            None => {}
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl PartitionCursor {
    /// The next page.
    async fn read_on(&mut self, system: &Connection, args: &Args, topic: &str) -> Result<(), RequestError> {
        let limit = args.limit.unwrap_or(PAGE).clamp(1, PAGE);
        let page = system.ask(system.get(&format!("{topic}/{}?from={}&limit={limit}", self.partition, part(&self.next))), &["items", "next"]).await?;
        self.read.extend(items(&page, "items").iter().filter(|record| args.follow || number(record, "offset") < self.end).cloned());
        let next = page.get("next").and_then(Value::as_u64).context("the page does not say where the next one begins: is it of another version?");
        let next = next.map_err(RequestError::Refused)?;
        self.next = next.to_string();
        self.done = !args.follow && next >= self.end;
        Ok(())
    }
}

fn time(record: &Value) -> Option<Timestamp> {
    text(record, "recorded_at").parse().ok()
}

fn print(record: &Value, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        out::line(serde_json::to_string(record)?);
        return Ok(());
    }
    out::line(format!(
        "{}/{} offset {}  {}  key {}",
        text(record, "topic"),
        text(record, "partition"),
        text(record, "offset"),
        text(record, "recorded_at"),
        text(record, "key")
    ));
    for (name, value) in record.get("headers").and_then(Value::as_object).into_iter().flatten() {
        out::line(format!("  {name}: {}", value.as_str().unwrap_or_default()));
    }
    out::line(match record.get("body") {
        None | Some(Value::Null) => "  (no body)".to_owned(),
        Some(body) => format!("  {body}"),
    });
    Ok(())
}
