//! Committed records from given places. A tail follows whole topics for everybody and keeps what is new in memory;
//! scans read what lies further back. Positions come from the client, which counts transaction markers too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kernel::Timestamp;
use parking_lot::{Condvar, Mutex};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::Offset as At;
use schemas::{Headers, Partition, Topic};

use super::access::polled;
use super::config::Settings;
use super::fault::fault;
use super::probe::{Probe, Watch};
use super::{closing, ffi, logged::Logged};
use crate::log::ring::Ring;
use crate::log::{BrokerFigures, Fault, Limits, Message, Offset, Page, Record};

/// How long one poll of the tail lasts; a topic that is newly followed waits for its end.
const SLICE: Duration = Duration::from_millis(50);
/// How often the tail notes where its partitions end.
const ENDS: Duration = Duration::from_secs(1);
/// How long a read waits for what lies before an end, an open transaction's records among it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether a client reads what there is to read; whoever stands still twice is made anew.
pub const WATCH: Duration = Duration::from_secs(3);
/// How long a client is asked for a topic's leader before it is left to find that by itself.
const LEADER: Duration = Duration::from_secs(1);
/// Scans that stay open for the next page.
const IDLE_SCANS: usize = 6;
/// What an event's headers mostly hold.
const HEADER_BYTES: usize = 384;

/// Whoever turns pages comes back within this.
const TURNING: Duration = Duration::from_millis(20);

type TopicPartition = (Topic, Partition);

#[derive(Default)]
struct Rings {
    known: BTreeMap<TopicPartition, Ring>,
    /// topics to be followed, not yet by the tail
    asked: Vec<(Topic, Vec<Offset>)>,
    failed: Option<String>,
    /// where partitions ended when it looked last
    ends: BTreeMap<TopicPartition, Offset>,
    looked: Option<Instant>,
    watch: Watch,
}

/// What follows topics.
pub struct Tail {
    settings: Arc<Settings>,
    probe: Arc<Probe>,
    rings: Mutex<Rings>,
    told: Condvar,
    stop: AtomicBool,
    renewed: AtomicU64,
    /// the brokers as its client sees them
    brokers: Mutex<Vec<BrokerFigures>>,
}

/// Reads what the tail does not have.
pub struct Scans {
    settings: Arc<Settings>,
    idle: Mutex<Vec<Scan>>,
}

struct Scan {
    consumer: BaseConsumer<Logged>,
    place: Option<TopicPartition>,
    /// every place it has read: there the client may still say for a moment where it stood before
    had: BTreeSet<TopicPartition>,
    /// read, but past the last page
    spare: VecDeque<Record>,
    next: Offset,
    used: Instant,
}

impl Tail {
    /// Starts its thread, which ends after [`Tail::stop`].
    pub fn start(settings: Arc<Settings>, probe: Arc<Probe>) -> Result<(Arc<Self>, JoinHandle<()>), Fault> {
        let tail = Arc::new(Self {
            settings,
            probe,
            rings: Mutex::default(),
            told: Condvar::new(),
            stop: AtomicBool::new(false),
            renewed: AtomicU64::new(0),
            brokers: Mutex::default(),
        });
        let of_thread = Arc::clone(&tail);
        let thread = std::thread::Builder::new().name("log tail".into()).spawn(move || of_thread.run());
        Ok((tail, thread.map_err(|why| Fault::Fatal(format!("no thread for the log: {why}")))?))
    }

