//! `GET /trace/{id}`: everything that followed from a client's command, as the log has it: its records in the order they
//! were written, each with what caused it. Reads the log, and needs no collector.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use eventstore::{Limits, Log, Offset, Record};
use kernel::Timestamp;
use schemars::JsonSchema;
use schemas::envelope::{DLT_REASON, Kind};
use schemas::wire::marker;
use schemas::{Envelope, Partition, Topic, commands_of};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::app::{App, blocking};
use super::super::extract::{Path, Query};
use super::super::failure::Failure;
use super::places::{at_once, partitions};

/// How far back it looks, in seconds, if nothing is said.
const SINCE: i64 = 24 * 60 * 60;
/// How long an answer may look.
const LOOKS: Duration = Duration::from_secs(25);
/// Pause before a page is asked for again that was empty.
const AGAIN: Duration = Duration::from_millis(20);
/// So few offsets are read rather than searched.
const READ_THROUGH: u64 = 10_000;
/// Bytes that are looked at together: many partitions are, at once.
const PAGE_BYTES: usize = 512 * 1024;
/// Most records of an answer.
const RECORDS_MAX: usize = 10_000;

#[derive(Deserialize, JsonSchema)]
pub(super) struct Asked {
    /// records of the last so many seconds, a day's if not given
    since: Option<i64>,
}

pub(super) async fn show(State(app): State<App>, Path(id): Path<String>, Query(asked): Query<Asked>) -> Result<Json<Value>, Failure> {
    let since = asked.since.unwrap_or(SINCE);
    if since < 0 {
        return Err(Failure::bad("/query/since", "a number of seconds"));
    }
    // As a route's Location has it, or a part of that: a command's name has its service and its partition before its id. What
    // looks like one may be what a client calls its command: both are looked for.
    let id = id.strip_prefix("/commands/").map_or(id.as_str(), |rest| rest.split('?').next().unwrap_or(rest)).to_owned();
    let named = id.split_once('.').and_then(|(service, rest)| {
        let (partition, named) = rest.split_once('.')?;
        (app.operator.services.contains_key(service) && partition.parse::<u16>().is_ok()).then(|| named.to_owned())
    });
    let found = blocking(move || {
        let from = Timestamp(app.log.now().0.saturating_sub(since.saturating_mul(1_000_000)));
        let search = Search { log: app.log.as_ref(), from, until: Instant::now() + LOOKS };
        let readable = app.operator.services.values().filter(|service| !service.private);
        let topics = readable.flat_map(|service| [service.commands(), service.events(), service.dead_letters()]);
        let places: Vec<_> = topics.flat_map(|topic| partitions(&app).map(move |partition| (topic.clone(), partition))).collect();
        let (mut wanted, mut found) = (id.clone(), search.through(&places, &id)?);
        if let Some(named) = named.filter(|_| found.records.is_empty()) {
            (wanted, found) = (named.clone(), search.through(&places, &named)?);
        }
        // What a client calls its command is the correlation id; of the names it has in the log one was given here.
        let own = found.records.iter().find(|record| record.headers.text("ce_id") == Some(wanted.as_str()));
        let correlation = own.and_then(|record| record.headers.text("ce_correlationid")).filter(|correlation| *correlation != wanted);
        if let Some(correlation) = correlation.map(str::to_owned) {
            found = search.through(&places, &correlation)?;
            found.only(&wanted);
        }
        if found.records.is_empty() && !found.more {
            return Err(Failure::not_found(format!("nothing of the last {since} s has the correlation id '{id}'")));
        }
        found.records.sort_by_key(|record| (record.recorded_at, record.topic.clone(), record.offset));
        found.more |= found.records.len() > RECORDS_MAX;
        found.records.truncate(RECORDS_MAX);
        let items: Vec<Value> = found.records.iter().map(|record| shown(&app, record)).collect();
        Ok(json!({ "id": wanted, "items": items, "more": found.more }))
    });
    Ok(Json(found.await?))
}

/// A look through the log.
struct Search<'a> {
    log: &'a dyn Log,
    from: Timestamp,
    until: Instant,
}

/// What was found of one command.
#[derive(Default)]
struct Found {
    records: Vec<Arc<Record>>,
    /// not all was looked at
    more: bool,
}

