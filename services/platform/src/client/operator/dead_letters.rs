//! `daybook dead-letters`: what could not be processed, on a running system.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Asked, actor, items, number, place, text};
use crate::args::Output;
use crate::client::connection::{Connection, Method};
use crate::misuse::misused;
use crate::out;
use crate::uri::part;

/// Most letters of one answer.
const PAGE: usize = 1_000;

/// What to do with dead letters.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    asked: Asked,
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
        #[arg(value_parser = letter)]
        id: String,
    },
    /// Writes its command once more, when its cause is mended
    Retry {
        /// as `list` names it: <service>/<partition>/<offset>
        #[arg(value_parser = letter)]
        id: String,
    },
    /// Settles that nothing will be done about one: it is kept, and neither listed nor retried any more
    Discard {
        /// as `list` names it: <service>/<partition>/<offset>
        #[arg(value_parser = letter)]
        id: String,
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

fn letter(given: &str) -> Result<String, String> {
    place(given, "a dead letter is named <service>/<partition>/<offset>, as stock/5/17")
}

/// Asks the running system.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let system = args.asked.system();
    let request = match &args.verb {
        Verb::List { service, limit, all } => {
            let service = service.as_ref().map(|service| format!("&service={}", part(service))).unwrap_or_default();
            let query = format!("{service}{}", if *all { "&all=true" } else { "" });
            args.asked.print(&list(&system, &query, *limit).await?, table);
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Show { id } | Verb::Discard { id, yes: false, .. } => system.get(&format!("/dead-letters/{id}")),
        Verb::Retry { id } => system.request(Method::POST, &format!("/dead-letters/{id}/retry")),
        Verb::Discard { id, reason, actor: by, yes: true } => {
            let request = system.request(Method::POST, &format!("/dead-letters/{id}/discard"));
            request.header("daybook-actor", actor(by)).json(&json!({ "reason": reason }))
        }
    };
    let fields: &[&str] = if matches!(args.verb, Verb::Retry { .. }) { &["written_to", "commands"] } else { &["id"] };
    let body = system.ask(request, fields).await?;
    match (&args.verb, args.asked.output) {
        (Verb::Discard { yes: true, .. }, Output::Table) => out::line(format!("{} is discarded: list --all still has it", text(&body, "id"))),
        _ => out::line(format_args!("{body:#}")),
    }
    match args.verb {
        Verb::Discard { id, yes: false, .. } => misused!("{id} is as it was: add --yes to discard it"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// As many as were asked for, page by page.
async fn list(system: &Connection, query: &str, limit: usize) -> anyhow::Result<Value> {
    let (mut cursor, mut all) = (String::new(), vec![]);
    loop {
        let left = limit.saturating_sub(all.len()).clamp(1, PAGE);
        let mut page = system.ask(system.get(&format!("/dead-letters?limit={left}{query}{cursor}")), &["items", "discarded"]).await?;
        let before = all.len();
        all.extend_from_slice(items(&page, "items"));
        match page.get("next").and_then(Value::as_str) {
            // A page that leads on has something on it: one that has not would lead on for ever.
            Some(next) if before < all.len() && all.len() < limit => cursor = format!("&cursor={}", part(next)),
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
