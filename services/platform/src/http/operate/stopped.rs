//! `GET /partitions`: which readers stand still, at which record, and why; the record itself; and the two things an
//! operator may settle for it: that they try again, or that they pass over it. What is settled lies in the control
//! topic, so that it holds at every instance, and for every fold from zero.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use eventstore::control::{Ruling, Settled};
use eventstore::observer::{view as view_name, worker};
use eventstore::{Offset, Record};
use schemars::JsonSchema;
use schemas::{Partition, Topic};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::super::app::{App, blocking};
use super::super::body::Body;
use super::super::extract::Path;
use super::super::failure::Failure;
use super::super::forward::{ask_instances, passed_on};
use super::super::letters::at as at_place;
use super::places::{partition_in, topic_of};
use super::records::shown;
use super::sagas::elsewhere;

/// How long the log may take to say which instances there are.
const KNOWN: Duration = Duration::from_secs(2);
/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 1_000;

/// Every reader that stands still, here and at the other instances.
pub(super) async fn list(State(app): State<App>, headers: HeaderMap) -> Result<Json<Value>, Failure> {
    let (items, silent) = stops(&app, passed_on(&headers)).await?;
    Ok(Json(json!({ "items": items, "silent": silent })))
}

async fn stops(app: &App, only_here: bool) -> Result<(Vec<Value>, Vec<Value>), Failure> {
    let mut items: Vec<Value> = app
        .metrics
        .standing
        .stops()
        .into_iter()
        .map(|(reader, stuck, since)| {
            json!({
                "reader": reader,
                "topic": stuck.topic.as_str(),
                "partition": stuck.partition.0,
                "offset": stuck.offset.0,
                "reason": stuck.why,
                "since": since.to_string(),
            })
        })
        .collect();
    // A view that stands still as a whole does so at no record.
    items.extend(app.views.all().filter_map(|view| {
        let why = view.failed()?;
        Some(json!({ "reader": view_name(view.name()), "topic": view.view().topic.as_str(), "partition": null, "offset": null, "reason": why, "since": null }))
    }));
    let mut silent = vec![];
    if !only_here {
        let asked = app.clone();
        // What stands still here is known without the log, which may be what is away.
        let others = match timeout(KNOWN, blocking(move || elsewhere(&asked))).await {
            Ok(Ok((others, _))) => others,
            _ => {
                silent.push(json!({ "url": "(the other instances)", "why": "which there are is not known while the log does not answer" }));
                BTreeSet::new()
            }
        };
        for (url, told) in ask_instances(app, others, "/partitions").await {
            match told {
                Ok(answer) => items.extend(answer.get("items").and_then(Value::as_array).into_iter().flatten().map(|item| {
                    let mut item = item.clone();
                    item["instance"] = json!(url);
                    item
                })),
                Err(why) => silent.push(json!({ "url": url, "why": why.to_string() })),
            }
        }
    }
    Ok((items, silent))
}

/// One record, with the readers that stand still at it.
pub(super) async fn show(State(app): State<App>, Path(place): Path<(String, u16, u64)>) -> Result<Json<Value>, Failure> {
    let At { record, standing, later, silent } = at(&app, place).await?;
    Ok(Json(json!({ "record": shown(&app, &record), "readers": standing, "behind": later, "silent": silent })))
}

/// A record, and who stands still.
struct At {
    record: Arc<Record>,
    /// at it
    standing: BTreeSet<String>,
    /// behind it in the same partition: it may be why
    later: BTreeSet<String>,
    silent: Vec<Value>,
}

async fn at(app: &App, (topic, partition, offset): (String, u16, u64)) -> Result<At, Failure> {
    let here = app.clone();
    let record = blocking(move || {
        let (topic, partition) = (topic_of(&here, &topic)?, partition_in(&here, partition)?);
        at_place(&here, &topic, partition.0, offset)
    })
    .await?;
    let (stops, silent) = stops(app, false).await?;
    let there = |item: &&Value| item["topic"] == record.topic.as_str() && item["partition"] == record.partition.0;
    let who = |is: fn(u64, u64) -> bool| {
        let stand = |item: &&Value| item["offset"].as_u64().is_some_and(|stands| is(stands, record.offset.0));
        stops.iter().filter(there).filter(stand).filter_map(|item| item["reader"].as_str().map(str::to_owned)).collect()
    };
    let (standing, later) = (who(|stands, here| stands == here), who(|stands, here| stands > here));
    Ok(At { record, standing, later, silent })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// why; required for a skip
    reason: Option<String>,
    /// only these readers; all that stand still at the record, if not given
    readers: Option<BTreeSet<String>>,
}

