//! `GET /sagas`: the processes that have not ended, with what they wait for; `POST /sagas/{aggregate}/{id}/end`: an
//! operator gives one up, by a command of its own, so that what belongs together ends together.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use eventstore::Fault;
use eventstore::inspect::{Aggregate, Waiting, waiting};
use eventstore::rows::Rows;
use eventstore::service::{self, Handler, Service};
use kernel::Timestamp;
use schemars::JsonSchema;
use schemas::Partition;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::app::{App, blocking};
use super::super::body::Body;
use super::super::command::{CommandRequest, Written};
use super::super::extract::{Path, Query};
use super::super::failure::Failure;
use super::super::forward::{ask_instances, passed_on};
use super::places::partitions;

/// Most sagas of an answer.
const LIMIT_MAX: usize = 1_000;
/// Most that are looked at in one partition; far more than may wait in a system that works.
const LOOKED_MAX: usize = 100_000;
/// Seconds within which whoever is asked by a saga without a deadline answers.
const ANSWERED_WITHIN: i64 = 60;
/// Seconds past a deadline within which it is acted upon.
const ACTED_WITHIN: i64 = 60;
/// Rows read at once.
const PAGE: usize = 1_000;

#[derive(Deserialize, JsonSchema)]
pub(super) struct Filter {
    /// only those past their deadline, or without a step for this many seconds
    stuck: Option<i64>,
    limit: Option<usize>,
}

/// Sagas of some partitions.
#[derive(Default)]
struct Found {
    items: Vec<(Timestamp, Value)>,
    /// not all of them were looked at, or there are more than were asked for
    more: bool,
}

pub(super) async fn list(State(app): State<App>, Query(filter): Query<Filter>, headers: HeaderMap) -> Result<Json<Value>, Failure> {
    if filter.stuck.is_some_and(|seconds| seconds < 0) {
        return Err(Failure::bad("/query/stuck", "a number of seconds"));
    }
    let limit = filter.limit.unwrap_or(100).clamp(1, LIMIT_MAX);
    let here = app.clone();
    let (mut found, others, nobodys) = blocking(move || {
        let mut found = Found::default();
        for (name, rows) in &here.operator.heads {
            let Some(service) = here.operator.services.get(name) else { continue };
            for partition in here.metrics.standing.owned(name) {
                found.look(service, rows, partition, here.log.now(), filter.stuck, limit)?;
            }
        }
        let (others, nobodys) = elsewhere(&here)?;
        Ok((found, others, nobodys))
    })
    .await?;
    let (mut silent, mut seen) = (vec![], BTreeSet::new());
    let others = if passed_on(&headers) { BTreeSet::new() } else { others };
    let stuck = filter.stuck.map(|seconds| format!("&stuck={seconds}")).unwrap_or_default();
    for (url, answer) in ask_instances(&app, others, &format!("/sagas?limit={limit}{stuck}")).await {
        match answer {
            Ok(answer) => found.add(&answer),
            Err(why) => silent.push(json!({ "url": url, "why": why.to_string() })),
        }
    }
    // A partition that moved meanwhile may have been told of twice.
    found.items.retain(|(_, item)| seen.insert(item.get("id").cloned().unwrap_or_default().to_string()));
    let more = found.cut(limit);
    let items: Vec<Value> = found.items.into_iter().map(|(_, item)| item).collect();
    Ok(Json(json!({ "items": items, "more": more, "silent": silent, "unowned": if passed_on(&headers) { vec![] } else { nobodys } })))
}

/// Who owns the partitions that are not owned here; and which nobody does at this moment, as `<service>/<partition>`.
pub(super) fn elsewhere(app: &App) -> Result<(BTreeSet<String>, Vec<String>), Failure> {
    let (mut urls, mut nobodys) = (BTreeSet::new(), vec![]);
    for service in app.operator.services.keys() {
        if app.is_left_out(service)? {
            continue;
        }
        let owned = app.metrics.standing.owned(service);
        for partition in partitions(app).filter(|partition| !owned.contains(partition)) {
            match app.log.owner(service, partition)? {
                Some(url) => drop(urls.insert(url)),
                None => nobodys.push(format!("{service}/{partition}")),
            }
        }
    }
    Ok((urls, nobodys))
}

impl Found {
    fn look(&mut self, service: &Service, rows: &Rows, partition: Partition, now: Timestamp, stuck: Option<i64>, limit: usize) -> Result<(), Failure> {
        let (mut last, mut looked): (Option<Waiting>, usize) = (None, 0);
        loop {
            let mut page = waiting(rows, partition, last.as_ref(), PAGE)?;
            for saga in &page {
                if let Some(item) = shown(service, rows, partition, saga, now, stuck)? {
                    self.items.push((saga.since, item));
                }
            }
            if self.items.len() > 2 * LIMIT_MAX {
                self.more |= self.cut(limit);
            }
            looked += page.len();
            if page.len() < PAGE {
                return Ok(());
            }
            if looked >= LOOKED_MAX {
                self.more = true;
                return Ok(());
            }
            last = page.pop();
        }
    }

    /// What another instance told.
    fn add(&mut self, answer: &Value) {
        let since = |item: &Value| item.get("since").and_then(Value::as_str).and_then(|text| text.parse().ok()).unwrap_or_default();
        self.more |= answer.get("more").and_then(Value::as_bool).unwrap_or_default();
        self.items.extend(answer.get("items").and_then(Value::as_array).into_iter().flatten().map(|item| (since(item), item.clone())));
    }