impl Search<'_> {
    /// The records that have this id or this correlation id.
    fn through(&self, places: &[(Topic, Partition)], wanted: &str) -> Result<Found, Failure> {
        let parts = at_once(places, |(topic, partition)| self.look(topic, *partition, wanted))?;
        Ok(parts.into_iter().fold(Found::default(), |mut all, part| {
            all.records.extend(part.records);
            all.more |= part.more;
            all
        }))
    }

    fn look(&self, topic: &Topic, partition: Partition, wanted: &str) -> Result<Found, Failure> {
        let (mut found, mut next, end) = (Found::default(), self.first(topic, partition)?, self.log.end(topic, partition)?);
        let is_of_it = |record: &Record| ["ce_correlationid", "ce_id"].iter().any(|name| record.headers.text(name) == Some(wanted));
        while next < end {
            if Instant::now() >= self.until || found.records.len() > RECORDS_MAX {
                return Ok(Found { more: true, ..found });
            }
            let page = self.log.read(topic, partition, next, Limits { bytes: PAGE_BYTES, ..Limits::default() })?;
            found.records.extend(page.records.iter().filter(|record| record.recorded_at >= self.from && is_of_it(record)).cloned());
            if page.next <= next {
                std::thread::sleep(AGAIN); // a transaction that is open, or a broker that has not told yet
            }
            next = page.next.max(next);
        }
        Ok(found)
    }

    /// The first record that is kept and is not too old, or one before it: records lie in the order of their times.
    fn first(&self, topic: &Topic, partition: Partition) -> Result<Offset, Failure> {
        let (mut low, mut high) = (self.log.start(topic, partition)?, self.log.end(topic, partition)?);
        while high.0.saturating_sub(low.0) > READ_THROUGH {
            let middle = Offset(low.0 + (high.0 - low.0) / 2);
            let page = self.log.read(topic, partition, middle, Limits { records: 1, ..Limits::default() })?;
            match page.records.first() {
                Some(record) if record.recorded_at < self.from => low = record.offset.next(),
                _ => high = middle,
            }
        }
        Ok(low)
    }
}

impl Found {
    /// Keeps what followed from the record with this id: the same key may name other commands elsewhere.
    fn only(&mut self, id: &str) {
        let (mut kept, mut before) = (BTreeSet::from([id.to_owned()]), 0);
        let text = |record: &Record, name| record.headers.text(name).map(str::to_owned);
        let follows =
            |record: &Record, kept: &BTreeSet<String>| ["ce_causationid", "ce_id"].iter().any(|name| text(record, name).is_some_and(|id| kept.contains(&id)));
        while kept.len() > before {
            before = kept.len();
            let more: Vec<String> = self.records.iter().filter(|record| follows(record, &kept)).filter_map(|record| text(record, "ce_id")).collect();
            kept.extend(more);
        }
        self.records.retain(|record| follows(record, &kept));
    }
}

fn shown(app: &App, record: &Record) -> Value {
    let envelope = Envelope::read(&record.headers).ok();
    let reason = record.headers.text(DLT_REASON);
    let kind = envelope.as_ref().map(|envelope| &envelope.kind);
    let sort = match kind {
        _ if reason.is_some() => "dead letter",
        _ if commands_of(&record.topic).is_some() => "command",
        Some(Kind { name, .. }) if [marker::ACCEPTED, marker::REFUSED].contains(&name.as_ref()) => "answer",
        _ => "event",
    };
    let folded = app
        .views
        .all()
        .filter(|view| view.view().topic == record.topic)
        .filter(|view| view.positions().iter().any(|(_, partition, next)| *partition == record.partition && *next > record.offset));
    let text = |of: fn(&Envelope) -> Option<String>| envelope.as_ref().and_then(of);
    json!({
        "sort": sort,
        "type": kind.map(|kind| format!("{}.{}", kind.aggregate, kind.name)),
        "subject": text(|envelope| Some(envelope.subject.clone())),
        "id": text(|envelope| Some(envelope.id.clone())),
        "cause": text(|envelope| envelope.causation.clone()),
        "source": record.headers.text("ce_source"),
        "trace": text(|envelope| envelope.trace.map(|trace| trace.to_string())),
        "actor": text(|envelope| envelope.actor.clone()),
        "reason": reason,
        "topic": record.topic.as_str(),
        "partition": record.partition.0,
        "offset": record.offset.0,
        "at": record.recorded_at.to_string(),
        "micros": record.recorded_at.0,
        "folded_by": folded.map(|view| view.name().to_owned()).collect::<Vec<_>>(),
    })
}
