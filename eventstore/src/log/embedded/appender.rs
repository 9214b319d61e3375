//! The appender: one thread through which everything is written. What waits is written as one group with one sync;
//! nothing is visible or answered before that sync, and owners change only between two groups.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use kernel::Timestamp;
use rocksdb::{WriteBatch, WriteOptions};
use schemas::Partition;

use super::request::{Request, StoredRecord};
use super::shared::Shared;
use super::state::{Known, TopicPartition};
use super::{keys, records};
use crate::log::{Commit, Fault, Offset, Record, TopicSpec};

/// Requests of one group.
const GROUP_MAX: usize = 256;
/// Bytes of one group, the last request excepted.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How often expired records are looked for, in log time; and in how many places between two groups.
const TRIM_SECONDS: i64 = 30;
const TRIM_PLACES_MAX: usize = 64;
/// How long an idle appender sleeps.
const IDLE: Duration = Duration::from_secs(30);

/// What is told when a group is durable.
enum Acknowledgement {
    Appended(Sender<Result<Vec<Offset>, Fault>>, Vec<Offset>),
    Committed(Sender<Result<Commit, Fault>>, Vec<Offset>),
    Joined(Sender<Result<u64, Fault>>, u64),
    Left(Option<Sender<()>>),
    Created(Sender<Result<(), Fault>>),
    Trimmed(Sender<Result<Offset, Fault>>, Offset),
}

/// A group being written.
#[derive(Default)]
struct Group {
    batch: WriteBatch,
    next: HashMap<TopicPartition, Offset>,
    written: Vec<(TopicPartition, Arc<Record>)>,
    committed: Vec<(String, TopicPartition, Offset)>,
    created: Vec<Known>,
    starts: Vec<(TopicPartition, Offset)>,
    owners_changed: HashSet<String>,
    answers: Vec<Acknowledgement>,
    recorded_at: Option<Timestamp>,
}

