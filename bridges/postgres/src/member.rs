//! A worker's place in its group, whose commits PostgreSQL keeps before the log has them.
//!
//! ```text
//! poll ── what waits there goes into the log first ── decide ── commit ── PostgreSQL: events, positions, records ── log
//! ```
//!
//! Whatever dies in between: PostgreSQL is never behind the log, and what it has more is written there before anything is decided.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daybook::eventstore::fingerprint;
use daybook::eventstore::log::{Assignment, BATCH_BYTES_MAX, Commit, Fault, Limits, Log, Member, Message, Offset, Polled, Positions, Record, Stuck, Wrong};
use daybook::eventstore::outcome::Outcome;
use daybook::schemas::envelope::event_id;
use daybook::schemas::{Envelope, Partition, Topic};
use daybook::{Service, Timestamp};
use daybook_cqrs_es::StoredEvent;

use crate::database::{Batch, Database, Foreign, Kept, NewEvent, Waiting};
use crate::ends::{newest, read};
use crate::held::Held;
use crate::listener::Heard;
use crate::refusals::Refusals;

/// How often it is looked whether others have written, if nobody says so.
const LOOK: Duration = Duration::from_secs(1);
/// How long the log is waited for before what was heard is looked at.
const SLICE: Duration = Duration::from_millis(20);
/// Records at the end of a partition of dead letters among which one that waits is looked for.
const LETTERS: u64 = 1_000;

/// Aggregate types by their names on the platform.
pub type All = BTreeMap<&'static str, Arc<dyn Held>>;

/// See the module.
pub struct KeptMember {
    pub service: Arc<Service>,
    pub log: Arc<dyn Log>,
    pub inner: Box<dyn Member>,
    pub database: Database,
    pub held: All,
    pub heard: Heard,
    pub state: State,
}

/// What is known of the two places.
#[derive(Default)]
pub struct State {
    /// its tables are there
    made: bool,
    /// what follows is so
    known: bool,
    /// up to where each input was taken in there
    taken: BTreeMap<(Topic, Partition), Offset>,
    /// the position of the newest event that the log has; before all, if it has none
    relayed: BTreeMap<Partition, i64>,
    /// dead letters that the log has
    done: Vec<i64>,
    /// partitions that stand still: what others wrote there cannot go into the log
    stuck: BTreeMap<Partition, Stuck>,
    /// partitions that stand still, or may: what was decided there is refused for good
    refusals: Refusals,
    /// the worker was not told of its partitions yet
    owes: bool,
    looked: Option<Instant>,
}

impl KeptMember {
    /// Reads how far both are, and brings the log up to what is kept. Says whether something has changed of what is decided by.
    fn catch_up(&mut self, assignment: &Assignment) -> Result<bool, Fault> {
        self.state.looked = Some(Instant::now());
        if !self.state.known {
            self.look(assignment)?;
        }
        let (events, mut written) = (self.service.events(), self.make(assignment)?);
        let behind = assignment.partitions.iter().map(|partition| self.state.relayed.get(partition).copied().unwrap_or(-1)).min();
        let Some(mut from) = behind else { return Ok(written) };
        loop {
            let page = self.database.waiting(&events, &assignment.partitions, from)?;
            let Some(last) = page.last().map(|last| last.position) else { break };
            let missing = |waiting: &Waiting| waiting.position > self.state.relayed.get(&waiting.message.partition).copied().unwrap_or(-1);
            let mut bytes = 0;
            let fits = |waiting: &Waiting| {
                let first = bytes == 0;
                bytes += waiting.message.bytes();
                first || bytes <= BATCH_BYTES_MAX
            };
            let missing: Vec<Waiting> = page.into_iter().filter(missing).take_while(fits).collect();
            from = missing.last().map_or(last, |last| last.position);
            if missing.is_empty() {
                continue;
            }
            tracing::info!(service = self.service.name, records = missing.len(), "what PostgreSQL has is written into the log");
            self.write(missing.iter().map(|waiting| waiting.message.clone()).collect(), assignment)?;
            self.state.relayed.extend(missing.iter().map(|waiting| (waiting.message.partition, waiting.position)));
            written = true;
        }
        self.state.known = true;
        Ok(written)
    }

    /// Writes what is kept already.
    fn write(&mut self, messages: Vec<Message>, assignment: &Assignment) -> Result<(), Fault> {
        self.state.known = false; // whatever comes of it
        match self.inner.commit(messages, &vec![], assignment)? {
            Commit::Committed(_) => {
                self.state.known = true;
                Ok(())
            }
            Commit::Lost | Commit::Unknown => Err(Fault::Abort("what PostgreSQL has could not be written into the log".to_owned())),
        }
    }

