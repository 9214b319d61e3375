//! Transactions: two producers in rotation, so that one works while the other's markers are written. Each that does
//! not end cleanly is dropped and made anew under its id, which ends whatever it left open at the broker.
//!
//! So is each whose end may still be under way: librdkafka repeats an EndTxn when a connection breaks, and the one that
//! was sent first can reach the broker when the same producer has begun another transaction, and end that
//! (<https://issues.apache.org/jira/browse/KAFKA-17754>). A new producer has a new epoch, which refuses it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use schemas::Topic;

use super::access::{refused, unread};
use super::config::{Settings, TRANSACTION_MS, assignments};
use super::fault::{Next, Trouble, fault, is_refusal, next};
use super::logged::{log, stranger};
use super::{closing, ffi};
use crate::log::{Fault, Message, Offset};

/// How long a producer's beginning may take; it waits there for the end of what its id left open.
const INIT: Duration = Duration::from_secs(30);
/// How long one call of a transaction is repeated, its commit among them: after that its outcome is unknown.
const CALL: Duration = Duration::from_millis(TRANSACTION_MS as u64 / 2);
/// How long positions may take to become part of a transaction, each time that is asked for; and what is added before it is
/// taken for a call that never ends.
const POSITIONS: Duration = Duration::from_secs(5);
const NEVER: Duration = Duration::from_millis(500);
/// How long the beginning may take before it is asked for again; it goes on where it was.
const SLICE: Duration = Duration::from_millis(250);
/// How long a refused topic's name may take from the client's log.
const NAMED: Duration = Duration::from_millis(500);
/// A commit that took this long is not trusted to be over, though it ended well. Far below the time after which
/// librdkafka repeats a request without a word (`socket.timeout.ms`, here a little less than [`TRANSACTION_MS`]).
const COMMIT_SLOW: Duration = Duration::from_secs(2);
const _: () = assert!(COMMIT_SLOW.as_millis() < CALL.as_millis());

/// What became of records on their way, by place.
#[derive(Default)]
pub struct Reports {
    places: Mutex<Places>,
    told: Condvar,
    /// a connection of this client broke, or a commit was slow or repeated: what it sent may be under way still
    shaken: AtomicBool,
    /// topics that this user may not write, as the client's log names them: its errors do not
    unwritable: Mutex<BTreeSet<String>>,
}

#[derive(Default)]
struct Places {
    offsets: Vec<Option<Result<Offset, RDKafkaErrorCode>>>,
    open: usize,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        // The only word of a connection that closed under a request; one that closed idle is not told.
        if facility == "FAIL" {
            self.shake();
        }
        if facility == "ADDPARTS" && text.contains("authorization failed") {
            self.unwritable.lock().extend(text.split('"').nth(1).map(str::to_owned));
        }
        log(level, facility, text);
    }
    fn error(&self, error: KafkaError, text: &str) {
        stranger(&error, text);
        self.shake(); // every call answers for itself
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;
    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        let told = match result {
            // One that librdkafka takes for a duplicate is written, and it does not know where.
            Ok(message) => u64::try_from(message.offset()).map(Offset).map_err(|_| RDKafkaErrorCode::NoOffset),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)),
        };
        let mut places = self.places.lock();
        if let Some(slot) = places.offsets.get_mut(place).filter(|slot| slot.is_none()) {
            *slot = Some(told);
            places.open -= 1;
            if places.open == 0 {
                self.told.notify_all();
            }
        }
    }
}

impl Reports {
    fn begin(&self, count: usize) {
        *self.places.lock() = Places { offsets: vec![None; count], open: count };
    }

    /// Topics that may not be written, as soon as the client's log has named one.
    fn unwritable(&self) -> BTreeSet<String> {
        let deadline = Instant::now() + NAMED;
        while self.unwritable.lock().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::mem::take(&mut self.unwritable.lock())
    }

    fn shake(&self) {
        self.shaken.store(true, Ordering::Release);
    }

    /// Every report, by place; those that did not come in time are time-outs.
    pub fn all(&self, wait: Duration) -> Vec<Result<Offset, RDKafkaErrorCode>> {
        let mut places = self.places.lock();
        let _late = self.told.wait_while_for(&mut places, |places| places.open > 0, wait);
        places.offsets.drain(..).map(|told| told.unwrap_or(Err(RDKafkaErrorCode::MessageTimedOut))).collect()
    }
}

