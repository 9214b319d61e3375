//! Aggregates looked at from outside their worker: states, streams, and who waits. Reads saved rows and the log;
//! changes nothing, and never sees what is not committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::Timestamp;
use schemas::envelope::Malformed;
use schemas::{Partition, Topic};

use crate::fold::unreadable;
use crate::heads;
use crate::log::{Fault, Limits, Log, Offset, Record};
use crate::rows::Rows;
use crate::service::{Handler, Service, State};

/// Records read at once on the way along a stream: its events may lie close together.
const PAGE: Limits = Limits { records: 200, bytes: 1024 * 1024 };

/// One aggregate of a service.
#[derive(Clone, Copy)]
pub struct Aggregate<'a> {
    /// whose it is
    pub service: &'a Service,
    /// what it is
    pub handler: &'a dyn Handler,
    /// where it is
    pub partition: Partition,
    /// its id
    pub id: &'a str,
}

/// An aggregate that waits: for others, or for its deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// its type
    pub aggregate: String,
    /// its id
    pub id: String,
    /// log time of its last event
    pub since: Timestamp,
}

impl Aggregate<'_> {
    /// Its version and state as they are saved; none without an event.
    pub fn head(&self, rows: &Rows) -> Result<Option<(u64, State)>, Fault> {
        heads::saved(rows, self.partition, self.handler, self.id)
    }

    /// The offsets of its events from version `from` on, at most `most` of them.
    pub fn stream(&self, rows: &Rows, from: u64, most: usize) -> Result<Vec<(u64, Offset)>, Fault> {
        heads::stream(rows, self.partition, self.handler.name(), self.id, from, most)
    }

    /// Its state at `version`, folded from its stream. The caller bounds `version`.
    pub fn at(&self, rows: &Rows, log: &dyn Log, version: u64) -> Result<State, Fault> {
        let most = usize::try_from(version).unwrap_or(usize::MAX);
        let (mut state, mut last) = (self.handler.blank(), 0);
        for (step, record) in self.records(log, &self.stream(rows, 1, most)?)? {
            let stop = |why: Malformed| unreadable(&record, &why);
            let envelope = record.envelope().map_err(|why| unreadable(&record, why))?;
            let event = self.handler.decode_event(&envelope.kind, record.body()).map_err(stop)?;
            if step != last + 1 {
                return Err(self.wrong(&format!("version {step} follows version {last} in the stream's index")));
            }
            self.handler.evolve(&mut state, &event);
            last = step;
        }
        if last == version { Ok(state) } else { Err(self.wrong(&format!("the stream's index ends at version {last}, before version {version}"))) }
    }

    /// The records of some versions.
    pub fn records(&self, log: &dyn Log, stream: &[(u64, Offset)]) -> Result<Vec<(u64, Arc<Record>)>, Fault> {
        let topic = self.service.events();
        let mut page = BTreeMap::new();
        let mut records = Vec::with_capacity(stream.len());
        for (version, offset) in stream {
            if !page.contains_key(offset) {
                page = self.page(log, &topic, *offset)?;
            }
            let record =
                page.remove(offset).ok_or_else(|| self.wrong(&format!("version {version} should be at {topic}/{} offset {offset}", self.partition)))?;
            records.push((*version, record));
        }
        Ok(records)
    }

    fn page(&self, log: &dyn Log, topic: &Topic, from: Offset) -> Result<BTreeMap<Offset, Arc<Record>>, Fault> {
        let page = log.read(topic, self.partition, from, PAGE)?;
        if page.next <= from {
            return Err(Fault::Retry(format!("{topic}/{} has not given its record at offset {from}", self.partition)));
        }
        Ok(page.records.into_iter().map(|record| (record.offset, record)).collect())
    }

    fn wrong(&self, what: &str) -> Fault {
        Fault::Fatal(format!(
            "{} {}: {what}; stop, delete the directory heads/{} and start again: it is folded anew from the log",
            self.handler.name(),
            self.id,
            self.service.name
        ))
    }
}

/// The aggregates of a partition that wait, in the order of their ids, after `after`, at most `most`.
pub fn waiting(rows: &Rows, partition: Partition, after: Option<&Waiting>, most: usize) -> Result<Vec<Waiting>, Fault> {
    let after = after.map(|last| (last.aggregate.as_str(), last.id.as_str()));
    let found = heads::waiting(rows, partition, after, most)?;
    Ok(found.into_iter().map(|(aggregate, id, since)| Waiting { aggregate, id, since }).collect())
}
