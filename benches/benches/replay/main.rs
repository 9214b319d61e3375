//! Replaying the embedded log; the drain reads the same pages and only counts.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a bench stops at the first failure and prints its result")]

use std::sync::Arc;

use eventstore::embedded::{Embedded, Settings};
use eventstore::log::TopicSpec;
use eventstore::{Limits, Log, Message, Offset};
use schemas::envelope::Kind;
use schemas::{Envelope, Partition, Topic, partition_of};
use tempfile::TempDir;
use views::replays;

mod views;

const EVENTS: u64 = 400_000;
const PARTITIONS: u16 = 8;

/// An event as a worker writes it, of as many subjects as in the bench on Kafka.
fn event(topic: &Topic, n: u64) -> Message {
    let subject = format!("{}-{}", n % 64, n % 1_999);
    let kind = Kind::of("stock-item", "received", 1);
    let mut envelope = Envelope::new(format!("8046ea42-e743-570d-a7f8-{n:012}"), "/stock/stock-item", kind, &subject);
    (envelope.version, envelope.causation, envelope.correlation) = (Some(n), Some(format!("{n:036}")), Some(format!("{n:036}")));
    let body = format!("{{\"quantity\":1,\"reference\":\"delivery {n}\"}}");
    let key = subject.split('-').next().unwrap_or_default().as_bytes().to_vec();
    Message { topic: topic.clone(), partition: partition_of(&key, PARTITIONS), key, headers: envelope.headers(), value: Some(body.into_bytes()) }
}

fn main() {
    let (dir, events) = (TempDir::new().unwrap(), Topic::named("stock.events"));
    let log = Embedded::open(&dir.path().join("log"), Settings { partitions: Some(PARTITIONS), ..Settings::default() }).unwrap();
    log.provision(&[TopicSpec { topic: events.clone(), retention: None }, eventstore::control::Control::spec()]).unwrap();
    let all: Vec<u64> = (0..EVENTS).collect();
    for some in all.chunks(5_000) {
        log.append(some.iter().map(|n| event(&events, *n)).collect()).unwrap();
    }
    let log: Arc<dyn Log> = Arc::new(log);
    let drain = || {
        let mut count = 0;
        for partition in (0..PARTITIONS).map(Partition) {
            let (mut from, end) = (Offset(0), log.end(&events, partition).unwrap());
            while from < end {
                let page = log.read(&events, partition, from, Limits::default()).unwrap();
                (from, count) = (page.next, count + page.records.len() as u64);
            }
        }
        count
    };
    replays(&log, &events, &dir.path().join("views"), EVENTS, drain).iter().for_each(|line| println!("{line}"));
}