/// A producer whose reports are served by a thread of its own.
pub type Reporting = ThreadedProducer<Reports>;

/// Hands records to a producer, for reports under their places. The caller's queue is bounded, so is librdkafka's.
pub fn hand_over(settings: &Settings, producer: &Reporting, reports: &Reports, messages: &[Message]) -> Result<(), Trouble> {
    reports.begin(messages.len());
    for (place, message) in messages.iter().enumerate() {
        let topic = settings.named(&message.topic);
        let headers = message
            .headers
            .iter()
            .fold(OwnedHeaders::new_with_capacity(message.headers.len()), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
        let mut record = BaseRecord::with_opaque_to(&topic, place).partition(i32::from(message.partition.0)).key(&message.key).headers(headers);
        if let Some(value) = &message.value {
            record = record.payload(value);
        }
        let deadline = Instant::now() + CALL;
        while let Err((error, back)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) || Instant::now() > deadline {
                return Err(error.into());
            }
            std::thread::sleep(Duration::from_millis(1)); // the queue is librdkafka's, and it does not tell
            record = back;
        }
    }
    Ok(())
}

/// Positions to commit with a transaction, and the proof of the right to: read afresh when it is needed, none if gone.
pub struct Consumed<'a> {
    /// next offsets
    pub positions: TopicPartitionList,
    /// the member's metadata of now, if it stands where it stood at the poll
    pub proof: &'a dyn Fn() -> Option<ConsumerGroupMetadata>,
}

/// How a transaction ended.
#[derive(Debug)]
pub enum TransactionEnd {
    /// durable and visible; the offsets in the records' order
    Committed(Vec<Offset>),
    /// not written: the assignment is gone
    Lost(String),
    /// not written
    Not(Fault),
    /// written or not: why, and where each record is if it was
    Unknown(String, Vec<Option<Offset>>),
    /// an heir has taken over, or the broker has forgotten the producer; like unknown, if that came to light at the commit
    Fenced(String, Vec<Option<Offset>>),
}

/// Two producers in rotation, each under its id.
pub struct Producers {
    settings: Arc<Settings>,
    ids: [String; 2],
    made: [Option<Arc<Reporting>>; 2],
    turn: usize,
    /// whether some id may have left a transaction open
    unclean: [bool; 2],
    /// counts those that were dropped and made anew
    recycled: Arc<AtomicU64>,
    /// the credentials that they have
    signed_in: u64,
}

impl Producers {
    /// Made when they are first needed. `name` is new for each start of a process.
    pub fn new(settings: Arc<Settings>, name: &str, recycled: Arc<AtomicU64>) -> Self {
        let ids = [0, 1].map(|number| format!("{}{name}.{number}", settings.namespace));
        Self { settings, ids, made: [None, None], turn: 0, unclean: [false, false], recycled, signed_in: 0 }
    }

    /// Their transactional ids.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Gives them what they sign in with, if that has changed.
    pub fn sign_in(&mut self) {
        let credentials = &self.settings.credentials;
        if self.signed_in != credentials.changes() {
            self.signed_in = credentials.changes();
            self.made.iter().flatten().for_each(|producer| credentials.give(producer.client()));
        }
    }

    /// Makes every producer that is missing, left something open, or may have sent what has not arrived. To be called
    /// before positions are read again.
    pub fn mend(&mut self) -> Result<(), Fault> {
        self.sign_in();
        for slot in 0..self.ids.len() {
            let shaken = self.made[slot].as_ref().is_some_and(|made| made.context().shaken.load(Ordering::Acquire));
            if self.unclean[slot] || shaken {
                self.recycled.fetch_add(u64::from(self.made[slot].is_some()), Ordering::Relaxed);
                self.drop_one(slot);
            }
            if self.made[slot].is_none() {
                self.made[slot] = Some(Arc::new(begin(&self.settings, &self.ids[slot])?));
                self.unclean[slot] = false;
            }
        }
        Ok(())
    }

    /// One transaction.
    pub fn run(&mut self, outputs: &[Message], consumed: Option<Consumed<'_>>) -> TransactionEnd {
        if let Err(fault) = self.mend() {
            return TransactionEnd::Not(fault);
        }
        self.turn = (self.turn + 1) % self.ids.len();
        let Some(producer) = &self.made[self.turn] else { return TransactionEnd::Not(Fault::Retry("no producer".to_owned())) };
        let ended = transact(&self.settings, producer, outputs, consumed);
        if !matches!(ended, TransactionEnd::Committed(_)) {
            self.unclean[self.turn] = true;
            if let Err(fault) = self.mend() {
                tracing::warn!(%fault, "a producer is made anew later");
            }
        }
        ended
    }

