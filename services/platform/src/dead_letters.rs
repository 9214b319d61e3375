//! `daybook dead-letters`: what could not be processed, on a running marketplace.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::args::{Output, Target};
use crate::misuse::misused;
use crate::operate::{answer, items, number, part, text};
use crate::out;

/// Most letters of one answer.
const PAGE: usize = 1_000;

/// What to do with dead letters.
#[derive(clap::Args)]
pub struct Args {
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
        /// those that were discarded as well
        #[arg(long)]
        all: bool,
    },
    /// Shows one with headers and body
    Show {
        /// as `list` names it: <service>/<partition>/<offset>
        id: Letter,
    },
    /// Writes its command once more, when its cause is mended
    Retry {
        /// as `list` names it: <service>/<partition>/<offset>
        id: Letter,
    },
    /// Settles that nothing will be done about one: it is kept, and neither listed nor retried any more
    Discard {
        /// as `list` names it: <service>/<partition>/<offset>
        id: Letter,
        /// Why; the log keeps it
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Who asks; the log keeps it
        #[arg(long, env = "USER", default_value = "operator", value_name = "NAME")]
        actor: String,
        /// Does it; without this the letter is shown, and nothing happens
        #[arg(long)]
        yes: bool,
    },
}

/// A letter's place: `<service>/<partition>/<offset>`.
#[derive(Clone, Debug)]
struct Letter(String);

impl std::str::FromStr for Letter {
    type Err = String;
    fn from_str(given: &str) -> Result<Self, String> {
        match given.split('/').collect::<Vec<_>>()[..] {
            [service, partition, offset] if !service.is_empty() && partition.parse::<u16>().is_ok() && offset.parse::<u64>().is_ok() => {
                Ok(Self(format!("{}/{partition}/{offset}", part(service))))
            }
            _ => Err("a dead letter is named <service>/<partition>/<offset>, as stock/5/17".to_owned()),
        }
    }
}

/// Asks the marketplace.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (client, url) = (reqwest::Client::new(), &args.target.url);
    let request = match &args.verb {
        Verb::List { service, limit, all } => {
            let service = service.as_ref().map(|service| format!("&service={}", part(service))).unwrap_or_default();
            let query = format!("{service}{}", if *all { "&all=true" } else { "" });
            let listed = list(&args, &query, *limit).await?;
            match args.output {
                Output::Table => table(&listed),
                Output::Json => out::line(serde_json::to_string_pretty(&listed)?),
            }
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Show { id } | Verb::Discard { id, yes: false, .. } => client.get(format!("{url}/dead-letters/{}", id.0)),
        Verb::Retry { id } => client.post(format!("{url}/dead-letters/{}/retry", id.0)),
        Verb::Discard { id, reason, actor, yes: true } => {
            // Who asks is a header: what cannot stand in one is not worth a refusal.
            let actor: String = actor.chars().filter(char::is_ascii_graphic).take(200).collect();
            client.post(format!("{url}/dead-letters/{}/discard", id.0)).header("daybook-actor", actor).json(&json!({ "reason": reason }))
        }
    };
    let body = answer(&args.target, request).await?;
    match (&args.verb, args.output) {
        (Verb::Discard { yes: true, .. }, Output::Table) => out::line(format!("{} is discarded: list --all still has it", text(&body, "id"))),
        _ => out::line(serde_json::to_string_pretty(&body)?),
    }
    match args.verb {
        Verb::Discard { id, yes: false, .. } => misused!("{} is as it was: add --yes to discard it", id.0),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// As many as were asked for, page by page.
async fn list(args: &Args, query: &str, limit: usize) -> anyhow::Result<Value> {
    let (client, mut cursor, mut all) = (reqwest::Client::new(), String::new(), vec![]);
    loop {
        let left = limit.saturating_sub(all.len()).clamp(1, PAGE);
        let request = client.get(format!("{}/dead-letters?limit={left}{query}{cursor}", args.target.url));
        let mut page = answer(&args.target, request).await?;
        all.extend_from_slice(items(&page, "items"));
        match page.get("next").and_then(Value::as_str) {
            Some(next) if all.len() < limit => cursor = format!("&cursor={}", part(next)),
            _ => {
                page["items"] = all.into();
                return Ok(page);
            }
        }
    }
}

fn table(body: &Value) {
    const COLUMNS: [&str; 5] = ["id", "reason", "type", "command", "detail"];
    let (letters, discarded) = (items(body, "items"), number(body, "discarded"));
    let marked = letters.iter().any(|letter| letter.get("discarded").is_some_and(|mark| !mark.is_null()));
    if letters.is_empty() {
        out::line("No dead letters.");
    } else {
        let mut table = out::table(COLUMNS);
        for letter in letters {
            let mut row = COLUMNS.map(|column| text(letter, column));
            if let Some(mark) = letter.get("discarded").filter(|mark| !mark.is_null()) {
                row[1].push_str(&format!(" (discarded: {})", text(mark, "reason")));
            }
            table.add_row(row);
        }
        out::line(table);
    }
    if body.get("next").is_some_and(Value::is_string) {
        out::line(format!("There are more than these {}: ask for them with --limit.", letters.len()));
    }
    if discarded > 0 && !marked {
        out::line(format!("{discarded} were discarded: --all lists them too."));
    }
}
