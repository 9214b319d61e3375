//! What the log's threads share: the database, and what is known of it in memory.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rocksdb::{BoundColumnFamily, DBWithThreadMode, IteratorMode, MultiThreaded};
use schemas::Partition;

use super::request::StoredRecord;
use super::state::{State, TopicPartition, Waiter};
use super::{keys, records};
use crate::log::clock::{Clock, LogClock};
use crate::log::{Assignment, Fault, Message, Offset, Positions, Rules};

/// How a fault begins to say that a log is damaged.
pub const DAMAGED: &str = "is damaged:";
/// The column family of the records.
pub const RECORDS: &str = "records";

/// What the log's threads share.
pub struct Shared {
    pub(super) dir: PathBuf,
    pub(super) db: DBWithThreadMode<MultiThreaded>,
    pub(super) partitions: u16,
    pub(super) rules: Rules,
    pub(super) clock: LogClock<Arc<dyn Clock>>,
    pub(super) gaps: Option<u64>,
    pub(super) synced: Arc<dyn Fn(Duration) + Send + Sync>,
    pub(super) sync: bool,
    pub(super) secret: OnceLock<[u8; 32]>,
    pub(super) state: Mutex<State>,
}

impl Shared {
    pub(super) fn records(&self) -> Arc<BoundColumnFamily<'_>> {
        self.db.cf_handle(RECORDS).unwrap_or_else(|| unreachable!("opened with the database"))
    }

    pub(super) fn broken(&self, why: &rocksdb::Error) -> Fault {
        if is_corruption(why) {
            return damaged(&self.dir, why);
        }
        Fault::Fatal(format!("the log in {}: {why}", self.dir.display()))
    }

    /// Messages as they will be kept. The limit on their size concerns only the call they came with.
    pub(super) fn kept(&self, messages: Vec<Message>) -> Result<Vec<StoredRecord>, Fault> {
        let kept = |message: Message| {
            let place = self.state.lock().place(&message.topic, message.partition, self.partitions)?;
            message.fits(self.rules.record_bytes)?;
            Ok(StoredRecord { place, bytes: records::encode(&message), message })
        };
        messages.into_iter().map(kept).collect()
    }

    /// Whether the disk has taken everything so far.
    pub(super) fn working(&self) -> Result<(), Fault> {
        self.state.lock().failed.clone().map_or(Ok(()), |why| Err(Fault::Fatal(why)))
    }

    /// The places of `positions`, if this member's assignment holds for them.
    pub(super) fn held(&self, group: &str, serial: u64, positions: &Positions, assignment: &Assignment) -> Result<Option<Vec<TopicPartition>>, Fault> {
        self.working()?;
        let state = self.state.lock();
        let touched = positions.iter().map(|(_, partition, _)| *partition);
        if !state.groups.get(group).is_some_and(|owners| owners.holds(serial, assignment, self.partitions, touched)) {
            return Ok(None);
        }
        positions.iter().map(|(topic, partition, _)| state.place(topic, *partition, self.partitions)).collect::<Result<_, _>>().map(Some)
    }

    /// Topics, extents, groups from what is recorded: one seek a partition, whatever the log's size.
    pub(super) fn recover(&self) -> Result<(), Fault> {
        let mut state = self.state.lock();
        let mut starts = vec![];
        for row in self.db.iterator(IteratorMode::Start) {
            let (key, value) = row.map_err(|why| self.broken(&why))?;
            match keys::read(&key, &value) {
                Some(keys::Meta::Topic(known)) => drop(state.topics.insert(known.spec.topic.clone(), known)),
                Some(keys::Meta::Start(place, extent)) => starts.push((place, extent)),
                Some(keys::Meta::Epoch(group, epoch)) => state.groups.entry(group).or_default().epoch = epoch,
                Some(keys::Meta::Position(group, place, next)) => drop(state.groups.entry(group).or_default().committed.insert(place, next)),
                None => {}
            }
        }
        state.extents.extend(starts);
        let mut last = self.db.raw_iterator_cf(&self.records());
        let numbers: Vec<u16> = state.topics.values().map(|known| known.number).collect();
        for place in numbers.into_iter().flat_map(|number| (0..self.partitions).map(move |partition| (number, Partition(partition)))) {
            last.seek_for_prev(records::key(place.0, place.1, Offset(u64::MAX)));
            last.status().map_err(|why| self.broken(&why))?;
            let prefix = &records::key(place.0, place.1, Offset(0))[..4];
            if let Some(offset) = last.key().filter(|key| key.starts_with(prefix)).and_then(records::offset_of) {
                let extent = state.extents.entry(place).or_default();
                extent.end = extent.end.max(offset.next());
            }
        }
        Ok(())
    }

    /// Waits until a place has passed its offset, owners changed (`or`), or the time is over.
    pub(super) fn wait(&self, beyond: Vec<(TopicPartition, Offset)>, wait: Duration, mut or: impl FnMut(&State) -> bool) -> Result<bool, Fault> {
        let deadline = Instant::now() + wait;
        let mut state = self.state.lock();
        if state.passed(&beyond) || or(&state) || wait.is_zero() {
            return Ok(state.passed(&beyond));
        }
        let (number, told) = (state.next_serial(), Arc::new(Condvar::new()));
        state.waiters.insert(number, Waiter { beyond: beyond.clone(), told: Arc::clone(&told) });
        let passed = loop {
            let late = told.wait_until(&mut state, deadline).timed_out();
            let passed = state.passed(&beyond);
            if passed || late || or(&state) {
                break passed;
            }
        };
        state.waiters.remove(&number);
        match &state.failed {
            Some(why) => Err(Fault::Fatal(why.clone())),
            None => Ok(passed),
        }
    }
}

/// Whether RocksDB says with this that what it reads is not what was written.
pub fn is_corruption(why: &rocksdb::Error) -> bool {
    why.to_string().starts_with("Corruption")
}

/// What to do about a log that is damaged. Never to delete it.
pub fn damaged(dir: &Path, why: &rocksdb::Error) -> Fault {
    Fault::Fatal(format!(
        "the log in {} {DAMAGED} {why}. Records that were acknowledged lie behind the damage: stop here, keep a copy of the directory, and restore a \
         backup; or accept that they are lost with --accept-loss, which opens the log as far as it can be read",
        dir.display()
    ))
}
