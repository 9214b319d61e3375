//! What operators' routes answer, for documents: each answer is made where it is known, and tests hold it to its shape here.
#![allow(dead_code, reason = "only described")]

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde_json::{Map, Value};

/// Several things, of which some may lie with instances that did not answer.
#[derive(JsonSchema)]
#[schemars(rename = "{T}s")]
pub struct Gathered<T> {
    /// what was found
    items: Vec<T>,
    /// there are more than were asked for
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<bool>,
    /// instances that did not answer, each with the reason
    silent: Vec<Silent>,
    /// partitions that nobody owns at this moment, as `<service>/<partition>`
    #[serde(skip_serializing_if = "Option::is_none")]
    unowned: Option<Vec<String>>,
}

/// An instance that did not answer.
#[derive(JsonSchema)]
pub struct Silent {
    url: String,
    why: String,
}

/// A process that has not ended.
#[derive(JsonSchema)]
pub struct Saga {
    /// `<aggregate>/<id>`
    id: String,
    service: String,
    partition: u16,
    version: u64,
    /// as its state says it
    status: Option<Value>,
    waits_for: String,
    /// since when, in log time
    since: String,
    waited_seconds: i64,
    deadline: Option<String>,
    overdue: bool,
}

/// A reader that stands still at a record.
#[derive(JsonSchema)]
pub struct StoppedReader {
    reader: String,
    topic: String,
    partition: Option<u16>,
    offset: Option<u64>,
    reason: String,
    since: Option<String>,
    /// whose it is, where it is another's
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
}

/// A record as it lies in the log.
#[derive(JsonSchema)]
pub struct Record {
    topic: String,
    partition: u16,
    offset: u64,
    recorded_at: String,
    key: String,
    headers: Map<String, Value>,
    body: Value,
}

/// What followed from a command.
#[derive(JsonSchema)]
pub struct Traced {
    /// the correlation id of all of it
    id: String,
    items: Vec<TracedRecord>,
    /// not all of the log was looked at
    more: bool,
}

/// A record that followed from a command.
#[derive(JsonSchema)]
pub struct TracedRecord {
    /// `command`, `event`, `answer` (one that caused no event) or `dead letter`
    sort: String,
    /// `<aggregate>.<name>`
    r#type: Option<String>,
    subject: Option<String>,
    id: Option<String>,
    /// the id of what caused it
    cause: Option<String>,
    source: Option<String>,
    /// W3C trace context
    trace: Option<String>,
    actor: Option<String>,
    /// of a dead letter
    reason: Option<String>,
    topic: String,
    partition: u16,
    offset: u64,
    at: String,
    /// log time in microseconds since 1970
    micros: i64,
    /// the views here that have folded it
    folded_by: Vec<String>,
}

/// A record, and who stands still because of it.
#[derive(JsonSchema)]
pub struct StoppedAt {
    record: Record,
    /// at it
    readers: BTreeSet<String>,
    /// behind it in its partition
    behind: BTreeSet<String>,
    silent: Vec<Silent>,
}

/// What was settled about a record.
#[derive(JsonSchema)]
pub struct Settled {
    /// `skip` or `retry`
    settled: String,
    /// `<topic>/<partition>/<offset>`
    record: String,
    /// whose
    readers: BTreeSet<String>,
    silent: Vec<Silent>,
}

/// A page of a partition.
#[derive(JsonSchema)]
pub struct Records {
    items: Vec<Record>,
    /// where the next page begins
    next: u64,
    /// where the partition begins
    start: u64,
    /// where it ends
    end: u64,
}

/// A partition of a topic.
#[derive(JsonSchema)]
pub struct Extent {
    topic: String,
    partition: u16,
    start: u64,
    end: u64,
    offsets: u64,
    bytes: Option<u64>,
    groups: Vec<GroupLag>,
}

/// How far a group is.
#[derive(JsonSchema)]
pub struct GroupLag {
    group: String,
    committed: Option<u64>,
    lag: u64,
}

/// Where the partitions of a topic begin and end.
#[derive(JsonSchema)]
pub struct Extents {
    partitions: Vec<Extent>,
}

/// Every topic, how far its readers are, and what this instance keeps on disk.
#[derive(JsonSchema)]
pub struct Topics {
    topics: Vec<Extent>,
    views: Vec<ViewLag>,
    disk: Vec<DiskUse>,
}

/// How far a view is.
#[derive(JsonSchema)]
pub struct ViewLag {
    view: String,
    topic: String,
    lag: u64,
    lags: Vec<u64>,
}

/// What a component takes on disk.
#[derive(JsonSchema)]
pub struct DiskUse {
    component: String,
    bytes: u64,
}