    /// Keeps those that wait for the longest; says whether there are more.
    fn cut(&mut self, limit: usize) -> bool {
        self.items.sort_by_key(|(since, _)| *since);
        self.more |= self.items.len() > limit;
        self.items.truncate(limit);
        self.more
    }
}

/// Sagas of one type in the partitions that are owned here.
#[derive(Clone, Copy, Default)]
pub(crate) struct Waits {
    /// those that have not ended
    pub(crate) open: i64,
    /// those of them that should have
    pub(crate) overdue: i64,
    /// by how many seconds the one that is furthest behind should have
    pub(crate) seconds: i64,
}

/// How many wait here, by service and aggregate. Sagas without a deadline should have an answer soon.
pub(crate) fn counted(app: &App) -> Result<BTreeMap<(&'static str, &'static str), Waits>, Fault> {
    let (mut all, now) = (BTreeMap::new(), app.log.now());
    for (name, rows) in &app.operator.heads {
        let Some(service) = app.operator.services.get(name) else { continue };
        for handler in &service.aggregates {
            all.insert((*name, handler.name()), Waits::default());
        }
        for partition in app.metrics.standing.owned(name) {
            let mut last: Option<Waiting> = None;
            for _ in 0..LOOKED_MAX / PAGE {
                let mut page = waiting(rows, partition, last.as_ref(), PAGE)?;
                for saga in &page {
                    let Some((handler, state)) = state_of(service, rows, partition, saga)? else { continue };
                    let (deadline, awaits) = (handler.deadline(&state).map(|(at, _)| at), handler.awaits(&state));
                    let acted = deadline.map(|at| at.plus_seconds(ACTED_WITHIN));
                    let Some(due) = acted.or_else(|| awaits.map(|_| saga.since.plus_seconds(ANSWERED_WITHIN))) else { continue };
                    let (waits, late) = (all.entry((*name, handler.name())).or_default(), (now.0 - due.0) / 1_000_000);
                    waits.open += 1;
                    waits.overdue += i64::from(late > 0);
                    waits.seconds = waits.seconds.max(late);
                }
                if page.len() < PAGE {
                    break;
                }
                last = page.pop();
            }
        }
    }
    Ok(all)
}

/// The state of one, if it is there still.
fn state_of<'s>(service: &'s Service, rows: &Rows, partition: Partition, saga: &Waiting) -> Result<Option<(&'s dyn Handler, service::State)>, Fault> {
    let Some(handler) = service.handler(&saga.aggregate) else { return Ok(None) };
    Ok((Aggregate { service, handler, partition, id: &saga.id }).head(rows)?.map(|(_, state)| (handler, state)))
}

/// One saga, unless it has ended since its row was read, or is not stuck and only such are asked for.
fn shown(service: &Service, rows: &Rows, partition: Partition, saga: &Waiting, now: Timestamp, stuck: Option<i64>) -> Result<Option<Value>, Failure> {
    let Some(handler) = service.handler(&saga.aggregate) else { return Ok(None) };
    let Some((version, state)) = (Aggregate { service, handler, partition, id: &saga.id }).head(rows)? else { return Ok(None) };
    let (deadline, awaits) = (handler.deadline(&state).map(|(at, _)| at), handler.awaits(&state));
    let overdue = deadline.is_some_and(|at| at < now);
    let is_stuck = |seconds: i64| overdue || saga.since.plus_seconds(seconds) < now;
    if (deadline.is_none() && awaits.is_none()) || !stuck.is_none_or(is_stuck) {
        return Ok(None);
    }
    Ok(Some(json!({
        "id": format!("{}/{}", saga.aggregate, saga.id),
        "service": service.name,
        "partition": partition.0,
        "version": version,
        "status": handler.show(&state).get("status"),
        "waits_for": awaits.as_deref().unwrap_or("its deadline"),
        "since": saga.since.to_string(),
        "waited_seconds": (now.0 - saga.since.0).max(0) / 1_000_000,
        "deadline": deadline.map(|at| at.to_string()),
        "overdue": overdue,
    })))
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct End {
    /// the only end an operator can ask for
    #[schemars(extend("const" = "refuse"))]
    outcome: String,
}

pub(super) async fn end(
    State(app): State<App>,
    Path((aggregate, id)): Path<(String, String)>,
    headers: HeaderMap,
    Body(asked): Body<End>,
) -> Result<axum::response::Response, Failure> {
    if asked.outcome != "refuse" {
        return Err(Failure::bad("/outcome", "the only end that can be asked for is \"refuse\""));
    }
    if !headers.contains_key("daybook-actor") {
        return Err(Failure::bad("/headers/daybook-actor", "who ends it, and why: the log keeps it with the event"));
    }
    let service = app.operator.owner_of(&aggregate)?;
    let command = service.handler(&aggregate).and_then(eventstore::service::Handler::abandon);
    let (kind, body) = command
        .ok_or_else(|| Failure::refused("not-endable", format!("{aggregate} {id} is no saga that can be given up: it ends by itself, or with its order")))?;
    CommandRequest::<()>::own(service.name, id, &headers)?.write(&app, Written { kind, body, later: false }).await
}
