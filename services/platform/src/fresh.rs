//! Ids that nobody had before, rising with time. Made from any clock, also one that was never set.

use eventstore::clock::{Clock, SystemClock};
use uuid::{NoContext, Timestamp, Uuid};

/// A new one.
pub fn id() -> Uuid {
    let micros = u64::try_from(SystemClock::default().wall().0).unwrap_or_default(); // before 1970 all begin alike, and differ after
    let nanos = u32::try_from(micros % 1_000_000).unwrap_or_default() * 1_000;
    Uuid::new_v7(Timestamp::from_unix(NoContext, micros / 1_000_000, nanos))
}
