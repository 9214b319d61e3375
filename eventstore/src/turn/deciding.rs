//! One command's decision: what it was answered before, what its aggregate decides, what that leaves in the log. Knows
//! nothing of where commands come from.

use kernel::{Context, Origin, Timestamp};
use schemas::Envelope;
use schemas::envelope::{Kind, caused_id, event_id};

use super::asked::{Asked, Came};
use super::batch::Turn;
use super::effects::{Effect, Encoded};
use crate::caught::caught;
use crate::dead_letters::{Reason, shortened};
use crate::fingerprint::Fingerprints;
use crate::heads::{CommandRecord, Unevolved};
use crate::log::Fault;
use crate::observer::{Done, Note, Step, short};
use crate::outcome::Outcome;
use crate::replies::{AnsweredCommand, ReplyTo};
use crate::sealing::{Body, Opened};
use crate::service::{Decided, Erased, Handler, Refused, State};
use crate::stop::Stop;

/// What a command is refused with that was for another state of its aggregate than the one it met.
const STALE: &str = "version-conflict";

impl Turn<'_> {
    /// Decides a command, and notes it where its trace is recorded.
    pub(super) fn answer(&mut self, asked: &Asked<'_>, command: Erased) -> Result<(), Stop> {
        let before = self.notes.len();
        self.settle(asked, command)?;
        if let Some(mut step) = Step::of(Done::Process, &asked.envelope, asked.envelope.trace) {
            let outcome = |note: &Note| match note {
                Note::Command(_, outcome) | Note::DeadLetter(outcome) => Some(*outcome),
                _ => None,
            };
            step.outcome = self.notes.iter().skip(before).rev().find_map(outcome).unwrap_or_default();
            let (record, policy) = match &asked.came {
                Came::Record(record) => (Some(record), None),
                Came::Event(record, policy) => (Some(record), Some(*policy)),
                Came::Deadline(..) => (None, None),
            };
            (step.record, step.policy) = (record.map(|record| (record.topic.clone(), record.partition, record.offset)), policy);
            self.notes.push(Note::Traced(Box::new(step)));
        }
        Ok(())
    }

    fn settle(&mut self, asked: &Asked<'_>, command: Erased) -> Result<(), Stop> {
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
        let state = self.opened_state(handler, state)?;
        let inside = asked.client && caught(|| handler.made_inside(&command)).unwrap_or_default();
        let inside = inside.then(|| "this command is made by services, for what they do for others".to_owned());
        let decided =
            match (inside.or_else(|| self.service.forbids(handler.name(), asked.key, asked.envelope.actor.as_deref())), elsewhere(&asked.envelope, version)) {
                (Some(detail), _) => Ok(Err(Refused { code: "forbidden", detail })),
                (None, Some(detail)) => Ok(Err(Refused { code: STALE, detail })),
                (None, None) => self.decide(handler, &state, asked, command, now),
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
    fn first_answer<'k>(&self, asked: &'k Asked<'_>, now: Timestamp) -> Result<Option<(CommandRecord, Option<&'k str>)>, Fault> {
        if asked.prints.is_none() {
            return Ok(None);
        }
        if let Some(mark) = self.heads.mark(asked.partition, &asked.envelope.id, now)? {
            return Ok(Some((mark, None)));
        }
        let Some(unscoped) = &asked.unscoped else { return Ok(None) };
        // A command of another aggregate had the id by chance: scopes are there so that this does not matter.
        let own = (asked.envelope.kind.aggregate.as_ref(), asked.envelope.subject.as_str());
        let of_own = |mark: &CommandRecord| mark.unscoped.as_ref().is_some_and(|(aggregate, id)| (aggregate.as_str(), id.as_str()) == own);
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
        let (place, mut last, mut answers, mut moved) = (self.effects.len(), version, vec![], vec![]);
        for Decided { kind, body, answers: origin, money, event } in events {
            last += 1;
            if let Some(origin) = &origin {
                let ended = AnsweredCommand { command_id: &origin.command_id, subject, aggregate: handler.name(), ended: Some(&kind.name), decided_as: None };
                let to = origin.reply_to.as_deref().and_then(|text| ReplyTo::parse(text, self.partitions).ok());
                answers.extend(to.map(|to| Effect::Reply(to.decided(&ended, &Outcome::Accepted { version: last }))));
            }
            let mut envelope = self.caused_by(asked, event_id(&source, &key, subject, last), kind.clone(), now);
            envelope.version = Some(last);
            envelope.answers = origin.map(|origin| origin.command_id);
            let (body, event) = self.sealed(handler, &envelope, &key, body, event)?;
            let bytes = Encoded::new(partition, asked.key, &envelope, body);
            if bytes.len() > self.rules.record_bytes {
                self.effects.truncate(place); // a decision is written whole or not at all
                let detail = format!("an event of it would have {} bytes; a record has at most {}", bytes.len(), self.rules.record_bytes);
                return self.give_up(asked, Reason::TooLarge, &detail);
            }
            moved.extend(money.map(|money| Note::Money(short(&kind), money)));
            self.effects.push(Effect::Event { kind, event, bytes });
        }
        // All of them must be evolvable before any of them stays.
        let (before, noted) = (self.heads.evolved(), self.notes.len());
        for ((at, effect), version) in self.effects.iter().enumerate().skip(place).zip(version + 1..) {
            let Effect::Event { kind, event, .. } = effect else { continue };
            match self.heads.evolve(partition, handler, subject, (version, now, at), event) {
                Ok(()) => self.notes.push(Note::Appended(short(kind))),
                Err(Unevolved::Fault(fault)) => return Err(fault.into()),
                Err(Unevolved::Gap(why)) => return Err(Fault::Fatal(why).into()), // versions follow the head's just read
                Err(Unevolved::Panicked(panic)) => {
                    self.effects.truncate(place);
                    self.notes.truncate(noted); // nothing of it was appended
                    let event = |at: usize| self.effects.get(at).and_then(Effect::event);
                    self.heads.take_back(before, partition, handler, subject, event).map_err(unevolved)?;
                    return self.give_up(asked, Reason::Panicked, &format!("what it decided cannot be folded: {panic}"));
                }
            }
        }
        self.heads.passed(partition, now);
        self.notes.extend(moved);
        self.effects.extend(answers);
        self.outcome(asked, Outcome::Accepted { version: last }, now, later)?;
        Ok(())
    }

    /// A state as it is decided by. Only here, and for as long: what is kept stays sealed.
    fn opened_state(&self, handler: &dyn Handler, state: State) -> Result<State, Fault> {
        let Some(sealer) = self.sealer else { return Ok(state) };
        let mut fault = None;
        let opened = handler.opened(&state, &mut |sealed| match sealer.open(sealed) {
            Ok(Opened::Clear(bytes)) => serde_json::from_slice(&bytes).ok(),
            Ok(Opened::Erased) => None,
            // What can never be opened is as good as erased, and must not end the process.
            Err(why) if why.is_of_the_data() => None,
            Err(why) => {
                fault = Some(Fault::from(why));
                None
            }
        });
        fault.map_or_else(|| Ok(opened.unwrap_or(state)), Err)
    }

    /// An event as it is written and folded: with its personal data sealed, if there are keys. What is folded is what a fold
    /// from zero will read.
    fn sealed(&self, handler: &dyn Handler, envelope: &Envelope, key: &str, body: Vec<u8>, event: Erased) -> Result<(Vec<u8>, Erased), Stop> {
        let Some(sealer) = self.sealer.filter(|_| self.service.is_personal(&envelope.kind)) else { return Ok((body, event)) };
        let subject = self.service.data_subject(handler.name(), key, &envelope.subject);
        let of = Body { id: &envelope.id, kind: &envelope.kind.to_string(), subject: &subject };
        let Some(sealed) = sealer.seal_event(of, &body).map_err(Fault::from)? else { return Ok((body, event)) };
        let event = handler.decode_event(&envelope.kind, &sealed).map_err(|why| Fault::Fatal(format!("what was just sealed cannot be read: {why}")))?;
        Ok((sealed, event))
    }

    /// A marked command that causes no event leaves a marker, so that a rebuild from the log remembers its answer.
    fn mark(&mut self, asked: &Asked<'_>, outcome: Outcome, now: Timestamp, later: bool) -> Result<(), Stop> {
        if asked.prints.is_some() {
            let (name, body) = outcome.marker();
            let kind = Kind { aggregate: asked.envelope.kind.aggregate.clone(), name: name.into(), version: 1 };
            let envelope = self.caused_by(asked, caused_id(&asked.envelope.id, "marker", 0), kind, now);
            self.leave_marker(asked.partition, asked.key, &envelope, body)?;
        }
        self.outcome(asked, outcome, now, later)?;
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
        envelope.trace = command.trace.map(|of| Done::Process.causes(of, &command.id));
        envelope
    }

    fn outcome(&mut self, asked: &Asked<'_>, outcome: Outcome, now: Timestamp, later: bool) -> Result<(), Fault> {
        let accepted = matches!(outcome, Outcome::Accepted { .. });
        if matches!(&outcome, Outcome::Refused { code, .. } if code == STALE) {
            self.notes.push(Note::Stale);
        }
        self.notes.push(Note::Command(short(&asked.envelope.kind), if accepted { "accepted" } else { "refused" }));
        let later = later && accepted;
        if let Some(to) = asked.reply_to.as_ref().filter(|_| !later || asked.tell_decision) {
            self.effects.push(Effect::Reply(if later { to.later(&asked.answer()) } else { to.decided(&asked.answer(), &outcome) }));
        }
        if let Some(prints) = asked.prints.clone() {
            self.heads.remember(asked.partition, &asked.envelope.id, CommandRecord { prints, outcome, at: now, unscoped: None })?;
        }
        Ok(())
    }

    fn repeat(&mut self, asked: &Asked<'_>, mark: &CommandRecord, decided_as: Option<&str>, later: bool) {
        let same = asked.prints.as_ref().is_some_and(|prints| prints.same(&mark.prints));
        self.notes.push(Note::Command(short(&asked.envelope.kind), if same { "repeated" } else { "conflict" }));
        if let Some(to) = &asked.reply_to {
            let answer = AnsweredCommand { decided_as, ..asked.answer() };
            self.effects.push(Effect::Reply(match (same, &mark.outcome) {
                (false, _) => to.conflict(&answer),
                (true, Outcome::Accepted { .. }) if later => to.later(&answer),
                (true, outcome) => to.decided(&answer, outcome),
            }));
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
