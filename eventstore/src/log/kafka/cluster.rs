//! What the threads of a log on a cluster share, and what they ask of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::Offset as At;
use schemas::{Partition, Topic, commands_of};

use super::access::refused;
use super::assignments::{AssignmentRecord, Table};
use super::config::{Settings, assignments};
use super::fault::fault;
use super::logged::Logged;
use super::probe::{ASK, Probe};
use super::producer::{Producers, Reporting};
use super::reader::{Scans, Tail};
use super::{closing, topics};
use crate::log::clock::{Clock, LogClock};
use crate::log::{Fault, Limits, Message, Offset, Page, Positions, may_trim};

/// A topic that was just made is not heard of from every broker at once.
const HEARSAY: Duration = Duration::from_millis(500);
/// How long one attempt to hear a group's positions may take.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How long it is listened for why there is no answer.
const LISTEN: Duration = Duration::from_millis(50);
/// How long a read waits for the tail to have what lies before an end.
const TAIL: Duration = Duration::from_secs(5);

/// What the log's threads share.
pub struct Cluster {
    pub(super) settings: Arc<Settings>,
    pub(super) probe: Arc<Probe>,
    pub(super) partitions: u16,
    pub(super) clock: LogClock<Arc<dyn Clock>>,
    /// topics seen on the cluster
    pub(super) known: Mutex<BTreeSet<Topic>>,
    pub(super) tail: Arc<Tail>,
    pub(super) scans: Scans,
    pub(super) appender: Mutex<Producers>,
    pub(super) sender: Mutex<Option<Reporting>>,
    /// the credentials that those of its clients have that nobody else looks after
    pub(super) signed_in: AtomicU64,
    /// producers of transactions that were dropped and made anew
    pub(super) recycled: Arc<AtomicU64>,
    /// times that a group's standing positions were committed once more
    pub(super) committed_again: AtomicU64,
    pub(super) assignments: Mutex<Table>,
    pub(super) secret: OnceLock<[u8; 32]>,
    /// new at each start: part of its transactional ids
    pub(super) instance: String,
}

