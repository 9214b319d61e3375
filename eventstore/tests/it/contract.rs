//! Holds the embedded log against the contract.

use std::sync::Arc;

use eventstore::contract::{Body, PROMISES, Promise};
use eventstore::embedded::{Embedded, Settings};
use eventstore::log::TopicSpec;
use eventstore::{Limits, Log, Message, Offset};
use schemas::{Headers, Partition, Topic};
use tempfile::TempDir;

use crate::bugs::{Bug, Bugged};
use crate::tally::{Hands, Moved};

pub struct EmbeddedBody {
    dir: TempDir,
    gaps: Option<u64>,
    bug: Option<Bug>,
    open: Option<Arc<dyn Log>>,
}

impl EmbeddedBody {
    pub fn new(gaps: Option<u64>, bug: Option<Bug>) -> Self {
        Self { dir: TempDir::new().unwrap(), gaps, bug, open: None }
    }
}

impl Body for EmbeddedBody {
    fn log(&mut self) -> Arc<dyn Log> {
        let open = self.open.take().unwrap_or_else(|| {
            let log: Arc<dyn Log> = Arc::new(Embedded::open(self.dir.path(), Settings { gaps: self.gaps, ..Settings::default() }).unwrap());
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

pub fn promises() -> impl Iterator<Item = &'static Promise> {
    PROMISES.iter().copied().flatten()
}

#[test]
fn the_embedded_log_keeps_every_promise() {
    for gaps in [None, Some(1), Some(2), Some(3)] {
        for promise in promises() {
            let kept = promise.check(&mut EmbeddedBody::new(gaps, None));
            assert_eq!(kept, Ok(()), "'{}' with gaps {gaps:?}", promise.name);
        }
    }
    println!("embedded: {} promises kept, with dense offsets and with gaps", promises().count());
}

#[test]
fn a_second_process_is_told_so() {
    let dir = TempDir::new().unwrap();
    let _first = Embedded::open(dir.path(), Settings::default()).unwrap();
    let second = Embedded::open(dir.path(), Settings::default()).err().unwrap().to_string();
    assert!(second.contains("another process") && second.contains(dir.path().to_str().unwrap()), "{second}");
}

#[test]
fn the_partition_count_is_for_life() {
    let dir = TempDir::new().unwrap();
    drop(Embedded::open(dir.path(), Settings { partitions: Some(3), ..Settings::default() }).unwrap());
    assert_eq!(Embedded::open(dir.path(), Settings::default()).unwrap().partitions(), 3);
    let other = Embedded::open(dir.path(), Settings { partitions: Some(8), ..Settings::default() }).err().unwrap().to_string();
    assert!(other.contains("3 partitions, not 8"), "{other}");
}

#[test]
fn what_is_past_its_retention_goes_and_the_rest_stays() {
    let (dir, clock) = (TempDir::new().unwrap(), Arc::new(Moved::default()));
    clock.by(1_000_000);
    let open = || Embedded::open(dir.path(), Settings { clock: Arc::new(Hands(Arc::clone(&clock))), gaps: Some(3), ..Settings::default() }).unwrap();
    let (kept, passing) = (Topic::named("kept"), Topic::named("passing"));
    let append = |log: &Embedded, count: usize| {
        let message = |topic: &Topic| Message { topic: topic.clone(), partition: Partition(1), key: vec![], headers: Headers::default(), value: None };
        (0..count).for_each(|_| drop(log.append(vec![message(&kept), message(&passing)]).unwrap()));
    };
    let log = open();
    let day = std::time::Duration::from_secs(86_400);
    log.provision(&[TopicSpec { topic: kept.clone(), retention: None }, TopicSpec { topic: passing.clone(), retention: Some(day) }]).unwrap();
    append(&log, 5);
    let end = log.end(&passing, Partition(1)).unwrap();
    clock.by(2 * 86_400);
    append(&log, 3); // the appender looks for expired records first
    let check = |log: &Embedded| {
        assert_eq!((log.start(&passing, Partition(1)).unwrap(), log.start(&kept, Partition(1)).unwrap()), (end, Offset(0)));
        assert!(log.read(&passing, Partition(1), Offset(0), Limits::default()).is_err(), "what is gone was not missed");
        let count = |topic, from| log.read(topic, Partition(1), from, Limits::default()).unwrap().records.len();
        assert_eq!((count(&passing, end), count(&kept, Offset(0))), (3, 8));
    };
    check(&log);
    drop(log);
    check(&open());
}

/// Whoever appends just when expired records are looked for waits for a few seeks, however many have expired.
#[test]
fn an_append_does_not_wait_for_what_expires() {
    const RECORDS: usize = 300_000;
    const AT_ONCE: usize = 10_000;
    let (dir, clock) = (TempDir::new().unwrap(), Arc::new(Moved::default()));
    clock.by(1_000_000);
    let settings = Settings { clock: Arc::new(Hands(Arc::clone(&clock))), gaps: Some(3), sync: false, partitions: Some(2), ..Settings::default() };
    let (log, topic) = (Embedded::open(dir.path(), settings).unwrap(), Topic::named("passing"));
    log.provision(&[TopicSpec { topic: topic.clone(), retention: Some(std::time::Duration::from_secs(86_400)) }]).unwrap();
    let message =
        |partition| Message { topic: topic.clone(), partition: Partition(partition), key: vec![], headers: Headers::default(), value: Some(vec![7; 400]) };
    let append = |count: usize| {
        let began = std::time::Instant::now();
        let last = log.append((0..count).map(|n| message((n % 2) as u16)).collect()).unwrap();
        (last, began.elapsed())
    };
    (0..RECORDS / AT_ONCE / 2).for_each(|_| drop(append(AT_ONCE)));
    clock.by(43_200);
    (0..RECORDS / AT_ONCE / 2).for_each(|_| drop(append(AT_ONCE)));
    let mut others: Vec<_> = (0..50).map(|_| append(1).1).collect();
    others.sort();
    // Half of it expires, then the rest: each time in one look.
    for (passed, left) in [(43_201, true), (43_200, false)] {
        let end = log.end(&topic, Partition(0)).unwrap();
        clock.by(passed);
        let took = append(1).1;
        let start = log.start(&topic, Partition(0)).unwrap();
        println!("the append in which {} records expired took {took:?}; without, the slowest of 50 took {:?}", RECORDS / 2, others[49]);
        // Of each partition a half of its half stays, and then nothing but what came with the first look.
        assert_eq!(end.0 - start.0 > 10, left, "it begins at {start}, and ended at {end}");
        assert!(start.0 > (RECORDS / 4) as u64, "expired records are kept: it begins at {start}");
        assert!(took < others[25] * 5 + std::time::Duration::from_millis(100), "an append took {took:?}");
    }
}
