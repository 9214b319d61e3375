//! One batch's decisions: from records to what is to be written. Effects are values here; nothing is sent.

use std::collections::BTreeMap;

use kernel::{Context, Origin, Timestamp, routing_key};
use schemas::envelope::{Kind, caused_id, event_id};
use schemas::{Envelope, Partition, partition_of};

use crate::caught::caught;
use crate::dead_letters::{Reason, shortened};
use crate::fingerprint::Fingerprints;
use crate::heads::{Heads, Mark, Timer, Unevolved, Woken};
use crate::log::{Fault, Log, Message, Offset, RECORD_BYTES_MAX, Record, Stuck};
use crate::observer::{Note, short};
use crate::outcome::Outcome;
use crate::reactions::{caused, reactions_to};
use crate::replies::{Answer, ReplyTo};
use crate::rows::{Digested, Last};
use crate::service::{Decided, Erased, Handler, Refused, Service, State};
use crate::stop::Stop;

mod asked;
mod incoming;
mod letters;

pub use asked::{TELL, TELL_DECISION, UNSCOPED};

use asked::{Asked, Came};

/// A batch being decided.
pub struct Turn<'a> {
    service: &'a Service,
    heads: &'a mut Heads,
    now: Timestamp,
    partitions: u16,
    secret: [u8; 32],
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

    /// The places before and among the own events at which something else may lie, each up to the own event that follows
    /// it. `ends` says where each partition's own events would go on, if nobody else wrote there.
    pub fn between(&self, offsets: &[Offset], ends: &BTreeMap<Partition, Offset>) -> Vec<(Partition, Offset, Offset)> {
        let (mut between, mut ends) = (vec![], ends.clone());
        for (partition, offset) in self.partitions.iter().zip(offsets).filter_map(|(partition, offset)| Some(((*partition)?, *offset))) {
            let due = ends.insert(partition, offset.next()).unwrap_or_default();
            if due != offset {
                between.push((partition, due, offset));
            }
        }
        between
    }

    /// Where the fold of the own events stands once the outputs are committed at `offsets`.
    pub fn next(&self, offsets: &[Offset]) -> Vec<(Partition, Offset)> {
        let own = self.partitions.iter().zip(offsets).filter_map(|(partition, offset)| Some(((*partition)?, offset.next())));
        own.collect::<BTreeMap<_, _>>().into_iter().collect()
    }
}

impl<'a> Turn<'a> {
    /// Begins with nothing to write, at log time `now`.
    pub fn new(service: &'a Service, heads: &'a mut Heads, log: &dyn Log, now: Timestamp) -> Self {
        Self { service, heads, now, partitions: log.partitions(), secret: log.secret(), outputs: vec![], notes: vec![] }
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
        if let Some(why) = record.envelope().ok().and_then(|envelope| self.heads.misplaced(record, envelope)) {
            return Err(Stop::Partition(Box::new(Stuck::at(record, why))));
        }
        for (reaction, envelope, commands) in reactions_to(&self.service.direct, record, &mut self.notes)? {
            let commands = match commands {
                Ok(commands) => commands,
                Err(panic) => {
                    self.bury_reaction(record, reaction.policy, &panic);
                    continue;
                }
            };
            for (index, (target, command)) in commands.into_iter().enumerate() {
                let wrong = |what: &str| Stop::Partition(Box::new(Stuck::at(record, format!("policy {}: {what} {target}", reaction.policy))));
                if partition_of(routing_key(&target).as_bytes(), self.partitions) != record.partition {
                    return Err(wrong("needs a router: another partition owns"));
                }
                let handler = self.service.handler(reaction.target).ok_or_else(|| wrong("commands an aggregate that is not owned here:"))?;
                let kind = match caught(|| handler.encode_command(&command)) {
                    Ok(encoded) => encoded.ok_or_else(|| wrong("made a command of another aggregate for"))?.0,
                    Err(panic) => {
                        self.bury_reaction(record, reaction.policy, &panic);
                        continue;
                    }
                };
                let asked = caused(reaction, self.service.name, envelope, caused_id(&envelope.id, reaction.policy, index), kind, &target);
                let came = Came::Event(record, reaction.policy);
                self.answer(&Asked::inside(record.partition, routing_key(&target).as_bytes(), asked, came), command)?;
            }
        }
        Ok(())
    }

