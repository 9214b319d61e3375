//! A log whose commits end as Kafka's can: lost, failed, or unknown, done or not; and whose reads fail at times, so that
//! a fold to the head may end after its batch was polled. All of it is within the contract.

use std::sync::Arc;
use std::time::Duration;

use eventstore::log::TopicSpec;
use eventstore::{Assignment, Commit, Fault, Group, Limits, Log, Member, Message, Offset, Page, Polled, Positions};
use kernel::Timestamp;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use schemas::{Partition, Topic};

pub struct Flaky {
    inner: Arc<dyn Log>,
    random: Arc<Mutex<StdRng>>,
}

impl Flaky {
    pub fn over(inner: Arc<dyn Log>, seed: u64) -> Self {
        Self { inner, random: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))) }
    }
}

impl Log for Flaky {
    fn partitions(&self) -> u16 {
        self.inner.partitions()
    }
    fn secret(&self) -> [u8; 32] {
        self.inner.secret()
    }
    fn now(&self) -> Timestamp {
        self.inner.now()
    }
    fn provision(&self, topics: &[TopicSpec]) -> Result<(), Fault> {
        self.inner.provision(topics)
    }
    fn append(&self, messages: Vec<Message>) -> Result<Vec<Offset>, Fault> {
        self.inner.append(messages)
    }
    fn read(&self, topic: &Topic, partition: Partition, from: Offset, limits: Limits) -> Result<Page, Fault> {
        if self.random.lock().random_bool(0.2) {
            return Err(Fault::Retry("the broker is away".into()));
        }
        self.inner.read(topic, partition, from, limits)
    }
    fn start(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault> {
        self.inner.start(topic, partition)
    }
    fn end(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault> {
        self.inner.end(topic, partition)
    }
    fn wait(&self, positions: &[(Topic, Partition, Offset)], wait: Duration) -> Result<bool, Fault> {
        self.inner.wait(positions, wait)
    }
    fn committed(&self, group: &str) -> Result<Positions, Fault> {
        self.inner.committed(group)
    }
    fn trim(&self, topic: &Topic, partition: Partition, before: Offset) -> Result<Offset, Fault> {
        self.inner.trim(topic, partition, before)
    }
    fn join(&self, group: Group) -> Result<Box<dyn Member>, Fault> {
        let member = self.inner.join(group.clone())?;
        Ok(Box::new(FlakyMember { member, group, log: Arc::clone(&self.inner), random: Arc::clone(&self.random), quiet: false }))
    }
}

struct FlakyMember {
    member: Box<dyn Member>,
    group: Group,
    log: Arc<dyn Log>,
    random: Arc<Mutex<StdRng>>,
    /// the next assignment is the old one again, and is not told
    quiet: bool,
}

impl FlakyMember {
    /// Back to the committed positions, by joining anew; sometimes without a word of it.
    fn rewind(&mut self, told: bool) -> Result<(), Fault> {
        self.member = self.log.join(self.group.clone())?;
        self.quiet = !told;
        Ok(())
    }
}

impl Member for FlakyMember {
    fn poll(&mut self, limits: Limits, wait: Duration) -> Result<Polled, Fault> {
        match self.member.poll(limits, wait)? {
            Polled::Assigned(_) if self.quiet => {
                self.quiet = false;
                self.member.poll(limits, wait)
            }
            polled => Ok(polled),
        }
    }

    fn commit(&mut self, outputs: Vec<Message>, positions: &Positions, assignment: &Assignment) -> Result<Commit, Fault> {
        let (fate, told) = {
            let mut random = self.random.lock();
            (random.random_range(0..10), random.random_bool(0.5))
        };
        match fate {
            0 | 1 => {
                self.member.commit(outputs, positions, assignment)?;
                self.rewind(told)?;
                Ok(Commit::Unknown)
            }
            2 => self.rewind(told).map(|()| Commit::Unknown),
            3 => self.rewind(true).map(|()| Commit::Lost),
            4 => self.rewind(told).and(Err(Fault::Retry("the broker is away".into()))),
            _ => self.member.commit(outputs, positions, assignment),
        }
    }

    fn rewind(&mut self) -> Result<(), Fault> {
        self.member.rewind()
    }

    fn leave(self: Box<Self>) -> Result<(), Fault> {
        self.member.leave()
    }
}
