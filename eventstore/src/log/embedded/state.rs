//! What the embedded log knows in memory: ends, owners, committed positions, and who waits for what.
//! Holds only what is durable: it is told after the disk is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Condvar;
use schemas::{Partition, Topic};

use crate::log::ring::Ring;
use crate::log::{Assignment, Fault, Limits, Offset, Page, TopicSpec};

/// A partition of a topic, by the topic's number.
pub type TopicPartition = (u16, Partition);

/// A topic as it was created.
#[derive(Clone, Debug)]
pub struct Known {
    /// its number in keys
    pub number: u16,
    /// its settings
    pub spec: TopicSpec,
}

/// The kept part of a partition.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    /// first kept offset
    pub start: Offset,
    /// where the next record will be, or later
    pub end: Offset,
}

/// A consumer group.
#[derive(Default)]
pub struct GroupState {
    /// rises whenever owners change
    pub epoch: u64,
    /// serial numbers of the members, by name
    pub members: BTreeMap<String, u64>,
    /// next offsets
    pub committed: HashMap<TopicPartition, Offset>,
}

impl GroupState {
    /// What a member owns: a contiguous range of partition numbers (Kafka's `range` over the command topic).
    pub fn owned(&self, serial: u64, partitions: u16) -> Vec<Partition> {
        let count = self.members.len();
        let Some(at) = self.members.values().position(|member| *member == serial) else { return vec![] };
        let bound = |index: usize| u16::try_from(usize::from(partitions) * index / count).unwrap_or(partitions);
        (bound(at)..bound(at + 1)).map(Partition).collect()
    }

    /// Whether `assignment` of this member still holds, for all of `touched`.
    pub fn holds(&self, serial: u64, assignment: &Assignment, partitions: u16, mut touched: impl Iterator<Item = Partition>) -> bool {
        let owned = self.owned(serial, partitions);
        assignment.epoch == self.epoch && !owned.is_empty() && touched.all(|partition| owned.contains(&partition))
    }
}

/// Someone who waits for records.
pub struct Waiter {
    /// the places and the offsets they must pass
    pub beyond: Vec<(TopicPartition, Offset)>,
    /// told when one does, or when owners change
    pub told: Arc<Condvar>,
}

/// All of it.
#[derive(Default)]
pub struct State {
    /// topics by name
    pub topics: BTreeMap<Topic, Known>,
    /// extents of their partitions
    pub extents: HashMap<TopicPartition, Extent>,
    /// their newest records, from the first that was written since the start
    rings: HashMap<TopicPartition, Ring>,
    /// bytes that each of them keeps
    ring_bytes: usize,
    /// groups by name
    pub groups: HashMap<String, GroupState>,
    /// those who wait, by a number
    pub waiters: HashMap<u64, Waiter>,
    /// A disk error: nothing is acknowledged any more.
    pub failed: Option<String>,
    /// counts members and waiters
    pub serial: u64,
}

impl State {
    /// Empty, and keeps so many bytes of each partition's newest records.
    pub fn keeping(ring_bytes: usize) -> Self {
        Self { ring_bytes, ..Self::default() }
    }

    /// A topic, or an error that names it.
    pub fn known(&self, topic: &Topic) -> Result<&Known, Fault> {
        self.topics.get(topic).ok_or_else(|| Fault::Fatal(format!("topic {topic} does not exist in this log: it must be provisioned first")))
    }

    /// The place of a partition, or an error that names it.
    pub fn place(&self, topic: &Topic, partition: Partition, partitions: u16) -> Result<TopicPartition, Fault> {
        if partition.0 >= partitions {
            return Err(Fault::Fatal(format!("{topic} has {partitions} partitions, none with number {partition}")));
        }
        Ok((self.known(topic)?.number, partition))
    }

    /// The extent of a place.
    pub fn extent(&self, place: TopicPartition) -> Extent {
        self.extents.get(&place).copied().unwrap_or_default()
    }

    /// The newest records of a place. Asked for before its extent is moved on.
    pub fn ring(&mut self, place: TopicPartition) -> &mut Ring {
        let (end, bytes) = (self.extent(place).end, self.ring_bytes);
        self.rings.entry(place).or_insert_with(|| Ring::at(end, bytes))
    }

    /// A page from memory, if `from` lies there.
    pub fn page(&self, place: TopicPartition, from: Offset, limits: Limits) -> Option<Page> {
        self.rings.get(&place)?.page(from, limits)
    }

    /// Whether one of the places has passed its offset.
    pub fn passed(&self, beyond: &[(TopicPartition, Offset)]) -> bool {
        beyond.iter().any(|(place, offset)| self.extent(*place).end > *offset)
    }

    /// Wakes those whose wait is over; all of them if owners changed.
    pub fn tell(&self, owners_changed: bool) {
        for waiter in self.waiters.values() {
            if owners_changed || self.passed(&waiter.beyond) {
                waiter.told.notify_one();
            }
        }
    }

    /// The next number.
    pub fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }
}
