//! Seeded bugs: a log that is wrong in one way, over any body. Each must be caught by the contract.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eventstore::log::TopicSpec;
use eventstore::{Assignment, Begin, Commit, Fault, Group, Limits, Log, Member, Message, Offset, Page, Polled, Positions};
use kernel::Timestamp;
use schemas::{Partition, Topic};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    OffsetOffByOne,
    BatchHalfWritten,
    StaleOwnerAccepted,
    AbortedRecordVisible,
    BatchKeptAfterLoss,
    PositionAheadOfRows,
    RowsAheadOfPosition,
    OffsetsAssumedDense,
    LastReadCommitted,
    EmptyCommitUnchecked,
    AppendedTwice,
    TimeGoesBack,
    TimeStandsStill,
    EveryoneOwnsAll,
    WaitSleepsThrough,
    LateStart,
    AnySettingsTaken,
    RewindForgotten,
    OldPositionAsProof,
    InputsOfOthers,
    NowIsTheBeginning,
    NowIsEveryStart,
    TrimsUndecided,
    TrimsNothing,
}

pub const BUGS: &[Bug] = &[
    Bug::OffsetOffByOne,
    Bug::BatchHalfWritten,
    Bug::StaleOwnerAccepted,
    Bug::AbortedRecordVisible,
    Bug::BatchKeptAfterLoss,
    Bug::PositionAheadOfRows,
    Bug::RowsAheadOfPosition,
    Bug::OffsetsAssumedDense,
    Bug::LastReadCommitted,
    Bug::EmptyCommitUnchecked,
    Bug::AppendedTwice,
    Bug::TimeGoesBack,
    Bug::TimeStandsStill,
    Bug::EveryoneOwnsAll,
    Bug::WaitSleepsThrough,
    Bug::LateStart,
    Bug::AnySettingsTaken,
    Bug::RewindForgotten,
    Bug::OldPositionAsProof,
    Bug::InputsOfOthers,
    Bug::NowIsTheBeginning,
    Bug::NowIsEveryStart,
    Bug::TrimsUndecided,
    Bug::TrimsNothing,
];

pub struct Bugged {
    pub inner: Arc<dyn Log>,
    pub bug: Bug,
}

