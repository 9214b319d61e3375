//! Versions side by side on a real broker: a service that follows one topic more joins beside running instances of the version
//! before, and each event still has its effect once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use eventstore::kafka::{Kafka, Settings};
use eventstore::log::TopicSpec;
use eventstore::memory::Memory;
use eventstore::rows::Rows;
use eventstore::service::Service;
use eventstore::worker::Worker;
use eventstore::{Fault, Group, Limits, Log, Message, Offset, Polled};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use schemas::{Codec, Envelope, Headers, Partition, Stream, Topic, partition_of, topic};
use tempfile::TempDir;

use crate::broker::Broker;
use crate::tally::{Echo, Event, Tally};

fn settings(namespace: &str) -> Settings {
    Settings { namespace: namespace.to_owned(), ..Settings::new(Broker::shared().address()) }
}

fn open(namespace: &str) -> Arc<dyn Log> {
    Arc::new(Kafka::open(settings(namespace)).unwrap())
}

fn tally(follows: &[&str]) -> Service {
    follows.iter().fold(Service::new("tally").owns::<Tally, _>(), |service, other| service.follows::<Echo, _>(other))
}

/// One instance of a version, in a thread, until it is told to leave.
pub struct Instance {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<(), Fault>>,
}

impl Instance {
    pub fn start(settings: Settings, follows: &'static [&'static str], member: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (dir, service, log) = (TempDir::new().unwrap(), Arc::new(tally(follows)), Arc::new(Kafka::open(settings)?));
            let rows = Arc::new(Rows::open(dir.path(), &eventstore::heads::shape(&service), &Memory::default()).unwrap());
            let mut worker = Worker::join(service, log, rows, member, Limits { records: 10, ..Limits::default() }, Arc::new(()))?;
            while !stopped.load(Ordering::Acquire) {
                if let Err(fault @ (Fault::Fatal(_) | Fault::Stop(_))) = worker.turn(Duration::from_millis(50)) {
                    println!("{member} ended by itself: {fault}");
                    return Err(fault);
                }
            }
            worker.leave()
        });
        Self { stop, thread }
    }

    /// By itself: what its worker said is told when it is left.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    pub fn leave(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap().unwrap();
    }
}

pub fn event(log: &dyn Log, service: &str, n: usize) -> Message {
    let (subject, (kind, body)) = (format!("{}", n % 40), Tally::encode_event(&Event::Counted { more: 1, at: 0 }));
    let envelope = Envelope::new(format!("{service}-{n}"), format!("/{service}/tally"), kind, &subject);
    let partition = partition_of(subject.as_bytes(), log.partitions());
    Message { topic: topic(Stream::Events(service)), partition, key: subject.into_bytes(), headers: envelope.headers(), value: Some(body) }
}

/// How often each event of others caused an own one.
pub fn causes(log: &dyn Log) -> BTreeMap<String, usize> {
    let (own, mut causes) = (topic(Stream::Events("tally")), BTreeMap::new());
    for partition in (0..log.partitions()).map(Partition) {
        let (mut from, end) = (Offset(0), log.end(&own, partition).unwrap());
        while from < end {
            let page = log.read(&own, partition, from, Limits::default()).unwrap();
            for record in page.records.iter().filter(|record| record.envelope().unwrap().kind.name == "counted") {
                *causes.entry(record.envelope().unwrap().causation.clone().unwrap_or_default()).or_default() += 1;
            }
            from = page.next;
        }
    }
    causes
}

pub fn provision(log: &dyn Log) {
    let topics = [
        topic(Stream::Replies),
        topic(Stream::Events("one")),
        topic(Stream::Events("two")),
        topic(Stream::Commands("tally")),
        topic(Stream::Events("tally")),
        topic(Stream::DeadLetters("tally")),
    ];
    log.provision(&topics.map(|topic| TopicSpec { topic, retention: None })).unwrap();
}

