//! Writes commands for HTTP handlers: many handlers' commands in one append, so that they share its sync.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use eventstore::{Fault, Log, Message};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::http::failure::Failure;

/// Commands that wait for the append before theirs.
const WAITING_MAX: usize = 4_096;
/// Commands of one append.
const AT_ONCE: usize = 512;
/// How long a handler waits for a place among the waiting.
const FULL_WAIT: Duration = Duration::from_secs(5);

type Waiting = (Message, oneshot::Sender<Result<(), Fault>>);

/// The way from handlers to the log.
pub struct Sender(Mutex<Option<mpsc::Sender<Waiting>>>);

impl Sender {
    /// Starts the thread that appends.
    pub fn start(log: Arc<dyn Log>, threads: &mut Vec<JoinHandle<()>>) -> std::io::Result<Self> {
        let (sender, mut receiver) = mpsc::channel::<Waiting>(WAITING_MAX);
        let run = move || {
            let mut waiting = Vec::with_capacity(AT_ONCE);
            while receiver.blocking_recv_many(&mut waiting, AT_ONCE) > 0 {
                let (messages, callers): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
                for (caller, sent) in callers.into_iter().zip(log.send(messages)) {
                    let _gone = caller.send(sent.map(|_| ())); // a caller that went away is answered when it asks again
                }
            }
        };
        threads.push(std::thread::Builder::new().name("sender".into()).spawn(run)?);
        Ok(Self(Mutex::new(Some(sender))))
    }

    /// Returns when the command is durable.
    pub async fn send(&self, message: Message) -> Result<(), Failure> {
        let stopping = || Failure::unavailable("the process is stopping: ask again with the same id");
        let sender = self.0.lock().clone().ok_or_else(stopping)?;
        let (caller, done) = oneshot::channel();
        sender.send_timeout((message, caller), FULL_WAIT).await.map_err(|_| Failure::unavailable("too many commands are waiting for the disk"))?;
        Ok(done.await.map_err(|_| stopping())??)
    }

    /// Takes no more; what was taken is still written.
    pub fn close(&self) {
        self.0.lock().take();
    }
}