/// The appender's loop; ends with [`Request::Close`].
pub fn run(shared: &Arc<Shared>, requests: &Receiver<Request>) {
    let mut trimmed = shared.clock.now();
    let mut gaps = Gaps(shared.gaps);
    let mut passing = vec![];
    loop {
        let first = match requests.recv_timeout(if passing.is_empty() { IDLE } else { Duration::ZERO }) {
            Ok(request) => Some(request),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if shared.clock.now() >= trimmed.plus_seconds(TRIM_SECONDS) {
            trimmed = shared.clock.now();
            passing = shared.passing();
        }
        for (place, spec) in passing.drain(passing.len().saturating_sub(TRIM_PLACES_MAX)..) {
            if let Err(fault) = shared.expire(place, &spec) {
                tracing::warn!(%fault, "expired records stay for now");
            }
        }
        let Some(first) = first else { continue };
        let (mut bytes, mut waiting) = (first.bytes(), vec![first]);
        while waiting.len() < GROUP_MAX && bytes < GROUP_BYTES_MAX {
            let Ok(request) = requests.try_recv() else { break };
            bytes += request.bytes();
            waiting.push(request);
        }
        let closing = waiting.iter().any(|request| matches!(request, Request::Close));
        // Owners change alone: a new owner must find all that earlier assignments have written.
        for group in apart(waiting) {
            write(shared, group, &mut gaps);
        }
        if closing {
            return;
        }
    }
}

/// The requests in their order, each change of owners in a group of its own.
fn apart(requests: Vec<Request>) -> Vec<Vec<Request>> {
    let mut groups: Vec<Vec<Request>> = vec![vec![]];
    for request in requests {
        let alone = matches!(request, Request::Join { .. } | Request::Leave { .. });
        if alone {
            groups.push(vec![request]);
            groups.push(vec![]);
        } else if let Some(group) = groups.last_mut() {
            group.push(request);
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}

fn write(shared: &Shared, requests: Vec<Request>, gaps: &mut Gaps) {
    let mut group = Group::default();
    for request in requests {
        group.take(shared, request, gaps);
    }
    if let Some(at) = group.recorded_at {
        group.batch.put(keys::CLOCK, at.0.to_be_bytes());
    }
    let mut options = WriteOptions::default();
    options.set_sync(shared.sync);
    let mut written = Ok(());
    if !group.batch.is_empty() {
        let began = Instant::now();
        written = shared.db.write_opt(std::mem::take(&mut group.batch), &options);
        (shared.synced)(began.elapsed());
    }
    let failed =
        written.err().map(|why| format!("the log in {} cannot be written: {why}; nothing is acknowledged until it is opened again", shared.dir.display()));
    if let Some(why) = &failed {
        tracing::error!(why);
        shared.state.lock().failed = Some(why.clone());
    } else {
        group.publish(shared);
    }
    for answer in group.answers {
        answer.give(failed.as_ref());
    }
}

impl Group {
    fn take(&mut self, shared: &Shared, request: Request, gaps: &mut Gaps) {
        match request {
            Request::Append(kept, caller) => match shared.working() {
                Err(fault) => drop(caller.send(Err(fault))),
                Ok(()) => {
                    let offsets = self.add(shared, kept, gaps);
                    self.answers.push(Acknowledgement::Appended(caller, offsets));
                }
            },
            Request::Commit { group, serial, outputs, positions, assignment, answer } => match shared.held(&group, serial, &positions, &assignment) {
                Err(fault) => drop(answer.send(Err(fault))),
                Ok(None) => drop(answer.send(Ok(Commit::Lost))),
                Ok(Some(places)) => {
                    let offsets = self.add(shared, outputs, gaps);
                    for (place, (_, _, next)) in places.into_iter().zip(&positions) {
                        self.batch.put(keys::position(&group, place), next.0.to_be_bytes());
                        self.committed.push((group.clone(), place, *next));
                    }
                    self.answers.push(Acknowledgement::Committed(answer, offsets));
                }
            },
            Request::Join { group, member, from_now_on, answer } => {
                self.settle(shared, &group, &from_now_on);
                let mut state = shared.state.lock();
                let serial = state.next_serial();
                // One of the same name is taken to be this one's past: it is fenced.
                let members = &mut state.groups.entry(group.clone()).or_default().members;
                members.insert(member, serial);
                drop(state);
                self.change_owners(shared, group);
                self.answers.push(Acknowledgement::Joined(answer, serial));
            }
            Request::Leave { group, serial, answer } => {
                let mut state = shared.state.lock();
                let members = &mut state.groups.entry(group.clone()).or_default().members;
                let before = members.len();
                members.retain(|_, member| *member != serial);
                let left = members.len() < before;
                drop(state);
                if left {
                    self.change_owners(shared, group);
                }
                self.answers.push(Acknowledgement::Left(answer));
            }
            Request::Trim(place, before, caller) => match self.trim(shared, place, before) {
                Err(fault) => drop(caller.send(Err(fault))),
                Ok(start) => self.answers.push(Acknowledgement::Trimmed(caller, start)),
            },
            Request::Create(spec, caller) => match self.create(shared, spec) {
                Err(fault) => drop(caller.send(Err(fault))),
                Ok(()) => self.answers.push(Acknowledgement::Created(caller)),
            },
            Request::Close => {}
        }
    }

    /// Commits the ends of these topics' partitions, where the group has no position.
    fn settle(&mut self, shared: &Shared, group: &str, topics: &[u16]) {
        let state = shared.state.lock();
        let known = state.groups.get(group).map(|of_group| &of_group.committed);
        for place in topics.iter().flat_map(|number| (0..shared.partitions).map(|partition| (*number, Partition(partition)))) {
            if known.is_none_or(|known| !known.contains_key(&place)) {
                let end = state.extent(place).end; // owners change alone: all that was written before is in it
                self.batch.put(keys::position(group, place), end.0.to_be_bytes());
                self.committed.push((group.to_owned(), place, end));
            }
        }
    }

    /// Makes every assignment of before void, from the next request on.
    fn change_owners(&mut self, shared: &Shared, group: String) {
        let mut state = shared.state.lock();
        let owners = state.groups.entry(group.clone()).or_default();
        owners.epoch += 1;
        self.batch.put(keys::epoch(&group), owners.epoch.to_be_bytes());
        self.owners_changed.insert(group);
    }

    fn create(&mut self, shared: &Shared, spec: TopicSpec) -> Result<(), Fault> {
        let state = shared.state.lock();
        let taken = state.topics.values().map(|known| known.number).chain(self.created.iter().map(|known| known.number));
        let number = taken.max().map_or(0, |highest| highest + 1);
        if state.topics.contains_key(&spec.topic) || self.created.iter().any(|known| known.spec.topic == spec.topic) {
            return Ok(());
        }
        let kept_ms = spec.retention.map_or(0, |kept| u64::try_from(kept.as_millis()).unwrap_or(u64::MAX));
        self.batch.put(keys::topic(&spec.topic), [&number.to_be_bytes()[..], &kept_ms.to_be_bytes()].concat());
        self.created.push(Known { number, spec });
        Ok(())
    }

    fn trim(&mut self, shared: &Shared, place: TopicPartition, before: Offset) -> Result<Offset, Fault> {
        shared.working()?;
        let mut extent = shared.state.lock().extent(place);
        // What the group's earlier requests have done is not told yet.
        let earlier = self.starts.iter().filter(|(of, _)| *of == place).map(|(_, start)| *start).max();
        extent.start = extent.start.max(earlier.unwrap_or_default());
        let start = extent.start.max(before.min(extent.end));
        extent.end = self.next.get(&place).copied().unwrap_or(extent.end);
        if start > extent.start {
            shared.drop_before(&mut self.batch, place, extent, start);
            self.starts.push((place, start));
        }
        Ok(start)
    }

    fn add(&mut self, shared: &Shared, messages: Vec<StoredRecord>, gaps: &mut Gaps) -> Vec<Offset> {
        if messages.is_empty() {
            return vec![];
        }
        let first = shared.clock.stamps(messages.len());
        let (state, records) = (shared.state.lock(), shared.records());
        let mut offsets = Vec::with_capacity(messages.len());
        for (at, mut kept) in (0..).map(|n| Timestamp(first.0.saturating_add(n))).zip(messages) {
            self.recorded_at = Some(at);
            let next = self.next.entry(kept.place).or_insert_with(|| state.extent(kept.place).end);
            let offset = Offset(next.0 + gaps.skip());
            *next = offset.next();
            records::stamp(&mut kept.bytes, at);
            self.batch.put_cf(&records, records::key(kept.place.0, kept.place.1, offset), kept.bytes);
            self.written.push((kept.place, Arc::new(Record::of(kept.message, offset, at))));
            offsets.push(offset);
        }
        offsets
    }

    /// Makes the group visible: it is durable.
    fn publish(&mut self, shared: &Shared) {
        let mut state = shared.state.lock();
        for known in self.created.drain(..) {
            state.topics.insert(known.spec.topic.clone(), known);
        }
        for (place, record) in self.written.drain(..) {
            state.ring(place).push(record);
        }
        for (place, next) in self.next.drain() {
            state.extents.entry(place).or_default().end = next;
        }
        for (place, start) in self.starts.drain(..) {
            state.extents.entry(place).or_default().start = start;
            state.ring(place).forget(start);
        }
        for (group, place, next) in self.committed.drain(..) {
            state.groups.entry(group).or_default().committed.insert(place, next);
        }
        state.tell(!self.owners_changed.is_empty());
    }
}

impl Acknowledgement {
    fn give(self, failed: Option<&String>) {
        let fault = failed.map(|why| Fault::Fatal(why.clone()));
        // A caller that went away needs no answer.
        match self {
            Self::Appended(caller, offsets) => drop(caller.send(fault.map_or(Ok(offsets), Err))),
            Self::Committed(caller, offsets) => drop(caller.send(fault.map_or(Ok(Commit::Committed(offsets)), Err))),
            Self::Joined(caller, serial) => drop(caller.send(fault.map_or(Ok(serial), Err))),
            Self::Left(caller) => drop(caller.map(|caller| caller.send(()))),
            Self::Created(caller) => drop(caller.send(fault.map_or(Ok(()), Err))),
            Self::Trimmed(caller, start) => drop(caller.send(fault.map_or(Ok(start), Err))),
        }
    }
}

/// Skips offsets at random in tests, so that nobody counts on dense ones.
struct Gaps(Option<u64>);

impl Gaps {
    fn skip(&mut self) -> u64 {
        let Some(seed) = &mut self.0 else { return 0 };
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407); // Knuth, MMIX
        if *seed >> 62 == 0 { (*seed >> 33) % 5 } else { 0 }
    }
}
