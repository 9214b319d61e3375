//! Hears the answers of workers for the handlers that wait for them. Reads the reply topic from its end: older answers
//! are for callers that are gone, and every outcome is in the events.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use eventstore::{Fault, Limits, Log, Record};
use parking_lot::Mutex;
use schemas::wire::ReplyV1;
use schemas::{Partition, Stream, partition_of, topic};
use tokio::sync::mpsc;

/// Answers a waiter keeps: at most one that says "later", and the last.
const KEPT: usize = 4;

type Waiters = Arc<Mutex<HashMap<String, Vec<(u64, mpsc::Sender<ReplyV1>)>>>>;

/// The waiting handlers of this process.
pub struct Replies {
    waiters: Waiters,
    address: String,
    count: std::sync::atomic::AtomicU64,
}

/// A handler that waits.
pub struct Waiter {
    id: String,
    number: u64,
    answers: mpsc::Receiver<ReplyV1>,
    waiters: Waiters,
}

impl Waiter {
    /// The next answer; none when the process stops.
    pub async fn reply(&mut self) -> Option<ReplyV1> {
        self.answers.recv().await
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiters = self.waiters.lock();
        if let Some(of_id) = waiters.get_mut(&self.id) {
            of_id.retain(|(number, _)| *number != self.number);
            if of_id.is_empty() {
                waiters.remove(&self.id);
            }
        }
    }
}

impl Replies {
    /// Starts the thread that listens.
    pub fn start(log: Arc<dyn Log>, stop: Arc<AtomicBool>, threads: &mut Vec<JoinHandle<()>>) -> anyhow::Result<Self> {
        let instance = crate::fresh::id().to_string();
        let partition = partition_of(instance.as_bytes(), log.partitions());
        let address = format!("{instance}@{partition}");
        let waiters = Waiters::default();
        let mut from = log.end(&topic(Stream::Replies), partition)?;
        let heard = Arc::clone(&waiters);
        let run = move || {
            while !stop.load(Ordering::Acquire) {
                if let Err(fault) = listen(log.as_ref(), partition, &mut from, &instance, &heard) {
                    tracing::warn!(%fault, "reply topic: waiting callers look at the outcomes instead");
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
            heard.lock().clear();
        };
        threads.push(std::thread::Builder::new().name("replies".into()).spawn(run)?);
        Ok(Self { waiters, address, count: 0.into() })
    }

    /// What a command's `reply-to` says.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Begins to wait for answers to a command. Before it is written: the answer may be faster.
    pub fn wait_for(&self, id: &str) -> Waiter {
        let (sender, answers) = mpsc::channel(KEPT);
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        self.waiters.lock().entry(id.to_owned()).or_default().push((number, sender));
        Waiter { id: id.to_owned(), number, answers, waiters: Arc::clone(&self.waiters) }
    }
}

fn listen(log: &dyn Log, partition: Partition, from: &mut eventstore::Offset, instance: &str, waiters: &Waiters) -> Result<(), Fault> {
    let replies = topic(Stream::Replies);
    if !log.wait(&[(replies.clone(), partition, *from)], Duration::from_millis(50))? {
        return Ok(());
    }
    let page = log.read(&replies, partition, *from, Limits::default())?;
    *from = page.next;
    page.records.iter().filter(|record| record.key == instance.as_bytes()).for_each(|record| tell(record, waiters));
    Ok(())
}

fn tell(record: &Record, waiters: &Waiters) {
    let Ok(reply) = serde_json::from_slice::<ReplyV1>(record.value.as_deref().unwrap_or_default()) else {
        tracing::warn!(offset = record.offset.0, "a reply that cannot be read");
        return;
    };
    for (_, waiter) in waiters.lock().get(&reply.command_id).into_iter().flatten() {
        let _full = waiter.try_send(reply.clone()); // a waiter with four unread answers looks at the outcome itself
    }
}