/// What was trimmed, or would be.
#[derive(JsonSchema)]
pub struct Trimmed {
    dry_run: bool,
    items: Vec<TrimmedPartition>,
}

/// One partition's commands.
#[derive(JsonSchema)]
pub struct TrimmedPartition {
    topic: String,
    partition: u16,
    committed: Option<u64>,
    began: u64,
    begins: u64,
    offsets: u64,
}

/// One aggregate.
#[derive(JsonSchema)]
pub struct Inspected {
    /// `<aggregate>/<id>`
    id: String,
    service: String,
    partition: u16,
    owner: Option<String>,
    version: u64,
    as_of: u64,
    waits_for: Option<String>,
    deadline: Option<String>,
    state: Value,
    history: Vec<InspectedEvent>,
    left_off: u64,
}

/// One of its events.
#[derive(JsonSchema)]
pub struct InspectedEvent {
    version: u64,
    event: Option<String>,
    r#type: Option<String>,
    offset: u64,
    at: String,
    causation: Option<String>,
    correlation: Option<String>,
    actor: Option<String>,
}

/// A command or an event that could not be processed.
#[derive(JsonSchema)]
pub struct DeadLetter {
    /// `<service>/<partition>/<offset>`
    id: String,
    reason: Option<String>,
    detail: Option<String>,
    r#type: Option<String>,
    command: Option<String>,
    subject: Option<String>,
    from: Option<String>,
    recorded_at: String,
    discarded: Option<Discarded>,
    /// of one that is shown whole
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Map<String, Value>>,
    /// of one that is shown whole
    #[serde(skip_serializing_if = "Value::is_null")]
    body: Value,
}

/// Why nothing is done about a letter any more.
#[derive(JsonSchema)]
pub struct Discarded {
    reason: String,
    actor: Option<String>,
    at: String,
}

/// Dead letters.
#[derive(JsonSchema)]
pub struct DeadLetters {
    items: Vec<DeadLetter>,
    /// where the next page begins; null after the last
    next: Option<String>,
    /// how many are discarded
    discarded: u64,
}

/// What was written once more.
#[derive(JsonSchema)]
pub struct Retried {
    written_to: String,
    partition: u16,
    offset: u64,
    commands: u64,
}

/// What is settled about a letter.
#[derive(JsonSchema)]
pub struct DiscardedLetter {
    id: String,
    discarded: Option<Discarded>,
}

/// What a proof found.
#[derive(JsonSchema)]
pub struct Proven {
    matches: bool,
    folds: Vec<ProvenFold>,
}

/// One fold.
#[derive(JsonSchema)]
pub struct ProvenFold {
    name: String,
    rows: u64,
    live: String,
    rebuilt: String,
    business: String,
    records: u64,
    full: bool,
    differences: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wrong: Option<String>,
}

/// The projections of an instance.
#[derive(JsonSchema)]
pub struct Projections {
    items: Vec<Folded>,
}

/// A generation of a projection.
#[derive(JsonSchema)]
pub struct Generation {
    generation: u32,
    /// its rows' shape: the projection's name, and a number that rises with every change
    shape: String,
}

/// How a projection stands.
#[derive(JsonSchema)]
pub struct Folded {
    name: String,
    topic: String,
    /// `live`, `catching-up`, `paused` or `failed`
    state: String,
    failed: Option<String>,
    serving: Generation,
    rows: u64,
    /// of the rows as its fold keeps it, independent of their order
    digest: String,
    /// partition -> the offset that is folded next
    positions: Map<String, Value>,
    /// offsets that are not folded yet
    behind: u64,
    /// partitions that stand still, and why
    stopped: Vec<String>,
    previous: Option<Generation>,
    beside: Option<Beside>,
    /// what became of the last that was folded beside
    ended: Option<String>,
}

/// What is folded beside.
#[derive(JsonSchema)]
pub struct Beside {
    generation: u32,
    /// `asked`, `shape` or `rollback`
    why: String,
    /// `folding`, `comparing`, `held`, `paused` or `failed`
    phase: String,
    /// why it stands still, or why its last step is tried again
    said: Option<String>,
    offsets: u64,
    of: u64,
    records_a_second: f64,
    seconds_left: Option<f64>,
    swaps: bool,
    accepts_differences: bool,
    keeps_previous: bool,
    actor: Option<String>,
    differences: Option<Vec<Value>>,
}

/// What a comparison found.
#[derive(JsonSchema)]
pub struct Diffed {
    same: bool,
    /// partition -> the offset up to which it was folded; null: as far as what is served
    at: Option<Map<String, Value>>,
    found: ProvenFold,
}
