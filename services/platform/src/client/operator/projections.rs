//! `daybook projections`: what an instance folds, and what is done about it: paused, folded anew beside what it serves, compared,
//! swapped in and back. What changes something says its plan first, and acts when told `--yes`.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Asked, actor, items, number, text};
use crate::client::connection::{Connection, Method};
use crate::misuse::misused;
use crate::out;
use crate::uri::part;

/// How often it is asked how far a rebuild is.
const LOOKS: Duration = Duration::from_millis(250);
/// How often that is said where nobody watches a line.
const SAYS: Duration = Duration::from_secs(5);
/// How long an instance may be away while it is watched: it goes on by itself when it is back.
const AWAY: Duration = Duration::from_secs(120);

/// What to do with projections.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    asked: Asked,
}

#[derive(clap::Args)]
struct Named {
    /// as `list` names it
    #[arg(value_parser = name)]
    projection: String,
}

/// A path has no spelling for some of what could be asked for.
fn name(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.len() <= 100 && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_');
    if fits { Ok(text.to_owned()) } else { Err("no projection has such a name: `daybook projections list` shows them".to_owned()) }
}

#[derive(clap::Args)]
struct Beside {
    #[command(flatten)]
    named: Named,
    /// Only what is folded beside it, and not what it serves
    #[arg(long)]
    beside: bool,
}

