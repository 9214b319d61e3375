//! Log time. The only place below the services that reads the machine's clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use domain::Timestamp;
use parking_lot::Mutex;

/// Where the time comes from; virtual in simulations.
pub trait Clock: Send + Sync + 'static {
    /// The time of day.
    fn wall(&self) -> Timestamp;
    /// A time that never jumps, from any beginning.
    fn monotonic(&self) -> std::time::Duration;
}

impl Clock for std::sync::Arc<dyn Clock> {
    fn wall(&self) -> Timestamp {
        self.as_ref().wall()
    }
    fn monotonic(&self) -> std::time::Duration {
        self.as_ref().monotonic()
    }
}

/// The machine's clocks.
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> std::time::Duration {
        self.0.elapsed()
    }
}

/// Log time: the greater of the last one and the wall's, and from the start on no faster than the
/// monotonic clock, so that a wall clock set forward cannot fire every timer at once (decision 4).
pub struct LogClock<C> {
    clock: C,
    start: (Timestamp, std::time::Duration),
    last: Mutex<Timestamp>,
}

impl<C: Clock> LogClock<C> {
    /// Goes on after `last`, the log time of the newest record.
    pub fn after(last: Timestamp, clock: C) -> Self {
        let start = (clock.wall().max(last), clock.monotonic());
        Self { last: Mutex::new(start.0), start, clock }
    }

    /// Log time now; never less than before.
    pub fn now(&self) -> Timestamp {
        let elapsed = self.clock.monotonic().saturating_sub(self.start.1);
        let ceiling = Timestamp(self.start.0.0.saturating_add(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)));
        let mut last = self.last.lock();
        *last = self.clock.wall().min(ceiling).max(*last);
        *last
    }

    /// A record of this log time was seen: from here on it is no earlier.
    pub fn seen(&self, at: Timestamp) {
        let mut last = self.last.lock();
        *last = at.max(*last);
    }
}
