//! A member of a group on Kafka: takes from its consumer's inbox, commits transactions that prove its assignment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use schemas::Topic;

use super::group_consumer::{GroupConsumer, News};
use super::producer::{Consumed, Producers, TransactionEnd};
use super::reader::add;
use super::{cluster::Cluster, groups};
use crate::log::group::summed;
use crate::log::{Assignment, Batch, Commit, Fault, Group, Limits, Member, Message, Polled, Positions, Record};

/// See [`Member`].
pub struct KafkaMember {
    cluster: Arc<Cluster>,
    group: Group,
    consumer: Option<GroupConsumer>,
    /// whether the group's other members were found to share partitions as this one does
    alike: bool,
    /// the consumer was given up, and with it all that was owned
    gone: bool,
}

impl KafkaMember {
    pub(super) fn new(cluster: Arc<Cluster>, group: Group) -> Self {
        Self { cluster, group, consumer: None, alike: false, gone: false }
    }

    /// The consumer; taken anew if it was given up.
    fn consumer(&mut self) -> Result<&GroupConsumer, Fault> {
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => {
                if !self.alike {
                    groups::alike(&self.cluster, &self.group)?;
                    self.alike = true;
                }
                let name = format!("{}.{}.{}", self.group.name, self.group.member, self.cluster.instance);
                let producers = Producers::new(Arc::clone(&self.cluster.settings), &name, Arc::clone(&self.cluster.recycled));
                GroupConsumer::take(Arc::clone(&self.cluster), self.group.clone(), producers)?
            }
        };
        Ok(self.consumer.insert(consumer))
    }

    /// Gives the consumer up, to take another.
    fn stand_up(&mut self, release: bool) {
        self.gone |= self.consumer.is_some();
        if let Some(consumer) = self.consumer.take()
            && let Err(fault) = consumer.leave(release)
        {
            tracing::warn!(group = self.group.name, %fault, "leaving");
        }
    }

    fn transact(&mut self, outputs: &[Message], positions: &Positions, assignment: &Assignment) -> Result<TransactionEnd, Fault> {
        self.cluster.check(outputs)?;
        let settings = Arc::clone(&self.cluster.settings);
        let consumer = self.consumer()?;
        let mut producers = consumer.inbox.turn.lock();
        if !consumer.inbox.holds(assignment, positions.iter().map(|(_, partition, _)| *partition)) {
            return Ok(TransactionEnd::Lost("the assignment is no longer true".to_owned()));
        }
        let mut consumed = TopicPartitionList::new();
        let standing = if positions.is_empty() { consumer.inbox.standing() } else { None };
        for (topic, partition, next) in positions.iter().chain(&standing) {
            add(&mut consumed, &settings, topic, *partition, *next).map_err(|why| super::fault::fault("positions", why))?;
        }
        let ended = producers.run(outputs, Some(Consumed { positions: consumed, proof: &|| consumer.proof(assignment) }));
        if matches!(ended, TransactionEnd::Committed(_)) {
            consumer.inbox.stands(positions);
        }
        Ok(ended)
    }
}

impl Member for KafkaMember {
    fn behind(&self) -> Vec<(Topic, u64)> {
        summed(self.consumer.iter().flat_map(GroupConsumer::behind))
    }

    fn poll(&mut self, limits: Limits, wait: Duration) -> Result<Polled, Fault> {
        let deadline = Instant::now() + wait;
        if std::mem::take(&mut self.gone) {
            return Ok(Polled::Revoked { deadline }); // until there is another consumer nothing is owned, and that must be known
        }
        let inbox = Arc::clone(&self.consumer()?.inbox);
        let mut state = inbox.state.lock();
        loop {
            state.polled = Instant::now();
            if let Some(fault) = state.failed.take() {
                drop(state);
                self.stand_up(true);
                return Err(fault);
            }
            match state.news.take() {
                Some(News::Assigned) => return Ok(Polled::Assigned(state.assignment.clone())),
                Some(News::Revoked) => return Ok(Polled::Revoked { deadline: Instant::now() }),
                None => {}
            }
            let ready = !state.rewind && !state.records.is_empty();
            if ready || inbox.told.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        let (mut records, mut bytes) = (Vec::<Arc<Record>>::new(), 0);
        while let Some(first) = state.records.front().map(Record::bytes) {
            let fits = records.len() < limits.records && (records.is_empty() || bytes + first <= limits.bytes);
            if !fits {
                break;
            }
            bytes += first;
            records.extend(state.records.pop_front().map(Arc::new));
        }
        state.bytes -= bytes;
        // While committed positions are read again nothing can be committed: nothing is owned, so to speak.
        let assignment = if state.rewind { Assignment { epoch: state.assignment.epoch, partitions: vec![] } } else { state.assignment.clone() };
        drop(state);
        let mut positions = Positions::new();
        for record in &records {
            let place = positions.iter_mut().find(|(topic, partition, _)| *topic == record.topic && *partition == record.partition);
            match place {
                Some((_, _, next)) => *next = record.offset.next(),
                None => positions.push((record.topic.clone(), record.partition, record.offset.next())),
            }
        }
        Ok(Polled::Batch(Batch { assignment, records, positions }))
    }

    fn commit(&mut self, outputs: Vec<Message>, positions: &Positions, assignment: &Assignment) -> Result<Commit, Fault> {
        let ended = self.transact(&outputs, positions, assignment);
        if let Ok(TransactionEnd::Committed(offsets)) = ended {
            return Ok(Commit::Committed(offsets));
        }
        if let Some(consumer) = &self.consumer {
            consumer.inbox.rewind();
        }
        match ended? {
            TransactionEnd::Committed(offsets) => Ok(Commit::Committed(offsets)),
            TransactionEnd::Lost(why) => {
                tracing::debug!(group = self.group.name, why, "assignment lost");
                Ok(Commit::Lost)
            }
            TransactionEnd::Not(fault) => Err(fault),
            TransactionEnd::Unknown(why, _) => {
                tracing::warn!(group = self.group.name, why, "a commit's outcome is unknown: the log tells");
                Ok(Commit::Unknown)
            }
            TransactionEnd::Fenced(why, _) => {
                tracing::warn!(group = self.group.name, why, "fenced: joining again");
                self.stand_up(false);
                Ok(Commit::Unknown)
            }
        }
    }

    fn rewind(&mut self) -> Result<(), Fault> {
        if let Some(consumer) = &self.consumer {
            consumer.inbox.rewind(); // without one, the next begins at what is committed
        }
        Ok(())
    }

    fn leave(mut self: Box<Self>) -> Result<(), Fault> {
        self.consumer.take().map_or(Ok(()), |consumer| consumer.leave(true))
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        self.stand_up(true);
    }
}
