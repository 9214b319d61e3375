//! `daybook topics`: how long each topic is, how far its readers are, and what it all takes on disk.

use std::process::ExitCode;

use serde_json::Value;

use super::{Asked, items, number, text};
use crate::out;

/// How it is shown.
#[derive(clap::Args)]
pub struct Args {
    /// Each partition on a line of its own
    #[arg(long)]
    partitions: bool,
    #[command(flatten)]
    asked: Asked,
}

/// Asks the running system.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let system = args.asked.system();
    let found = system.ask(system.get("/topics"), &["topics", "views", "disk"]).await?;
    args.asked.print(&found, |found| people(found, args.partitions));
    Ok(ExitCode::SUCCESS)
}

/// What is said of some partitions of a topic together.
#[derive(Default)]
struct Sum {
    partitions: u64,
    offsets: u64,
    bytes: Option<u64>,
    /// in the order of the answer
    lags: Vec<(String, u64)>,
}

impl Sum {
    fn add(&mut self, extent: &Value) {
        self.partitions += 1;
        self.offsets += number(extent, "offsets");
        if let Some(bytes) = extent.get("bytes").and_then(Value::as_u64) {
            self.bytes = Some(self.bytes.unwrap_or_default() + bytes);
        }
        for group in items(extent, "groups") {
            let (name, lag) = (text(group, "group"), number(group, "lag"));
            match self.lags.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += lag,
                None => self.lags.push((name, lag)),
            }
        }
    }

    fn lags(&self) -> String {
        self.lags.iter().map(|(group, lag)| format!("{group} {lag}")).collect::<Vec<_>>().join(", ")
    }
}

fn people(found: &Value, each: bool) {
    let mut sums: Vec<(String, Sum)> = vec![];
    let mut partitions = out::table(["topic", "partition", "begins", "ends", "about", "lag of its readers"]);
    for extent in items(found, "topics") {
        let (name, mut alone) = (text(extent, "topic"), Sum::default());
        alone.add(extent);
        let size = alone.bytes.map(bytes).unwrap_or_default();
        partitions.add_row([name.clone(), text(extent, "partition"), text(extent, "start"), text(extent, "end"), size, alone.lags()]);
        match sums.last_mut().filter(|(last, _)| *last == name) {
            Some((_, sum)) => sum.add(extent),
            None => sums.push((name, alone)),
        }
    }
    let mut topics = out::table(["topic", "partitions", "offsets", "about", "lag of its readers"]);
    for (name, sum) in &sums {
        topics.add_row([name.clone(), sum.partitions.to_string(), sum.offsets.to_string(), sum.bytes.map(bytes).unwrap_or_default(), sum.lags()]);
    }
    out::line(if each { partitions } else { topics });
    let mut views = out::table(["view here", "folds", "lag"]);
    for view in items(found, "views") {
        views.add_row(["view", "topic", "lag"].map(|column| text(view, column)));
    }
    out::line(views);
    let mut disk = out::table(["kept here", "on disk"]);
    for component in items(found, "disk") {
        disk.add_row([text(component, "component"), bytes(number(component, "bytes"))]);
    }
    out::line(disk);
}

/// A size for people.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut unit) = (count, "B");
    for larger in UNITS {
        if whole < 10 * 1024 {
            break;
        }
        (whole, unit) = (whole / 1024, larger);
    }
    format!("{whole} {unit}")
}
