//! What a worker tells those who watch it: counts and states, for metrics and readiness. Changes nothing.

use schemas::Partition;
use schemas::envelope::Kind;

use crate::log::Stuck;

/// The name, among all readers of the log, of a service's worker and of its heads.
pub fn worker(service: &str) -> String {
    format!("worker:{service}")
}

/// The name of a service's router.
pub fn router(service: &str) -> String {
    format!("router:{service}")
}

/// The name of a view.
pub fn view(name: &str) -> String {
    format!("view:{name}")
}

/// Something that happened, told once it is committed. Types are `<aggregate>.<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A command of this type was `accepted`, `refused`, `repeated`, or is in `conflict` with an earlier one of its id.
    Command(String, &'static str),
    /// An event of this type was appended.
    Appended(String),
    /// A record became a dead letter, for this reason.
    DeadLetter(&'static str),
    /// An event of this type came by that no policy here follows.
    PassedOver(String),
}

/// Hears what workers and routers do. All calls return at once.
pub trait Observer: Send + Sync {
    /// A batch was committed.
    fn noted(&self, _service: &'static str, _notes: &[Note]) {}
    /// The worker (or, with `router`, the router) owns these partitions, and what it decides by is current; none while
    /// the group has not decided.
    fn owns(&self, _service: &'static str, _router: bool, _partitions: Option<&[Partition]>) {}
    /// One of a reader's partitions stopped at a record; the rest go on.
    fn stopped(&self, _reader: &str, _stuck: &Stuck) {}
    /// It goes on there, or is about to try.
    fn goes_on(&self, _reader: &str, _partition: Partition) {}
    /// A part's turns have failed for a while, and why; none once one has gone well.
    fn troubled(&self, _part: &str, _why: Option<&str>) {}
    /// A commit did not end committed: the batch was thrown away.
    fn thrown_away(&self, _service: &'static str, _why: &str) {}
}

/// Nobody watches.
impl Observer for () {}

/// A type as notes and metrics name it.
pub fn short(kind: &Kind) -> String {
    format!("{}.{}", kind.aggregate, kind.name)
}