    /// Ends it.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.told.notify_all();
    }

    /// The brokers as its client sees them.
    pub fn brokers(&self) -> Vec<BrokerFigures> {
        self.brokers.lock().clone()
    }

    /// Whether it follows a topic.
    pub fn follows(&self, topic: &Topic) -> bool {
        let rings = self.rings.lock();
        rings.known.contains_key(&(topic.clone(), Partition(0))) || rings.asked.iter().any(|(asked, _)| asked == topic)
    }

    /// From these places on, one for each partition.
    pub fn follow(&self, topic: &Topic, from: Vec<Offset>) {
        let mut rings = self.rings.lock();
        if rings.known.contains_key(&(topic.clone(), Partition(0))) || rings.asked.iter().any(|(asked, _)| asked == topic) {
            return;
        }
        let bytes = self.settings.newest_bytes / from.len().max(1);
        for (partition, first) in (0..).map(Partition).zip(&from) {
            rings.known.insert((topic.clone(), partition), Ring::at(*first, bytes));
        }
        rings.asked.push((topic.clone(), from));
    }

    /// Whether a place is its to give, now or as soon as it has read it.
    pub fn holds(&self, topic: &Topic, partition: Partition, from: Offset) -> bool {
        self.rings.lock().known.get(&(topic.clone(), partition)).is_some_and(|ring| ring.first() <= from)
    }

    /// Where it stands in a partition it follows.
    pub fn next(&self, topic: &Topic, partition: Partition) -> Offset {
        self.rings.lock().known.get(&(topic.clone(), partition)).map_or(Offset(0), Ring::next)
    }

    /// Where a partition it follows ended when a broker said so last.
    pub fn end_seen(&self, topic: &Topic, partition: Partition) -> Option<Offset> {
        let (rings, place) = (self.rings.lock(), (topic.clone(), partition));
        Some(rings.known.get(&place)?.next().max(rings.ends.get(&place).copied().unwrap_or_default()))
    }

    /// Waits until one of these places has been passed; says whether.
    pub fn wait(&self, beyond: &[(Topic, Partition, Offset)], wait: Duration) -> Result<bool, Fault> {
        let deadline = Instant::now() + wait;
        let mut rings = self.rings.lock();
        loop {
            let passed =
                |(topic, partition, next): &(Topic, Partition, Offset)| rings.known.get(&(topic.clone(), *partition)).is_some_and(|ring| ring.next() > *next);
            if beyond.iter().any(passed) {
                return Ok(true);
            }
            if let Some(why) = &rings.failed {
                return Err(Fault::Fatal(why.clone()));
            }
            if self.stop.load(Ordering::Acquire) || self.told.wait_until(&mut rings, deadline).timed_out() {
                return Ok(false);
            }
        }
    }

    /// A page from memory, if `from` lies there.
    pub fn page(&self, topic: &Topic, partition: Partition, from: Offset, limits: Limits) -> Option<Page> {
        self.rings.lock().known.get(&(topic.clone(), partition))?.page(from, limits)
    }

    /// Gives nothing before `start` any more: it was deleted.
    pub fn forget(&self, topic: &Topic, partition: Partition, start: Offset) {
        if let Some(ring) = self.rings.lock().known.get_mut(&(topic.clone(), partition)) {
            ring.forget(start);
        }
    }

    /// How often its client was made anew.
    pub fn renewed(&self) -> u64 {
        self.renewed.load(Ordering::Relaxed)
    }

    /// Fails where something is to be read and the client does not read it.
    fn watch(&self) -> Result<(), Fault> {
        let stand: Vec<(Topic, Partition, Offset)> =
            self.rings.lock().known.iter().map(|((topic, partition), ring)| (topic.clone(), *partition, ring.next())).collect();
        // Where the ends are not known by now, nothing is known.
        let Ok(ends) = self.probe.ends(stand.iter().map(|(topic, partition, _)| (topic.clone(), *partition))) else { return Ok(()) };
        match self.rings.lock().watch.look(&stand, &ends).first() {
            None => Ok(()),
            Some((topic, partition, next)) => Err(Fault::Retry(format!("{topic}/{partition} has records from {next} on, and the client reads none"))),
        }
    }

    fn run(&self) {
        let (mut consumer, mut watched, mut signed_in) = (None::<BaseConsumer<Logged>>, Instant::now(), 0);
        while !self.stop.load(Ordering::Acquire) {
            self.settings.credentials.look();
            consumer.iter().for_each(|consumer| self.settings.credentials.renew(&mut signed_in, consumer.client()));
            let turned = self.turn(&mut consumer).and_then(|()| {
                if watched.elapsed() < WATCH {
                    return Ok(());
                }
                watched = Instant::now();
                self.watch()
            });
            if let Err(fault) = turned {
                self.renewed.fetch_add(1, Ordering::Relaxed);
                if matches!(fault, Fault::Fatal(_)) {
                    tracing::error!(%fault, "the log's tail stopped");
                    self.rings.lock().failed = Some(fault.to_string());
                    self.told.notify_all();
                    break;
                }
                tracing::warn!(%fault, "the log's tail begins again");
                consumer.take().into_iter().for_each(closing::later);
                std::thread::sleep(SLICE);
            }
        }
        consumer.into_iter().for_each(closing::later);
    }

    fn turn(&self, consumer: &mut Option<BaseConsumer<Logged>>) -> Result<(), Fault> {
        let failed = |error: KafkaError| fault("following topics", error);
        let mut rings = self.rings.lock();
        if !rings.asked.is_empty() || consumer.is_none() {
            rings.asked.clear();
            let mut all = TopicPartitionList::new();
            for ((topic, partition), ring) in &rings.known {
                add(&mut all, &self.settings, topic, *partition, ring.next()).map_err(failed)?;
            }
            drop(rings);
            if consumer.is_none() {
                *consumer = Some(self.settings.reader("tail").create_with_context(Logged::default()).map_err(failed)?);
            }
            if all.count() > 0 {
                consumer.iter().try_for_each(|consumer| consumer.assign(&all)).map_err(failed)?;
            }
        } else {
            drop(rings);
        }
        let Some(consumer) = consumer else { return Ok(()) };
        let (mut read, mut wait) = (vec![], SLICE);
        while let Some(told) = consumer.poll(wait) {
            match told {
                Ok(message) => read.push(record(&self.settings, &message)),
                Err(why) => match polled(&self.settings, "following topics", "tail", &self.topics(), why) {
                    Fault::Retry(why) => tracing::debug!(why, "the tail goes on"), // the client finds its way back
                    fault => return Err(fault),
                },
            }
            wait = Duration::ZERO;
            if read.len() >= 1_000 {
                break;
            }
        }
        // Markers that were read after the records are counted by now.
        let positions = consumer.position().map_err(failed)?;
        self.take(read, &positions);
        *self.brokers.lock() = consumer.context().brokers();
        self.note_ends(consumer);
        Ok(())
    }

    fn topics(&self) -> Vec<Topic> {
        self.rings.lock().known.keys().map(|(topic, _)| topic.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Notes what the last fetches told of ends, from the client's memory.
    fn note_ends(&self, consumer: &BaseConsumer<Logged>) {
        let mut rings = self.rings.lock();
        if rings.looked.is_some_and(|looked| looked.elapsed() < ENDS) {
            return;
        }
        rings.looked = Some(Instant::now());
        let places: Vec<TopicPartition> = rings.known.keys().cloned().collect();
        for (topic, partition) in places {
            let name = CString::new(self.settings.named(&topic)).ok();
            let end = name.and_then(|name| ffi::end_seen(consumer, &name, i32::from(partition.0)));
            rings.ends.extend(end.map(|end| ((topic, partition), Offset(end))));
        }
    }

    fn take(&self, read: Vec<Record>, positions: &TopicPartitionList) {
        let mut rings = self.rings.lock();
        for record in read {
            let Some(ring) = rings.known.get_mut(&(record.topic.clone(), record.partition)) else { continue };
            ring.push(Arc::new(record)); // one that is read again after a new beginning is known
        }
        for element in positions.elements() {
            let place = self.settings.topic(element.topic()).zip(u16::try_from(element.partition()).ok());
            let ring = place.and_then(|(topic, partition)| rings.known.get_mut(&(topic, Partition(partition))));
            if let (Some(ring), At::Offset(next)) = (ring, element.offset()) {
                ring.reach(Offset(u64::try_from(next).unwrap_or_default()));
            }
        }
        drop(rings);
        self.told.notify_all();
    }
}

impl Scans {
    /// None open yet.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings, idle: Mutex::default() }
    }

    /// Committed records from `from` on, which lies before `end`; waits for them as long as they are in an open transaction.
    pub fn page(&self, topic: &Topic, partition: Partition, from: Offset, end: Offset, limits: Limits) -> Result<Page, Fault> {
        let place = (topic.clone(), partition);
        let mut scan = self.take(&place, from)?;
        let page = scan.page(&self.settings, &place, from, end, limits)?; // a scan that failed is not used again,
        if page.next <= from {
            closing::later(scan); // nor one that has found nothing where there is something
            return Ok(page);
        }
        let mut idle = self.idle.lock();
        if idle.len() >= IDLE_SCANS {
            closing::later(idle.remove(0));
        }
        idle.push(scan);
        Ok(page)
    }

    /// Gives its clients what they sign in with from now on.
    pub fn sign_in(&self) {
        self.idle.lock().iter().for_each(|scan| self.settings.credentials.give(scan.consumer.client()));
    }

    fn take(&self, place: &TopicPartition, from: Offset) -> Result<Scan, Fault> {
        let mut idle = self.idle.lock();
        let same = idle.iter().position(|scan| scan.place.as_ref() == Some(place) && scan.next == from);
        // One that was used a moment ago is somebody's who turns pages; a new client takes longer than a new place.
        let any = idle.iter().position(|scan| (scan.used.elapsed() > TURNING || idle.len() >= IDLE_SCANS) && !scan.had.contains(place));
        if let Some(found) = same.or(any) {
            return Ok(idle.remove(found));
        }
        drop(idle);
        let consumer = self.settings.reader("scan").create_with_context(Logged::default()).map_err(|why| fault("reading", why))?;
        Ok(Scan { consumer, place: None, had: BTreeSet::new(), spare: VecDeque::new(), next: Offset(0), used: Instant::now() })
    }
}

