//! Holds the embedded log against the contract, and the contract against seeded bugs.

use std::sync::Arc;

use eventstore::Log;
use eventstore::contract::{Body, PROMISES, Promise};
use eventstore::embedded::{Embedded, Settings};
use tempfile::TempDir;

use crate::bugs::{BUGS, Bug, Bugged};

struct EmbeddedBody {
    dir: TempDir,
    gaps: Option<u64>,
    bug: Option<Bug>,
    open: Option<Arc<dyn Log>>,
}

impl EmbeddedBody {
    fn new(gaps: Option<u64>, bug: Option<Bug>) -> Self {
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

fn promises() -> impl Iterator<Item = &'static Promise> {
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
fn every_seeded_bug_is_caught() {
    println!("{:<24} caught by", "seeded bug");
    let mut missed = vec![];
    for bug in BUGS {
        let caught: Vec<&str> =
            promises().filter(|promise| promise.check(&mut EmbeddedBody::new(Some(7), Some(*bug))).is_err()).map(|promise| promise.name).collect();
        println!("{:<24} {}", format!("{bug:?}"), if caught.is_empty() { "NOTHING".to_owned() } else { caught.join("; ") });
        if caught.is_empty() {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
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
