//! `/projections`: the views that this instance folds, each with what is served and what is folded beside it; and what an
//! operator may have done with them. Every instance has rows of its own: whoever is asked does it, and no other.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use eventstore::{Fault, Limits, Log, Offset};
use kernel::Timestamp;
use projections::{BesideStanding, Phase, Projection, Rebuild, RebuildError, Standing, Vector};
use schemars::JsonSchema;
use schemas::{Partition, Topic};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::app::{App, blocking};
use super::super::body::Body;
use super::super::extract::Path;
use super::super::failure::Failure;
use super::super::scope::{self, Caller};

/// All of them.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Failure> {
    blocking(move || {
        let items = app.views.all().map(|view| shown(view)).collect::<Result<Vec<_>, _>>()?;
        Ok(Json(json!({ "items": items })))
    })
    .await
}

/// One of them.
pub(super) async fn describe(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Value>, Failure> {
    blocking(move || Ok(Json(shown(named(&app, &name)?)?))).await
}

fn named<'a>(app: &'a App, name: &str) -> Result<&'a Arc<Projection>, Failure> {
    app.views.all().find(|view| view.name() == name).ok_or_else(|| {
        let names: Vec<&str> = app.views.all().map(|view| view.name()).collect();
        Failure::unknown_name(format!("no projection '{name}' is folded here: one of {}", names.join(", ")))
    })
}

fn shown(view: &Projection) -> Result<Value, Failure> {
    let Standing { serving, digest, previous, paused, beside, ended } = view.standing(Instant::now())?;
    let positions = view.positions();
    let behind: u64 = view.lag_seen().iter().map(|(_, lag)| lag).sum();
    let state = match (view.failed(), paused, view.is_ready()) {
        (Some(_), ..) => "failed",
        (_, true, _) => "paused",
        (_, _, false) => "catching-up",
        _ => "live",
    };
    let of = |(generation, shape): (u32, String)| json!({ "generation": generation, "shape": shape });
    Ok(json!({
        "name": view.name(),
        "topic": view.view().topic.as_str(),
        "state": state,
        "failed": view.failed(),
        "serving": of(serving),
        "rows": digest.rows(),
        "digest": digest.hex(),
        "positions": positions.iter().map(|(_, partition, next)| (partition.to_string(), json!(next.0))).collect::<serde_json::Map<_, _>>(),
        "behind": behind,
        "stopped": view.stops().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "previous": previous.map(of),
        "beside": beside.map(beside_shown),
        "ended": ended,
    }))
}

fn beside_shown(beside: BesideStanding) -> Value {
    let BesideStanding { asked, phase, done: (done, all), rate, waits_for, verdict } = beside;
    let (phase, why) = match phase {
        Phase::Folding if asked.paused => ("paused", None),
        Phase::Folding => ("folding", waits_for),
        Phase::Comparing => ("comparing", waits_for),
        Phase::Held(why) => ("held", Some(why)),
        Phase::Failed(why) => ("failed", Some(why)),
    };
    let left = all.saturating_sub(done);
    let seconds = (phase == "folding" && rate > 0.0 && why.is_none()).then(|| (left as f64 / rate).ceil());
    json!({
        "generation": asked.number,
        "why": asked.why,
        "phase": phase,
        "said": why,
        "offsets": done,
        "of": all,
        "records_a_second": rate.round(),
        "seconds_left": seconds,
        "swaps": asked.swaps,
        "accepts_differences": asked.accepts,
        "keeps_previous": asked.keeps,
        "actor": asked.actor,
        "differences": verdict.map(|verdict| verdict.differences),
    })
}

fn of_rebuild(why: RebuildError) -> Failure {
    match why {
        RebuildError::Refused(why) => Failure::refused("not-possible", why),
        RebuildError::Fault(Fault::Fatal(why)) => Failure::refused("not-possible", why),
        RebuildError::Fault(fault) => fault.into(),
    }
}

