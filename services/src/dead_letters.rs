//! `daybook dead-letters`: what could not be processed, on a running marketplace.

use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use comfy_table::Table;
use serde_json::Value;

use crate::cli::{Output, Target};
use crate::out;

/// What to do with dead letters.
#[derive(clap::Args)]
pub struct Order {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    target: Target,
    /// How the result is printed
    #[arg(short, long, global = true, default_value = "table")]
    output: Output,
}

#[derive(Subcommand)]
enum Verb {
    /// Lists them, oldest first
    List {
        /// of one service only
        #[arg(long)]
        service: Option<String>,
        /// at most this many
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Shows one with headers and body
    Show {
        /// as `list` names it: <service>/<partition>/<offset>
        id: String,
    },
    /// Writes its command once more, when its cause is mended
    Retry {
        /// as `list` names it: <service>/<partition>/<offset>
        id: String,
    },
}

/// Asks the marketplace.
pub async fn run(order: Order) -> anyhow::Result<ExitCode> {
    let (client, url) = (reqwest::Client::new(), &order.target.url);
    let request = match &order.verb {
        Verb::List { service, limit } => {
            let service = service.as_ref().map(|service| format!("&service={service}")).unwrap_or_default();
            client.get(format!("{url}/dead-letters?limit={limit}{service}"))
        }
        Verb::Show { id } => client.get(format!("{url}/dead-letters/{id}")),
        Verb::Retry { id } => client.post(format!("{url}/dead-letters/{id}/retry")),
    };
    let answer = request.send().await.with_context(|| format!("no marketplace at {url}: start one with `daybook up`"))?;
    let (status, body) = (answer.status(), answer.text().await?);
    let body: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
    anyhow::ensure!(status.is_success(), "{}", body.get("detail").and_then(Value::as_str).unwrap_or("the marketplace answered with an error"));
    match (&order.verb, order.output) {
        (Verb::List { .. }, Output::Table) => table(&body),
        _ => out::line(serde_json::to_string_pretty(&body)?),
    }
    Ok(ExitCode::SUCCESS)
}

fn table(body: &Value) {
    const COLUMNS: [&str; 5] = ["id", "reason", "type", "command", "detail"];
    let letters = body.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    if letters.is_empty() {
        return out::line("No dead letters.");
    }
    let mut table = Table::new();
    table.set_header(COLUMNS);
    for letter in &letters {
        table.add_row(COLUMNS.map(|column| letter.get(column).and_then(Value::as_str).unwrap_or_default().to_owned()));
    }
    out::line(table);
}
