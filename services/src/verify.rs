//! `daybook verify`: proves that what is served equals a fold from zero, on a running marketplace or on a directory at rest.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use comfy_table::Table;
use projections::Verdict;

use crate::capabilities::Capability;
use crate::cli::{Output, asynchronous};
use crate::config::Cluster;
use crate::out;
use crate::runtime::{Kept, Prover};

/// What to verify.
#[derive(clap::Args)]
pub struct Order {
    /// A data directory that no process has open [default: ./daybook-data]
    #[arg(long, env = "DAYBOOK_DATA", value_name = "DIR", conflicts_with = "url")]
    data: Option<PathBuf>,
    #[command(flatten)]
    cluster: Cluster,
    /// A running marketplace's address
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// How the result is printed
    #[arg(short, long, default_value = "table")]
    output: Output,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Result {
    matches: bool,
    folds: Vec<Verdict>,
}

/// Exit code 0 only when every fold matches.
pub fn run(order: Order, capabilities: fn() -> Vec<Capability>) -> anyhow::Result<ExitCode> {
    let result = match &order.url {
        Some(url) => ask(url)?,
        None => {
            let at = order.cluster.settings().map_or(Kept::Here { partitions: None }, |settings| Kept::Kafka(Box::new(settings)));
            let folds = Prover::open(&order.data.unwrap_or_else(crate::cli::default_data), at, capabilities())
                .context("a directory is verified at rest, a running marketplace with --url")?
                .prove()?
                .context("another proof runs")?;
            Result { matches: folds.iter().all(Verdict::matches), folds }
        }
    };
    match order.output {
        Output::Json => out::line(serde_json::to_string_pretty(&result)?),
        Output::Table => show(&result),
    }
    Ok(if result.matches { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn ask(url: &str) -> anyhow::Result<Result> {
    let mut result = None;
    asynchronous(async {
        let answer = reqwest::Client::new()
            .post(format!("{url}/verify"))
            .send()
            .await
            .with_context(|| format!("no marketplace at {url}: start one with `daybook up`"))?;
        let status = answer.status();
        let text = answer.text().await?;
        anyhow::ensure!(status.is_success(), "{url} answered {status}: {text}");
        result = Some(serde_json::from_str(&text)?);
        Ok(ExitCode::SUCCESS)
    })?;
    result.context("no answer")
}

fn show(result: &Result) {
    let mut table = Table::new();
    table.set_header(["fold", "rows", "records", "digest", "verdict"]);
    for fold in &result.folds {
        let verdict = match &fold.wrong {
            _ if fold.matches() => "same",
            Some(_) if fold.live == fold.rebuilt => "PROVES NOTHING",
            _ => "DIFFERS",
        };
        table.add_row([&fold.name, &fold.rows.to_string(), &fold.records.to_string(), &fold.live[..16.min(fold.live.len())], verdict]);
    }
    out::line(table);
    for fold in &result.folds {
        fold.wrong.iter().for_each(|why| out::line(format!("{}: {why}", fold.name)));
        for difference in &fold.differences {
            let shown = |row: &Option<String>| row.as_deref().unwrap_or("(no such row)").to_owned();
            out::line(format!("{}: key {}\n  live     {}\n  rebuilt  {}", fold.name, difference.key, shown(&difference.live), shown(&difference.rebuilt)));
        }
    }
    out::line(if result.matches {
        "Every fold equals its fold from zero."
    } else {
        "Not every fold is what the log says: see above. Where rows differ: stop, keep a copy of the directory, move the fold's directory aside, and start: it is folded anew."
    });
}