    fn look(&mut self, assignment: &Assignment) -> Result<(), Fault> {
        if !self.state.made {
            self.database.migrate()?;
            self.state.made = true;
        }
        let own = fingerprint::of(&[&self.log.secret()]);
        if self.database.home(&own)? != own {
            return Err(Fault::Retry(
                "PostgreSQL has the events of another log: bring that log back, or give this one a schema or a database of its own".to_owned(),
            ));
        }
        self.database.pass_over(&self.types())?;
        self.state.taken = self.database.positions()?.into_iter().map(|(topic, partition, next)| ((topic, partition), next)).collect();
        for (topic, partition, next) in self.log.committed(self.service.name)? {
            let taken = self.state.taken.get(&(topic.clone(), partition)).copied().unwrap_or_default();
            if assignment.partitions.contains(&partition) && next > taken {
                return Err(Fault::Retry(format!(
                    "{topic}/{partition} was decided up to offset {next}, and PostgreSQL has it up to {taken}: it is another database, or an older copy"
                )));
            }
        }
        let (events, commands) = (self.service.events(), self.service.commands());
        for ((topic, partition), next) in self.state.taken.iter().filter(|((topic, _), _)| *topic == commands) {
            let end = self.log.end(topic, *partition)?;
            if *next > end {
                return Err(Fault::Retry(format!(
                    "PostgreSQL has {topic}/{partition} up to offset {next}, and it ends at {end}: the log is an older copy. Bring the newer one back"
                )));
            }
        }
        self.state.relayed.clear();
        for partition in &assignment.partitions {
            let position = match newest(self.log.as_ref(), &events, *partition)? {
                None => -1,
                Some(newest) => {
                    let id = newest.headers.text("ce_id").unwrap_or_default();
                    self.database.position_of(&events, *partition, id)?.ok_or_else(|| {
                        Fault::Retry(format!(
                            "{events}/{partition} ends with event {id} at offset {}, which PostgreSQL does not have as the last that went there: it is another \
                             database, or an older copy, or somebody else writes into the topic",
                            newest.offset
                        ))
                    })?
                }
            };
            self.state.relayed.insert(*partition, position);
        }
        self.letters(assignment)
    }

    /// Dead letters of what was kept and did not reach the log.
    fn letters(&mut self, assignment: &Assignment) -> Result<(), Fault> {
        let letters = self.service.dead_letters();
        let waiting = self.database.waiting(&letters, &assignment.partitions, -1)?;
        let mut missing = vec![];
        for Waiting { message, .. } in &waiting {
            let end = self.log.end(&letters, message.partition)?;
            let tail = read(self.log.as_ref(), &letters, message.partition, Offset(end.0.saturating_sub(LETTERS)), end)?;
            let same = |record: &Arc<Record>| (&record.key, &record.headers, &record.value) == (&message.key, &message.headers, &message.value);
            missing.extend((!tail.iter().any(same)).then(|| message.clone()));
        }
        if !missing.is_empty() {
            self.write(missing, assignment)?;
            self.state.known = false; // by this it is not
        }
        self.state.done = waiting.iter().map(|waiting| waiting.position).collect();
        Ok(())
    }

