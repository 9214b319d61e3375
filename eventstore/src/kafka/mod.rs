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
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::groups::GroupList;
use rdkafka::metadata::Metadata;
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::Offset as At;
use schemas::{Partition, Topic, commands_of};

use crate::clock::{Clock, LogClock};
use crate::log::{Fault, Group, Limits, Log, Member, Message, Offset, Page, Positions, RECORD_BYTES_MAX, Record, TopicSpec, may_trim};

mod claims;
mod closing;
mod config;
mod fault;
mod ffi;
mod groups;
mod member;
mod producer;
mod reader;
mod rebalance;
mod seat;
mod topics;

pub use config::{SESSION_MS, Settings, shown};

use claims::{Table, claims as claims_topic};
use fault::fault;
use member::KafkaMember;
use producer::{Ended, Producers, Reporting, Reports, hand_over};
use reader::{Scans, Tail};

/// Partitions of a new log.
const PARTITIONS: u16 = 8;
/// How long the broker may take to answer a question.
const ASK: Duration = Duration::from_secs(10);

/// The log on a cluster.
pub struct Kafka {
    cluster: Arc<Cluster>,
    tail: Option<JoinHandle<()>>,
}

/// What the log's threads share.
struct Cluster {
    settings: Arc<Settings>,
    probe: BaseConsumer<Logged>,
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
        let probe = BaseConsumer::from_config_and_context(&settings.probe(), Logged).map_err(|why| Fault::Fatal(format!("Kafka settings: {why}")))?;
        let metadata = probe.fetch_metadata(None, ASK).map_err(|why| {
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
        let (tail, thread) = Tail::start(Arc::clone(&settings))?;
        let recycled = Arc::default();
        let cluster = Cluster {
            probe,
            partitions,
            clock: LogClock::after(Timestamp(0), Arc::clone(&settings.clock)),
            known: Mutex::default(),
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
    fn metadata(&self) -> Result<Metadata, Fault> {
        self.probe.fetch_metadata(None, ASK).map_err(|why| fault("the cluster's topics", why))
    }

    /// That a place exists; the broker might make a topic that does not.
    fn place(&self, topic: &Topic, partition: Partition) -> Result<(), Fault> {
        if !self.known.lock().contains(topic) {
            let metadata = self.metadata()?;
            self.known.lock().extend(metadata.topics().iter().filter_map(|topic| self.settings.topic(topic.name())));
            if !self.known.lock().contains(topic) {
                return Err(Fault::Abort(format!(
                    "topic {} does not exist on {}: it is made at the start of the service that owns it",
                    self.settings.named(topic),
                    self.settings.brokers
                )));
            }
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
        let deadline = Instant::now() + ASK;
        let (low, high) = loop {
            let asked = self.probe.fetch_watermarks(&self.settings.named(topic), i32::from(partition.0), ASK);
            match asked.map_err(|why| fault(&format!("the ends of {topic}/{partition}"), why)) {
                // A new topic, or a broker that has just gone, has a leader within moments.
                Err(Fault::Retry(_)) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
                other => break other?,
            }
        };
        Ok((Offset(u64::try_from(low).unwrap_or_default()), Offset(u64::try_from(high).unwrap_or_default())))
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
            && self.tail.wait(&[(topic.clone(), partition, from)], ASK)?
            && let Some(page) = self.tail.page(topic, partition, from, limits)
        {
            return Ok(page);
        }
        let page = self.scans.page(topic, partition, from, end, limits)?;
        page.records.iter().map(|record| record.recorded_at).max().into_iter().for_each(|newest| self.clock.seen(newest));
        Ok(page)
    }

    /// Writes records that each stand for themselves; an error if any was not written.
    fn send(&self, messages: &[Message]) -> Result<Vec<Offset>, Fault> {
        self.each(messages)?.into_iter().collect()
    }

    fn each(&self, messages: &[Message]) -> Result<Vec<Result<Offset, Fault>>, Fault> {
        let mut sender = self.sender.lock();
        let producer = match sender.take() {
            Some(producer) => producer,
            None => Reporting::from_config_and_context(&self.settings.sender()?, Reports::default()).map_err(|why| fault("sender", why))?,
        };
        let reports: &Reports = producer.context();
        let handed = hand_over(&self.settings, &producer, reports, messages);
        let told = reports.all(ASK + ASK);
        let failed = |code: RDKafkaErrorCode| fault("writing", code);
        // A producer that failed is not used again: it may have left a gap in its sequence.
        if handed.is_ok() && told.iter().all(Result::is_ok) {
            *sender = Some(producer);
        } else {
            closing::later(producer);
        }
        handed.map_err(|trouble| fault("writing", trouble))?;
        Ok(told.into_iter().map(|told| told.map_err(failed)).collect())
    }

    /// Looks what became of a transaction whose end is not known: its producers are made anew, which ends what is open
    /// and waits for it, and then the log has its records or has passed over their places.
    fn settle(&self, appender: &mut Producers, messages: &[Message], places: &[Option<Offset>], why: &str) -> Result<Vec<Offset>, Fault> {
        let not_known = |what: &str| Fault::Abort(format!("whether these records were written is not known: {why}; {what}"));
        let deadline = Instant::now() + ASK;
        while let Err(fault) = appender.mend() {
            if !matches!(fault, Fault::Retry(_)) || Instant::now() > deadline {
                return Err(not_known(&fault.to_string()));
            }
        }
        for (message, offset) in messages.iter().zip(places).filter_map(|(message, place)| Some((message, (*place)?))) {
            loop {
                match self.read(&message.topic, message.partition, offset, Limits { records: 1, ..Limits::default() }) {
                    Ok(page) if page.records.first().is_some_and(|record| record.offset == offset && is(record, message)) => break,
                    Ok(page) if page.next > offset => return Err(Fault::Abort(format!("these records were not written: {why}"))),
                    Err(fault) if Instant::now() > deadline => return Err(not_known(&fault.to_string())),
                    Ok(_) if Instant::now() > deadline => return Err(not_known("the log does not show their places")),
                    Ok(_) | Err(_) => std::thread::sleep(Duration::from_millis(50)),
                }
            }
        }
        let offsets: Option<Vec<Offset>> = places.iter().copied().collect();
        offsets.filter(|offsets| offsets.len() == messages.len()).ok_or_else(|| not_known("the broker did not say where they are"))
    }

    /// Who is in a group.
    fn groups(&self, name: &str, wait: Duration) -> Result<GroupList, Fault> {
        self.probe.fetch_group_list(Some(name), wait).map_err(|why| fault(&format!("members of group {name}"), why))
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

/// Whether a record is this message.
fn is(record: &Record, message: &Message) -> bool {
    (&record.key, &record.headers, &record.value) == (&message.key, &message.headers, &message.value)
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
        topics::provision(&cluster.settings, &cluster.metadata()?, topics, cluster.partitions)?;
        cluster.known.lock().extend(topics.iter().map(|spec| spec.topic.clone()));
        Ok(())
    }

    fn append(&self, messages: Vec<Message>) -> Result<Vec<Offset>, Fault> {
        self.cluster.check(&messages)?;
        if messages.len() == 1 {
            return self.cluster.send(&messages);
        }
        let mut appender = self.cluster.appender.lock();
        match appender.run(&messages, None) {
            Ended::Committed(offsets) => Ok(offsets),
            Ended::Not(fault) => Err(fault),
            Ended::Lost(why) => Err(Fault::Abort(why)), // of groups alone
            Ended::Fenced(why, places) if places.is_empty() => Err(Fault::Abort(format!("these records were not written: {why}"))),
            Ended::Unknown(why, places) | Ended::Fenced(why, places) => self.cluster.settle(&mut appender, &messages, &places, &why),
        }
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

    fn committed(&self, group: &str) -> Result<Positions, Fault> {
        let (cluster, mut all) = (&self.cluster, TopicPartitionList::new());
        for topic in
            cluster.metadata()?.topics().iter().map(|topic| topic.name()).filter(|name| cluster.settings.topic(name).is_some() && !name.starts_with("__"))
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
        vec![("producers_recycled", count(&self.cluster.recycled)), ("positions_committed_again", count(&self.cluster.committed_again))]
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