impl Log for Bugged {
    fn partitions(&self) -> u16 {
        self.inner.partitions()
    }
    fn secret(&self) -> [u8; 32] {
        self.inner.secret()
    }
    fn now(&self) -> Timestamp {
        const DAY: i64 = 86_400_000_000;
        let now = self.inner.now();
        if self.bug == Bug::TimeStandsStill { Timestamp((now.0 / DAY + 1) * DAY) } else { now }
    }
    fn provision(&self, topics: &[TopicSpec]) -> Result<(), Fault> {
        match self.inner.provision(topics) {
            Err(_) if self.bug == Bug::AnySettingsTaken => Ok(()),
            other => other,
        }
    }
    fn append(&self, mut messages: Vec<Message>) -> Result<Vec<Offset>, Fault> {
        match self.bug {
            Bug::AppendedTwice => {
                self.inner.append(messages.clone())?;
            }
            Bug::BatchHalfWritten if messages.len() > 1 => {
                let count = messages.len();
                messages.truncate(count / 2);
                let offsets = self.inner.append(messages)?;
                return Ok((0..count).map(|at| offsets.get(at).copied().unwrap_or_default()).collect());
            }
            _ => {}
        }
        let offsets = self.inner.append(messages)?;
        Ok(if self.bug == Bug::OffsetOffByOne { offsets.into_iter().map(Offset::next).collect() } else { offsets })
    }
    fn read(&self, topic: &Topic, partition: Partition, from: Offset, limits: Limits) -> Result<Page, Fault> {
        let mut page = self.inner.read(topic, partition, from, limits)?;
        if self.bug == Bug::OffsetsAssumedDense {
            page.next = Offset(from.0 + page.records.len() as u64);
        }
        if self.bug == Bug::TimeGoesBack {
            page.records.iter_mut().filter(|record| record.offset.0 % 3 == 2).for_each(|record| Arc::make_mut(record).recorded_at = Timestamp(0));
        }
        Ok(page)
    }
    fn start(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault> {
        self.inner.start(topic, partition)
    }
    fn end(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault> {
        self.inner.end(topic, partition)
    }
    fn wait(&self, positions: &[(Topic, Partition, Offset)], wait: Duration) -> Result<bool, Fault> {
        if self.bug == Bug::WaitSleepsThrough {
            std::thread::sleep(wait.min(Duration::from_millis(100)));
            return Ok(false);
        }
        self.inner.wait(positions, wait)
    }
    fn committed(&self, group: &str) -> Result<Positions, Fault> {
        self.inner.committed(group)
    }
    fn trim(&self, topic: &Topic, partition: Partition, before: Offset) -> Result<Offset, Fault> {
        match self.bug {
            Bug::TrimsNothing => Ok(before),
            // The refusal is forgotten: what is past the committed position is taken for decided.
            Bug::TrimsUndecided => self.inner.trim(topic, partition, before).or(Ok(before)),
            _ => self.inner.trim(topic, partition, before),
        }
    }
    fn join(&self, mut group: Group) -> Result<Box<dyn Member>, Fault> {
        let mut ends = HashMap::new();
        match self.bug {
            // Read is what the partitions are shared by, as before there was anything else.
            Bug::InputsOfOthers => {
                let commands = group.commands.clone();
                group.inputs.retain(|input| input.topic == commands);
            }
            Bug::NowIsTheBeginning => group.inputs.iter_mut().for_each(|input| input.begin = Begin::First),
            Bug::NowIsEveryStart => {
                for input in group.inputs.iter_mut().filter(|input| input.begin == Begin::Next) {
                    for partition in (0..self.inner.partitions()).map(Partition) {
                        ends.insert((input.topic.clone(), partition), self.inner.end(&input.topic, partition)?);
                    }
                }
            }
            _ => {}
        }
        Ok(Box::new(BuggedMember {
            inner: self.inner.join(group)?,
            log: Arc::clone(&self.inner),
            bug: self.bug,
            seen: HashMap::new(),
            polls: AtomicU64::new(0),
            first: None,
            ends,
        }))
    }
}

struct BuggedMember {
    inner: Box<dyn Member>,
    log: Arc<dyn Log>,
    bug: Bug,
    seen: HashMap<(Topic, Partition), Offset>,
    polls: AtomicU64,
    first: Option<(Topic, Partition, Offset)>,
    ends: HashMap<(Topic, Partition), Offset>,
}

impl Member for BuggedMember {
    fn poll(&mut self, limits: Limits, wait: Duration) -> Result<Polled, Fault> {
        let mut polled = self.inner.poll(limits, wait)?;
        if let (None, Polled::Batch(batch)) = (&self.first, &polled) {
            self.first = batch.records.first().map(|record| (record.topic.clone(), record.partition, record.offset));
        }
        match &mut polled {
            Polled::Batch(batch) if self.bug == Bug::BatchKeptAfterLoss => {
                // What was handed out once is thought to be in hand still.
                batch.records.retain(|record| self.seen.get(&(record.topic.clone(), record.partition)).is_none_or(|next| record.offset >= *next));
                for (topic, partition, next) in &batch.positions {
                    self.seen.insert((topic.clone(), *partition), *next);
                }
            }
            Polled::Batch(batch) if self.bug == Bug::LateStart && !batch.records.is_empty() && self.polls.fetch_add(1, Ordering::Relaxed) == 0 => {
                batch.records.clear(); // as a client that begins at the end when it knows no position
            }
            // Settled in memory alone, and so at every start.
            Polled::Batch(batch) if self.bug == Bug::NowIsEveryStart => {
                batch.records.retain(|record| self.ends.get(&(record.topic.clone(), record.partition)).is_none_or(|end| record.offset >= *end));
            }
            Polled::Assigned(assignment) if self.bug == Bug::EveryoneOwnsAll => assignment.partitions = (0..self.log.partitions()).map(Partition).collect(),
            _ => {}
        }
        Ok(polled)
    }

    fn commit(&mut self, mut outputs: Vec<Message>, positions: &Positions, assignment: &Assignment) -> Result<Commit, Fault> {
        let mut positions = positions.clone();
        let count = outputs.len();
        let told = outputs.clone();
        match self.bug {
            Bug::EmptyCommitUnchecked if outputs.is_empty() && positions.is_empty() => return Ok(Commit::Committed(vec![])),
            // Where it stood at its beginning proves the assignment as well.
            Bug::OldPositionAsProof if positions.is_empty() => positions.extend(self.first.clone()),
            Bug::PositionAheadOfRows => outputs.clear(),
            Bug::RowsAheadOfPosition => positions.clear(),
            Bug::BatchHalfWritten => outputs.truncate(count / 2),
            Bug::LastReadCommitted => positions.iter_mut().for_each(|(_, _, next)| next.0 -= 1),
            _ => {}
        }
        let ended = self.inner.commit(outputs, &positions, assignment);
        match (self.bug, ended) {
            (Bug::StaleOwnerAccepted, Ok(Commit::Lost)) => self.log.append(told).map(Commit::Committed),
            (Bug::AbortedRecordVisible, ended @ (Ok(Commit::Lost) | Err(_))) => {
                told.into_iter().for_each(|message| drop(self.log.append(vec![message])));
                ended
            }
            (Bug::OffsetOffByOne, Ok(Commit::Committed(offsets))) => Ok(Commit::Committed(offsets.into_iter().map(Offset::next).collect())),
            (Bug::PositionAheadOfRows | Bug::BatchHalfWritten, Ok(Commit::Committed(offsets))) => {
                Ok(Commit::Committed((0..count).map(|at| offsets.get(at).copied().unwrap_or_default()).collect()))
            }
            (_, ended) => ended,
        }
    }

    fn rewind(&mut self) -> Result<(), Fault> {
        if self.bug == Bug::RewindForgotten { Ok(()) } else { self.inner.rewind() }
    }

    fn leave(self: Box<Self>) -> Result<(), Fault> {
        self.inner.leave()
    }
}