    fn types(&self) -> Vec<&'static str> {
        self.held.values().map(|held| held.row_type()).collect()
    }

    /// Makes records of events that others wrote. One that can be none holds up its partition, where the order would be another
    /// without it; says whether those have changed.
    fn make(&mut self, assignment: &Assignment) -> Result<bool, Fault> {
        let (types, mut after, mut stuck) = (self.types(), -1, BTreeMap::<Partition, String>::new());
        loop {
            let foreign = self.database.foreign(&types, after)?;
            let Some(last) = foreign.last() else { break };
            after = last.position;
            let (mut made, mut held_up) = (vec![], vec![]);
            for foreign in foreign {
                let (position, partition) = (foreign.position, self.log.partition_of(&foreign.id));
                let record = if stuck.contains_key(&partition) { Err(String::new()) } else { self.record(foreign) };
                match record {
                    Ok(waiting) => made.push(waiting),
                    Err(why) => {
                        stuck.entry(partition).or_insert(why);
                        held_up.push((position, partition));
                    }
                }
            }
            self.database.made(&made, &held_up)?;
        }
        let topic = self.service.events();
        let own = stuck.into_iter().filter(|(partition, _)| assignment.partitions.contains(partition));
        let at =
            |(partition, why)| Ok((partition, Stuck { offset: self.log.end(&topic, partition)?, topic: topic.clone(), partition, why, wrong: Wrong::Refused }));
        let own = own.map(at).collect::<Result<BTreeMap<_, _>, Fault>>()?;
        let changed = own != self.state.stuck;
        self.state.stuck = own;
        Ok(changed)
    }

    fn record(&self, foreign: Foreign) -> Result<Waiting, String> {
        let Foreign { position, aggregate_type, id, sequence, at, event_type, event_version, payload, metadata } = foreign;
        let (quoted, of) = (id.replace('\'', "''"), aggregate_type.replace('\'', "''"));
        let wrong = |why: String| {
            format!(
                "event {sequence} of {aggregate_type} {id} in PostgreSQL cannot go into the log: {why}. Where no newer version of this program knows it, take it \
                 back: DELETE FROM events WHERE aggregate_type = '{of}' AND aggregate_id = '{quoted}' AND sequence >= {sequence}"
            )
        };
        let held = self.held.values().find(|held| held.row_type() == aggregate_type).ok_or_else(|| wrong("no aggregate of this type lives here".to_owned()))?;
        let handler = self.service.handler(held.name()).ok_or_else(|| wrong(format!("{} does not own {}", self.service.name, held.name())))?;
        handler.check_id(&id).map_err(&wrong)?;
        let at = at.ok_or_else(|| wrong("no record can say when it was written (created_at)".to_owned()))?;
        let payload = serde_json::from_str(&payload).map_err(|why| wrong(format!("its payload: {why}")))?;
        let metadata = serde_json::from_str(&metadata).map_err(|why| wrong(format!("its metadata: {why}")))?;
        let event = StoredEvent { event_type, event_version, payload, metadata };
        let (kind, body) = held.record(event).map_err(|why| wrong(why.to_string()))?;
        let (source, key) = (format!("/{}/{}", self.service.name, held.name()), (self.log.rules().routing_key)(&id));
        let mut envelope = Envelope::new(event_id(&source, key, &id, sequence), source, kind, &id);
        (envelope.version, envelope.time, envelope.correlation) = (Some(sequence), Some(Timestamp(at)), Some(envelope.id.clone()));
        let message = Message {
            topic: self.service.events(),
            partition: self.log.partition_of(&id),
            key: key.as_bytes().to_vec(),
            headers: envelope.headers(),
            value: Some(body),
        };
        message.fits(self.log.rules().record_bytes).map_err(|why| wrong(why.to_string()))?;
        Ok(Waiting { position, message })
    }

    /// What came of a batch, as PostgreSQL takes it.
    fn event<'m>(&self, message: &'m Message) -> Result<Option<NewEvent<'m>>, Fault> {
        let wrong = |why: String| Fault::Fatal(format!("what was just decided cannot be kept: {why}"));
        let envelope = Envelope::read(&message.headers).map_err(|why| wrong(why.to_string()))?;
        let body = message.value.as_deref().unwrap_or_default();
        if Outcome::of_marker(&envelope.kind, body).map_err(|why| wrong(why.to_string()))?.is_some() {
            return Ok(None);
        }
        let of = self.held.get(envelope.kind.aggregate.as_ref()).ok_or_else(|| wrong(format!("{} does not live in PostgreSQL", envelope.kind.aggregate)))?;
        let row = of.row(&envelope.kind, body).map_err(|why| wrong(why.to_string()))?;
        let sequence = envelope.version.ok_or_else(|| wrong("an event without a version".to_owned()))?;
        Ok(Some(NewEvent { of: Arc::clone(of), id: envelope.subject, sequence, kind: envelope.kind, row, body }))
    }

    /// Keeps what came of a batch; none if it is to be decided again.
    fn keep(&mut self, outputs: &[Message], positions: &Positions) -> Result<Result<Vec<i64>, Commit>, Fault> {
        let (events, letters) = (self.service.events(), self.service.dead_letters());
        let known = |topic: &Topic, partition: Partition| self.state.taken.get(&(topic.clone(), partition)).copied();
        let moves = positions.iter().map(|(topic, partition, next)| (topic.clone(), *partition, known(topic, *partition), *next));
        let moves: Vec<_> = moves.filter(|(_, _, known, next)| known.is_none_or(|known| known < *next)).collect();
        let records: Vec<&Message> = outputs.iter().filter(|message| message.topic == events || message.topic == letters).collect();
        if moves.is_empty() && records.is_empty() {
            return Ok(Ok(vec![]));
        }
        let new = records.iter().filter(|message| message.topic == events).map(|message| self.event(message));
        let new = new.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        let relayed = (&events, self.state.relayed.iter().map(|(partition, position)| (*partition, *position)).collect());
        let (done, types) = (&self.state.done, &self.types());
        let owned = |partition: &Partition| self.state.relayed.contains_key(partition);
        let stood =
            self.state.taken.iter().filter(|((_, partition), _)| owned(partition)).map(|((topic, partition), next)| (topic, *partition, *next)).collect();
        let batch = Batch { stood, moves, events: new, records, relayed, done, types };
        self.state.known = false; // until the log has it
        match self.database.keep(&batch)? {
            Kept::Yes(positions) => {
                self.state.done.clear();
                Ok(Ok(positions))
            }
            Kept::No(why) => {
                tracing::debug!(service = self.service.name, why, "decided again");
                self.state.refusals.beaten(positions, why);
                Ok(Err(Commit::Lost))
            }
            Kept::Refused(why) => {
                let why = format!("PostgreSQL refuses what was decided: {why}");
                if positions.is_empty() {
                    return Err(Fault::Retry(why)); // it has no partition that could be tried alone
                }
                tracing::warn!(service = self.service.name, why, "decided again");
                self.state.refusals.refused(positions, &why);
                Ok(Err(Commit::Lost))
            }
            Kept::Unknown(why) => {
                tracing::warn!(service = self.service.name, why, "whether PostgreSQL has it is not known");
                Ok(Err(Commit::Unknown))
            }
        }
    }

    /// The log has it as well.
    fn committed(&mut self, outputs: &[(Topic, Partition)], kept: Vec<i64>, positions: &Positions) {
        let (events, letters) = (self.service.events(), self.service.dead_letters());
        let records = outputs.iter().filter(|(topic, _)| *topic == events || *topic == letters);
        for ((topic, partition), position) in records.zip(kept) {
            if *topic == events {
                self.state.relayed.insert(*partition, position);
            } else {
                self.state.done.push(position);
            }
        }
        for (topic, partition, next) in positions {
            let taken = self.state.taken.entry((topic.clone(), *partition)).or_default();
            *taken = (*next).max(*taken);
        }
        self.state.known = true;
    }
}

