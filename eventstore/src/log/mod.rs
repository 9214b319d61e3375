//! The log: topics of partitions of records, appended to for ever. Says what any backend of it promises;
//! must not know which backend it talks to, nor what the bytes mean.
//!
//! The rules are Kafka's, so that every backend can keep them: offsets may have gaps, ownership can be lost
//! between poll and commit, a commit's outcome can be unknown, a batch may have to be thrown away and polled again.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use kernel::Timestamp;
use schemas::envelope::Malformed;
use schemas::{Envelope, Headers, Partition, Topic, commands_of, partition_of};
use serde::{Deserialize, Serialize};

use crate::memory::Figures;

pub mod clock;
#[cfg(feature = "contract")]
pub mod contract;
#[cfg(feature = "embedded")]
pub mod embedded;
mod group;
#[cfg(feature = "kafka")]
pub mod kafka;
mod ring;

pub use group::{Begin, Group, Input};

/// Largest record, headers and key included, of a log of which nothing else is said; and the largest dead letter of any.
pub const RECORD_BYTES_MAX: usize = 512 * 1024;

/// What holds for all records of a log, whoever writes them: settled by the application, and the same in all its processes.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The routing key of an aggregate's id, which leads its records to their partition. Never changes: what was written
    /// would not be found where it lies.
    pub routing_key: fn(&str) -> &str,
    /// Largest record, headers and key included: from [`RECORD_BYTES_MAX`] to [`BATCH_BYTES_MAX`]. Checked before anything of
    /// its batch is written.
    pub record_bytes: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Rules {
    /// What stands before an id's first `-` routes it, and records have [`RECORD_BYTES_MAX`].
    pub const DEFAULT: Self = Self { routing_key: kernel::routing_key, record_bytes: RECORD_BYTES_MAX };

    /// Fatal where a record may be as large as no log takes it.
    pub fn check(&self) -> Result<(), Fault> {
        if (RECORD_BYTES_MAX..=BATCH_BYTES_MAX).contains(&self.record_bytes) {
            return Ok(());
        }
        Err(Fault::Fatal(format!("records of at most {} bytes: a log takes a bound from {RECORD_BYTES_MAX} to {BATCH_BYTES_MAX}", self.record_bytes)))
    }
}
/// Partitions of a new log of which nothing else is said. On Kafka each costs a file and memory at the broker.
pub const PARTITIONS: u16 = 8;
/// Most bytes a poll returns, one record excepted.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
const _: () = assert!(RECORD_BYTES_MAX <= BATCH_BYTES_MAX);

/// A place in a partition. Offsets only rise; they need not be dense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl Offset {
    /// What a reader of this record asks for next. The only way to make a committed offset.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Where a reader stands: for each partition the offset it reads next.
pub type Positions = Vec<(Topic, Partition, Offset)>;

/// A record to be appended. The partition is always chosen by us, never by a client library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// where
    pub topic: Topic,
    /// which partition of it
    pub partition: Partition,
    /// the routing key
    pub key: Vec<u8>,
    /// CloudEvents attributes and ours
    pub headers: Headers,
    /// the body; none is a tombstone
    pub value: Option<Vec<u8>>,
}

impl Message {
    /// Bytes of key, headers and value, as [`Rules::record_bytes`] counts them.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len) + self.headers.bytes()
    }

    /// That a record of at most `most` bytes can hold it.
    pub fn fits(&self, most: usize) -> Result<(), Fault> {
        let bytes = self.bytes();
        if bytes <= most {
            return Ok(());
        }
        let (topic, key) = (&self.topic, String::from_utf8_lossy(&self.key));
        Err(Fault::Abort(format!("a record for {topic} with key '{key}' has {bytes} bytes; a record has at most {most}")))
    }
}

/// A record of the log, shared by all who read it.
#[derive(Clone, Debug)]
pub struct Record {
    /// where
    pub topic: Topic,
    /// which partition of it
    pub partition: Partition,
    /// which place
    pub offset: Offset,
    /// Log time of the append; never goes back within a partition.
    pub recorded_at: Timestamp,
    /// the routing key
    pub key: Vec<u8>,
    /// CloudEvents attributes and ours
    pub headers: Headers,
    /// the body; none is a tombstone
    pub value: Option<Vec<u8>>,
    /// what the headers say, once somebody asked
    envelope: OnceLock<Result<Envelope, Malformed>>,
}

