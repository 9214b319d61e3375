//! `daybook topics`: how long each topic is, how far its readers are, and what it all takes on disk.

use std::process::ExitCode;

use comfy_table::Table;
use serde_json::Value;

use super::{answer, items, number, text};
use crate::cli::{Output, Target};
use crate::out;

/// How it is shown.
#[derive(clap::Args)]
pub struct Order {
    #[command(flatten)]
    target: Target,
    /// How the result is printed
    #[arg(short, long, default_value = "table")]
    output: Output,
}

/// Asks the marketplace.
pub async fn run(order: Order) -> anyhow::Result<ExitCode> {
    let found = answer(&order.target, reqwest::Client::new().get(format!("{}/topics", order.target.url))).await?;
    match order.output {
        Output::Json => out::line(serde_json::to_string_pretty(&found)?),
        Output::Table => people(&found),
    }
    Ok(ExitCode::SUCCESS)
}

fn people(found: &Value) {
    let mut topics = Table::new();
    topics.set_header(["topic", "partition", "begins", "ends", "about", "lag of its readers"]);
    for extent in items(found, "topics") {
        let lags: Vec<String> = items(extent, "groups").iter().map(|group| format!("{} {}", text(group, "group"), text(group, "lag"))).collect();
        let size = extent.get("bytes").and_then(Value::as_u64).map(bytes).unwrap_or_default();
        topics.add_row([text(extent, "topic"), text(extent, "partition"), text(extent, "start"), text(extent, "end"), size, lags.join(", ")]);
    }
    out::line(topics);
    let mut views = Table::new();
    views.set_header(["view here", "folds", "lag"]);
    for view in items(found, "views") {
        views.add_row(["view", "topic", "lag"].map(|column| text(view, column)));
    }
    out::line(views);
    let mut disk = Table::new();
    disk.set_header(["kept here", "on disk"]);
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
