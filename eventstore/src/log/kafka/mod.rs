//! The log on Apache Kafka: topics, groups and transactions of a cluster, through librdkafka. What a commit proves,
//! when a position moves and who may write are the broker's to enforce; this makes it so, and assumes nothing it
//! cannot check.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use domain::Timestamp;
use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset as At;
use schemas::{Partition, Topic, commands_of};

use crate::log::clock::{Clock, LogClock};
use crate::log::{Fault, Group, Limits, Log, Member, Message, Offset, Page, Positions, RECORD_BYTES_MAX, TopicSpec, may_trim};

mod append;
mod claims;
mod closing;
mod config;
mod fault;
mod ffi;
mod groups;
mod member;
mod probe;
mod producer;
mod reader;
mod rebalance;
mod seat;
mod topics;

pub use config::{SESSION_MS, Settings, shown};

use claims::{Table, claims as claims_topic};
use fault::fault;
use member::KafkaMember;
use probe::{ASK, Probe};
use producer::{Producers, Reporting};
use reader::{Scans, Tail};

/// Partitions of a new log.
const PARTITIONS: u16 = 8;
/// A topic that was just made is not heard of from every broker at once.
const HEARSAY: Duration = Duration::from_millis(500);
/// How long a read waits for the tail to have what lies before an end.
const TAIL: Duration = Duration::from_secs(5);

/// The log on a cluster.
pub struct Kafka {
    cluster: Arc<Cluster>,
    tail: Option<JoinHandle<()>>,
}

/// What the log's threads share.
struct Cluster {
    settings: Arc<Settings>,
    probe: Arc<Probe>,
    partitions: u16,
    clock: LogClock<Arc<dyn Clock>>,
    /// topics seen on the cluster
    known: Mutex<BTreeSet<Topic>>,
    tail: Arc<Tail>,
    scans: Scans,
    appender: Mutex<Producers>,
    sender: Mutex<Option<Reporting>>,
    /// producers of transactions that were dropped and made anew
    recycled: Arc<AtomicU64>,
    /// times that a group's standing positions were committed once more
    committed_again: AtomicU64,
    claims: Mutex<Table>,
    secret: OnceLock<[u8; 32]>,
    /// new at each start: part of its transactional ids
    instance: String,
}

/// Passes librdkafka's log on to ours.
struct Logged;

impl ClientContext for Logged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }
    fn error(&self, _: KafkaError, _: &str) {} // every call answers for itself
}

/// What librdkafka says. A broker that is away is said by the calls that fail, not ten times a second by this.
fn log(level: RDKafkaLogLevel, facility: &str, text: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => tracing::error!(facility, "{text}"),
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => tracing::debug!(facility, "{text}"),
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => tracing::trace!(facility, "{text}"),
    }
}