/// They try the record again.
pub(super) async fn retry(app: State<App>, place: Path<(String, u16, u64)>, headers: HeaderMap, Body(asked): Body<Asked>) -> Result<Json<Value>, Failure> {
    settle(app.0, place.0, &headers, asked, false).await
}

/// They pass over the record, now and in every fold from zero.
pub(super) async fn skip(app: State<App>, place: Path<(String, u16, u64)>, headers: HeaderMap, Body(asked): Body<Asked>) -> Result<Json<Value>, Failure> {
    settle(app.0, place.0, &headers, asked, true).await
}

async fn settle(app: App, place: (String, u16, u64), headers: &HeaderMap, asked: Asked, skips: bool) -> Result<Json<Value>, Failure> {
    let reason = asked.reason.unwrap_or_default();
    if (skips && reason.trim().is_empty()) || reason.len() > REASON_BYTES_MAX {
        return Err(Failure::bad("/reason", format!("why, in at most {REASON_BYTES_MAX} bytes: the log keeps it")));
    }
    let At { record, mut standing, later, silent } = at(&app, place).await?;
    if standing.is_empty() && (later.is_empty() || asked.readers.is_none()) {
        let behind =
            if later.is_empty() { String::new() } else { format!("; behind it stand {}: name them, if it is the cause", Vec::from_iter(later).join(", ")) };
        return Err(Failure::refused("not-stopped", format!("no reader stands still at this record{behind}")));
    }
    // Whoever decides commands makes dead letters of what cannot be; one that stands still at a command waits for a store.
    if skips && app.operator.services.values().any(|service| service.commands() == record.topic) {
        let why = "a command is not passed over: its service's store would miss what the log has. Mend what the store refuses; it is tried again by itself";
        return Err(Failure::refused("not-skipped", why));
    }
    if let Some(only) = asked.readers {
        if let Some(other) = only.iter().find(|reader| !standing.contains(*reader) && !later.contains(*reader)) {
            standing.extend(later);
            let there = if standing.is_empty() { "none does".to_owned() } else { Vec::from_iter(standing).join(", ") };
            return Err(Failure::bad("/readers", format!("{other} does not stand still at this record or behind it: {there}")));
        }
        standing = only;
    } else if let Some(owner) = owner_unread(&app, &record) {
        standing.insert(owner); // it has not come by yet, and would stand still at its next start
    }
    let actor = headers.get("daybook-actor").and_then(|actor| actor.to_str().ok()).map(str::to_owned);
    let (topic, partition, offset): (Topic, Partition, Offset) = (record.topic.clone(), record.partition, record.offset);
    let order = Ruling { readers: standing.clone(), topic, partition, offset, reason, actor };
    let settled = if skips { Settled::Skip(order) } else { Settled::Retry(order) };
    let control = Arc::clone(&app.operator.control);
    blocking(move || Ok(control.settle(&settled)?)).await?;
    Ok(Json(
        json!({ "settled": if skips { "skip" } else { "retry" }, "record": format!("{}/{}/{}", record.topic, record.partition, record.offset), "readers": standing, "silent": silent }),
    ))
}

/// The worker of the service whose event this should be, if it could not read it: it follows its own events by what it
/// commits, and meets one that others wrote only when it folds.
fn owner_unread(app: &App, record: &Record) -> Option<String> {
    let service = app.operator.services.values().find(|service| service.events() == record.topic)?;
    let read = record.envelope().ok().and_then(|envelope| {
        let marker = eventstore::outcome::Outcome::of_marker(&envelope.kind, record.body()).ok()?;
        if marker.is_some() {
            return Some(());
        }
        service.handler(&envelope.kind.aggregate)?.decode_event(&envelope.kind, record.body()).ok().map(|_| ())
    });
    if read.is_none() { Some(worker(service.name)) } else { None }
}
