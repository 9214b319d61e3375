//! Closes clients on a thread of its own: dropping one can block for long, or for ever
//! (<https://github.com/fede1024/rust-rdkafka/issues/508>), and nobody shall wait for that.

use std::time::Duration;

use crossbeam_channel::bounded;

/// How long somebody who must wait for a close waits at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// Drops it elsewhere.
pub fn later<T: Send + 'static>(client: T) {
    // Without a thread it is leaked: better than blocking here.
    let kept = std::mem::ManuallyDrop::new(client);
    let _no_thread = std::thread::Builder::new().name("closing".into()).spawn(move || drop(std::mem::ManuallyDrop::into_inner(kept)));
}

/// Runs it elsewhere and waits for its end, but not for ever. Says whether it ended.
pub fn within<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, waiting) = bounded(1);
    std::thread::Builder::new().name("closing".into()).spawn(move || done.send(work())).ok()?;
    waiting.recv_timeout(PATIENCE).ok()
}
