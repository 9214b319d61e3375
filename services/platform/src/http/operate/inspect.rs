//! `GET /inspect/{aggregate}/{id}`: one aggregate's state now, at a version or at a time, its history, its owner, and what it waits
//! for. The owner of its partition answers: nobody else's heads are current.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Json, body::Body};
use eventstore::Record;
use eventstore::inspect::{Aggregate, happened_at};
use eventstore::rows::Rows;
use eventstore::service::Service;
use kernel::Routing;
use schemars::JsonSchema;
use schemas::{Envelope, Partition};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::app::{App, PRIVATE, blocking};
use super::super::as_of::{AsOf, Moment, heads_of};
use super::super::extract::{Path, Query};
use super::super::failure::Failure;
use super::super::given::Both;
use super::places::partition_in;

/// Most events of a page of history.
const LIMIT_MAX: usize = 1_000;

#[derive(Deserialize, JsonSchema)]
pub(super) struct Asked {
    /// of an aggregate that every partition has a copy of
    partition: Option<u16>,
    /// how many of the newest events up to that version
    limit: Option<usize>,
}

pub(super) async fn show(
    State(app): State<App>,
    Path((aggregate, id)): Path<(String, String)>,
    Query(Both(then, asked)): Query<Both<AsOf, Asked>>,
    headers: HeaderMap,
) -> Result<Response<Body>, Failure> {
    let service = app.operator.owner_of(&aggregate)?.clone();
    let partition = partition(&app, &service, &aggregate, &id, asked.partition)?;
    let (moment, rows) = (then.moment()?, heads_of(&app, service.name, partition, &headers)?);
    let shown = blocking(move || {
        let handler = service.handler(&aggregate).ok_or_else(|| Failure::internal("the aggregate's service has gone"))?;
        looked_at(&app, &rows, &Aggregate { service: &service, handler, partition, id: &id }, moment, &asked)
    })
    .await?;
    Ok(Json(shown).into_response())
}

fn partition(app: &App, service: &Service, aggregate: &str, id: &str, given: Option<u16>) -> Result<Partition, Failure> {
    let everywhere = service.handler(aggregate).is_some_and(|handler| handler.routing() == Routing::EveryPartition);
    let own = app.log.partition_of(id);
    match given.map(|number| partition_in(app, number)).transpose()? {
        Some(given) if !everywhere && given != own => Err(Failure::bad("/query/partition", format!("{aggregate} {id} belongs to partition {own}"))),
        Some(given) => Ok(given),
        None if everywhere => Ok(Partition(0)),
        None => Ok(own),
    }
}

fn looked_at(app: &App, rows: &Rows, one: &Aggregate<'_>, moment: Option<Moment>, asked: &Asked) -> Result<Value, Failure> {
    let Aggregate { service, handler, partition, id } = *one;
    let (aggregate, log) = (handler.name(), app.log.as_ref());
    let (newest, head) = one
        .head(rows)?
        .ok_or_else(|| Failure::not_found(format!("no {aggregate} {id}: nothing ever happened to it (partition {partition} of {})", service.name)))?;
    let version = moment.map_or(Ok(newest), |moment| moment.version(one, rows, log, newest))?;
    let state = match moment.filter(|_| version != newest) {
        None => head,
        Some(moment) => {
            moment.folds(version)?;
            one.at(rows, log, version)?
        }
    };
    let limit = asked.limit.unwrap_or(100).clamp(1, LIMIT_MAX);
    let first = version.saturating_sub(u64::try_from(limit).unwrap_or(u64::MAX)) + 1;
    let stream = one.stream(rows, first, usize::try_from(version + 1 - first).unwrap_or(limit))?;
    let history: Vec<Value> = one.records(log, &stream)?.iter().map(|(version, record)| step(*version, record)).collect();
    Ok(json!({
        "id": format!("{aggregate}/{id}"),
        "service": service.name,
        "partition": partition.0,
        "owner": app.log.owner(service.name, partition)?,
        "version": newest,
        "as_of": version,
        "waits_for": handler.awaits(&state),
        "deadline": handler.deadline(&state).map(|(at, _)| at.to_string()),
        "state": if service.private { json!(PRIVATE) } else { handler.show(&state) },
        "history": history,
        "left_off": first - 1,
    }))
}

/// An event of the history. One that cannot be read is shown as far as it can.
fn step(version: u64, record: &Record) -> Value {
    let envelope = Envelope::read(&record.headers).ok();
    let text = |of: fn(&Envelope) -> Option<String>| envelope.as_ref().and_then(of);
    json!({
        "version": version,
        "event": text(|envelope| Some(envelope.kind.name.to_string())),
        "type": record.headers.text("ce_type"),
        "offset": record.offset.0,
        "at": happened_at(record).to_string(),
        "causation": text(|envelope| envelope.causation.clone()),
        "correlation": text(|envelope| envelope.correlation.clone()),
        "actor": text(|envelope| envelope.actor.clone()),
    })
}