    fn drop_one(&mut self, slot: usize) {
        self.made[slot].take().into_iter().for_each(closing::later);
    }
}

impl Drop for Producers {
    fn drop(&mut self) {
        (0..self.ids.len()).for_each(|slot| self.drop_one(slot));
    }
}

/// A producer under `id`: fences its predecessors and waits until what they left open has ended.
pub fn begin(settings: &Settings, id: &str) -> Result<Reporting, Fault> {
    let deadline = Instant::now() + INIT;
    loop {
        let changes = settings.credentials.changes();
        match begin_with(settings, id, &|| Instant::now() < deadline && settings.credentials.changes() == changes) {
            // One that was refused the sign-in takes its time until it asks with a new password: another asks at once.
            Err(_) if settings.credentials.changes() != changes && Instant::now() < deadline => {}
            ended => return ended,
        }
    }
}

fn begin_with(settings: &Settings, id: &str, goes_on: &dyn Fn() -> bool) -> Result<Reporting, Fault> {
    let failed = |error: KafkaError| fault(&format!("producer {id}"), error);
    let producer = Reporting::from_config_and_context(&settings.transactional(id)?, Reports::default()).map_err(failed)?;
    match again(goes_on, || producer.init_transactions(SLICE).map_err(Trouble::from)) {
        Ok(()) => Ok(producer),
        Err(trouble) => {
            closing::later(producer);
            if trouble.code == RDKafkaErrorCode::TransactionalIdAuthorizationFailed {
                return Err(refused("Write", &format!("transactional id {id}")));
            }
            // Fenced here is a race of two makers: the later one wins, the earlier tries again.
            Err(if next(&trouble) == Next::Stop { fault(&format!("producer {id}"), trouble) } else { Fault::Retry(format!("producer {id}: {trouble}")) })
        }
    }
}

/// Repeats a call as long as it says that this may help, and it goes on.
fn again<T>(goes_on: &dyn Fn() -> bool, mut call: impl FnMut() -> Result<T, Trouble>) -> Result<T, Trouble> {
    loop {
        match call() {
            Err(trouble) if next(&trouble) == Next::Again && goes_on() => std::thread::sleep(Duration::from_millis(20)),
            other => return other,
        }
    }
}

fn transact(settings: &Settings, producer: &Arc<Reporting>, outputs: &[Message], consumed: Option<Consumed<'_>>) -> TransactionEnd {
    let reports: &Reports = producer.context();
    let before = |trouble: Trouble| match next(&trouble) {
        Next::Lost => TransactionEnd::Lost(trouble.to_string()),
        Next::Rejoin => TransactionEnd::Fenced(trouble.to_string(), vec![]),
        Next::Stop if is_refusal(trouble.code) => TransactionEnd::Not(refused_in(settings, reports, outputs, &[], &trouble)),
        Next::Stop => TransactionEnd::Not(fault("transaction", trouble)),
        Next::Again | Next::Rewind => TransactionEnd::Not(Fault::Abort(format!("transaction: {trouble}"))),
    };
    if let Err(error) = producer.begin_transaction() {
        return before(error.into());
    }
    if let Err(trouble) = hand_over(settings, producer, reports, outputs) {
        return before(trouble);
    }
    if let Some(held) = settings.held.filter(|_| outputs.iter().any(|message| message.topic != assignments())) {
        let _flushed = producer.flush(CALL); // so that the broker has it all but its end
        std::thread::sleep(held);
    }
    if let Some(consumed) = consumed {
        let offsets = Instant::now();
        let Some(proof) = (consumed.proof)().map(Arc::new) else { return TransactionEnd::Lost("the group has moved on since the poll".to_owned()) };
        if let Err(trouble) = again(&|| offsets.elapsed() < CALL, || add_positions(producer, &consumed.positions, &proof)) {
            // A position is of a topic that is read; what could not be written may come to light here too.
            if trouble.code == RDKafkaErrorCode::TopicAuthorizationFailed && trouble.text.contains("commit offsets") {
                let topics: BTreeSet<Topic> = consumed.positions.elements().iter().filter_map(|element| settings.topic(element.topic())).collect();
                return TransactionEnd::Not(unread(settings, &topics.into_iter().collect::<Vec<_>>()));
            }
            return before(trouble);
        }
    }
    let (began, mut calls) = (Instant::now(), 0);
    let ended = again(&|| began.elapsed() < CALL, || {
        calls += 1;
        ffi::commit(producer, CALL.saturating_sub(began.elapsed()).min(COMMIT_SLOW))
    });
    if calls > 1 || began.elapsed() > COMMIT_SLOW {
        reports.shake();
    }
    // Whatever it says but success: librdkafka asks for an abort after every error that it does not know, and the broker
    // may have committed before it answered so. Only the log can tell.
    match ended {
        Ok(()) => {
            let told = reports.all(Duration::from_secs(1));
            match told.iter().cloned().collect::<Result<_, _>>() {
                Ok(offsets) => TransactionEnd::Committed(offsets),
                Err(code) => TransactionEnd::Unknown(format!("committed, but a record was reported {code:?}"), told.into_iter().map(Result::ok).collect()),
            }
        }
        Err(trouble) => {
            let told = reports.all(Duration::ZERO);
            // A record that may not be written keeps its transaction from being committed.
            let unwritten = told.iter().any(|told| told.as_ref().is_err_and(|code| is_refusal(*code)));
            if unwritten || matches!(trouble.code, RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed) {
                return TransactionEnd::Not(refused_in(settings, reports, outputs, &told, &trouble));
            }
            let places = told.into_iter().map(Result::ok).collect();
            if next(&trouble) == Next::Rejoin {
                TransactionEnd::Fenced(trouble.to_string(), places)
            } else {
                TransactionEnd::Unknown(trouble.to_string(), places)
            }
        }
    }
}