impl Record {
    /// A message as it lies in the log.
    pub fn of(message: Message, offset: Offset, recorded_at: Timestamp) -> Self {
        let Message { topic, partition, key, headers, value } = message;
        Self { topic, partition, offset, recorded_at, key, headers, value, envelope: OnceLock::new() }
    }

    /// What the headers say: read once for everybody.
    pub fn envelope(&self) -> Result<&Envelope, &Malformed> {
        self.envelope.get_or_init(|| Envelope::read(&self.headers)).as_ref()
    }

    /// The body; a tombstone's is empty.
    pub fn body(&self) -> &[u8] {
        self.value.as_deref().unwrap_or_default()
    }

    /// The same record with another body.
    #[must_use]
    pub fn with(&self, body: Vec<u8>) -> Self {
        Self { value: Some(body), ..self.clone() }
    }

    /// Bytes of key, headers and value.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len) + self.headers.bytes()
    }
}

/// Whether its envelope was read is no part of it.
impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        let all = |record: &Self| (record.topic.clone(), record.partition, record.offset, record.recorded_at);
        all(self) == all(other) && (&self.key, &self.headers, &self.value) == (&other.key, &other.headers, &other.value)
    }
}

/// Some records of one partition, in order.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Committed records only. May be empty although `next` moved on.
    pub records: Vec<Arc<Record>>,
    /// Where the next page starts. Never computed from the last record.
    pub next: Offset,
}

/// The right to commit for some partitions, as it stood at a poll. A log refuses an assignment that is no longer true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Rises whenever the group's owners change.
    pub epoch: u64,
    /// The owned partition numbers, of the group's command topic and of every input.
    pub partitions: Vec<Partition>,
}

/// How much a poll may return.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// most records
    pub records: usize,
    /// most bytes, a single larger record excepted
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { records: 1_000, bytes: BATCH_BYTES_MAX }
    }
}

impl Limits {
    /// So small that every test crosses a boundary.
    pub fn test_min() -> Self {
        Self { records: 2, bytes: 4 * 1024 }
    }
}

/// What a poll found.
#[derive(Debug)]
pub enum Polled {
    /// The members of the group changed. Everything of earlier polls is void; `assignment` says what is owned now.
    /// Before it decides anything a new owner folds to the end of its own events.
    Assigned(Assignment),
    /// The assignment ends at `deadline`: finish or throw away what is in hand, then poll again.
    Revoked {
        /// After this the log gives the partitions to others.
        deadline: Instant,
    },
    /// Records to work on, possibly none.
    Batch(Batch),
}

/// Records of owned partitions, each partition's in order.
#[derive(Debug)]
pub struct Batch {
    /// What a commit of this batch must prove. Without partitions there is nothing to be decided or committed by now, be it
    /// that nothing is owned, or that committed positions are being read again.
    pub assignment: Assignment,
    /// the records
    pub records: Vec<Arc<Record>>,
    /// What to commit when all of them are dealt with.
    pub positions: Positions,
}

/// How a commit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    /// All outputs and positions are durable and visible; the outputs' offsets, in their order.
    Committed(Vec<Offset>),
    /// The assignment was no longer true: nothing was written. Poll again.
    Lost,
    /// It may or may not have happened. The member has been rewound; the log itself tells:
    /// poll again and fold to the end of the own events before deciding.
    Unknown,
}

/// A record that must not be skipped, and cannot be taken: its partition stands still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// where
    pub topic: Topic,
    /// which partition of it
    pub partition: Partition,
    /// which record
    pub offset: Offset,
    /// what is wrong with it
    pub why: String,
    /// and of which kind that is; those who only show it do without
    #[serde(skip)]
    pub wrong: Wrong,
}

/// What is wrong with a record that nobody can take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wrong {
    /// it lies where it may not, or what it asks for cannot be done
    #[default]
    Refused,
    /// it cannot be decoded
    Undecodable,
    /// a rule of the program broke over it
    Panicked,
    /// its version does not follow the one before
    Version,
}

impl Stuck {
    /// At this record.
    pub fn at(record: &Record, why: impl Into<String>) -> Self {
        Self { topic: record.topic.clone(), partition: record.partition, offset: record.offset, why: why.into(), wrong: Wrong::Refused }
    }

