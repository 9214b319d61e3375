//! `GET /topics`: every topic with its partitions, how far its readers are, and what this instance keeps on disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use eventstore::service::inputs;
use eventstore::{Fault, Limits, Offset};
use projections::Projection;
use schemas::{Partition, Topic};
use serde_json::{Value, json};

use super::super::app::{App, blocking};
use super::super::extract::Path;
use super::super::failure::Failure;
use super::disk;
use super::places::{all, at_once, partitions, topic_of};

/// Shortest distances are looked into: whether there are records in them. Whoever is further behind has some before it.
const LOOKED_INTO: u64 = 100;

/// The groups that read, and what each reads.
fn groups(app: &App) -> Result<Vec<(String, Vec<Topic>)>, Fault> {
    let mut groups = vec![];
    for (name, service) in &app.operator.services {
        if app.is_left_out(name)? {
            continue;
        }
        let mut own = inputs(&service.direct);
        own.push(service.commands());
        groups.push(((*name).to_owned(), own));
        if !service.routed.is_empty() {
            groups.push((format!("{name}.router"), inputs(&service.routed)));
        }
    }
    Ok(groups)
}

pub(super) async fn list(State(app): State<App>) -> Result<Json<Value>, Failure> {
    let all = blocking(move || {
        let groups = groups(&app)?;
        let committed = at_once(&groups, |(group, _)| Ok(app.log.committed(group)?))?;
        let mut readers: BTreeMap<(Topic, Partition), Vec<Reader>> = BTreeMap::new();
        for ((group, topics), committed) in groups.iter().zip(committed) {
            for place in topics.iter().flat_map(|topic| partitions(&app).map(move |partition| (topic.clone(), partition))) {
                let at = committed.iter().find(|(topic, partition, _)| (topic, partition) == (&place.0, &place.1)).map(|(_, _, next)| *next);
                readers.entry(place).or_default().push((group.clone(), at));
            }
        }
        let places: Vec<_> = all(&app).into_iter().flat_map(|topic| partitions(&app).map(move |partition| (topic.clone(), partition))).collect();
        let topics = at_once(&places, |place| extent(&app, &place.0, place.1, readers.get(place).map(Vec::as_slice).unwrap_or_default()))?;
        let positions: Vec<_> = app.views.all().flat_map(|view| view.positions()).collect();
        let lags = at_once(&positions, |(topic, partition, next)| lag(&app, topic, *partition, *next, app.log.end(topic, *partition)?))?;
        let mut lags = lags.into_iter();
        let view = |view: &Arc<Projection>| {
            let lags: Vec<u64> = lags.by_ref().take(view.positions().len()).collect();
            json!({ "view": view.name(), "topic": view.view().topic.as_str(), "lag": lags.iter().sum::<u64>(), "lags": lags })
        };
        let views: Vec<Value> = app.views.all().map(view).collect();
        Ok(json!({ "topics": topics, "views": views, "disk": disk::use_of(&app.operator) }))
    });
    Ok(Json(all.await?))
}

/// A group, and where it has committed to.
type Reader = (String, Option<Offset>);

/// A partition's ends, size and readers. The end is taken last, so that no reader is past it.
fn extent(app: &App, topic: &Topic, partition: Partition, readers: &[Reader]) -> Result<Value, Failure> {
    let (start, bytes) = (app.log.start(topic, partition)?, app.log.bytes(topic, partition)?);
    let end = app.log.end(topic, partition)?;
    let reader = |(group, committed): &Reader| -> Result<Value, Failure> {
        let lag = lag(app, topic, partition, committed.unwrap_or(start).max(start), end)?;
        Ok(json!({ "group": group, "committed": committed.map(|next| next.0), "lag": lag }))
    };
    Ok(json!({
        "topic": topic.as_str(),
        "partition": partition.0,
        "start": start.0,
        "end": end.0,
        "offsets": end.0.saturating_sub(start.0),
        "bytes": bytes,
        "groups": readers.iter().map(reader).collect::<Result<Vec<_>, _>>()?,
    }))
}

/// How far a reader is behind: nothing where no record is left for it. On Kafka the ends of transactions take offsets too,
/// and a reader stands before the last of them until the next record comes.
fn lag(app: &App, topic: &Topic, partition: Partition, next: Offset, end: Offset) -> Result<u64, Failure> {
    let offsets = end.0.saturating_sub(next.0);
    // What is nobody's to read is not looked into, and may not be readable here.
    if (1..=LOOKED_INTO).contains(&offsets) && !app.operator.is_private(topic) {
        let page = app.log.read(topic, partition, next, Limits { records: 1, ..Limits::default() })?;
        if page.records.is_empty() && page.next >= end {
            return Ok(0);
        }
    }
    Ok(offsets)
}

/// Where each partition of a topic begins and ends.
pub(super) async fn extents(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Value>, Failure> {
    let all = blocking(move || {
        let topic = topic_of(&app, &name)?;
        partitions(&app).map(|partition| extent(&app, &topic, partition, &[])).collect::<Result<Vec<_>, _>>()
    });
    Ok(Json(json!({ "partitions": all.await? })))
}