impl Member for KeptMember {
    fn poll(&mut self, limits: Limits, wait: Duration) -> Result<Polled, Fault> {
        let began = Instant::now();
        loop {
            let polled = self.inner.poll(limits, wait.saturating_sub(began.elapsed()).min(SLICE))?;
            let mut batch = match polled {
                Polled::Assigned(assignment) => {
                    (self.state.known, self.state.owes) = (false, true);
                    self.state.refusals.forget();
                    self.catch_up(&assignment)?; // what fails is tried again with the next batch
                    self.state.owes = false;
                    return Ok(Polled::Assigned(assignment));
                }
                Polled::Revoked { deadline } => {
                    self.state.known = false;
                    return Ok(Polled::Revoked { deadline });
                }
                Polled::Batch(batch) => batch,
            };
            if batch.assignment.partitions.is_empty() {
                return Ok(Polled::Batch(batch));
            }
            let due = self.heard.taken() || self.state.looked.is_none_or(|looked| looked.elapsed() >= LOOK);
            if !self.state.known || due {
                match self.catch_up(&batch.assignment) {
                    Ok(false) if !self.state.owes => {} // whoever threw a batch away folds before it decides
                    caught => {
                        self.inner.rewind()?; // the batch comes again
                        caught?;
                        self.state.owes = false;
                        return Ok(Polled::Assigned(batch.assignment)); // what it decides by has changed
                    }
                }
            }
            if self.state.refusals.due() {
                self.inner.rewind()?;
                continue;
            }
            let taken = &self.state.taken;
            batch.records.retain(|record| taken.get(&(record.topic.clone(), record.partition)).is_none_or(|taken| record.offset >= *taken));
            // Once they go on, all that was not taken in of them comes again.
            batch.records.retain(|record| !self.state.stuck.contains_key(&record.partition));
            batch.positions.retain(|(_, partition, _)| !self.state.stuck.contains_key(partition));
            self.state.refusals.narrow(&mut batch);
            if !batch.records.is_empty() || !batch.positions.is_empty() || began.elapsed() >= wait {
                return Ok(Polled::Batch(batch));
            }
        }
    }

    fn commit(&mut self, outputs: Vec<Message>, positions: &Positions, assignment: &Assignment) -> Result<Commit, Fault> {
        let kept = match self.keep(&outputs, positions) {
            Ok(Ok(kept)) => kept,
            Ok(Err(ended)) => {
                self.inner.rewind()?;
                return Ok(ended);
            }
            Err(fault) => {
                self.inner.rewind()?;
                return Err(fault);
            }
        };
        let places: Vec<(Topic, Partition)> = outputs.iter().map(|message| (message.topic.clone(), message.partition)).collect();
        let ended = self.inner.commit(outputs, positions, assignment);
        match &ended {
            Ok(Commit::Committed(_)) => {
                self.committed(&places, kept, positions);
                if self.state.refusals.taken() {
                    self.inner.rewind()?;
                }
            }
            _ => self.state.known = false,
        }
        ended
    }

    fn behind(&self) -> Vec<(Topic, u64)> {
        self.inner.behind()
    }

    fn stopped(&self) -> Vec<Stuck> {
        self.state.stuck.values().chain(self.state.refusals.stops()).cloned().collect()
    }

    fn rewind(&mut self) -> Result<(), Fault> {
        self.inner.rewind()
    }

    fn leave(self: Box<Self>) -> Result<(), Fault> {
        self.inner.leave()
    }
}