    /// The same, of this kind.
    #[must_use]
    pub fn being(self, wrong: Wrong) -> Self {
        Self { wrong, ..self }
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}/{} offset {}: {}; this partition stops, since skipping an event would falsify what is folded from it",
            self.topic, self.partition, self.offset, self.why
        )
    }
}

/// A technical failure, named after what the caller does.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// The same call may succeed later.
    #[error("{0} (will be tried again)")]
    Retry(String),
    /// Throw away what is in hand and poll again.
    #[error("{0} (the batch is thrown away and polled again)")]
    Abort(String),
    /// Stop this partition, and no other: a record in it must not be skipped.
    #[error("{0}")]
    Stop(Box<Stuck>),
    /// Stop: going on could corrupt or lose something.
    #[error("{0}")]
    Fatal(String),
}

/// Settings of a topic that a log checks at each start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// its name
    pub topic: Topic,
    /// How long records are kept, if not for ever.
    pub retention: Option<Duration>,
}

/// Whether records of a partition before `before` may be deleted, `committed` being what the topic's own service has
/// committed there: a command is needed until it is decided, an event for ever.
pub fn may_trim(topic: &Topic, partition: Partition, before: Offset, committed: Option<Offset>) -> Result<(), Fault> {
    let Some(service) = commands_of(topic) else {
        return Err(Fault::Fatal(format!("{topic} is no command topic, and only those are trimmed: what is in it is kept")));
    };
    match committed {
        Some(committed) if before <= committed => Ok(()),
        Some(committed) => Err(Fault::Fatal(format!(
            "{topic}/{partition} cannot be trimmed before offset {before}: {service} has committed {committed}, and what lies after that is not decided yet"
        ))),
        None => Err(Fault::Fatal(format!("{topic}/{partition} cannot be trimmed: {service} has committed nothing there"))),
    }
}

/// A broker, as the client that follows topics sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerFigures {
    /// `host:port/number`
    pub name: String,
    /// whether there is a connection that works
    pub up: bool,
    /// how long it took to answer, on average of the last seconds
    pub round_trip_seconds: f64,
}

