//! `import-events`: brings a history that postgres-es keeps into the log, each event with its version and its metadata, by the
//! route of appends. What is there already is held against the table, and nothing is appended behind what differs; at the end all
//! of it is read once more and compared. So it may be ended anywhere, and run again.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use daybook::args::{Output, Target as System, asynchronous};
use daybook::client::connection::{Command, Connection, Response, Retry};
use daybook::misuse::{Misuse, misused};
use daybook::out;
use daybook::web::Method;
use daybook_cqrs_es::EventRow;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, Row};

use mapping::{Mapping, Target};

use crate::settings::address;

mod mapping;

/// Events of one append.
const EVENTS_MAX: usize = 200;
/// Bytes of the payloads of one append, a single larger one excepted: the command must fit a record.
const BYTES_MAX: usize = 200 * 1024;
/// Events of a page of what is there.
const PAGE: usize = 1_000;
/// Findings that are named.
const NAMED_MAX: usize = 20;
/// How long a command may stay without an answer, whatever its partition waits for.
const ANSWER: Duration = Duration::from_secs(90);
/// How a system that is away is asked again.
const RETRY: Retry<'static> = Retry::every(Duration::from_millis(200), Duration::from_secs(60));

/// What to import.
#[derive(clap::Args)]
pub struct Args {
    /// Where the history is: postgres://user:password@host/database; `?options=-c%20search_path%3DSCHEMA` where its tables lie in a schema
    #[arg(long, value_name = "URL", env = "DAYBOOK_FROM_POSTGRES", hide_env_values = true)]
    from_postgres: String,
    /// Its table of events
    #[arg(long, value_name = "TABLE", default_value = "events")]
    table: String,
    /// Where each aggregate type goes: a TOML file with a table for each, [account], events = "/accounts/{id}/events"
    #[arg(long, value_name = "FILE")]
    mapping: PathBuf,
    #[command(flatten)]
    target: System,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// What became of it.
#[derive(Debug, Default, Serialize)]
struct Report {
    aggregates: u64,
    events: u64,
    /// events that were there already
    there: u64,
    /// events that are there now, each held against its row
    proven: u64,
    /// of types that the mapping leaves out
    left_out: u64,
    findings: u64,
    named: Vec<String>,
}

impl Report {
    fn finds(&mut self, what: String) {
        self.findings += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(what);
        }
    }
}

/// An event of the table, as it is to be here.
struct Source {
    event_type: String,
    version: String,
    payload: Value,
    metadata: Value,
}

impl Source {
    fn is(&self, row: &EventRow) -> bool {
        let same = (&self.event_type, &self.version, &self.payload) == (&row.event_type, &row.version, &row.payload);
        same && serde_json::to_value(&row.metadata).is_ok_and(|metadata| metadata == self.metadata)
    }

    fn shown(&self) -> Value {
        json!({ "type": self.event_type, "version": self.version, "payload": self.payload, "metadata": self.metadata })
    }
}

/// Imports.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    asynchronous(async { imported(args).await })
}

