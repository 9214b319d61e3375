//! The log on Apache Kafka: topics, groups and transactions of a cluster, through librdkafka. What a commit proves,
//! when a position moves and who may write are the broker's to enforce; this makes it so, and assumes nothing it
//! cannot check.

use std::collections::BTreeSet;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use kernel::Timestamp;
use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use schemas::{Partition, Topic};

use crate::log::clock::LogClock;
use crate::log::{BrokerFigures, Fault, Group, Limits, Log, Member, Message, Offset, Page, Positions, Rules, TopicSpec};

mod access;
mod append;
mod assignments;
mod closing;
mod cluster;
mod config;
mod credentials;
mod fault;
mod ffi;
mod group_consumer;
mod groups;
mod logged;
mod member;
mod probe;
mod producer;
mod reader;
mod rebalance;
mod topics;

pub use access::{APPENDS, READERS};
pub use config::{SESSION_MS, Settings, shown};
pub use credentials::Credentials;
pub use topics::declared;

use cluster::Cluster;
use config::assignments as assignments_topic;
use member::KafkaMember;
use probe::Probe;
use producer::Producers;
use reader::{Scans, Tail};

/// How long a broker may take to take a connection.
const CONNECT: Duration = Duration::from_secs(1);

/// The log on a cluster.
pub struct Kafka {
    cluster: Arc<Cluster>,
    tail: Option<JoinHandle<()>>,
}

impl Kafka {
    /// Connects, and looks whether the cluster holds what it should.
    pub fn open(settings: Settings) -> Result<Self, Fault> {
        // Before librdkafka does: it lets OpenSSL clear up when the process exits, while threads of clients that are being closed
        // still speak TLS, and a stop that went well ends in a crash.
        openssl_sys::init();
        settings.check()?;
        let settings = Arc::new(settings);
        settings.sender()?; // its assertions, before anything is written
        let probe = Arc::new(Probe::new(Arc::clone(&settings))?);
        let metadata = probe.first().map_err(|why| {
            if matches!(why, Fault::Fatal(_)) {
                return why; // of the sign-in, and of certificates: nobody who answers later would say otherwise
            }
            // One that is starting, or has too much to do, is waited for; nobody is waited for where nobody is.
            if takes_connections(&settings.brokers) {
                return Fault::Retry(format!("Kafka at {} takes connections and does not answer yet: {why}", settings.brokers));
            }
            Fault::Fatal(format!("no Kafka answers at {} ({why}): start one with infra/kafka/kafka start, or name another with --brokers", settings.brokers))
        })?;
        let name = settings.named(&assignments_topic());
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
            (found, asked) => found.or(asked).unwrap_or(crate::log::PARTITIONS),
        };
        if settings.looks && found.is_none() {
            return Err(Fault::Fatal(format!("there is no log of Daybook's on {} in namespace '{}'", settings.brokers, settings.namespace)));
        }
        topics::provision(&settings, &metadata, &[TopicSpec { topic: assignments_topic(), retention: None }], partitions)?;
        let instance: String = blake3::hash(format!("{:?} {} {:?}", std::time::SystemTime::now(), std::process::id(), std::thread::current().id()).as_bytes())
            .to_hex()[..16]
            .into();
        let (tail, thread) = Tail::start(Arc::clone(&settings), Arc::clone(&probe))?;
        let recycled = Arc::default();
        let cluster = Cluster {
            probe,
            partitions,
            clock: LogClock::after(Timestamp(0), Arc::clone(&settings.clock)),
            known: Mutex::new(BTreeSet::from([assignments_topic()])),
            tail,
            scans: Scans::new(Arc::clone(&settings)),
            appender: Mutex::new(Producers::new(Arc::clone(&settings), &format!("{APPENDS}{instance}"), Arc::clone(&recycled))),
            recycled,
            committed_again: AtomicU64::new(0),
            sender: Mutex::default(),
            signed_in: AtomicU64::new(0),
            assignments: Mutex::default(),
            secret: OnceLock::new(),
            instance,
            settings,
        };
        // Claims are read again at every take-over, and then in a hurry.
        let starts = (0..partitions).map(|partition| cluster.start(&assignments_topic(), Partition(partition)));
        cluster.tail.follow(&assignments_topic(), starts.collect::<Result<_, _>>()?);
        Ok(Self { cluster: Arc::new(cluster), tail: Some(thread) })
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.cluster.tail.stop();
        let _ended = self.tail.take().map(JoinHandle::join);
    }
}

impl Log for Kafka {
    fn partitions(&self) -> u16 {
        self.cluster.partitions
    }

    fn rules(&self) -> Rules {
        self.cluster.settings.rules
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
        let (cluster, assignments) = (&self.cluster, TopicSpec { topic: assignments_topic(), retention: None });
        let all: Vec<TopicSpec> = topics.iter().filter(|spec| spec.topic != assignments.topic).chain([&assignments]).cloned().collect();
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

    fn brokers(&self) -> Vec<BrokerFigures> {
        self.cluster.tail.brokers()
    }

    fn join(&self, group: Group) -> Result<Box<dyn Member>, Fault> {
        let inputs = group.inputs.iter().map(|input| &input.topic);
        inputs.chain([&group.commands]).try_for_each(|topic| self.cluster.place(topic, Partition(0)))?;
        Ok(Box::new(KafkaMember::new(Arc::clone(&self.cluster), group)))
    }

    fn owner(&self, group: &str, partition: Partition) -> Result<Option<String>, Fault> {
        let mut table = self.cluster.assignments.lock();
        self.cluster.refresh(&mut table, partition, self.cluster.tail.next(&assignments_topic(), partition))?; // as far as it has come here
        Ok(table.last(group, partition).filter(|last| !last.released).and_then(|last| last.url.clone()))
    }
}

/// Whether anybody listens at one of these addresses.
fn takes_connections(brokers: &str) -> bool {
    let addresses = brokers.split(',').filter_map(|broker| broker.trim().to_socket_addrs().ok()).flatten();
    addresses.into_iter().any(|address| TcpStream::connect_timeout(&address, CONNECT).is_ok())
}
