//! One batch's decisions: from records to what is to be written. Effects are values here; nothing is sent.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use domain::{Context, Origin, Routing, Timestamp, routing_key};
use schemas::envelope::{Kind, Malformed, caused_id, event_id};
use schemas::{Envelope, Partition, partition_of};

use crate::dead_letters::{Reason, dead_letter};
use crate::heads::{Heads, Mark, Outcome};
use crate::log::{Fault, Message, Offset, RECORD_BYTES_MAX, Record, Stuck};
use crate::observer::Note;
use crate::replies::{Answer, ReplyTo, body_hash};
use crate::rows::{Digested, Last};
use crate::service::{Decided, Erased, Handler, Reaction, Refused, Service, State};

/// Why a batch cannot be decided.
pub enum Stop {
    /// This partition cannot go on; the others can.
    Partition(Box<Stuck>),
    /// The worker cannot.
    Worker(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Worker(fault)
    }
}

/// A batch being decided.
pub struct Turn<'a> {
    service: &'a Service,
    heads: &'a mut Heads,
    now: Timestamp,
    partitions: u16,
    outputs: Vec<Message>,
    notes: Vec<Note>,
}

/// What a batch comes to.
pub struct Decision {
    /// what is to be written
    pub outputs: Vec<Message>,
    /// what is to be told once it is committed
    pub notes: Vec<Note>,
}

impl Decision {
    /// Which of the outputs are events of `service`, by place.
    pub fn written(&self, service: &Service) -> Written {
        let events = service.events();
        let partitions: Vec<_> = self.outputs.iter().map(|message| (message.topic == events).then_some(message.partition)).collect();
        let last: BTreeMap<Partition, usize> = partitions.iter().enumerate().filter_map(|(place, partition)| Some(((*partition)?, place))).collect();
        let lasts = last.into_iter().filter_map(|(partition, place)| Some((partition, place, Digested::of(self.outputs.get(place)?)))).collect();
        Written { partitions, lasts }
    }
}

/// The partitions of a batch's own events, by place among its outputs.
pub struct Written {
    partitions: Vec<Option<Partition>>,
    /// each partition's last, by its place
    lasts: Vec<(Partition, usize, Digested)>,
}

impl Written {
    /// Each partition's last event, now that its offset is known.
    pub fn lasts(&self, offsets: &[Offset]) -> Vec<(Partition, Last)> {
        self.lasts.iter().filter_map(|(partition, place, digested)| Some((*partition, digested.at(*offsets.get(*place)?)))).collect()
    }

    /// Where the fold of the own events stands once the outputs are committed at `offsets`.
    pub fn next(&self, offsets: &[Offset]) -> Vec<(Partition, Offset)> {
        let own = self.partitions.iter().zip(offsets).filter_map(|(partition, offset)| Some(((*partition)?, offset.next())));
        own.collect::<BTreeMap<_, _>>().into_iter().collect()
    }
}

/// A command on its way to its aggregate.
struct Asked<'r> {
    partition: Partition,
    key: &'r [u8],
    envelope: Envelope,
    /// hash of a client's command; inner commands are not marked
    hash: Option<String>,
    reply_to: Option<ReplyTo>,
    /// the record it came in, for a dead letter
    record: Option<&'r Record>,
}

impl<'a> Turn<'a> {
    /// Begins with nothing to write, at log time `now`.
    pub fn new(service: &'a Service, heads: &'a mut Heads, now: Timestamp, partitions: u16) -> Self {
        Self { service, heads, now, partitions, outputs: vec![], notes: vec![] }
    }

    /// Ends with what was decided.
    pub fn done(self) -> Decision {
        Decision { outputs: self.outputs, notes: self.notes }
    }

    /// A record of the own command topic.
    pub fn take_command(&mut self, record: &Record) -> Result<(), Stop> {
        match self.read_command(record) {
            Ok((asked, command)) => self.answer(&asked, command),
            Err((reason, detail)) => self.bury(record, reason, &detail),
        }
    }

