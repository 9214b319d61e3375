//! Holds the log on a real Kafka broker against the same contract, and the contract against the same seeded bugs.

use std::sync::Arc;
use std::time::Instant;

use eventstore::Log;
use eventstore::contract::Body;
use eventstore::kafka::{Kafka, Settings};

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
