//! Hears the answers of workers for the handlers that wait for them. Reads the reply topic from its end: older answers
//! are for callers that are gone, and every outcome is in the events.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use eventstore::{Fault, Limits, Log, Record};
use parking_lot::Mutex;
use schemas::wire::ReplyV1;
use schemas::{Partition, Stream, partition_of, topic};
use tokio::sync::mpsc;

use crate::patience::Patience;

/// Answers a waiter keeps: at most one that says "later", and the last.
const KEPT: usize = 4;

type Waiters = Arc<Mutex<HashMap<u64, mpsc::Sender<ReplyV1>>>>;

/// The waiting handlers of this process.
pub struct Replies {
    waiters: Waiters,
    instance: String,
    partition: Partition,
    count: AtomicU64,
}

/// A handler that waits, at an address of its own: an answer there is the answer to its question, whoever else asks under
/// the same id at the same time, and whichever service answers.
pub struct Waiter {
    number: u64,
    address: String,
    answers: mpsc::Receiver<ReplyV1>,
    waiters: Waiters,
}

impl Waiter {
    /// What its command's `reply-to` says.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next answer; none when the process stops.
    pub async fn reply(&mut self) -> Option<ReplyV1> {
        self.answers.recv().await
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.waiters.lock().remove(&self.number);
    }
}

impl Replies {
    /// Starts the thread that listens.
    pub fn start(log: Arc<dyn Log>, patience: &Patience, stop: Arc<AtomicBool>, threads: &mut Vec<JoinHandle<()>>) -> anyhow::Result<Self> {
        let instance = crate::fresh::id().to_string();
        let partition = partition_of(instance.as_bytes(), log.partitions());
        let waiters = Waiters::default();
        let mut from = patience.with(|| log.end(&topic(Stream::Replies), partition))?;
        let (heard, own) = (Arc::clone(&waiters), format!("{instance}."));
        let run = move || {
            while !stop.load(Ordering::Acquire) {
                if let Err(fault) = listen(log.as_ref(), partition, &mut from, &own, &heard) {
                    tracing::warn!(%fault, "reply topic: waiting callers look at the outcomes instead");
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
            heard.lock().clear();
        };
        threads.push(std::thread::Builder::new().name("replies".into()).spawn(run)?);
        Ok(Self { waiters, instance, partition, count: AtomicU64::new(0) })
    }

    /// Begins to wait for the answer to a command. Before it is written: the answer may be faster.
    pub fn wait(&self) -> Waiter {
        let (sender, answers) = mpsc::channel(KEPT);
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        self.waiters.lock().insert(number, sender);
        let address = format!("{}.{number}@{}", self.instance, self.partition);
        Waiter { number, address, answers, waiters: Arc::clone(&self.waiters) }
    }
}

fn listen(log: &dyn Log, partition: Partition, from: &mut eventstore::Offset, own: &str, waiters: &Waiters) -> Result<(), Fault> {
    let replies = topic(Stream::Replies);
    if !log.wait(&[(replies.clone(), partition, *from)], Duration::from_millis(50))? {
        return Ok(());
    }
    let page = log.read(&replies, partition, *from, Limits::default())?;
    *from = page.next;
    page.records.iter().for_each(|record| tell(record, own, waiters));
    Ok(())
}

fn tell(record: &Record, own: &str, waiters: &Waiters) {
    let number = |key: &[u8]| std::str::from_utf8(key.strip_prefix(own.as_bytes())?).ok()?.parse::<u64>().ok();
    let Some(number) = number(&record.key) else { return };
    let Some(waiter) = waiters.lock().get(&number).cloned() else { return };
    match serde_json::from_slice::<ReplyV1>(record.body()) {
        Ok(reply) => drop(waiter.try_send(reply)), // a waiter with four unread answers looks at the outcome itself
        Err(why) => tracing::warn!(offset = record.offset.0, %why, "a reply that cannot be read"),
    }
}