#[test]
fn a_version_that_follows_one_topic_more_joins_beside_the_old_one() {
    let namespace = Broker::namespace();
    let log = open(&namespace);
    provision(log.as_ref());
    let mut sent = 0;
    let mut send = |log: &dyn Log| {
        let events = (sent..sent + 50).flat_map(|n| ["one", "two"].map(|service| event(log, service, n)));
        assert!(log.send(events.collect()).iter().all(Result::is_ok));
        sent += 50;
    };
    let settle = |log: &dyn Log, what: &str, until: &dyn Fn(&BTreeMap<String, usize>) -> bool| {
        let began = Instant::now();
        while !until(&causes(log)) {
            assert!(began.elapsed() < Duration::from_secs(60), "{what}: {} events had an effect", causes(log).len());
            std::thread::sleep(Duration::from_millis(100));
        }
        println!("{what}: {} events had an effect after {:?}", causes(log).len(), began.elapsed());
    };
    let of = |causes: &BTreeMap<String, usize>, service: &str| causes.keys().filter(|cause| cause.starts_with(service)).count();
    const OLD: &[&str] = &["one"];
    const NEW: &[&str] = &["one", "two"];
    send(log.as_ref());
    let old = [Instance::start(settings(&namespace), OLD, "a"), Instance::start(settings(&namespace), OLD, "b")];
    settle(log.as_ref(), "two old instances", &|causes| of(causes, "one") == 50);
    let new = Instance::start(settings(&namespace), NEW, "c");
    send(log.as_ref());
    settle(log.as_ref(), "two old ones and a new one", &|causes| of(causes, "one") == 100 && of(causes, "two") > 0);
    let [first, second] = old;
    first.leave();
    send(log.as_ref());
    let newer = Instance::start(settings(&namespace), NEW, "d");
    send(log.as_ref());
    settle(log.as_ref(), "an old one and two new ones", &|causes| of(causes, "one") == 200);
    second.leave();
    send(log.as_ref());
    settle(log.as_ref(), "two new ones", &|causes| of(causes, "one") == 250 && of(causes, "two") == 250);
    new.leave();
    newer.leave();
    let doubled: Vec<_> = causes(log.as_ref()).into_iter().filter(|(_, count)| *count != 1).collect();
    assert!(doubled.is_empty(), "twice or more: {doubled:?}");
}

fn group(name: &str) -> Group {
    let topics = ["in", "other"].map(Topic::named);
    Group { name: name.to_owned(), commands: topics[0].clone(), inputs: topics.map(Into::into).into(), member: "new".into() }
}

/// The version before this mechanism was subscribed to all of its inputs: as any client is here.
#[test]
fn beside_members_that_share_partitions_otherwise_nobody_joins() {
    let namespace = Broker::namespace();
    let log = open(&namespace);
    log.provision(&["in", "other"].map(|name| TopicSpec { topic: Topic::named(name), retention: None })).unwrap();
    let old: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", Broker::shared().address())
        .set("group.id", format!("{namespace}group"))
        .set("partition.assignment.strategy", "range")
        .set("session.timeout.ms", "6000")
        .create()
        .unwrap();
    old.subscribe(&[&format!("{namespace}in"), &format!("{namespace}other")]).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                let _nothing_there = old.poll(Duration::from_millis(50));
            }
            old.unsubscribe();
            for _ in 0..20 {
                let _leaving = old.poll(Duration::from_millis(50));
            }
        });
        while old.assignment().unwrap().count() == 0 {
            std::thread::sleep(Duration::from_millis(50));
        }
        let refused = log.join(group("group")).unwrap().poll(Limits::default(), Duration::from_secs(1));
        println!("beside one that is subscribed to its inputs: {refused:?}");
        let still_owned = old.assignment().unwrap().count();
        stop.store(true, Ordering::Release);
        let Err(Fault::Fatal(why)) = refused else { panic!("joined beside it") };
        assert!(why.contains("stop all") && why.contains(&format!("{namespace}other")), "{why}");
        assert_eq!(still_owned, 16, "and the other one was not disturbed");
    });
    // Now that it has gone.
    let mut member = log.join(group("group")).unwrap();
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < Duration::from_secs(30), "not assigned");
        if let Polled::Assigned(assignment) = member.poll(Limits::default(), Duration::from_millis(100)).unwrap() {
            assert_eq!(assignment.partitions.len(), 8);
            break;
        }
    }
}

/// Brokers forget what is not committed for long in topics that nobody is subscribed to.
#[test]
fn positions_that_stand_are_committed_again() {
    let namespace = Broker::namespace();
    let settings = Settings { namespace, commits_again: Duration::from_secs(1), ..Settings::new(Broker::shared().address()) };
    let log = Kafka::open(settings).unwrap();
    log.provision(&["in", "other"].map(|name| TopicSpec { topic: Topic::named(name), retention: None })).unwrap();
    let message = |topic: &str| Message { topic: Topic::named(topic), partition: Partition(3), key: vec![], headers: Headers::default(), value: None };
    log.append(vec![message("in"), message("other")]).unwrap();
    let mut member = log.join(group("group")).unwrap();
    let (began, mut read) = (Instant::now(), 0);
    let again = || log.counts().into_iter().find(|(name, _)| *name == "positions_committed_again").unwrap().1;
    while read < 2 || again() < 3 {
        assert!(began.elapsed() < Duration::from_secs(30), "{read} records were read, and positions committed again {} times", again());
        if let Polled::Batch(batch) = member.poll(Limits::default(), Duration::from_millis(100)).unwrap()
            && !batch.records.is_empty()
        {
            read += batch.records.len();
            member.commit(vec![], &batch.positions, &batch.assignment).unwrap();
        }
    }
    let committed = log.committed("group").unwrap();
    assert_eq!(committed.len(), 16, "of two topics with eight partitions");
    for (topic, partition, next) in committed {
        assert_eq!(next, Offset(u64::from(partition == Partition(3))), "{topic}/{partition}");
    }
    assert_eq!(read, 2);
}
