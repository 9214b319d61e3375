//! Calls of clients that can block for long, or for ever, on threads of their own: nobody shall wait for them. Dropping a
//! client is one (<https://github.com/fede1024/rust-rdkafka/issues/508>).

use std::time::Duration;

use crossbeam_channel::bounded;

/// How long somebody who must wait for a close waits at most.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Drops it elsewhere.
pub fn later<T: Send + 'static>(client: T) {
    // Without a thread it is leaked: better than blocking here.
    let kept = std::mem::ManuallyDrop::new(client);
    let _no_thread = std::thread::Builder::new().name("closing".into()).spawn(move || drop(std::mem::ManuallyDrop::into_inner(kept)));
}

/// Runs it on a thread of this name and waits for its end, but no longer than this: then it goes on alone. What it came to.
pub fn within<T: Send + 'static>(name: &str, patience: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, waiting) = bounded(1);
    std::thread::Builder::new().name(name.to_owned()).spawn(move || done.send(work())).ok()?;
    waiting.recv_timeout(patience).ok()
}