    /// A record of a foreign events topic with the same routing keys: its policies' commands are decided at once.
    pub fn take_event(&mut self, record: &Record) -> Result<(), Stop> {
        if let Some(why) = self.heads.passes_over(record) {
            tracing::warn!(service = self.service.name, topic = %record.topic, partition = record.partition.0, offset = record.offset.0, why, "passed over");
            return Ok(());
        }
        for (reaction, envelope, commands) in reactions_to(&self.service.direct, record, &mut self.notes)? {
            for (index, (target, command)) in commands.into_iter().enumerate() {
                let wrong = |what: &str| Stop::Partition(Box::new(Stuck::at(record, format!("policy {}: {what} {target}", reaction.policy))));
                if partition_of(routing_key(&target).as_bytes(), self.partitions) != record.partition {
                    return Err(wrong("needs a router: another partition owns"));
                }
                let handler = self.service.handler(reaction.target).ok_or_else(|| wrong("commands an aggregate that is not owned here:"))?;
                let (kind, _) = handler.encode_command(&command).ok_or_else(|| wrong("made a command of another aggregate for"))?;
                let source = format!("/{}/{}", self.service.name, reaction.policy);
                let mut asked = Envelope::new(caused_id(&envelope.id, reaction.policy, index), source, kind, &target);
                asked.causation = Some(envelope.id.clone());
                asked.correlation.clone_from(&envelope.correlation);
                asked.occurred_at = envelope.occurred_at.or(envelope.time);
                asked.trace.clone_from(&envelope.trace);
                self.answer(
                    &Asked {
                        partition: record.partition,
                        key: routing_key(&target).as_bytes(),
                        envelope: asked,
                        hash: None,
                        reply_to: None,
                        record: Some(record),
                    },
                    command,
                )?;
            }
        }
        Ok(())
    }

    /// An aggregate whose deadline has come; says whether that changed anything.
    pub fn wake(&mut self, partition: Partition, aggregate: &str, id: &str) -> Result<bool, Stop> {
        let Some(handler) = self.service.handler(aggregate) else { return Ok(false) };
        let (_, state) = self.heads.head(partition, handler, id)?;
        let Some((due, command)) = handler.deadline(&state).filter(|(due, _)| *due <= self.now) else { return Ok(false) };
        drop(state);
        let Some((kind, _)) = handler.encode_command(&command) else { return Ok(false) };
        let cause = caused_id(&format!("{aggregate}/{id}"), "deadline", usize::try_from(due.0).unwrap_or(0));
        let mut envelope = Envelope::new(cause.clone(), format!("/{}/deadline", self.service.name), kind, id);
        envelope.causation = Some(cause);
        let before = self.outputs.len();
        self.answer(&Asked { partition, key: routing_key(id).as_bytes(), envelope, hash: None, reply_to: None, record: None }, command)?;
        Ok(self.outputs.len() > before)
    }