    /// An aggregate whose deadline has come.
    pub fn wake(&mut self, timer: &Timer) -> Result<Woken, Stop> {
        let Timer { partition, aggregate, id, .. } = timer;
        let (partition, service, now) = (*partition, self.service, self.now(timer.partition)?);
        let Some(handler) = service.handler(aggregate) else { return Ok(Woken::Nothing) };
        let (_, state) = self.heads.head(partition, handler, id)?;
        let asked = caught(|| {
            let (due, command) = handler.deadline(&state).filter(|(due, _)| *due <= now)?;
            let (kind, body) = handler.encode_command(&command)?;
            Some((due, command, kind, body))
        });
        drop(state);
        let Some((due, command, kind, body)) = asked.map_err(|panic| self.heads.broken(partition, handler, id, &panic))? else {
            return Ok(Woken::Nothing);
        };
        let cause = caused_id(&format!("{aggregate}/{id}"), "deadline", usize::try_from(due.0).unwrap_or(0));
        let mut envelope = Envelope::new(cause.clone(), format!("/{}/deadline", service.name), kind, id);
        envelope.causation = Some(cause);
        let (before, letters) = (self.outputs.len(), service.dead_letters());
        self.answer(&Asked::inside(partition, routing_key(id).as_bytes(), envelope, Came::Deadline(timer, body)), command)?;
        Ok(match self.outputs.get(before) {
            None => Woken::Nothing,
            Some(message) if message.topic == letters => Woken::Buried,
            Some(_) => Woken::Something,
        })
    }

    /// Log time in a partition.
    fn now(&self, partition: Partition) -> Result<Timestamp, Fault> {
        self.heads.now(partition, self.now)
    }

    fn answer(&mut self, asked: &Asked<'_>, command: Erased) -> Result<(), Stop> {
        let service = self.service;
        let Some(handler) = service.handler(&asked.envelope.kind.aggregate) else { return Ok(()) };
        let later = match caught(|| handler.answered_later(&command)) {
            Ok(later) => later,
            Err(panic) => return self.give_up(asked, Reason::Panicked, &panic),
        };
        let now = self.now(asked.partition)?;
        if let Some((mark, decided_as)) = self.first_answer(asked, now)? {
            self.repeat(asked, &mark, decided_as, later);
            return Ok(());
        }
        if let Some(why) = self.heads.closed(asked.partition, handler.name(), &asked.envelope.subject)? {
            return self.give_up(asked, Reason::Closed, &format!("{} {} is closed: {why}", handler.name(), asked.envelope.subject));
        }
        let (version, state) = self.heads.head(asked.partition, handler, &asked.envelope.subject)?;
        let decided = match elsewhere(&asked.envelope, version) {
            Some(detail) => Ok(Err(Refused { code: "version-conflict", detail })),
            None => self.decide(handler, &state, asked, command, now),
        };
        drop(state);
        if let Some(fault) = self.heads.take_fault() {
            return Err(fault.into());
        }
        match decided {
            Err(panic) => self.give_up(asked, Reason::Panicked, &panic),
            Ok(Err(refused)) if !asked.client => self.give_up(asked, Reason::Refused, &format!("{}: {}", refused.code, refused.detail)),
            Ok(Err(Refused { code, detail })) => self.mark(asked, Outcome::Refused { code: code.to_owned(), detail: shortened(&detail) }, now, false),
            Ok(Ok(events)) if events.is_empty() => self.mark(asked, Outcome::Accepted { version }, now, later),
            Ok(Ok(events)) => self.append(asked, handler, (version, now), events, later),
        }
    }