impl Cluster {
    /// That a place exists; the broker might make a topic that does not.
    pub(super) fn place(&self, topic: &Topic, partition: Partition) -> Result<(), Fault> {
        let since = Instant::now();
        while !self.known.lock().contains(topic) {
            let metadata = self.probe.metadata()?;
            self.known.lock().extend(metadata.topics().iter().filter_map(|topic| self.settings.topic(topic.name())));
            if self.known.lock().contains(topic) {
                break;
            }
            if since.elapsed() > HEARSAY {
                return Err(Fault::Abort(format!(
                    "topic {} does not exist on {}: it is made at the start of the service that owns it",
                    self.settings.named(topic),
                    self.settings.brokers
                )));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        if partition.0 >= self.partitions {
            return Err(Fault::Abort(format!("topic {topic} has no partition {partition}: they are numbered from 0 to {}", self.partitions - 1)));
        }
        Ok(())
    }

    /// That all these can be written, before any of them is.
    pub(super) fn check(&self, messages: &[Message]) -> Result<(), Fault> {
        for message in messages {
            self.place(&message.topic, message.partition)?;
            message.fits(self.settings.rules.record_bytes)?;
        }
        Ok(())
    }

    pub(super) fn marks(&self, topic: &Topic, partition: Partition) -> Result<(Offset, Offset), Fault> {
        self.place(topic, partition)?;
        self.probe.marks(topic, partition)
    }

    pub(super) fn start(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault> {
        Ok(self.marks(topic, partition)?.0)
    }

    /// The high watermark: past everything that was written before the call, decided or not.
    pub(super) fn end(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault> {
        Ok(self.marks(topic, partition)?.1)
    }

    pub(super) fn read(&self, topic: &Topic, partition: Partition, from: Offset, limits: Limits) -> Result<Page, Fault> {
        if let Some(page) = self.tail.page(topic, partition, from, limits) {
            return Ok(page);
        }
        let (start, end) = self.marks(topic, partition)?;
        if from < start {
            return Err(Fault::Fatal(format!("{topic}/{partition} begins at offset {start}, and offset {from} was asked for: what was before is not kept")));
        }
        if from >= end {
            return Ok(Page { records: vec![], next: from });
        }
        if self.tail.holds(topic, partition, from)
            && self.tail.wait(&[(topic.clone(), partition, from)], TAIL)?
            && let Some(page) = self.tail.page(topic, partition, from, limits)
        {
            return Ok(page);
        }
        let page = self.scans.page(topic, partition, from, end, limits)?;
        page.records.iter().map(|record| record.recorded_at).max().into_iter().for_each(|newest| self.clock.seen(newest));
        Ok(page)
    }

    /// The positions that a group has committed in these places.
    pub(super) fn committed(&self, group: &str, places: TopicPartitionList) -> Result<Positions, Fault> {
        let failed = |why: KafkaError| fault(&format!("positions of group {group}"), why);
        let asking: BaseConsumer<Logged> = self.settings.member(group).create_with_context(Logged::default()).map_err(failed)?;
        let deadline = Instant::now() + ASK;
        let committed = loop {
            match asking.committed_offsets(places.clone(), ATTEMPT) {
                Err(why) => {
                    // A broker that does not say who is in charge of the group says why only to whoever polls.
                    if let Some(Err(told)) = asking.poll(LISTEN)
                        && told.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed)
                    {
                        break Err(refused("Describe", &format!("group {}", self.settings.named_group(group))));
                    }
                    if Instant::now() > deadline || matches!(failed(why.clone()), Fault::Fatal(_)) {
                        break Err(failed(why));
                    }
                }
                Ok(committed) => break Ok(committed),
            }
        };
        closing::later(asking);
        let committed = committed?;
        let position = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
            At::Offset(next) => {
                Some((self.settings.topic(element.topic())?, Partition(u16::try_from(element.partition()).ok()?), Offset(u64::try_from(next).ok()?)))
            }
            _ => None,
        };
        Ok(committed.elements().into_iter().filter_map(position).collect())
    }

    pub(super) fn trim(&self, topic: &Topic, partition: Partition, before: Offset) -> Result<Offset, Fault> {
        self.place(topic, partition)?;
        let mut here = TopicPartitionList::new();
        here.add_partition(&self.settings.named(topic), i32::from(partition.0));
        let committed = commands_of(topic).map(|service| self.committed(service, here)).transpose()?.unwrap_or_default();
        may_trim(topic, partition, before, committed.first().map(|(_, _, next)| *next))?;
        let start = self.start(topic, partition)?;
        if before <= start {
            return Ok(start);
        }
        let start = topics::trim(&self.settings, topic, partition, before)?;
        self.tail.forget(topic, partition, start);
        Ok(start)
    }

    /// Gives those clients what they sign in with that may have nothing to do for long: they would go on asking with what they had.
    fn sign_in(&self) {
        let changes = self.settings.credentials.changes();
        if self.signed_in.swap(changes, Ordering::AcqRel) != changes {
            self.scans.sign_in();
            self.appender.lock().sign_in();
            self.sender.lock().iter().for_each(|sender| self.settings.credentials.give(sender.client()));
        }
    }

    pub(super) fn wait(&self, positions: &[(Topic, Partition, Offset)], wait: Duration) -> Result<bool, Fault> {
        self.sign_in();
        for (topic, ..) in positions {
            if !self.tail.follows(topic) {
                let ends = (0..self.partitions).map(|partition| self.end(topic, Partition(partition)));
                self.tail.follow(topic, ends.collect::<Result<_, _>>()?);
            }
        }
        self.tail.wait(positions, wait)
    }

    /// Reads what is new in a partition, up to `end`.
    pub(super) fn refresh(&self, table: &mut Table, partition: Partition, end: Offset) -> Result<(), Fault> {
        let topic = assignments();
        let mut from = match table.read.get(&partition) {
            Some(read) => *read,
            None => self.start(&topic, partition)?,
        };
        while from < end {
            let page = self.read(&topic, partition, from, Limits::default())?;
            if page.next <= from {
                return Err(Fault::Retry(format!("{topic}/{partition}: no assignments from {from} before the end {end}")));
            }
            for record in page.records {
                match record.value.as_deref().map(serde_json::from_slice::<AssignmentRecord>) {
                    Some(Ok(assignment)) if assignment.may_be(&self.settings.namespace, partition) => {
                        table.assignments.insert((assignment.group.clone(), partition), assignment);
                    }
                    Some(Ok(_)) => tracing::warn!(%topic, partition = partition.0, offset = record.offset.0, "passed over: no assignment of this log's"),
                    // Every assignment of ours can be read, whatever the version: this is nobody's.
                    Some(Err(why)) => tracing::warn!(%topic, partition = partition.0, offset = record.offset.0, %why, "passed over: not an assignment"),
                    None => {}
                }
            }
            from = page.next;
        }
        table.read.insert(partition, from);
        Ok(())
    }
}
