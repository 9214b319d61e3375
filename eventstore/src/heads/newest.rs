//! What is known of the time of a partition's newest own record.

use kernel::Timestamp;

/// Time of a partition's newest own record, and if that is ahead of the log's: since when, and of which time.
pub(super) struct Newest {
    pub(super) at: Timestamp,
    pub(super) ahead: Option<(Timestamp, Timestamp)>,
}