async fn imported(args: &Args) -> anyhow::Result<ExitCode> {
    let is_name = |part: &str| !part.is_empty() && part.chars().all(|sign| sign.is_alphanumeric() || sign == '_');
    if !args.table.split('.').all(is_name) {
        misused!("--table {}: a table's name, or SCHEMA.TABLE", args.table);
    }
    let mapping = mapping::read(&args.mapping)?;
    let options = address(&args.from_postgres).map_err(|why| Misuse::new(format!("--from-postgres: {why}")))?;
    let place = format!("{}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap_or("postgres"));
    let mut history = PgConnection::connect_with(&options).await.with_context(|| format!("PostgreSQL at {place}"))?;
    // All of it as it is now, whoever goes on writing there.
    let mut snapshot = history.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let mut report = Report::default();
    let query = format!("SELECT aggregate_type, count(*) FROM {} GROUP BY aggregate_type ORDER BY aggregate_type", args.table);
    let types: Vec<(String, i64)> = sqlx::query_as(&query).fetch_all(&mut *snapshot).await.with_context(|| format!("{} at {place}", args.table))?;
    let unknown: Vec<&str> = types.iter().map(|(name, _)| name.as_str()).filter(|name| !mapping.contains_key(*name)).collect();
    if !unknown.is_empty() {
        let missing = unknown.join(", ");
        misused!(
            "{} does not say where {missing} goes: [{}], events = \"/…/{{id}}/events\", or events = \"\" to leave it out",
            args.mapping.display(),
            unknown[0]
        );
    }
    let system = Connection::to([args.target.url.clone()]);
    for (aggregate_type, count) in &types {
        let Some(target) = mapping.get(aggregate_type).filter(|target| !target.events.is_empty()) else {
            report.left_out += u64::try_from(*count).unwrap_or_default();
            continue;
        };
        aggregates(&mut snapshot, args, aggregate_type, target, &system, &mut report).await?;
    }
    told(args, &mapping, &report);
    Ok(if report.findings > 0 { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

async fn aggregates(
    history: &mut PgConnection,
    args: &Args,
    aggregate_type: &str,
    target: &Target,
    system: &Connection,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut after = String::new();
    loop {
        let query = format!("SELECT DISTINCT aggregate_id FROM {} WHERE aggregate_type = $1 AND aggregate_id > $2 ORDER BY 1 LIMIT {PAGE}", args.table);
        let ids: Vec<String> = sqlx::query_scalar(&query).bind(aggregate_type).bind(&after).fetch_all(&mut *history).await?;
        let Some(last) = ids.last().cloned() else { return Ok(()) };
        for id in &ids {
            let select = "sequence, event_type, event_version, payload, metadata";
            let query = format!("SELECT {select} FROM {} WHERE aggregate_type = $1 AND aggregate_id = $2 ORDER BY sequence", args.table);
            let rows = sqlx::query(&query).bind(aggregate_type).bind(id).fetch_all(&mut *history).await?;
            (report.aggregates, report.events) = (report.aggregates + 1, report.events + u64::try_from(rows.len())?);
            let about = format!("{aggregate_type} {id}");
            let Some((route, _)) = target.route(id) else {
                report.finds(format!("{about}: its id does not begin with '{}', or is nothing else", target.strip));
                continue;
            };
            match sources(&rows, target) {
                Ok(events) => one(&about, &route, &events, system, report).await?,
                Err(why) => report.finds(format!("{about}: {why}")),
            }
        }
        after = last;
    }
}

/// The events of an aggregate, without a gap.
fn sources(rows: &[PgRow], target: &Target) -> Result<Vec<Source>, String> {
    let mut all = Vec::with_capacity(rows.len());
    for (row, number) in rows.iter().zip(1_i64..) {
        let unreadable = |why: sqlx::Error| format!("event {number} cannot be read: {why}");
        let sequence: i64 = row.try_get("sequence").map_err(unreadable)?;
        if sequence != number {
            return Err(format!("event {sequence} stands where {number} should: a history without all of its events is none"));
        }
        let event_type: String = row.try_get("event_type").map_err(unreadable)?;
        all.push(Source {
            event_type: target.type_of(&event_type).to_owned(),
            version: row.try_get("event_version").map_err(unreadable)?,
            payload: row.try_get("payload").map_err(unreadable)?,
            metadata: row.try_get("metadata").map_err(unreadable)?,
        });
    }
    Ok(all)
}

/// Appends what is missing of one aggregate, and proves that all of it is there.
async fn one(about: &str, route: &str, events: &[Source], system: &Connection, report: &mut Report) -> anyhow::Result<()> {
    let asked = system.answered(|| system.get(&format!("{route}?limit=1")), &RETRY).await?;
    match asked.status.as_u16() {
        200 => {}
        404 => misused!("{about}: the system has no route {route}: does the mapping name it as its service does?"),
        400 => {
            report.finds(format!("{about}: {}", said(&asked)));
            return Ok(());
        }
        status => bail!("{about}: {route} answers {status}: {}", said(&asked)),
    }
    let there = system.list::<EventRow>(route, PAGE, &RETRY).await?.map(|listing| listing.items).unwrap_or_default();
    if let Some(wrong) = differs(events, &there) {
        report.finds(format!("{about}: {wrong}"));
        return Ok(());
    }
    report.there += u64::try_from(there.len())?;
    let (mut expected, mut position) = (there.len(), None);
    while expected < events.len() {
        let mut bytes = 0;
        let fits = |event: &&Source| {
            let first = bytes == 0;
            bytes += event.payload.to_string().len() + event.metadata.to_string().len() + 100;
            first || bytes <= BYTES_MAX
        };
        let some: Vec<Value> = events[expected..].iter().take(EVENTS_MAX).take_while(fits).map(Source::shown).collect();
        let body = json!({ "expected": expected, "events": some });
        // What is asked is its own name: a repeat after a lost answer is the same command.
        let name = format!("import-{}", uuid_of(route, &body));
        let command = Command { method: Method::POST, path: route, id: &name, occurred_at: None, body: &body };
        let Ok(answer) = tokio::time::timeout(ANSWER, system.command(&command, &RETRY)).await else {
            report.finds(format!(
                "{about}: events from {} on were not answered in {} s: its partition stands still, and `partitions list` says why",
                expected + 1,
                ANSWER.as_secs()
            ));
            return Ok(());
        };
        let answer = answer?;
        if !answer.status.is_success() {
            report.finds(format!("{about}: events from {} on are refused: {}", expected + 1, said(&answer)));
            return Ok(());
        }
        position = answer.position;
        expected += some.len();
    }
    let there = system.list_at::<EventRow>(route, PAGE, position.as_deref(), &RETRY).await?.map(|listing| listing.items).unwrap_or_default();
    match differs(events, &there) {
        None if there.len() == events.len() => report.proven += u64::try_from(events.len())?,
        None => report.finds(format!("{about}: {} events are there, and {} in the table", there.len(), events.len())),
        Some(wrong) => report.finds(format!("{about}: {wrong}")),
    }
    Ok(())
}

/// What the system says against it.
fn said(answer: &Response) -> String {
    answer.body()["detail"].as_str().unwrap_or(&answer.text).to_owned()
}

/// Where what is there is something else than the table has.
fn differs(events: &[Source], there: &[EventRow]) -> Option<String> {
    if there.len() > events.len() {
        return Some(format!("{} events are there, and only {} in the table: it has gone on here", there.len(), events.len()));
    }
    let different = events.iter().zip(there).find(|(event, row)| !event.is(row));
    different.map(|(event, row)| {
        format!("event {} is {} {} there and {} {} in the table", row.sequence, row.event_type, row.payload, event.event_type, event.payload)
    })
}

/// A name for what is asked.
fn uuid_of(route: &str, body: &Value) -> String {
    daybook::eventstore::fingerprint::of(&[route.as_bytes(), body.to_string().as_bytes()])
}

fn told(args: &Args, mapping: &Mapping, report: &Report) {
    if args.output == Output::Json {
        out::line(serde_json::to_string_pretty(report).unwrap_or_default());
        return;
    }
    let Report { aggregates, events, there, proven, left_out, findings, named } = report;
    out::line(format_args!(
        "{aggregates} aggregates with {events} events of {} types: {there} were there, {proven} are there now as they are in the table",
        mapping.len()
    ));
    if *left_out > 0 {
        out::line(format_args!("{left_out} events of types that the mapping leaves out"));
    }
    named.iter().for_each(|finding| out::line(format_args!("- {finding}")));
    if *findings > u64::try_from(named.len()).unwrap_or_default() {
        out::line(format_args!("- and {} more", findings - u64::try_from(named.len()).unwrap_or_default()));
    }
}