impl Scan {
    fn page(&mut self, settings: &Settings, place: &TopicPartition, from: Offset, end: Offset, limits: Limits) -> Result<Page, Fault> {
        let what = format!("reading {}/{} from {from}", place.0, place.1);
        let failed = |error: KafkaError| fault(&what, error);
        let afresh = self.place.as_ref() != Some(place) || self.next != from;
        if afresh {
            let mut all = TopicPartitionList::new();
            add(&mut all, settings, &place.0, place.1, from).map_err(failed)?;
            self.spare.clear();
            self.place = None;
            if !self.had.iter().any(|(topic, _)| *topic == place.0) {
                // Of itself a client looks for the leader of a topic that is new to it once in a second: no longer is it asked for here.
                let _asked = self.consumer.fetch_metadata(Some(&settings.named(&place.0)), LEADER);
            }
            self.had.insert(place.clone());
            self.consumer.assign(&all).map_err(failed)?;
        }
        let (mut page, mut bytes, deadline) = (Page { records: vec![], next: from }, 0, Instant::now() + PATIENCE);
        loop {
            let read = match self.spare.pop_front() {
                Some(record) => Some(record),
                // Without a wait first: it costs two looks at the clock for each record.
                None => match self.consumer.poll(Duration::ZERO).or_else(|| self.consumer.poll(Duration::from_millis(20))) {
                    Some(Ok(message)) => Some(record_of(place.0.clone(), &message)).filter(|record| record.offset >= from),
                    Some(Err(KafkaError::PartitionEOF(_))) | None => None,
                    // What a client that was idle says first may be of an outage that is over.
                    Some(Err(error)) => match polled(settings, &what, "scan", std::slice::from_ref(&place.0), error) {
                        Fault::Retry(_) if Instant::now() < deadline => continue,
                        fault => return Err(fault),
                    },
                },
            };
            let Some(record) = read else {
                page.next = page.next.max(self.position(place).map_err(failed)?);
                if page.next >= end || page.next > from || Instant::now() > deadline {
                    break;
                }
                continue;
            };
            if page.records.len() >= limits.records.max(1) || (bytes + record.bytes() > limits.bytes && !page.records.is_empty()) {
                page.next = record.offset;
                self.spare.push_front(record);
                break;
            }
            bytes += record.bytes();
            page.next = record.offset.next();
            page.records.push(Arc::new(record));
        }
        (self.place, self.next, self.used) = (Some(place.clone()), page.next, Instant::now());
        Ok(page)
    }

