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

/// When what a record tells happened: the log time that its owner decided by, which never goes back in a partition. Of a
/// record that does not say, when it was recorded.
pub fn happened_at(record: &Record) -> Timestamp {
    record.envelope().ok().and_then(|envelope| envelope.time).unwrap_or(record.recorded_at)
}

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

    /// The newest of its versions, of which there are so many, whose event [happened](happened_at) by this time; none if it
    /// had none yet. Looks at a few records, however many there are: times rise with versions.
    pub fn by(&self, rows: &Rows, log: &dyn Log, newest: u64, time: Timestamp) -> Result<Option<u64>, Fault> {
        let (mut low, mut high) = (0, newest);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.happened(rows, log, middle)? <= time { low = middle } else { high = middle - 1 }
        }
        Ok(Some(low).filter(|version| *version > 0))
    }

    /// When a version came to be.
    pub fn happened(&self, rows: &Rows, log: &dyn Log, version: u64) -> Result<Timestamp, Fault> {
        let stream = self.stream(rows, version, 1)?;
        let records = self.read(log, &stream, Limits { records: 1, ..PAGE })?;
        records.first().map(|(_, record)| happened_at(record)).ok_or_else(|| self.wrong(&format!("the stream's index has no version {version}")))
    }

    /// The records of some versions.
    pub fn records(&self, log: &dyn Log, stream: &[(u64, Offset)]) -> Result<Vec<(u64, Arc<Record>)>, Fault> {
        self.read(log, stream, PAGE)
    }

    fn read(&self, log: &dyn Log, stream: &[(u64, Offset)], limits: Limits) -> Result<Vec<(u64, Arc<Record>)>, Fault> {
        let topic = self.service.events();
        let mut page = BTreeMap::new();
        let mut records = Vec::with_capacity(stream.len());
        for (version, offset) in stream {
            if !page.contains_key(offset) {
                page = self.page(log, &topic, *offset, limits)?;
            }
            let record =
                page.remove(offset).ok_or_else(|| self.wrong(&format!("version {version} should be at {topic}/{} offset {offset}", self.partition)))?;
            records.push((*version, record));
        }
        Ok(records)
    }

    fn page(&self, log: &dyn Log, topic: &Topic, from: Offset, limits: Limits) -> Result<BTreeMap<Offset, Arc<Record>>, Fault> {
        let page = log.read(topic, self.partition, from, limits)?;
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
