//! Log time. The only place below the services that reads the machine's clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kernel::Timestamp;
use parking_lot::Mutex;

/// Further than this foreign records do not move log time: what a broker's clock may be wrong by without harm.
pub const FOREIGN_AHEAD_MAX: Duration = Duration::from_secs(60);
/// Log time that is further than this from the wall clock is worth a note.
pub const NOTED: Duration = Duration::from_secs(5);
/// How often log time is compared with the wall clock, and how often a difference that lasts is said again.
const LOOK: Duration = Duration::from_secs(5);
const SAY: Duration = Duration::from_secs(600);

/// Where the time comes from; virtual in simulations.
pub trait Clock: Send + Sync + 'static {
    /// The time of day.
    fn wall(&self) -> Timestamp;
    /// A time that never jumps, from any beginning.
    fn monotonic(&self) -> Duration;
}

impl Clock for std::sync::Arc<dyn Clock> {
    fn wall(&self) -> Timestamp {
        self.as_ref().wall()
    }
    fn monotonic(&self) -> Duration {
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
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Timestamp(micros(since)),
            Err(before) => Timestamp(-micros(before.duration())), // a clock that was never set may stand before 1970
        }
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Log time. It begins at the greater of the wall clock and the newest record's time, and goes on by the monotonic
/// clock: so it never goes back, never stands still, and a wall clock that is set, either way, neither holds timers up
/// nor fires all of them at once. Ahead of the wall clock it stays ahead, and says so, until a start finds that the wall
/// clock has caught up.
pub struct LogClock<C> {
    clock: C,
    start: (Timestamp, Duration),
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// the latest instant that was given out
    last: Timestamp,
    /// how far records of others have moved it beyond its own pace
    lead: i64,
    /// when it looked at the wall clock last, and when it said something
    looked: Option<Duration>,
    said: Option<Duration>,
    warned: Option<Duration>,
}

impl<C: Clock> LogClock<C> {
    /// Goes on after `last`, the log time of the newest record.
    pub fn after(last: Timestamp, clock: C) -> Self {
        let start = (clock.wall().max(last), clock.monotonic());
        let log = Self { start, state: Mutex::new(State { last: start.0, ..State::default() }), clock };
        log.now();
        log
    }

    /// Log time now; never less than before.
    pub fn now(&self) -> Timestamp {
        let (at, mut state) = (self.clock.monotonic(), self.state.lock());
        state.last = state.last.max(Timestamp(self.own(at).0.saturating_add(state.lead)));
        if due(state.looked, at, LOOK) {
            state.looked = Some(at);
            self.look(at, &mut state);
        }
        state.last
    }

    /// Instants for so many records, each a microsecond after the one before: the first of them, later than any that
    /// was given out.
    pub fn stamps(&self, count: usize) -> Timestamp {
        self.now();
        let mut state = self.state.lock();
        let first = Timestamp(state.last.0.saturating_add(1));
        state.last = Timestamp(state.last.0.saturating_add(i64::try_from(count).unwrap_or(i64::MAX)));
        first
    }

    /// A record that another clock has stamped was seen: from here on it is no earlier, within [`FOREIGN_AHEAD_MAX`].
    pub fn seen(&self, stamped: Timestamp) {
        if stamped <= self.state.lock().last {
            return;
        }
        let (at, mut state) = (self.clock.monotonic(), self.state.lock());
        let ahead = stamped.0.saturating_sub(self.own(at).0);
        state.lead = state.lead.max(ahead.min(micros(FOREIGN_AHEAD_MAX)));
        if ahead > micros(FOREIGN_AHEAD_MAX) && due(state.warned, at, SAY) {
            state.warned = Some(at);
            let seconds = ahead / 1_000_000;
            tracing::warn!(seconds, "a record is stamped far ahead of this machine's clock: log time does not follow it; look at the brokers' clocks");
        }
    }

    /// Microseconds that log time is ahead of the wall clock; negative where it is behind.
    pub fn ahead(&self) -> i64 {
        self.now().0.saturating_sub(self.clock.wall().0)
    }

    /// Its own pace, whatever others stamp.
    fn own(&self, at: Duration) -> Timestamp {
        Timestamp(self.start.0.0.saturating_add(micros(at.saturating_sub(self.start.1))))
    }

