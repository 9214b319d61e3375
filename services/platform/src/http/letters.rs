//! Dead letters by their place.

use std::sync::Arc;

use eventstore::{Limits, Offset, Record};
use schemas::{Partition, Stream, topic};

use super::app::App;
use super::discarded::Discard;
use super::failure::Failure;

/// A letter, and how it was discarded, if it was.
pub fn letter(app: &App, service: &str, partition: u16, offset: u64) -> Result<(Arc<Record>, Option<Discard>), Failure> {
    let service = app
        .operator
        .names()
        .find(|known| *known == service)
        .ok_or_else(|| Failure::unknown_name(format!("no service '{service}': one of {}", app.operator.names().collect::<Vec<_>>().join(", "))))?;
    let letters = topic(Stream::DeadLetters(service));
    let record = at(app, &letters, partition, offset)?;
    if Discard::of(&record, &app.log.secret()).is_some() {
        return Err(Failure::not_found(format!("what lies at offset {offset} of {letters}/{partition} is no letter: it says that one was discarded")));
    }
    let mut marks = app.operator.discarded.marks(app.log.as_ref(), &letters, record.partition)?;
    Ok((Arc::clone(&record), marks.remove(&record.offset)))
}

/// The record at a place.
pub fn at(app: &App, topic: &schemas::Topic, partition: u16, offset: u64) -> Result<Arc<Record>, Failure> {
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