/// Makes positions part of the open transaction. The call is made elsewhere, since it has no end where the group's coordinator
/// is gone: librdkafka waits for any of the client's connections to come or go then, and looks at no clock
/// (`creq_ts_timeout` in its rdkafka_coord.c, 2.12.1, is set and never read). Such a producer is given up, and another finds
/// the coordinator; it is closed when its call returns, with the next connection that a broker closes for being idle.
fn add_positions(producer: &Arc<Reporting>, positions: &TopicPartitionList, proof: &Arc<ConsumerGroupMetadata>) -> Result<(), Trouble> {
    let (called, positions, proof) = (Arc::clone(producer), positions.clone(), Arc::clone(proof));
    let call = move || called.send_offsets_to_transaction(&positions, &proof, POSITIONS).map_err(Trouble::from);
    closing::within("positions", POSITIONS + NEVER, call).unwrap_or_else(|| {
        Err(Trouble {
            code: RDKafkaErrorCode::OperationTimedOut,
            fatal: false,
            retriable: false,
            abort: true,
            text: "the client does not find the group's coordinator, and is made anew".to_owned(),
        })
    })
}

/// What was refused of a transaction: the topics of the records that were, or that could not be made part of it.
fn refused_in(settings: &Settings, reports: &Reports, outputs: &[Message], told: &[Result<Offset, RDKafkaErrorCode>], trouble: &Trouble) -> Fault {
    let of = |told: &Result<Offset, RDKafkaErrorCode>| told.as_ref().is_err_and(|code| is_refusal(*code));
    let of_records: BTreeSet<String> = outputs.iter().zip(told).filter(|(_, told)| of(told)).map(|(message, _)| settings.named(&message.topic)).collect();
    let names = match trouble.code {
        _ if !of_records.is_empty() => of_records,
        RDKafkaErrorCode::GroupAuthorizationFailed => return refused("Read", &format!("the group whose positions are committed ({trouble})")),
        RDKafkaErrorCode::TransactionalIdAuthorizationFailed => return refused("Write", &format!("the producer's transactional id ({trouble})")),
        _ => Some(reports.unwritable())
            .filter(|names| !names.is_empty())
            .unwrap_or_else(|| outputs.iter().map(|message| settings.named(&message.topic)).collect()),
    };
    refused("Write", &format!("topic {}", names.into_iter().collect::<Vec<_>>().join(" or ")))
}

/// Ends whatever these transactional ids have open, and fences their producers.
pub fn fence(settings: &Settings, ids: &BTreeSet<String>) -> Result<(), Fault> {
    std::thread::scope(|scope| {
        let fencing: Vec<_> = ids.iter().map(|id| scope.spawn(|| begin(settings, id).map(closing::later))).collect();
        fencing.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(Fault::Retry("fencing panicked".to_owned()))))
    })
}