impl Kafka {
    /// Connects, and looks whether the cluster holds what it should.
    pub fn open(settings: Settings) -> Result<Self, Fault> {
        settings.check()?;
        let settings = Arc::new(settings);
        settings.sender()?; // its assertions, before anything is written
        let probe = Arc::new(Probe::new(Arc::clone(&settings))?);
        let metadata = probe.metadata().map_err(|why| {
            Fault::Fatal(format!("no Kafka answers at {} ({why}): start one with infra/kafka/kafka start, or name another with --brokers", settings.brokers))
        })?;
        let name = settings.named(&claims_topic());
        let found = metadata.topics().iter().find(|topic| topic.name() == name).map(|topic| topic.partitions().len());
        let found = found.and_then(|count| u16::try_from(count).ok());
        let partitions = match (found, settings.partitions) {
            (Some(found), Some(asked)) if found != asked => {
                return Err(Fault::Fatal(format!(
                    "the log on {} was created with {found} partitions (topic {name}), not {asked}: leave the number out, or begin a new namespace",
                    settings.brokers
                )));
            }
            (None, Some(0)) => return Err(Fault::Fatal("a log has at least 1 partition".to_owned())),
            (found, asked) => found.or(asked).unwrap_or(PARTITIONS),
        };
        if settings.looks && found.is_none() {
            return Err(Fault::Fatal(format!("there is no log of Daybook's on {} in namespace '{}'", settings.brokers, settings.namespace)));
        }
        topics::provision(&settings, &metadata, &[TopicSpec { topic: claims_topic(), retention: None }], partitions)?;
        let instance: String = blake3::hash(format!("{:?} {} {:?}", std::time::SystemTime::now(), std::process::id(), std::thread::current().id()).as_bytes())
            .to_hex()[..16]
            .into();
        let (tail, thread) = Tail::start(Arc::clone(&settings), Arc::clone(&probe))?;
        let recycled = Arc::default();
        let cluster = Cluster {
            probe,
            partitions,
            clock: LogClock::after(Timestamp(0), Arc::clone(&settings.clock)),
            known: Mutex::new(BTreeSet::from([claims_topic()])),
            tail,
            scans: Scans::new(Arc::clone(&settings)),
            appender: Mutex::new(Producers::new(Arc::clone(&settings), &format!("append.{instance}"), Arc::clone(&recycled))),
            recycled,
            committed_again: AtomicU64::new(0),
            sender: Mutex::default(),
            claims: Mutex::default(),
            secret: OnceLock::new(),
            instance,
            settings,
        };
        // Claims are read again at every take-over, and then in a hurry.
        let starts = (0..partitions).map(|partition| cluster.start(&claims_topic(), Partition(partition)));
        cluster.tail.follow(&claims_topic(), starts.collect::<Result<_, _>>()?);
        Ok(Self { cluster: Arc::new(cluster), tail: Some(thread) })
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.cluster.tail.stop();
        let _ended = self.tail.take().map(JoinHandle::join);
    }
}

