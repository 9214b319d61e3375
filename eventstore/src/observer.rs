//! What a worker tells those who watch it: counts and states, for metrics and readiness. Changes nothing.

use kernel::{Money, Timestamp};
use schemas::envelope::Kind;
use schemas::trace::span_of;
use schemas::{Envelope, Partition, Topic, TraceContext};

use crate::log::{Batch, Commit, Fault, Offset, Stuck};

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
    /// A command was for another version of its aggregate than the one it met: its sender acted on a state of before.
    Stale,
    /// An event of this type was appended.
    Appended(String),
    /// So much money changed hands with an event of this type.
    Money(String, Money),
    /// A record became a dead letter, for this reason.
    DeadLetter(&'static str),
    /// An event of this type came by that no policy here follows.
    PassedOver(String),
    /// Something was done for a command of a trace that is recorded.
    Traced(Box<Step>),
}

/// What is done for a command on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// a router wrote it into its topic
    Send,
    /// its aggregate decided it
    Process,
}

impl Done {
    /// As spans are called.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Process => "process",
        }
    }

    /// The place in a trace of what this causes, done for the command with this id.
    pub fn causes(self, of: TraceContext, id: &str) -> TraceContext {
        of.child(span_of(self.as_str(), id))
    }
}

/// A span of a trace, as far as the engine knows it: it has no clock of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// what was done
    pub done: Done,
    /// the place in the trace of what caused it
    pub of: TraceContext,
    /// the command's type, as in [`Note`]
    pub kind: String,
    /// the command's id
    pub id: String,
    /// the id of the client's command behind it
    pub correlation: Option<String>,
    /// the record that was read
    pub record: Option<(Topic, Partition, Offset)>,
    /// the policy that made it
    pub policy: Option<&'static str>,
    /// How it ended, as commands are counted, or the reason of its dead letter.
    pub outcome: &'static str,
}

impl Step {
    /// For a command, if its trace is recorded.
    pub fn of(done: Done, command: &Envelope, of: Option<TraceContext>) -> Option<Self> {
        let of = of.filter(TraceContext::is_sampled)?;
        let (kind, id, correlation) = (short(&command.kind), command.id.clone(), command.correlation.clone());
        Some(Self { done, of, kind, id, correlation, record: None, policy: None, outcome: "" })
    }
}

/// Hears what workers and routers do. All calls return at once.
pub trait Observer: Send + Sync {
    /// A batch was polled: it is being decided, or, with `router`, routed. `oldest` says for each topic with records in it
    /// when the first of them was written.
    fn began(&self, _service: &'static str, _router: bool, _oldest: &[(&Topic, Timestamp)]) {}
    /// Whether it is to be told how far the part is behind: looking costs a little.
    fn asks(&self, _service: &'static str, _router: bool) -> bool {
        false
    }
    /// How many offsets of each topic that it reads it had not committed a moment ago.
    fn behind(&self, _service: &'static str, _router: bool, _behind: &[(Topic, u64)]) {}
    /// So many records come of it, and are being committed.
    fn decided(&self, _service: &'static str, _router: bool, _records: usize) {}
    /// How its commit ended.
    fn ended(&self, _service: &'static str, _router: bool, _ended: &Result<Commit, Fault>) {}
    /// A batch was committed.
    fn noted(&self, _service: &'static str, _router: bool, _notes: &[Note]) {}
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

/// When the oldest records of a batch were written, by topic.
pub(crate) fn oldest(batch: &Batch) -> Vec<(&Topic, Timestamp)> {
    let mut all: Vec<(&Topic, Timestamp)> = vec![];
    for record in &batch.records {
        match all.iter_mut().find(|(topic, _)| **topic == record.topic) {
            Some((_, oldest)) => *oldest = record.recorded_at.min(*oldest),
            None => all.push((&record.topic, record.recorded_at)),
        }
    }
    all
}

/// Nobody watches.
impl Observer for () {}

/// A type as notes and metrics name it.
pub fn short(kind: &Kind) -> String {
    format!("{}.{}", kind.aggregate, kind.name)
}