    /// Where the client stands, markers counted; nowhere before it has read anything.
    fn position(&self, place: &TopicPartition) -> Result<Offset, KafkaError> {
        let positions = self.consumer.position()?;
        let here = positions.elements().into_iter().find(|element| element.partition() == i32::from(place.1.0)).map(|element| element.offset());
        Ok(match here {
            Some(At::Offset(next)) => Offset(u64::try_from(next).unwrap_or_default()),
            _ => Offset(0),
        })
    }
}

/// Adds a place to a list of librdkafka's.
pub fn add(list: &mut TopicPartitionList, settings: &Settings, topic: &Topic, partition: Partition, next: Offset) -> Result<(), KafkaError> {
    list.add_partition_offset(&settings.named(topic), i32::from(partition.0), At::Offset(i64::try_from(next.0).unwrap_or(i64::MAX)))
}

/// A record as librdkafka gives it.
pub fn record(settings: &Settings, message: &BorrowedMessage<'_>) -> Record {
    record_of(settings.topic(message.topic()).unwrap_or_else(|| Topic::named(message.topic())), message)
}

fn record_of(topic: Topic, message: &BorrowedMessage<'_>) -> Record {
    let headers: Headers = message.headers().map_or_else(Headers::default, |headers| {
        let mut all = Headers::with_capacity(headers.count(), HEADER_BYTES);
        headers.iter().for_each(|header| all.push(header.key, header.value.unwrap_or_default()));
        all
    });
    let partition = Partition(u16::try_from(message.partition()).unwrap_or(u16::MAX));
    let offset = Offset(u64::try_from(message.offset()).unwrap_or_default());
    let recorded_at = Timestamp(message.timestamp().to_millis().unwrap_or_default().saturating_mul(1_000));
    let (key, value) = (message.key().unwrap_or_default().to_vec(), message.payload().map(<[u8]>::to_vec));
    Record::of(Message { topic, partition, key, headers, value }, offset, recorded_at)
}

impl ConsumerContext for Logged {}
