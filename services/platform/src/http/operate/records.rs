//! `GET /topics/{topic}/{partition}`: records as they lie in the log, a bounded page at a time.

use axum::Json;
use axum::extract::State;
use eventstore::dead_letters::masked;
use eventstore::{Limits, Log, Offset, Page, Record};
use schemars::JsonSchema;
use schemas::{Partition, Stream, Topic, topic};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::app::{App, PRIVATE, blocking};
use super::super::extract::{Path, Query};
use super::super::failure::Failure;
use super::places::{partition_in, topic_of};

/// Most records of a page.
const LIMIT_MAX: usize = 1_000;
/// Most bytes of a page, a single larger record excepted.
const BYTES_MAX: usize = 1024 * 1024;

#[derive(Deserialize, JsonSchema)]
pub(super) struct Asked {
    /// `beginning`, `end`, an offset, or `-N`: the last N records
    from: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn page(State(app): State<App>, Path((name, partition)): Path<(String, u16)>, Query(asked): Query<Asked>) -> Result<Json<Value>, Failure> {
    let limit = asked.limit.unwrap_or(100).clamp(1, LIMIT_MAX);
    let limits = Limits { records: limit, bytes: BYTES_MAX };
    let read = blocking(move || {
        let (topic, partition, log) = (topic_of(&app, &name)?, partition_in(&app, partition)?, app.log.as_ref());
        let (start, end) = (log.start(&topic, partition)?, log.end(&topic, partition)?);
        let wrong = || Failure::bad("/query/from", "beginning, end, an offset, or -N for the last N records");
        let page = match asked.from.as_deref().unwrap_or("beginning") {
            "beginning" => log.read(&topic, partition, start, limits)?,
            "end" => Page { records: vec![], next: end },
            last if last.starts_with('-') => newest(log, &topic, partition, last.trim_start_matches('-').parse::<usize>().map_err(|_| wrong())?)?,
            offset => {
                let from = Offset(offset.parse().map_err(|_| wrong())?);
                if from < start {
                    return Err(Failure::not_found(format!("{topic}/{partition} begins at offset {start}: what was before is not kept")));
                }
                log.read(&topic, partition, from, limits)?
            }
        };
        let items: Vec<Value> = page.records.iter().map(|record| shown(&app, record)).collect();
        Ok(json!({ "items": items, "next": page.next.0, "start": start.0, "end": end.0 }))
    });
    Ok(Json(read.await?))
}

/// The last `count` records: offsets have gaps, so it looks further back until it has found as many.
fn newest(log: &dyn Log, topic: &Topic, partition: Partition, count: usize) -> Result<Page, Failure> {
    if count > LIMIT_MAX {
        return Err(Failure::bad("/query/from", format!("at most the last {LIMIT_MAX}: ask for an offset, and follow \"next\"")));
    }
    let (start, end) = (log.start(topic, partition)?, log.end(topic, partition)?);
    let mut back = u64::try_from(count).unwrap_or(u64::MAX);
    loop {
        let from = start.max(Offset(end.0.saturating_sub(back)));
        let (mut records, mut next, mut full) = (vec![], from, false);
        while next < end {
            let page = log.read(topic, partition, next, Limits { records: LIMIT_MAX, bytes: BYTES_MAX })?;
            if page.next <= next {
                return Err(Failure::unavailable(format!("{topic}/{partition}: the record at offset {next} is not given yet: try again")));
            }
            next = page.next;
            records.extend(page.records);
            records.drain(..records.len().saturating_sub(count)); // never more in memory than asked for
            let mut bytes: usize = records.iter().map(|record| record.bytes()).sum();
            while bytes > BYTES_MAX && records.len() > 1 {
                bytes -= records.remove(0).bytes(); // nor than a page may have: the newest stay
                full = true;
            }
        }
        if records.len() >= count || full || from == start {
            return Ok(Page { records, next });
        }
        back = back.saturating_mul(4);
    }
}

/// A record for people: text where it is text. Whoever wrote a card number into the log does not see it again here, and
/// nobody the log's secret.
pub(super) fn shown(app: &App, record: &Record) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(&masked(bytes)).into_owned();
    let headers: Map<String, Value> = record.headers.iter().map(|(name, value)| (name.to_owned(), json!(String::from_utf8_lossy(value)))).collect();
    let body = record.value.as_deref().map(|bytes| serde_json::from_slice(&masked(bytes)).unwrap_or_else(|_| json!(text(bytes))));
    let body = if record.topic == topic(Stream::Control) && record.key == b"log" { Some(json!("(the log's identity and secret: not shown)")) } else { body };
    let body = if app.operator.is_private(&record.topic) { body.map(|_| json!(PRIVATE)) } else { body };
    json!({
        "topic": record.topic.as_str(),
        "partition": record.partition.0,
        "offset": record.offset.0,
        "recorded_at": record.recorded_at.to_string(),
        "key": text(&record.key),
        "headers": headers,
        "body": body,
    })
}