/// A log's body. Calls may block; none may be made on an async runtime's worker.
pub trait Log: Send + Sync + 'static {
    /// Partitions of every topic, settled when the log was created.
    fn partitions(&self) -> u16;

    /// What holds for all its records.
    fn rules(&self) -> Rules {
        Rules::default()
    }

    /// The partition in which the records of an aggregate lie, by its id.
    fn partition_of(&self, subject: &str) -> Partition {
        partition_of((self.rules().routing_key)(subject).as_bytes(), self.partitions())
    }

    /// What only those inside know: made with the log, the same for all who open it, and for nobody to see. Commands made
    /// inside are signed with it (see [`crate::inside`]). All zeros until it was read (see [`crate::control`]).
    fn secret(&self) -> [u8; 32] {
        [0; 32]
    }

    /// The secret was read.
    fn initiate(&self, secret: [u8; 32]) {
        let _nobody_asks = secret;
    }

    /// Log time: begins at the greater of the newest record's and now, and goes on with a monotonic clock: it never goes
    /// back, and never stands still, whatever is done to the wall clock.
    fn now(&self) -> Timestamp;

    /// Microseconds that log time is ahead of the machine's wall clock; negative where it is behind.
    fn ahead(&self) -> i64 {
        0
    }

    /// Creates the topics that are missing. Fatal, naming the topic and the fix, where one exists with other settings.
    fn provision(&self, topics: &[TopicSpec]) -> Result<(), Fault>;

    /// What is wrong by now with topics that were right when they were provisioned, each with the command that mends it;
    /// asked while it runs, before records are lost.
    fn review(&self, topics: &[TopicSpec]) -> Result<Vec<String>, Fault> {
        let _nobody_else_can_change_them = topics;
        Ok(vec![])
    }

    /// Appends outside any group, all or nothing; durable when it returns. The offsets are in the messages' order.
    fn append(&self, messages: Vec<Message>) -> Result<Vec<Offset>, Fault>;

    /// Appends messages that each stand for themselves: some may be written and others not. Durable when it returns.
    fn send(&self, messages: Vec<Message>) -> Vec<Result<Offset, Fault>> {
        let count = messages.len();
        match self.append(messages) {
            Ok(offsets) => offsets.into_iter().map(Ok).collect(),
            Err(fault) => vec![Err(fault); count],
        }
    }

    /// Committed records from `from` on, at most `limits` of them (at least one, if there is one).
    fn read(&self, topic: &Topic, partition: Partition, from: Offset, limits: Limits) -> Result<Page, Fault>;

    /// The first offset that is kept.
    fn start(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault>;

    /// Where the next committed record will be, or later.
    fn end(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault>;

    /// The same where it is known without asking anybody: never blocks.
    fn end_known(&self, topic: &Topic, partition: Partition) -> Option<Offset> {
        let _to_be_asked = (topic, partition);
        None
    }

    /// The end as it was known here last, without asking anybody: never blocks, and may lie behind the true one.
    fn end_seen(&self, topic: &Topic, partition: Partition) -> Option<Offset> {
        self.end_known(topic, partition)
    }

    /// How many offsets a commit takes in each partition besides its records', right after them.
    fn markers(&self) -> u64 {
        0
    }

    /// Waits until one of `positions` lies before its partition's end, or `wait` is over; says which it was.
    fn wait(&self, positions: &[(Topic, Partition, Offset)], wait: Duration) -> Result<bool, Fault>;

    /// The positions a group has committed; a partition without one is absent.
    fn committed(&self, group: &str) -> Result<Positions, Fault>;

    /// Deletes the records of a command topic before `before`, for ever, and says where the partition begins now. Refused
    /// for every other topic, and past what the topic's own service has committed (see [`may_trim`]). What is gone stays
    /// gone: asking for it again, or for less, changes nothing.
    fn trim(&self, topic: &Topic, partition: Partition, before: Offset) -> Result<Offset, Fault>;

    /// Bytes that a partition's records take, about; none where the log does not know.
    fn bytes(&self, topic: &Topic, partition: Partition) -> Result<Option<u64>, Fault> {
        let _not_known = (topic, partition);
        Ok(None)
    }

    /// What this body counts of its own since it was opened, by name: for metrics.
    fn counts(&self) -> Vec<(&'static str, u64)> {
        vec![]
    }

    /// What the database says of itself that holds it; none where it is elsewhere.
    fn figures(&self) -> Option<Figures> {
        None
    }

    /// What is known of the brokers; none where there are none.
    fn brokers(&self) -> Vec<BrokerFigures> {
        vec![]
    }

    /// Joins a group; the first poll answers [`Polled::Assigned`] once it owns something.
    fn join(&self, group: Group) -> Result<Box<dyn Member>, Fault>;

    /// Where the process that owns a partition of a group is reached, as far as is known here; none on a log of one process.
    fn owner(&self, group: &str, partition: Partition) -> Result<Option<String>, Fault> {
        let _one_process = (group, partition);
        Ok(None)
    }
}

/// A place in a group. Dropping it leaves the group; [`Member::leave`] does so cleanly and says if it failed.
pub trait Member: Send {
    /// What is new, waiting at most `wait` for the first record. Starts at the group's committed positions,
    /// or, in a partition that has none, where its input begins (see [`Begin`]).
    fn poll(&mut self, limits: Limits, wait: Duration) -> Result<Polled, Fault>;

    /// Writes `outputs` and `positions` together or not at all, if `assignment` is still true; durable and visible
    /// when it returns [`Commit::Committed`]. Both may be empty: that only proves the assignment, and never moves a position.
    /// After any other result, `Err` included, the member stands at its committed positions again.
    fn commit(&mut self, outputs: Vec<Message>, positions: &Positions, assignment: &Assignment) -> Result<Commit, Fault>;

    /// How many offsets of each topic that it reads are not committed yet, in what it owns, as far as is known here: asks nobody.
    fn behind(&self) -> Vec<(Topic, u64)> {
        vec![]
    }

    /// Owned partitions of which nothing is given by now, and why: the rest go on.
    fn stopped(&self) -> Vec<Stuck> {
        vec![]
    }

    /// Throws away what was polled since the last commit: the next poll gives it again. Whoever cannot work on a batch
    /// must say so; a later commit would pass over it.
    fn rewind(&mut self) -> Result<(), Fault>;

    /// Hands the partitions over at once.
    fn leave(self: Box<Self>) -> Result<(), Fault>;
}