/// What an operator asks for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AskedRebuild {
    /// Folded up to there and not further: an RFC 3339 time, or offsets as `<partition>:<offset>,…` (those that are not named: as
    /// far as what is served).
    until: Option<String>,
    /// most records in a second
    rate: Option<u64>,
    /// it is served at its end, if it equals what is served until then
    #[serde(default = "yes")]
    swap: bool,
    /// and if it does not, too
    #[serde(default)]
    accept_differences: bool,
    /// what is served until then is kept, to be served again
    #[serde(default = "yes")]
    keep: bool,
    /// it is only looked whether it could begin
    #[serde(default)]
    dry_run: bool,
}

fn yes() -> bool {
    true
}

/// Folds it anew beside what is served.
pub(super) async fn rebuild(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Body(asked): Body<AskedRebuild>,
) -> Result<Json<Value>, Failure> {
    if asked.rate == Some(0) {
        return Err(Failure::bad("/rate", "at least 1 record in a second: pause it, if it is to wait"));
    }
    let actor = actor(&headers);
    blocking(move || {
        let view = named(&app, &name)?;
        let until = asked.until.as_deref().map(|text| vector(app.log.as_ref(), view, text, "/until")).transpose()?;
        let rebuild =
            Rebuild { until, rate: asked.rate, swaps: asked.swap, accepts: asked.accept_differences, keeps: asked.keep, actor, dry_run: asked.dry_run };
        view.rebuild(rebuild).map_err(of_rebuild)?;
        Ok(Json(shown(view)?))
    })
    .await
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AskedPause {
    /// only what is folded beside, and not what is served
    #[serde(default)]
    beside: bool,
}

/// Folds nothing into it until it is resumed.
pub(super) async fn pause(State(app): State<App>, Path(name): Path<String>, Body(asked): Body<AskedPause>) -> Result<Json<Value>, Failure> {
    done(app, name, move |view| view.pause(true, asked.beside)).await
}

/// Goes on.
pub(super) async fn resume(State(app): State<App>, Path(name): Path<String>, Body(asked): Body<AskedPause>) -> Result<Json<Value>, Failure> {
    done(app, name, move |view| view.pause(false, asked.beside)).await
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AskedSwap {
    /// what is folded beside is served although it differs
    #[serde(default)]
    accept_differences: bool,
    /// what is served until then is kept, to be served again
    #[serde(default = "yes")]
    keep: bool,
}

/// Serves what is folded beside.
pub(super) async fn swap(State(app): State<App>, Path(name): Path<String>, headers: HeaderMap, Body(asked): Body<AskedSwap>) -> Result<Json<Value>, Failure> {
    let actor = actor(&headers);
    done(app, name, move |view| view.swap(asked.accept_differences, asked.keep, actor)).await
}

/// Gives up what is folded beside, or serves again what was served before.
pub(super) async fn rollback(State(app): State<App>, Path(name): Path<String>, headers: HeaderMap) -> Result<Json<Value>, Failure> {
    let actor = actor(&headers);
    done(app, name, |view| view.rollback(actor).map(|_| ())).await
}

/// Who asks: whoever signed in, and as they say where nobody need.
fn actor(headers: &HeaderMap) -> Option<String> {
    if let Caller::Account(actor) = scope::caller() {
        return Some(actor.to_string());
    }
    headers.get("daybook-actor").and_then(|actor| actor.to_str().ok()).map(str::to_owned)
}

async fn done(app: App, name: String, what: impl FnOnce(&Projection) -> Result<(), RebuildError> + Send + 'static) -> Result<Json<Value>, Failure> {
    blocking(move || {
        let view = named(&app, &name)?;
        what(view).map_err(of_rebuild)?;
        Ok(Json(shown(view)?))
    })
    .await
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AskedDiff {
    /// against how it was then: an RFC 3339 time, or offsets as `<partition>:<offset>,…`; against a fold of all there is if not given
    at: Option<String>,
}

/// Holds what is served against a fold from zero.
pub(super) async fn diff(State(app): State<App>, Path(name): Path<String>, Body(asked): Body<AskedDiff>) -> Result<Json<Value>, Failure> {
    blocking(move || {
        let view = named(&app, &name)?;
        let at = asked.at.as_deref().map(|text| vector(app.log.as_ref(), view, text, "/at")).transpose()?;
        let verdict = app.operator.prover.diff(view, at.as_ref()).map_err(unproven)?;
        let verdict = verdict
            .ok_or_else(|| Failure::refused("proof-running", "another proof is running: one runs at a time, since it takes a second copy of the state"))?;
        let at = at.map(|at| at.iter().map(|(partition, at)| (partition.to_string(), json!(at.0))).collect::<serde_json::Map<_, _>>());
        Ok(Json(json!({ "same": verdict.matches(), "at": at, "found": verdict })))
    })
    .await
}

/// A log that is away is no fault of ours.
pub fn unproven(why: anyhow::Error) -> Failure {
    why.downcast::<Fault>().map_or_else(Failure::internal, Failure::from)
}

/// A position vector as people write it.
fn vector(log: &dyn Log, view: &Projection, text: &str, field: &str) -> Result<Vector, Failure> {
    let topic = &view.view().topic;
    if let Ok(at) = text.parse::<Timestamp>() {
        return then(log, topic, at, field);
    }
    let form = || Failure::bad(field, format!("'{text}' is neither a time (2026-11-27T10:00:00Z) nor offsets (<partition>:<offset>,<partition>:<offset>)"));
    let mut all: Vector = view.positions().into_iter().map(|(_, partition, at)| (partition, at)).collect();
    let mut named = std::collections::BTreeSet::new();
    for part in text.split(',') {
        let (partition, offset) = part.trim().split_once(':').ok_or_else(form)?;
        let (partition, offset) = (Partition(partition.parse().map_err(|_| form())?), Offset(offset.parse().map_err(|_| form())?));
        if !named.insert(partition) {
            return Err(Failure::bad(field, format!("partition {partition} is named twice")));
        }
        let Some(at) = all.get_mut(&partition) else {
            return Err(Failure::bad(field, format!("there is no partition {partition}: they are numbered from 0 to {}", log.partitions() - 1)));
        };
        let start = log.start(topic, partition)?;
        if !(start..=*at).contains(&offset) {
            return Err(Failure::bad(field, format!("offset {offset} is outside of {topic}/{partition}: it is folded from {start} to {at}")));
        }
        *at = offset;
    }
    Ok(all)
}

/// Where each partition stood at a time: before its first record that was written later. Times rise with offsets, but for the
/// moments by which writers' clocks differ.
fn then(log: &dyn Log, topic: &Topic, at: Timestamp, field: &str) -> Result<Vector, Failure> {
    let mut first: Option<Timestamp> = None;
    let mut all = Vector::new();
    for partition in (0..log.partitions()).map(Partition) {
        let (start, end) = (log.start(topic, partition)?, log.end(topic, partition)?);
        let next = |from: u64| -> Result<Option<(Offset, Timestamp)>, Fault> {
            let page = log.read(topic, partition, Offset(from), Limits { records: 1, ..Limits::default() })?;
            Ok(page.records.first().filter(|record| record.offset < end).map(|record| (record.offset, record.recorded_at)))
        };
        first = first.into_iter().chain(next(start.0)?.map(|(_, at)| at)).min();
        let (mut low, mut high) = (start.0, end.0);
        while low < high {
            let middle = low + (high - low) / 2;
            match next(middle)? {
                Some((offset, recorded)) if recorded <= at => low = offset.0 + 1,
                _ => high = middle,
            }
        }
        all.insert(partition, Offset(low));
    }
    match first {
        Some(first) if at < first => Err(Failure::bad(field, format!("{at} is before the first event of {topic}, which was recorded at {first}"))),
        None => Err(Failure::bad(field, format!("{topic} has no event yet"))),
        _ => Ok(all),
    }
}
