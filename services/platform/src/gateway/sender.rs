//! Writes commands for HTTP handlers: many handlers' commands in one append, so that they share its sync.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use eventstore::log::BATCH_BYTES_MAX;
use eventstore::{Fault, Log, Message};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// Commands that wait for the append before theirs.
const WAITING_MAX: usize = 4_096;
/// Bytes of the commands that wait or are being written.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;
const _: () = assert!(BATCH_BYTES_MAX <= WAITING_BYTES_MAX);
/// What a command takes besides its bytes.
const AROUND_BYTES: usize = 1_024;
/// Commands of one append.
const AT_ONCE: usize = 512;
/// How long a handler waits for a place among the waiting.
const FULL_WAIT: Duration = Duration::from_secs(5);

/// A command, who waits for it, and its share of the bytes until it is written.
type Waiting = (Message, (oneshot::Sender<Result<(), Fault>>, OwnedSemaphorePermit));

/// Why a command was not written, or is not known to be.
#[derive(Debug)]
pub enum NotSent {
    /// The process takes no more.
    Stopping,
    /// Too many wait already.
    Full,
    /// The log did not take it.
    Fault(Fault),
}

/// The way from handlers to the log.
pub struct Sender {
    queue: Mutex<Option<mpsc::Sender<Waiting>>>,
    bytes: Arc<Semaphore>,
}

impl Sender {
    /// Starts the thread that appends.
    pub fn start(log: Arc<dyn Log>, threads: &mut Vec<JoinHandle<()>>) -> std::io::Result<Self> {
        let (sender, mut receiver) = mpsc::channel::<Waiting>(WAITING_MAX);
        let run = move || {
            let mut waiting = Vec::with_capacity(AT_ONCE);
            while receiver.blocking_recv_many(&mut waiting, AT_ONCE) > 0 {
                let (messages, callers): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
                for ((caller, _share), sent) in callers.into_iter().zip(log.send(messages)) {
                    let _gone = caller.send(sent.map(|_| ())); // a caller that went away is answered when it asks again
                }
            }
        };
        threads.push(std::thread::Builder::new().name("sender".into()).spawn(run)?);
        Ok(Self { queue: Mutex::new(Some(sender)), bytes: Arc::new(Semaphore::new(WAITING_BYTES_MAX)) })
    }

    /// Returns when the command is durable.
    pub async fn send(&self, message: Message) -> Result<(), NotSent> {
        let sender = self.queue.lock().clone().ok_or(NotSent::Stopping)?;
        let ((caller, done), deadline) = (oneshot::channel(), Instant::now() + FULL_WAIT);
        let bytes = u32::try_from(message.bytes() + AROUND_BYTES).map_err(|_| NotSent::Full)?;
        let share = timeout_at(deadline, Arc::clone(&self.bytes).acquire_many_owned(bytes)).await.map_err(|_| NotSent::Full)?.map_err(|_| NotSent::Stopping)?;
        timeout_at(deadline, sender.send((message, (caller, share)))).await.map_err(|_| NotSent::Full)?.map_err(|_| NotSent::Stopping)?;
        done.await.map_err(|_| NotSent::Stopping)?.map_err(NotSent::Fault)
    }

    /// Takes no more; what was taken is still written.
    pub fn close(&self) {
        self.queue.lock().take();
    }
}
