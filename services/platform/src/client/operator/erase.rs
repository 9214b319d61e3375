//! `erase`: destroys the keys of somebody's personal data, and says what is left of it and where it was looked.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use super::{Asked, items, number, text};
use crate::client::connection::{Command, Method, Retry};
use crate::misuse::misused;
use crate::out;

/// How long a report is waited for.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long the system may be away.
const AWAY: Duration = Duration::from_secs(15);
/// When it is said that it takes longer.
const SOON: Duration = Duration::from_secs(3);
/// How often it is asked for.
const PAUSE: Duration = Duration::from_millis(100);

/// Who.
#[derive(clap::Args)]
pub struct Args {
    /// Whose data: the role of who owns it and its key, or an account
    #[arg(value_name = "ROLE/KEY")]
    subject: String,
    /// Why; it is kept for ever, and must not name anybody
    #[arg(long)]
    reason: String,
    /// Erases; without this nothing happens. It cannot be taken back
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    asked: Asked,
}

/// Asks the running system.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Some((role, key)) = args.subject.split_once('/').filter(|(role, key)| !role.is_empty() && !key.is_empty() && !key.contains('/')) else {
        misused!("'{}' is nobody: give a role and a key, as customer/17, or account/ and the account's id", args.subject.escape_debug());
    };
    if !args.yes {
        misused!("nothing was erased: add --yes to destroy the keys of {} and of the accounts that own its things, for good", args.subject.escape_debug());
    }
    let (system, path) = (args.asked.system(), format!("/erasures/{}/{}", crate::uri::part(role), crate::uri::part(key)));
    // Asked under one name until it is decided: an instance that ends in the middle makes no second erasure of it.
    let (id, written) = (uuid::Uuid::new_v4().to_string(), AtomicBool::new(false));
    let on_repeat = |why: &'static str| {
        if why == "pending" && !written.swap(true, Ordering::Relaxed) {
            out::note("it is written, and waits: no instance takes it that runs the service erasure");
        }
    };
    let retry = Retry { wait: 5, patience: Some(PATIENCE), on_repeat: &on_repeat, ..Retry::every(PAUSE, AWAY) };
    let command = Command { method: Method::POST, path: &path, id: &id, occurred_at: None, body: &json!({ "reason": args.reason }) };
    let answer = system.command(&command, &retry).await.with_context(|| match written.load(Ordering::Relaxed) {
        true => format!("the erasure of {} is written, and will be done by an instance that runs the service erasure: ask again for its report", args.subject),
        false => format!("whether the erasure of {} was written is not known: ask again", args.subject),
    })?;
    let done = system.checked(&answer, &["version"])?;
    let mut told = false;
    let (began, least) = (Instant::now(), number(&done, "version"));
    let erasure = loop {
        let erasure = system.find::<Value>(&path, None, &Retry::every(PAUSE, PATIENCE)).await?;
        if let Some(erasure) = erasure.filter(|erasure| text(erasure, "status") == "completed" && number(erasure, "revision") >= least) {
            break erasure;
        }
        if !told && began.elapsed() > SOON {
            told = true;
            out::note("it takes a while: an instance of the service erasure looks through every topic (`sagas list` says what it waits for)");
        }
        anyhow::ensure!(
            began.elapsed() < PATIENCE,
            "the erasure of {} is written and goes on, and is not completed after {} s: `sagas list` says what it waits for, and this command shows its report when it is asked again",
            args.subject,
            PATIENCE.as_secs()
        );
        tokio::time::sleep(PAUSE).await;
    };
    args.asked.print(&erasure, people);
    Ok(if number(&erasure["report"], "found_in_all") > 0 { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

fn people(erasure: &Value) {
    let report = &erasure["report"];
    let mut table = out::table(["place", "looked at", "sealed, unreadable"]);
    for looked in items(report, "looked").iter().filter(|looked| number(looked, "looked_at") > 0) {
        table.add_row(["place", "looked_at", "sealed"].map(|column| text(looked, column)));
    }
    out::line(table);
    let (keys, values, found) = (items(erasure, "keys").len(), number(report, "values"), number(report, "found_in_all"));
    out::line(format!("{}: {keys} keys destroyed, {values} values looked for.", text(erasure, "subject")));
    let sealed: u64 = items(report, "looked").iter().map(|looked| number(looked, "sealed")).sum();
    if found == 0 && keys == 0 && sealed == 0 {
        return out::line("There was nothing of them: is this who was meant?");
    }
    if found == 0 && values == 0 {
        out::line("What was sealed had been erased before it could be learnt what to look for: only what was never sealed was looked for.");
    }
    if found == 0 {
        return out::line("Nothing of them is readable any more.");
    }
    let mut table = out::table(["still readable in", "at", "field"]);
    for found in items(report, "found") {
        table.add_row(["place", "at", "field"].map(|column| text(found, column)));
    }
    out::line(table);
    out::line(format!("{found} places still hold it in the clear: written before the log was sealed, or from outside."));
}