    fn read_command<'r>(&self, record: &'r Record) -> Result<(Asked<'r>, Erased), (Reason, String)> {
        let malformed = |why: Malformed| (Reason::Malformed, why.to_string());
        let envelope = record.envelope().cloned().map_err(|why| malformed(why.clone()))?;
        for (name, text) in [("ce_id", &envelope.id), ("ce_subject", &envelope.subject)] {
            if text.len() > 200 || text.chars().any(char::is_control) {
                return Err((Reason::Malformed, format!("header {name}: at most 200 bytes and no control characters")));
            }
        }
        let reply_to = envelope.reply_to.as_deref().map(|text| ReplyTo::parse(text, self.partitions)).transpose().map_err(|why| (Reason::Malformed, why))?;
        let Some(handler) = self.service.handler(&envelope.kind.aggregate) else {
            return Err((Reason::UnknownType, Malformed::UnknownKind(envelope.kind.to_string()).to_string()));
        };
        let key = String::from_utf8_lossy(&record.key);
        let due = partition_of(&record.key, self.partitions);
        if due != record.partition {
            return Err((
                Reason::Misrouted,
                format!("key '{key}' belongs to partition {due} (murmur2 of the key, modulo {}), the record is in {}", self.partitions, record.partition),
            ));
        }
        if handler.routing() == Routing::BySubject && routing_key(&envelope.subject) != key {
            return Err((
                Reason::Misrouted,
                format!("subject '{}' is routed by key '{}', the record's key is '{key}'", envelope.subject, routing_key(&envelope.subject)),
            ));
        }
        let body = record.body();
        let command = handler.decode_command(&envelope.kind, body).map_err(|why| match why {
            Malformed::UnknownKind(_) => (Reason::UnknownType, why.to_string()),
            Malformed::FromTheFuture(_) => (Reason::NewerVersion, why.to_string()),
            _ => (Reason::Malformed, why.to_string()),
        })?;
        // A command with a cause was made inside, and arrives exactly once; only ids that clients give are marked.
        let hash = envelope.causation.is_none().then(|| body_hash(&envelope, body));
        Ok((Asked { partition: record.partition, key: &record.key, envelope, hash, reply_to, record: Some(record) }, command))
    }

    fn answer(&mut self, asked: &Asked<'_>, command: Erased) -> Result<(), Stop> {
        let service = self.service;
        let Some(handler) = service.handler(&asked.envelope.kind.aggregate) else { return Ok(()) };
        let later = handler.answered_later(&command);
        if let Some(mark) = asked.hash.as_ref().map(|_| self.heads.mark(asked.partition, &asked.envelope.id, self.now)).transpose()?.flatten() {
            self.repeat(asked, &mark, later);
            return Ok(());
        }
        if let Some(why) = self.heads.closed(asked.partition, handler.name(), &asked.envelope.subject)? {
            return self.give_up(asked, Reason::Closed, &format!("{} {} is closed: {why}", handler.name(), asked.envelope.subject));
        }
        let (version, state) = self.heads.head(asked.partition, handler, &asked.envelope.subject)?;
        let decided = match asked.envelope.expected_version.filter(|expected| *expected != version) {
            Some(expected) => Ok(Err(Refused { code: "version-conflict", detail: format!("the aggregate is at version {version}, not {expected}") })),
            None => self.decide(handler, &state, asked, command),
        };
        drop(state);
        if let Some(fault) = self.heads.take_fault() {
            return Err(fault.into());
        }
        match decided {
            Err(panic) => self.give_up(asked, Reason::Panicked, &panic),
            Ok(Err(refused)) if asked.hash.is_none() => self.give_up(asked, Reason::Refused, &format!("{}: {}", refused.code, refused.detail)),
            Ok(Err(Refused { code, detail })) => self.mark(asked, Outcome::Refused { code: code.to_owned(), detail }, false),
            Ok(Ok(events)) if events.is_empty() => self.mark(asked, Outcome::Accepted { version }, later),
            Ok(Ok(events)) => self.append(asked, handler, version, events, later),
        }
    }

    fn decide(&self, handler: &dyn Handler, state: &State, asked: &Asked<'_>, command: Erased) -> Result<Result<Vec<Decided>, Refused>, String> {
        let envelope = &asked.envelope;
        let origin = match asked.hash {
            Some(_) => Origin { command_id: envelope.id.clone(), reply_to: envelope.reply_to.clone() },
            None => Origin { command_id: envelope.correlation.clone().unwrap_or_else(|| envelope.id.clone()), reply_to: None },
        };
        let heads = self.heads.of(asked.partition);
        let context = Context::new(&envelope.subject, self.now, envelope.occurred_at.unwrap_or(self.now), &origin, &heads).by(envelope.actor.as_deref());
        // A panic is a broken rule of ours: it must neither stop the partition for ever nor pass unseen.
        catch_unwind(AssertUnwindSafe(|| handler.decide(state, command, &context))).map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            text.unwrap_or("no message").to_owned()
        })
    }

    fn append(&mut self, asked: &Asked<'_>, handler: &dyn Handler, version: u64, events: Vec<Decided>, later: bool) -> Result<(), Stop> {
        let source = format!("/{}/{}", self.service.name, handler.name());
        let key = String::from_utf8_lossy(asked.key);
        let mut messages = Vec::with_capacity(events.len());
        for (event, version) in events.iter().zip(version + 1..) {
            let mut envelope = self.caused_by(asked, event_id(&source, &key, &asked.envelope.subject, version), event.kind.clone());
            envelope.version = Some(version);
            envelope.answers = event.answers.as_ref().map(|origin| origin.command_id.clone());
            messages.push(Message {
                topic: self.service.events(),
                partition: asked.partition,
                key: asked.key.to_vec(),
                headers: envelope.headers(),
                value: Some(event.body.clone()),
            });
        }
        if let Some(bytes) = messages.iter().map(Message::bytes).find(|bytes| *bytes > RECORD_BYTES_MAX) {
            return self.give_up(asked, Reason::TooLarge, &format!("an event of it would have {bytes} bytes; a record has at most {RECORD_BYTES_MAX}"));
        }
        let mut last = version;
        for (event, message) in events.iter().zip(messages) {
            last += 1;
            self.heads.evolve(asked.partition, handler.name(), &asked.envelope.subject, (last, self.now, self.outputs.len()), &event.event)?;
            self.outputs.push(message);
            self.notes.push(Note::Appended(short(&event.kind)));
            if let Some(origin) = &event.answers {
                let ended =
                    Answer { command_id: &origin.command_id, subject: &asked.envelope.subject, aggregate: handler.name(), ended: Some(&event.kind.name) };
                let to = origin.reply_to.as_deref().and_then(|text| ReplyTo::parse(text, self.partitions).ok());
                self.outputs.extend(to.map(|to| to.message(&ended, &Outcome::Accepted { version: last })));
            }
        }
        self.outcome(asked, Outcome::Accepted { version: last }, later);
        Ok(())
    }

    /// A client's command that causes no event leaves a marker, so that a rebuild from the log remembers its answer.
    fn mark(&mut self, asked: &Asked<'_>, outcome: Outcome, later: bool) -> Result<(), Stop> {
        if asked.hash.is_some() {
            let (name, body) = outcome.marker();
            let kind = Kind { aggregate: asked.envelope.kind.aggregate.clone(), name: name.into(), version: 1 };
            let envelope = self.caused_by(asked, caused_id(&asked.envelope.id, "marker", 0), kind);
            self.outputs.push(Message {
                topic: self.service.events(),
                partition: asked.partition,
                key: asked.key.to_vec(),
                headers: envelope.headers(),
                value: Some(body),
            });
        }
        self.outcome(asked, outcome, later);
        Ok(())
    }

    fn caused_by(&self, asked: &Asked<'_>, id: String, kind: Kind) -> Envelope {
        let command = &asked.envelope;
        let mut envelope = Envelope::new(id, format!("/{}/{}", self.service.name, command.kind.aggregate), kind, &command.subject);
        envelope.time = Some(self.now);
        envelope.occurred_at = command.occurred_at;
        // A command that came as an event and not as a record of its own: the event is the cause one can look up.
        let looked_up = asked.record.is_some_and(|record| record.topic == self.service.commands());
        envelope.causation = if looked_up { Some(command.id.clone()) } else { command.causation.clone() };
        envelope.correlation = command.correlation.clone().or_else(|| Some(command.id.clone()));
        envelope.actor.clone_from(&command.actor);
        envelope.body_hash.clone_from(&asked.hash);
        envelope.trace.clone_from(&command.trace);
        envelope
    }

    fn outcome(&mut self, asked: &Asked<'_>, outcome: Outcome, later: bool) {
        let accepted = matches!(outcome, Outcome::Accepted { .. });
        self.notes.push(Note::Command(short(&asked.envelope.kind), if accepted { "accepted" } else { "refused" }));
        if let Some(to) = asked.reply_to.as_ref().filter(|_| !(later && accepted)) {
            self.outputs.push(to.message(&asked.answer(), &outcome));
        }
        if let Some(hash) = asked.hash.clone() {
            self.heads.remember(asked.partition, &asked.envelope.id, Mark { hash, outcome, at: self.now });
        }
    }

    fn repeat(&mut self, asked: &Asked<'_>, mark: &Mark, later: bool) {
        let same = asked.hash.as_ref() == Some(&mark.hash);
        self.notes.push(Note::Command(short(&asked.envelope.kind), if same { "repeated" } else { "conflict" }));
        if let Some(to) = &asked.reply_to {
            self.outputs.push(match (same, &mark.outcome) {
                (false, _) => to.conflict(&asked.answer()),
                (true, Outcome::Accepted { .. }) if later => to.later(&asked.answer()),
                (true, outcome) => to.message(&asked.answer(), outcome),
            });
        }
    }

    fn give_up(&mut self, asked: &Asked<'_>, reason: Reason, detail: &str) -> Result<(), Stop> {
        if let Some(record) = asked.record {
            self.bury(record, reason, detail)?;
        } else {
            tracing::error!(service = self.service.name, subject = asked.envelope.subject, reason = reason.as_str(), detail, "a deadline's command failed");
        }
        Ok(())
    }

    fn bury(&mut self, record: &Record, reason: Reason, detail: &str) -> Result<(), Stop> {
        tracing::warn!(service = self.service.name, partition = record.partition.0, offset = record.offset.0, reason = reason.as_str(), detail, "dead letter");
        self.notes.push(Note::DeadLetter(reason.as_str()));
        self.outputs.push(dead_letter(self.service.dead_letters(), record, reason, detail));
        let reply_to = record.headers.text("reply-to").and_then(|text| ReplyTo::parse(text, self.partitions).ok());
        if let (Some(to), Some(id)) = (reply_to, record.headers.text("ce_id")) {
            let answer = Answer { command_id: id, subject: record.headers.text("ce_subject").unwrap_or_default(), aggregate: "", ended: None };
            self.outputs.push(to.failed(&answer, reason.as_str(), detail));
        }
        Ok(())
    }
}