    fn look(&self, at: Duration, state: &mut State) {
        match note(state.last.0.saturating_sub(self.clock.wall().0)) {
            None => state.said = None,
            Some(note) if due(state.said, at, SAY) => {
                state.said = Some(at);
                tracing::warn!("{note}");
            }
            Some(_) => {}
        }
    }
}

fn due(last: Option<Duration>, at: Duration, every: Duration) -> bool {
    last.is_none_or(|last| at.saturating_sub(last) >= every)
}

/// What is to be said of log time this many microseconds ahead of the wall clock, if anything.
pub fn note(ahead: i64) -> Option<String> {
    let seconds = (ahead / 1_000_000).unsigned_abs();
    if seconds < NOTED.as_secs() {
        None
    } else if ahead >= 0 {
        Some(format!(
            "log time is {seconds} s ahead of this machine's clock: a clock was ahead when the newest records were written, or this one was set back; \
             log time goes on from there, and new times are ahead by that much"
        ))
    } else {
        Some(format!(
            "log time is {seconds} s behind this machine's clock, which was set forward while the log was open; log time keeps its pace, and catches up \
             at the next start"
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::sync::Arc;

    use super::*;

    const HOUR: i64 = 3_600_000_000;

    /// Wall and monotonic time, set apart, in microseconds.
    #[derive(Default)]
    struct Hands(Mutex<(i64, u64)>);
    impl Clock for Arc<Hands> {
        fn wall(&self) -> Timestamp {
            Timestamp(self.0.lock().0)
        }
        fn monotonic(&self) -> Duration {
            Duration::from_micros(self.0.lock().1)
        }
    }
    impl Hands {
        fn at(wall: i64) -> Arc<Self> {
            Arc::new(Self(Mutex::new((wall, 7))))
        }
        fn pass(&self, micros: u64) {
            let mut hands = self.0.lock();
            *hands = (hands.0 + micros as i64, hands.1 + micros);
        }
        fn set(&self, by: i64) {
            self.0.lock().0 += by;
        }
    }

    #[test]
    fn a_wall_clock_that_is_set_neither_stops_nor_hurries_it() {
        for by in [-HOUR, HOUR, -1_000 * 24 * HOUR] {
            let hands = Hands::at(50 * HOUR);
            let log = LogClock::after(Timestamp(0), Arc::clone(&hands));
            hands.pass(10);
            hands.set(by);
            for n in 1..=3 {
                hands.pass(1_000_000);
                assert_eq!(log.now(), Timestamp(50 * HOUR + 10 + n * 1_000_000), "set by {by}");
            }
            assert_eq!(log.ahead(), -by);
        }
    }

    #[test]
    fn after_records_from_the_future_it_goes_on_from_there() {
        let hands = Hands::at(50 * HOUR);
        let log = LogClock::after(Timestamp(770 * HOUR), Arc::clone(&hands));
        let first = log.stamps(3);
        assert!(first > Timestamp(770 * HOUR) && log.stamps(1) == Timestamp(first.0 + 3), "stamps do not rise");
        hands.pass(2_000_000);
        assert_eq!(log.now(), Timestamp(770 * HOUR + 2_000_000));
        assert_eq!(log.ahead(), 720 * HOUR);
    }

    #[test]
    fn what_others_stamp_moves_it_a_little_and_never_more() {
        let (hands, most) = (Hands::at(50 * HOUR), micros(FOREIGN_AHEAD_MAX));
        let log = LogClock::after(Timestamp(0), Arc::clone(&hands));
        log.seen(Timestamp(50 * HOUR + 5));
        assert_eq!(log.now(), Timestamp(50 * HOUR + 5));
        for n in 0..100 {
            log.seen(Timestamp(74 * HOUR + n));
            assert_eq!(log.now(), Timestamp(50 * HOUR + most), "each moved it on");
        }
        hands.pass(1_000_000);
        assert_eq!(log.now(), Timestamp(50 * HOUR + most + 1_000_000));
    }

    #[test]
    fn clocks_at_the_ends_of_time_do_no_harm() {
        for wall in [i64::MIN, -HOUR, i64::MAX] {
            let hands = Hands::at(wall);
            let log = LogClock::after(Timestamp(wall), Arc::clone(&hands));
            hands.0.lock().1 += 1_000_000;
            assert!(log.now() >= Timestamp(wall));
            log.seen(Timestamp(i64::MAX));
            log.seen(Timestamp(i64::MIN));
            let _any = (log.stamps(usize::MAX), log.ahead(), note(log.ahead()), note(i64::MIN));
        }
    }
}
