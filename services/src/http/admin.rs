//! What operators ask for: proofs, and dead letters listed, shown and retried.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use eventstore::{Limits, Message, Offset, Record};
use schemas::envelope::{DLT_DETAIL, DLT_OFFSET, DLT_PARTITION, DLT_REASON, DLT_TOPIC};
use schemas::{Headers, Partition, Stream, topic};
use serde::Deserialize;
use serde_json::{Value, json};

use super::failure::Failure;
use super::place::{Path, Query};
use super::read::PAGE_BYTES_MAX;
use super::{App, blocking};

/// Most dead letters of a page.
const LETTERS_MAX: usize = 1_000;

/// The operators' routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/verify", post(verify))
        .route("/dead-letters", get(list))
        .route("/dead-letters/{service}/{partition}/{offset}", get(show))
        .route("/dead-letters/{service}/{partition}/{offset}/retry", post(retry))
}

async fn verify(State(app): State<App>) -> Result<Response, Failure> {
    let verdicts = blocking(move || app.prover.prove().map_err(Failure::internal)).await?;
    let verdicts =
        verdicts.ok_or_else(|| Failure::refused("proof-running", "another proof is running: one runs at a time, since it takes a second copy of the state"))?;
    Ok(Json(json!({ "matches": verdicts.iter().all(projections::Verdict::matches), "folds": verdicts })).into_response())
}

#[derive(Deserialize)]
struct Filter {
    service: Option<String>,
    limit: Option<usize>,
}

async fn list(State(app): State<App>, Query(filter): Query<Filter>) -> Result<Response, Failure> {
    let services: Vec<&'static str> = app.services.iter().copied().filter(|name| filter.service.as_deref().is_none_or(|asked| asked == *name)).collect();
    if services.is_empty() {
        return Err(Failure::bad("/query/service", format!("one of {}", app.services.join(", "))));
    }
    let limit = filter.limit.unwrap_or(100).clamp(1, LETTERS_MAX);
    let items = blocking(move || {
        let (mut items, mut bytes): (Vec<Value>, usize) = (vec![], 0);
        for service in services {
            for partition in (0..app.log.partitions()).map(Partition) {
                let letters = topic(Stream::DeadLetters(service));
                let start = app.log.start(&letters, partition)?;
                let page = app.log.read(&letters, partition, start, Limits { records: limit - items.len().min(limit), bytes: PAGE_BYTES_MAX })?;
                bytes += page.records.iter().map(|record| record.bytes()).sum::<usize>();
                items.extend(page.records.iter().map(|record| summary(service, record)));
                if items.len() >= limit || bytes >= PAGE_BYTES_MAX {
                    items.truncate(limit);
                    return Ok(items);
                }
            }
        }
        Ok(items)
    });
    Ok(Json(json!({ "items": items.await? })).into_response())
}

async fn show(State(app): State<App>, Path((service, partition, offset)): Path<(String, u16, u64)>) -> Result<Response, Failure> {
    let record = blocking(move || letter(&app, &service, partition, offset).map(|record| (service, record))).await?;
    let (service, record) = record;
    let mut shown = summary(&service, &record);
    let headers: serde_json::Map<String, Value> = record.headers.iter().map(|(name, value)| (name.to_owned(), json!(String::from_utf8_lossy(value)))).collect();
    let body = record.value.as_deref().map(|bytes| serde_json::from_slice(bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(bytes))));
    if let Value::Object(fields) = &mut shown {
        fields.insert("headers".to_owned(), Value::Object(headers));
        fields.insert("body".to_owned(), json!(body));
    }
    Ok(Json(shown).into_response())
}

/// Writes the original record to its topic once more; the letter stays, as the log keeps everything.
async fn retry(State(app): State<App>, Path((service, partition, offset)): Path<(String, u16, u64)>) -> Result<Response, Failure> {
    let sent = blocking(move || {
        let record = letter(&app, &service, partition, offset)?;
        if record.headers.text(DLT_TOPIC) != Some(topic(Stream::Commands(&service)).as_str()) {
            return Err(Failure::refused("not-a-command", "this letter came from an event, which its policy will not see again: act on its cause instead"));
        }
        let origin = original(&app, &record)?;
        let headers: Headers =
            origin.headers.iter().filter(|(name, _)| !matches!(*name, "reply-to")).map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
        let partition = schemas::partition_of(&origin.key, app.log.partitions());
        let offsets = app.log.append(vec![Message {
            topic: topic(Stream::Commands(&service)),
            partition,
            key: origin.key.clone(),
            headers,
            value: origin.value.clone(),
        }])?;
        Ok((service, partition, offsets.first().copied().unwrap_or_default()))
    });
    let (service, partition, offset) = sent.await?;
    Ok(Json(json!({ "written_to": format!("{}.commands", service), "partition": partition.0, "offset": offset.0 })).into_response())
}

fn letter(app: &App, service: &str, partition: u16, offset: u64) -> Result<Arc<Record>, Failure> {
    let service = app
        .services
        .iter()
        .find(|known| **known == service)
        .ok_or_else(|| Failure::not_found(format!("no service '{service}': one of {}", app.services.join(", "))))?;
    at(app, &topic(Stream::DeadLetters(service)), partition, offset)
}

/// The record a letter was made of, unmasked and whole, where its headers say it is.
fn original(app: &App, letter: &Record) -> Result<Arc<Record>, Failure> {
    let number = |name: &str| letter.headers.text(name).and_then(|text| text.parse::<u64>().ok());
    let place = number(DLT_PARTITION).and_then(|partition| u16::try_from(partition).ok()).zip(number(DLT_OFFSET));
    let (partition, offset) = place.ok_or_else(|| Failure::internal("a dead letter without its origin"))?;
    at(app, &schemas::Topic::named(letter.headers.text(DLT_TOPIC).unwrap_or_default()), partition, offset)
}

fn at(app: &App, topic: &schemas::Topic, partition: u16, offset: u64) -> Result<Arc<Record>, Failure> {
    if partition >= app.log.partitions() {
        return Err(Failure::not_found(format!("partitions are numbered from 0 to {}", app.log.partitions() - 1)));
    }
    let start = app.log.start(topic, Partition(partition))?;
    if offset < start.0 {
        return Err(Failure::not_found(format!("{topic}/{partition} begins at offset {start}: the record at {offset} was trimmed, or is past its retention")));
    }
    let page = app.log.read(topic, Partition(partition), Offset(offset), Limits { records: 1, ..Limits::default() })?;
    page.records
        .into_iter()
        .next()
        .filter(|record| record.offset.0 == offset)
        .ok_or_else(|| Failure::not_found(format!("{topic}/{partition} has no record at offset {offset}")))
}

fn summary(service: &str, record: &Record) -> Value {
    let text = |name: &str| record.headers.text(name);
    json!({
        "id": format!("{service}/{}/{}", record.partition, record.offset),
        "reason": text(DLT_REASON),
        "detail": text(DLT_DETAIL),
        "type": text("ce_type"),
        "command": text("ce_id"),
        "subject": text("ce_subject"),
        "from": text(DLT_TOPIC),
        "recorded_at": record.recorded_at.to_string(),
    })
}