impl Asked<'_> {
    fn answer(&self) -> Answer<'_> {
        Answer { command_id: &self.envelope.id, subject: &self.envelope.subject, aggregate: &self.envelope.kind.aggregate, ended: None }
    }
}

/// A policy, the event it reacts to, and its commands with their targets' ids.
pub type Reacted<'s, 'r> = (&'s Reaction, &'r Envelope, Vec<(String, Erased)>);

/// What a foreign event's policies ask for; a declared event that cannot be read stops its partition.
pub fn reactions_to<'s, 'r>(reactions: &'s [Reaction], record: &'r Record, notes: &mut Vec<Note>) -> Result<Vec<Reacted<'s, 'r>>, Stop> {
    let stop = |why: Malformed| Stop::Partition(Box::new(Stuck::at(record, why.to_string())));
    let (envelope, body) = (record.envelope().map_err(|why| stop(why.clone()))?, record.body());
    if Outcome::of_marker(&envelope.kind, body).map_err(stop)?.is_some() {
        return Ok(vec![]); // concerns only the service that wrote it
    }
    let followers: Vec<&Reaction> = reactions.iter().filter(|reaction| reaction.input == record.topic && reaction.source == envelope.kind.aggregate).collect();
    if followers.is_empty() {
        notes.push(Note::PassedOver(short(&envelope.kind)));
    }
    followers.into_iter().map(|reaction| Ok((reaction, envelope, (reaction.react)(&envelope.subject, &envelope.kind, body).map_err(stop)?))).collect()
}

fn short(kind: &Kind) -> String {
    format!("{}.{}", kind.aggregate, kind.name)
}