#[derive(clap::Args)]
struct RebuildArgs {
    #[command(flatten)]
    named: Named,
    /// Folds up to there and not further: a time (2026-11-27T10:00:00Z), or offsets (<partition>:<offset>,…; partitions that are
    /// not named: as far as what is served). It is not served before `resume` lets it go on to the end
    #[arg(long, value_name = "OFFSETS|TIME")]
    until: Option<String>,
    /// Folds at most so many records in a second
    #[arg(long, value_name = "RECORDS")]
    rate: Option<u64>,
    /// What becomes of the rows that are served until then
    #[arg(long, value_enum, default_value = "previous")]
    keep: Keep,
    /// Keeps what is folded beside what is served: `swap` serves it later
    #[arg(long)]
    no_swap: bool,
    /// Serves it also where it differs from what was served
    #[arg(long)]
    accept_differences: bool,
    /// Does it; without this the plan is printed, and nothing happens
    #[arg(long)]
    yes: bool,
    /// Who asks; the audit trail keeps it
    #[arg(long, env = "USER", default_value = "operator", value_name = "NAME")]
    actor: String,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Keep {
    /// kept, for `rollback`
    Previous,
    /// deleted
    None,
}

#[derive(Subcommand)]
enum Verb {
    /// Lists the projections that are folded at an instance
    List,
    /// Shows one: what it serves, where it stands, and what is folded beside it
    Describe(Named),
    /// Folds nothing into it until it is resumed, over restarts as well; what it serves stays as it is
    Pause(Beside),
    /// Folds on
    Resume(Beside),
    /// Folds it anew beside what it serves, compares both, and serves the new one where it is the same
    Rebuild(RebuildArgs),
    /// Folds it anew in a temporary place, and names what differs from what it serves
    Diff {
        #[command(flatten)]
        named: Named,
        /// As it was then: a time, or offsets (<partition>:<offset>,…)
        #[arg(long, value_name = "OFFSETS|TIME")]
        at: Option<String>,
    },
    /// Serves what is folded beside it, once that stands where it stands
    Swap {
        #[command(flatten)]
        named: Named,
        /// Also where it differs
        #[arg(long)]
        accept_differences: bool,
        /// What becomes of the rows that are served until then; with nothing beside, of those that were served before
        #[arg(long, value_enum, default_value = "previous")]
        keep: Keep,
        /// Does it; without this the plan is printed, and nothing happens
        #[arg(long)]
        yes: bool,
        /// Who asks; the audit trail keeps it
        #[arg(long, env = "USER", default_value = "operator", value_name = "NAME")]
        actor: String,
    },
    /// Gives up what is folded beside it; where nothing is, serves again what was served before
    Rollback {
        #[command(flatten)]
        named: Named,
        /// Does it; without this the plan is printed, and nothing happens
        #[arg(long)]
        yes: bool,
        /// Who asks; the audit trail keeps it
        #[arg(long, env = "USER", default_value = "operator", value_name = "NAME")]
        actor: String,
    },
}

/// Fields of a projection that every version of the platform tells.
const FIELDS: &[&str] = &["name", "serving", "beside"];

/// Asks the running instance. Exit code 3 where what was folded anew differs from what is served.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (system, asked) = (args.asked.system(), &args.asked);
    match args.verb {
        Verb::List => {
            let found = system.ask(system.get("/projections"), &["items"]).await?;
            asked.print(&found, table);
        }
        Verb::Describe(named) => asked.print(&described(&system, &named).await?, described_to_people),
        Verb::Pause(beside) => asked.print(&ask(&system, &beside.named, "pause", json!({ "beside": beside.beside })).await?, |found| said(found, "is paused")),
        Verb::Resume(beside) => asked.print(&ask(&system, &beside.named, "resume", json!({ "beside": beside.beside })).await?, |found| said(found, "goes on")),
        Verb::Diff { named, at } => return diff(&system, asked, &named, at).await,
        Verb::Rebuild(rebuild) => return self::rebuild(&system, asked, &rebuild).await,
        Verb::Swap { named, accept_differences, keep, yes, actor } => {
            let before = described(&system, &named).await?;
            if before["beside"].is_null() && (keep == Keep::Previous || before["previous"].is_null()) {
                misused!("nothing is folded beside {}: `projections rebuild` does that (or --keep none drops what was served before)", named.projection);
            }
            plan(
                asked,
                &before,
                yes,
                &match &before["beside"] {
                    Value::Null => format!("generation {} of {}, which was served before, is deleted", before["previous"]["generation"], named.projection),
                    beside => format!("generation {} of {} is served instead of {}", beside["generation"], named.projection, before["serving"]["generation"]),
                },
            )?;
            let body = json!({ "accept_differences": accept_differences, "keep": keep == Keep::Previous });
            let found = ask_as(&system, &named, "swap", body, &actor).await?;
            return if found["beside"].is_null() { end(asked, &found) } else { watched(&system, asked, &named).await };
        }
        Verb::Rollback { named, yes, actor } => {
            let before = described(&system, &named).await?;
            let gives_up = !before["beside"].is_null();
            if !gives_up && before["previous"].is_null() {
                misused!("nothing was served before of {}, or it was not kept", named.projection);
            }
            plan(
                asked,
                &before,
                yes,
                &if gives_up {
                    format!("what is folded beside {} (generation {}) is given up; what is served stays", named.projection, before["beside"]["generation"])
                } else {
                    format!("generation {} of {} is served again, once it has caught up", before["previous"]["generation"], named.projection)
                },
            )?;
            let found = ask_as(&system, &named, "rollback", None, &actor).await?;
            return if gives_up { end(asked, &found) } else { watched(&system, asked, &named).await };
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn described(system: &Connection, named: &Named) -> anyhow::Result<Value> {
    Ok(system.ask(system.get(&format!("/projections/{}", part(&named.projection))), FIELDS).await?)
}

async fn ask(system: &Connection, named: &Named, verb: &str, body: Value) -> anyhow::Result<Value> {
    ask_as(system, named, verb, body, "").await
}

async fn ask_as(system: &Connection, named: &Named, verb: &str, body: impl Into<Option<Value>>, who: &str) -> anyhow::Result<Value> {
    let request = system.request(Method::POST, &format!("/projections/{}/{verb}", part(&named.projection)));
    let request = if who.is_empty() { request } else { request.header("daybook-actor", actor(who)) };
    Ok(system.ask(if let Some(body) = body.into() { request.json(&body) } else { request }, FIELDS).await?)
}

/// Says what is about to happen, and stops there if nobody said that it shall.
fn plan(asked: &Asked, before: &Value, yes: bool, what: &str) -> anyhow::Result<()> {
    if !yes {
        let name = text(before, "name");
        asked.print(&json!({ "projection": name, "plan": what }), |_| out::line(format!("Plan for {name}: {what}.")));
        misused!("nothing was done: add --yes to do what the plan says");
    }
    Ok(())
}

async fn rebuild(system: &Connection, asked: &Asked, args: &RebuildArgs) -> anyhow::Result<ExitCode> {
    let before = described(system, &args.named).await?;
    let offsets: u64 = before["positions"].as_object().into_iter().flat_map(|all| all.values()).filter_map(Value::as_u64).sum();
    let end = match (&args.until, args.no_swap, args.accept_differences) {
        (Some(until), ..) => format!("only up to {until}"),
        (None, true, _) => "and keeps it there, compared".to_owned(),
        (None, false, true) => "and serves it, whatever differs".to_owned(),
        (None, false, false) => "and serves it if not one row differs".to_owned(),
    };
    let topic = text(&before, "topic");
    let asked_for = |dry_run: bool| {
        let body = json!({
            "until": args.until,
            "rate": args.rate,
            "swap": !args.no_swap,
            "accept_differences": args.accept_differences,
            "keep": args.keep == Keep::Previous,
            "dry_run": dry_run,
        });
        ask_as(system, &args.named, "rebuild", body, &args.actor)
    };
    asked_for(true).await?; // what is refused is no plan
    let of = if args.until.is_some() { topic } else { format!("{offsets} offsets of {topic}") };
    plan(asked, &before, args.yes, &format!("folds {of} anew beside generation {}, {end}", before["serving"]["generation"]))?;
    asked_for(false).await?;
    watched(system, asked, &args.named).await
}

/// Watches what is folded beside until that ends. The first Ctrl-C lets it wait where it stands, the second only stops watching.
async fn watched(system: &Connection, asked: &Asked, named: &Named) -> anyhow::Result<ExitCode> {
    tokio::select! {
        ended = until_ended(system, asked, named) => ended,
        _ = tokio::signal::ctrl_c() => {
            let name = &named.projection;
            tokio::select! {
                paused = ask(system, named, "pause", json!({ "beside": true })) => drop(paused?),
                _ = tokio::signal::ctrl_c() => {
                    out::note(format!("not watched any more: `projections describe {name}` says how far it is"));
                    return Ok(ExitCode::from(130));
                }
            }
            out::note(format!("what is folded beside {name} waits where it stands: `projections resume {name} --beside` lets it go on, `rollback` gives it up"));
            Ok(ExitCode::from(130))
        }
    }
}

async fn until_ended(system: &Connection, asked: &Asked, named: &Named) -> anyhow::Result<ExitCode> {
    let (mut answered, mut progress) = (Instant::now(), Progress::default());
    loop {
        match described(system, named).await {
            Ok(found) => {
                answered = Instant::now();
                let phase = text(&found["beside"], "phase");
                if found["beside"].is_null() || ["held", "failed", "paused"].contains(&phase.as_str()) {
                    progress.done();
                    return end(asked, &found);
                }
                progress.say(&found["beside"]);
            }
            // It may be starting again, and goes on where it stood.
            Err(why) if answered.elapsed() > AWAY => return Err(why),
            Err(_) => {}
        }
        sleep(LOOKS).await;
    }
}

/// How far it is: on a terminal one line that changes.
#[derive(Default)]
struct Progress {
    said: Option<Instant>,
    line: bool,
}

impl Progress {
    fn say(&mut self, beside: &Value) {
        let (done, all) = (number(beside, "offsets"), number(beside, "of"));
        let left = beside["seconds_left"].as_f64().map_or_else(String::new, |left| format!(", {left:.0} s left"));
        let percent = (done * 100).checked_div(all).unwrap_or(100);
        let rate = beside["records_a_second"].as_f64().filter(|rate| *rate > 0.0).map_or_else(String::new, |rate| format!(", {rate:.0} records/s"));
        let said = beside["said"].as_str().map_or_else(String::new, |why| format!("; {why}"));
        let line = format!("{}: {done} of {all} offsets ({percent} %){rate}{left}{said}", text(beside, "phase"));
        let mut err = std::io::stderr();
        if err.is_terminal() {
            let _to_people = write!(err, "\r\x1b[2K{line}").and_then(|()| err.flush());
            self.line = true;
        } else if self.said.is_none_or(|said| said.elapsed() >= SAYS) {
            out::note(line);
            self.said = Some(Instant::now());
        }
    }

    fn done(&mut self) {
        if std::mem::take(&mut self.line) {
            out::note("");
        }
    }
}

/// What it came to.
fn end(asked: &Asked, found: &Value) -> anyhow::Result<ExitCode> {
    let beside = &found["beside"];
    let differs = !items(beside, "differences").is_empty();
    asked.print(found, |found| {
        match (text(beside, "said"), text(found, "ended")) {
            (said, _) if !said.is_empty() => out::line(format!("{}: {said}", text(found, "name"))),
            (_, ended) if !ended.is_empty() => out::line(format!("{}: {ended}", text(found, "name"))),
            _ => said(found, "stands as it stood"),
        }
        differences(items(beside, "differences"), "served", "anew");
    });
    let failed = text(found, "ended").starts_with("given up");
    Ok(if differs {
        ExitCode::from(3)
    } else if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn diff(system: &Connection, asked: &Asked, named: &Named, at: Option<String>) -> anyhow::Result<ExitCode> {
    let request = system.request(Method::POST, &format!("/projections/{}/diff", part(&named.projection))).json(&json!({ "at": at }));
    let found = system.ask(request, &["same", "found"]).await?;
    asked.print(&found, |found| {
        let verdict = &found["found"];
        let then = at.as_ref().map_or_else(|| "anew".to_owned(), |_| "then".to_owned());
        if let Some(wrong) = verdict["wrong"].as_str() {
            return out::line(format!("{}: {wrong}", named.projection));
        }
        if found["same"] == json!(true) {
            return out::line(format!("{}: {} rows, the same, as far as it is folded: digest {}", named.projection, verdict["rows"], text(verdict, "live")));
        }
        out::line(format!("{} differs: digest {} served, {} {then}; the first keys:", named.projection, text(verdict, "live"), text(verdict, "rebuilt")));
        differences(items(verdict, "differences"), "served", &then);
    });
    // How it was once is no finding.
    Ok(if at.is_none() && found["same"] != json!(true) { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

fn differences(all: &[Value], live: &str, other: &str) {
    let row = |difference: &Value, side: &str| difference[side].as_str().unwrap_or("(no such row)").to_owned();
    for difference in all {
        out::line(format!("  key {}\n    {live:<8} {}\n    {other:<8} {}", text(difference, "key"), row(difference, "live"), row(difference, "rebuilt")));
    }
}

fn said(found: &Value, what: &str) {
    out::line(format!("{} {what}", text(found, "name")));
}

fn beside_in_short(found: &Value) -> String {
    let beside = &found["beside"];
    match beside {
        Value::Null => String::new(),
        _ => format!("{} {} ({} of {} offsets)", text(beside, "generation"), text(beside, "phase"), number(beside, "offsets"), number(beside, "of")),
    }
}

fn table(found: &Value) {
    let mut table = out::table(["projection", "state", "generation", "shape", "rows", "behind", "digest", "beside", "previous"]);
    for view in items(found, "items") {
        let digest = text(view, "digest");
        table.add_row([
            text(view, "name"),
            text(view, "state"),
            text(&view["serving"], "generation"),
            text(&view["serving"], "shape"),
            text(view, "rows"),
            text(view, "behind"),
            digest[..16.min(digest.len())].to_owned(),
            beside_in_short(view),
            text(&view["previous"], "generation"),
        ]);
    }
    out::line(table);
}

fn described_to_people(found: &Value) {
    let mut table = out::bare();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            table.add_row([name.to_owned(), value]);
        }
    };
    for name in ["name", "topic", "state", "failed", "rows", "digest", "behind", "ended"] {
        line(name, text(found, name));
    }
    let of = |which: &Value| if which.is_null() { String::new() } else { format!("{}, shape '{}'", text(which, "generation"), text(which, "shape")) };
    line("serving", of(&found["serving"]));
    line("previous", of(&found["previous"]));
    line("beside", beside_in_short(found));
    line("", text(&found["beside"], "said"));
    line("stopped", items(found, "stopped").iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "));
    line(
        "positions",
        found["positions"].as_object().into_iter().flatten().map(|(partition, next)| format!("{partition}:{next}")).collect::<Vec<_>>().join(","),
    );
    out::line(table);
    differences(items(&found["beside"], "differences"), "served", "anew");
}
