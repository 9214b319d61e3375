//! `POST /dead-letters/{service}/{partition}/{offset}/discard`: an operator settles that nothing will be done about a dead
//! letter. The letter stays, as the log keeps everything; a record behind it, in the same partition, says that it is
//! discarded, why, and who said so. Never a letter less, and never a command more.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use eventstore::dead_letters::masked;
use eventstore::{Limits, Log, Message, Offset, Record};
use parking_lot::Mutex;
use schemas::envelope::{DLT_DETAIL, DLT_DISCARDS};
use schemas::{Headers, Partition, Stream, Topic, topic};
use serde::Deserialize;
use serde_json::{Value, json};

use super::admin::letter;
use super::body::Body;
use super::failure::Failure;
use super::place::Path;
use super::{App, blocking};

/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 1_000;

/// Why and by whom a letter was discarded, and when.
#[derive(Clone, Debug)]
pub struct Mark {
    reason: String,
    actor: Option<String>,
    at: String,
}

impl Mark {
    /// The letter that a record discards, if it is such a mark.
    pub fn of(record: &Record) -> Option<(Offset, Self)> {
        let discards = record.headers.text(DLT_DISCARDS)?.parse().ok()?;
        let text = |name: &str| record.headers.text(name).map(str::to_owned);
        Some((Offset(discards), Self { reason: text(DLT_DETAIL).unwrap_or_default(), actor: text("ce_actor"), at: record.recorded_at.to_string() }))
    }

    /// As readers see it.
    pub fn shown(&self) -> Value {
        json!({ "reason": self.reason, "actor": self.actor, "at": self.at })
    }
}

/// What is known of one partition of letters.
#[derive(Default)]
struct Known {
    /// everything before was looked at
    next: Offset,
    marks: BTreeMap<Offset, Mark>,
}

/// The marks that were read so far: each record of letters is looked at once.
#[derive(Default)]
pub struct Discarded(Mutex<BTreeMap<(Topic, Partition), Known>>);

impl Discarded {
    /// The marks of a partition as it stands now.
    pub fn marks(&self, log: &dyn Log, letters: &Topic, partition: Partition) -> Result<BTreeMap<Offset, Mark>, Failure> {
        let mut all = self.0.lock();
        let known = all.entry((letters.clone(), partition)).or_default();
        known.next = known.next.max(log.start(letters, partition)?);
        let end = log.end(letters, partition)?;
        while known.next < end {
            let page = log.read(letters, partition, known.next, Limits::default())?;
            known.marks.extend(page.records.iter().filter_map(|record| Mark::of(record)));
            if page.next <= known.next {
                return Err(Failure::unavailable(format!("{letters}/{partition}: the record at offset {} is not given yet: try again", page.next)));
            }
            known.next = page.next;
        }
        Ok(known.marks.clone())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// why
    reason: String,
}

pub(super) async fn discard(
    State(app): State<App>,
    Path((service, partition, offset)): Path<(String, u16, u64)>,
    headers: HeaderMap,
    Body(asked): Body<Asked>,
) -> Result<Json<Value>, Failure> {
    if asked.reason.trim().is_empty() || asked.reason.len() > REASON_BYTES_MAX {
        return Err(Failure::bad("/reason", format!("why, in at most {REASON_BYTES_MAX} bytes: the log keeps it")));
    }
    let actor = headers.get("daybook-actor").and_then(|actor| actor.to_str().ok()).map(str::to_owned);
    let discarded = blocking(move || {
        let (record, mark) = letter(&app, &service, partition, offset)?;
        let id = format!("{service}/{partition}/{offset}");
        if let Some(mark) = mark {
            return Ok(json!({ "id": id, "discarded": mark.shown() })); // as it was settled before
        }
        let letters = topic(Stream::DeadLetters(&service));
        let mut headers = Headers::default();
        headers.push(DLT_DISCARDS, offset.to_string());
        headers.push(DLT_DETAIL, masked(asked.reason.as_bytes()));
        actor.into_iter().for_each(|actor| headers.push("ce_actor", actor));
        app.log.append(vec![Message { topic: letters.clone(), partition: record.partition, key: record.key.clone(), headers, value: Some(b"{}".to_vec()) }])?;
        app.metrics.discarded(&service);
        let marks = app.discarded.marks(app.log.as_ref(), &letters, record.partition)?;
        Ok(json!({ "id": id, "discarded": marks.get(&record.offset).map(Mark::shown) }))
    });
    Ok(Json(discarded.await?))
}