    /// How this command was answered before, and under which other id, if it was.
    fn first_answer<'k>(&self, asked: &'k Asked<'_>, now: Timestamp) -> Result<Option<(Mark, Option<&'k str>)>, Fault> {
        if asked.prints.is_none() {
            return Ok(None);
        }
        if let Some(mark) = self.heads.mark(asked.partition, &asked.envelope.id, now)? {
            return Ok(Some((mark, None)));
        }
        let Some(unscoped) = &asked.unscoped else { return Ok(None) };
        // A command of another aggregate had the id by chance: scopes are there so that this does not matter.
        let own = (asked.envelope.kind.aggregate.as_ref(), asked.envelope.subject.as_str());
        let of_own = |mark: &Mark| mark.unscoped.as_ref().is_some_and(|(aggregate, id)| (aggregate.as_str(), id.as_str()) == own);
        Ok(self.heads.mark(asked.partition, unscoped, now)?.filter(of_own).map(|mark| (mark, Some(unscoped.as_str()))))
    }

    fn decide(
        &self,
        handler: &dyn Handler,
        state: &State,
        asked: &Asked<'_>,
        command: Erased,
        now: Timestamp,
    ) -> Result<Result<Vec<Decided>, Refused>, String> {
        let envelope = &asked.envelope;
        let origin = if asked.client {
            Origin { command_id: envelope.id.clone(), reply_to: envelope.reply_to.clone().filter(|_| !asked.tell_decision) }
        } else {
            Origin { command_id: envelope.correlation.clone().unwrap_or_else(|| envelope.id.clone()), reply_to: None }
        };
        let heads = self.heads.of(asked.partition);
        let context = Context::new(&envelope.subject, now, envelope.occurred_at.unwrap_or(now), &origin, &heads).by(envelope.actor.as_deref());
        // A panic is a broken rule of ours: it must neither stop the partition for ever nor pass unseen.
        caught(|| handler.decide(state, command, &context))
    }

    fn append(&mut self, asked: &Asked<'_>, handler: &dyn Handler, (version, now): (u64, Timestamp), events: Vec<Decided>, later: bool) -> Result<(), Stop> {
        let source = format!("/{}/{}", self.service.name, handler.name());
        let (key, subject, partition) = (String::from_utf8_lossy(asked.key), asked.envelope.subject.as_str(), asked.partition);
        let mut messages = Vec::with_capacity(events.len());
        for (event, version) in events.iter().zip(version + 1..) {
            let mut envelope = self.caused_by(asked, event_id(&source, &key, subject, version), event.kind.clone(), now);
            envelope.version = Some(version);
            envelope.answers = event.answers.as_ref().map(|origin| origin.command_id.clone());
            messages.push(Message {
                topic: self.service.events(),
                partition,
                key: asked.key.to_vec(),
                headers: envelope.headers(),
                value: Some(event.body.clone()),
            });
        }
        if let Some(bytes) = messages.iter().map(Message::bytes).find(|bytes| *bytes > RECORD_BYTES_MAX) {
            return self.give_up(asked, Reason::TooLarge, &format!("an event of it would have {bytes} bytes; a record has at most {RECORD_BYTES_MAX}"));
        }
        // All of them must be evolvable before any of them is written.
        let (before, place) = (self.heads.evolved(), self.outputs.len());
        let (mut last, mut answers) = (version, vec![]);
        for (index, Decided { kind, answers: origin, event, .. }) in events.into_iter().enumerate() {
            last += 1;
            match self.heads.evolve(partition, handler, subject, (last, now, place + index), event) {
                Ok(()) => {}
                Err(Unevolved::Fault(fault)) => return Err(fault.into()),
                Err(Unevolved::Gap(why)) => return Err(Fault::Fatal(why).into()), // versions follow the head's just read
                Err(Unevolved::Panicked(panic)) => {
                    self.heads.take_back(before, partition, handler, subject).map_err(unevolved)?;
                    return self.give_up(asked, Reason::Panicked, &format!("what it decided cannot be folded: {panic}"));
                }
            }
            self.notes.push(Note::Appended(short(&kind)));
            answers.extend(origin.map(|origin| (origin, kind.name, last)));
        }
        self.heads.passed(partition, now);
        self.outputs.extend(messages);
        for (origin, ended, version) in answers {
            let ended = Answer { command_id: &origin.command_id, subject, aggregate: handler.name(), ended: Some(&ended), decided_as: None };
            let to = origin.reply_to.as_deref().and_then(|text| ReplyTo::parse(text, self.partitions).ok());
            self.outputs.extend(to.map(|to| to.message(&ended, &Outcome::Accepted { version })));
        }
        self.outcome(asked, Outcome::Accepted { version: last }, now, later)?;
        Ok(())
    }

    /// A marked command that causes no event leaves a marker, so that a rebuild from the log remembers its answer.
    fn mark(&mut self, asked: &Asked<'_>, outcome: Outcome, now: Timestamp, later: bool) -> Result<(), Stop> {
        if asked.prints.is_some() {
            let (name, body) = outcome.marker();
            let kind = Kind { aggregate: asked.envelope.kind.aggregate.clone(), name: name.into(), version: 1 };
            let envelope = self.caused_by(asked, caused_id(&asked.envelope.id, "marker", 0), kind, now);
            self.append_own(asked.partition, asked.key, &envelope, body)?;
        }
        self.outcome(asked, outcome, now, later)?;
        Ok(())
    }

    /// Writes a marker to the own events.
    fn append_own(&mut self, partition: Partition, key: &[u8], envelope: &Envelope, body: Vec<u8>) -> Result<(), Fault> {
        self.heads.passed(partition, self.now(partition)?);
        let headers = envelope.headers();
        self.outputs.push(Message { topic: self.service.events(), partition, key: key.to_vec(), headers, value: Some(body) });
        Ok(())
    }

    fn caused_by(&self, asked: &Asked<'_>, id: String, kind: Kind, now: Timestamp) -> Envelope {
        let command = &asked.envelope;
        let mut envelope = Envelope::new(id, format!("/{}/{}", self.service.name, command.kind.aggregate), kind, &command.subject);
        envelope.time = Some(now);
        envelope.occurred_at = command.occurred_at;
        // A command that came as an event and not as a record of its own: the event is the cause one can look up.
        let looked_up = matches!(asked.came, Came::Record(_));
        envelope.causation = if looked_up { Some(command.id.clone()) } else { command.causation.clone() };
        envelope.outside_cause = command.causation.clone().filter(|_| asked.client);
        envelope.correlation = command.correlation.clone().or_else(|| Some(command.id.clone()));
        envelope.actor.clone_from(&command.actor);
        envelope.body_hash = asked.prints.as_ref().map(|prints| prints.sent.clone());
        envelope.fingerprints = asked.prints.as_ref().and_then(Fingerprints::header);
        envelope.trace.clone_from(&command.trace);
        envelope
    }

    fn outcome(&mut self, asked: &Asked<'_>, outcome: Outcome, now: Timestamp, later: bool) -> Result<(), Fault> {
        let accepted = matches!(outcome, Outcome::Accepted { .. });
        self.notes.push(Note::Command(short(&asked.envelope.kind), if accepted { "accepted" } else { "refused" }));
        let later = later && accepted;
        if let Some(to) = asked.reply_to.as_ref().filter(|_| !later || asked.tell_decision) {
            self.outputs.push(if later { to.later(&asked.answer()) } else { to.message(&asked.answer(), &outcome) });
        }
        if let Some(prints) = asked.prints.clone() {
            self.heads.remember(asked.partition, &asked.envelope.id, Mark { prints, outcome, at: now, unscoped: None })?;
        }
        Ok(())
    }

    fn repeat(&mut self, asked: &Asked<'_>, mark: &Mark, decided_as: Option<&str>, later: bool) {
        let same = asked.prints.as_ref().is_some_and(|prints| prints.same(&mark.prints));
        self.notes.push(Note::Command(short(&asked.envelope.kind), if same { "repeated" } else { "conflict" }));
        if let Some(to) = &asked.reply_to {
            let answer = Answer { decided_as, ..asked.answer() };
            self.outputs.push(match (same, &mark.outcome) {
                (false, _) => to.conflict(&answer),
                (true, Outcome::Accepted { .. }) if later => to.later(&answer),
                (true, outcome) => to.message(&answer, outcome),
            });
        }
    }
}

/// A head that could be folded a moment ago cannot be folded again.
fn unevolved(why: Unevolved) -> Stop {
    match why {
        Unevolved::Fault(fault) => fault.into(),
        Unevolved::Panicked(why) | Unevolved::Gap(why) => Fault::Fatal(why).into(),
    }
}

/// Why a command is not for an aggregate that stands at `version`, if it is not.
fn elsewhere(envelope: &Envelope, version: u64) -> Option<String> {
    if let Some(expected) = envelope.expected_version.filter(|expected| *expected != version) {
        return Some(format!("the aggregate is at version {version}, not {expected}"));
    }
    match envelope.expected_versions.as_deref()? {
        [] if version == 0 => Some("there is no such aggregate yet".to_owned()),
        [] => None,
        versions if versions.contains(&version) => None,
        versions => Some(format!("the aggregate is at version {version}, which is none of {versions:?}")),
    }
}