impl Cluster {
    /// That a place exists; the broker might make a topic that does not.
    fn place(&self, topic: &Topic, partition: Partition) -> Result<(), Fault> {
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
    fn check(&self, messages: &[Message]) -> Result<(), Fault> {
        for message in messages {
            self.place(&message.topic, message.partition)?;
            if message.bytes() > RECORD_BYTES_MAX {
                let key = String::from_utf8_lossy(&message.key);
                return Err(Fault::Abort(format!(
                    "a record for {} with key '{key}' has {} bytes; a record has at most {RECORD_BYTES_MAX}",
                    message.topic,
                    message.bytes()
                )));
            }
        }
        Ok(())
    }

    fn marks(&self, topic: &Topic, partition: Partition) -> Result<(Offset, Offset), Fault> {
        self.place(topic, partition)?;
        self.probe.marks(topic, partition)
    }

    fn start(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault> {
        Ok(self.marks(topic, partition)?.0)
    }

    /// The high watermark: past everything that was written before the call, decided or not.
    fn end(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault> {
        Ok(self.marks(topic, partition)?.1)
    }

    fn read(&self, topic: &Topic, partition: Partition, from: Offset, limits: Limits) -> Result<Page, Fault> {
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
    fn committed(&self, group: &str, places: TopicPartitionList) -> Result<Positions, Fault> {
        let failed = |why: KafkaError| fault(&format!("positions of group {group}"), why);
        let asking: BaseConsumer<Logged> = self.settings.member(group).create_with_context(Logged).map_err(failed)?;
        let committed = asking.committed_offsets(places, ASK).map_err(failed);
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

    fn trim(&self, topic: &Topic, partition: Partition, before: Offset) -> Result<Offset, Fault> {
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

    fn wait(&self, positions: &[(Topic, Partition, Offset)], wait: Duration) -> Result<bool, Fault> {
        for (topic, ..) in positions {
            if !self.tail.follows(topic) {
                let ends = (0..self.partitions).map(|partition| self.end(topic, Partition(partition)));
                self.tail.follow(topic, ends.collect::<Result<_, _>>()?);
            }
        }
        self.tail.wait(positions, wait)
    }
}

impl Log for Kafka {
    fn partitions(&self) -> u16 {
        self.cluster.partitions
    }

    fn secret(&self) -> [u8; 32] {
        self.cluster.secret.get().copied().unwrap_or_default()
    }

    fn initiate(&self, secret: [u8; 32]) {
        let _the_same = self.cluster.secret.set(secret);
    }

    fn now(&self) -> Timestamp {
        self.cluster.clock.now()
    }

    fn ahead(&self) -> i64 {
        self.cluster.clock.ahead()
    }

    fn provision(&self, topics: &[TopicSpec]) -> Result<(), Fault> {
        let cluster = &self.cluster;
        topics::provision(&cluster.settings, &cluster.probe.metadata()?, topics, cluster.partitions)?;
        cluster.known.lock().extend(topics.iter().map(|spec| spec.topic.clone()));
        Ok(())
    }

    fn review(&self, topics: &[TopicSpec]) -> Result<Vec<String>, Fault> {
        let (cluster, claims) = (&self.cluster, TopicSpec { topic: claims_topic(), retention: None });
        let all: Vec<TopicSpec> = topics.iter().filter(|spec| spec.topic != claims.topic).chain([&claims]).cloned().collect();
        topics::review(&cluster.settings, &cluster.probe, &all, cluster.partitions)
    }

    fn append(&self, messages: Vec<Message>) -> Result<Vec<Offset>, Fault> {
        self.cluster.append(&messages)
    }

    fn send(&self, messages: Vec<Message>) -> Vec<Result<Offset, Fault>> {
        let count = messages.len();
        let sent = self.cluster.check(&messages).and_then(|()| self.cluster.each(&messages));
        sent.unwrap_or_else(|fault| vec![Err(fault); count])
    }

    fn read(&self, topic: &Topic, partition: Partition, from: Offset, limits: Limits) -> Result<Page, Fault> {
        self.cluster.read(topic, partition, from, limits)
    }

    fn start(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault> {
        self.cluster.start(topic, partition)
    }

    fn end(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault> {
        self.cluster.end(topic, partition)
    }

    fn end_seen(&self, topic: &Topic, partition: Partition) -> Option<Offset> {
        self.cluster.tail.end_seen(topic, partition)
    }

    fn wait(&self, positions: &[(Topic, Partition, Offset)], wait: Duration) -> Result<bool, Fault> {
        self.cluster.wait(positions, wait)
    }

    fn markers(&self) -> u64 {
        1
    }

    fn committed(&self, group: &str) -> Result<Positions, Fault> {
        let (cluster, mut all) = (&self.cluster, TopicPartitionList::new());
        for topic in
            cluster.probe.metadata()?.topics().iter().map(|topic| topic.name()).filter(|name| cluster.settings.topic(name).is_some() && !name.starts_with("__"))
        {
            for partition in 0..cluster.partitions {
                all.add_partition(topic, i32::from(partition));
            }
        }
        cluster.committed(group, all)
    }

    fn trim(&self, topic: &Topic, partition: Partition, before: Offset) -> Result<Offset, Fault> {
        self.cluster.trim(topic, partition, before)
    }

    fn counts(&self) -> Vec<(&'static str, u64)> {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        vec![
            ("producers_recycled", count(&self.cluster.recycled)),
            ("positions_committed_again", count(&self.cluster.committed_again)),
            ("clients_renewed", self.cluster.probe.renewed() + self.cluster.tail.renewed()),
        ]
    }

    fn join(&self, group: Group) -> Result<Box<dyn Member>, Fault> {
        let inputs = group.inputs.iter().map(|input| &input.topic);
        inputs.chain([&group.commands]).try_for_each(|topic| self.cluster.place(topic, Partition(0)))?;
        Ok(Box::new(KafkaMember::new(Arc::clone(&self.cluster), group)))
    }

    fn owner(&self, group: &str, partition: Partition) -> Result<Option<String>, Fault> {
        let mut table = self.cluster.claims.lock();
        table.refresh(&self.cluster, partition, self.cluster.tail.next(&claims_topic(), partition))?; // as far as it has come here
        Ok(table.last(group, partition).filter(|last| !last.released).and_then(|last| last.url.clone()))
    }
}
