//! Holds the log on a real Kafka broker against the same contract, and the contract against the same seeded bugs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use eventstore::contract::Body;
use eventstore::kafka::{Kafka, Settings};
use eventstore::log::TopicSpec;
use eventstore::{Limits, Log, Message, Offset};
use schemas::{Headers, Partition, Topic};

use crate::broker::Broker;
use crate::bugs::{BUGS, Bug, Bugged};
use crate::contract::{EmbeddedBody, promises};

struct KafkaBody {
    settings: Settings,
    bug: Option<Bug>,
    open: Option<Arc<dyn Log>>,
}

impl KafkaBody {
    fn new(bug: Option<Bug>) -> Self {
        Self { settings: Settings { namespace: Broker::namespace(), ..Settings::new(Broker::shared().address()) }, bug, open: None }
    }
}

impl Body for KafkaBody {
    fn log(&mut self) -> Arc<dyn Log> {
        let open = self.open.take().unwrap_or_else(|| {
            let log: Arc<dyn Log> = Arc::new(Kafka::open(self.settings.clone()).unwrap());
            match self.bug {
                Some(bug) => Arc::new(Bugged { inner: log, bug }),
                None => log,
            }
        });
        self.open = Some(Arc::clone(&open));
        open
    }

    fn restart(&mut self) -> Arc<dyn Log> {
        self.open = None;
        self.log()
    }
}

#[test]
fn kafka_keeps_every_promise() {
    let mut broken = vec![];
    for promise in promises() {
        let began = Instant::now();
        let kept = promise.check(&mut KafkaBody::new(None));
        println!("kafka: {:<52} {:?} in {:?}", promise.name, kept, began.elapsed());
        broken.extend(kept.err().map(|why| format!("'{}': {why}", promise.name)));
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Each bug with the first promise that notices it, on both bodies.
#[test]
fn every_seeded_bug_is_caught_on_both_bodies() {
    println!("{:<24} {:<50} on Kafka", "seeded bug", "caught on the embedded log by");
    let mut missed = vec![];
    for bug in BUGS {
        let embedded = promises().find(|promise| promise.check(&mut EmbeddedBody::new(Some(7), Some(*bug))).is_err());
        let mut in_order = embedded.into_iter().chain(promises());
        let kafka = in_order.find(|promise| promise.check(&mut KafkaBody::new(Some(*bug))).is_err());
        let name = |promise: Option<&eventstore::contract::Promise>| promise.map_or("NOTHING", |promise| promise.name);
        println!("{:<24} {:<50} {}", format!("{bug:?}"), name(embedded), name(kafka));
        if embedded.is_none() || kafka.is_none() {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

/// Readers that jump about in one partition, on a machine with too few cores for them all: what a page passes over must
/// not be there. (A client that read the same partition before still says where it stood then, until it has begun anew.)
#[test]
fn a_reader_that_jumps_skips_nothing() {
    const RECORDS: u64 = 3_000;
    let log = Kafka::open(Settings { namespace: Broker::namespace(), ..Settings::new(Broker::shared().address()) }).unwrap();
    let topic = Topic::named("in");
    log.provision(&[TopicSpec { topic: topic.clone(), retention: None }]).unwrap();
    let record =
        |n: u64| Message { topic: topic.clone(), partition: Partition(0), key: vec![], headers: Headers::default(), value: Some(n.to_string().into()) };
    assert!(log.send((0..RECORDS).map(record).collect()).iter().all(Result::is_ok));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop(); // takes the cores away
                }
            });
        }
        let readers: Vec<_> = (0..6_u64)
            .map(|reader| {
                let (log, topic) = (&log, &topic);
                scope.spawn(move || {
                    for round in 0..40 {
                        let from = Offset((reader * 499 + round * 1_013) % RECORDS);
                        let page = log.read(topic, Partition(0), from, Limits { records: 400, ..Limits::default() }).unwrap();
                        let read: Vec<Offset> = page.records.iter().map(|record| record.offset).collect();
                        let expected: Vec<Offset> = (from.0..page.next.0).map(Offset).collect();
                        assert_eq!(read, expected, "a page from {from} to {} has other records", page.next);
                    }
                })
            })
            .collect();
        let failed = readers.into_iter().filter_map(|reader| reader.join().err()).count();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(failed, 0, "readers were told that they had passed records which they were not given");
    });
}
