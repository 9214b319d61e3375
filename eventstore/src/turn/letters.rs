//! Commands that cannot be decided, put aside: as dead letters, told to those who wait, and remembered where a client may
//! ask what became of its command. Decides nothing.

use std::borrow::Cow;

use schemas::envelope::{DLT_COMMAND, DLT_DEADLINE, DLT_POLICY, Kind, Malformed, caused_id};
use schemas::{Envelope, Partition};

use super::asked::{Asked, Came, is_id};
use super::batch::Turn;
use super::effects::Effect;
use crate::bounds::PART_BYTES_MAX;
use crate::caught::caught;
use crate::dead_letters::{Reason, dead_letter, shortened};
use crate::heads::Timer;
use crate::inside::sign;
use crate::log::{Fault, Message, Record};
use crate::observer::Note;
use crate::outcome::Outcome;
use crate::replies::{AnsweredCommand, ReplyTo};
use crate::sealing::Body;
use crate::stop::Stop;

impl Turn<'_> {
    pub(super) fn give_up(&mut self, asked: &Asked<'_>, reason: Reason, detail: &str) -> Result<(), Stop> {
        match &asked.came {
            Came::Record(record) => self.dead_letter(record, reason, detail),
            Came::Event(record, policy) => {
                self.letter(record, reason, detail, &[(DLT_POLICY, policy), (DLT_COMMAND, &asked.envelope.id)]);
                Ok(())
            }
            Came::Deadline(timer, body) => self.bury_deadline(asked, timer, body, reason, detail),
        }
    }

    /// A policy broke over an event; its other policies go on.
    pub(super) fn dead_letter_reaction(&mut self, record: &Record, policy: &str, panic: &str) {
        self.letter(record, Reason::Panicked, panic, &[(DLT_POLICY, policy)]);
    }

    /// A record of the command topic.
    pub(super) fn dead_letter(&mut self, record: &Record, reason: Reason, detail: &str) -> Result<(), Stop> {
        let sealed = self.sealed_letter(record)?;
        self.letter(sealed.as_ref().unwrap_or(record), reason, detail, &[]);
        let text = |name: &str| record.headers.text(name).filter(|text| is_id(text));
        let Some(id) = text("ce_id") else { return Ok(()) };
        let reply_to = record.headers.text("reply-to").and_then(|text| ReplyTo::parse(text, self.partitions).ok());
        if let Some(to) = reply_to {
            let answer = AnsweredCommand { command_id: id, subject: text("ce_subject").unwrap_or_default(), aggregate: "", ended: None, decided_as: None };
            self.effects.push(Effect::Reply(to.failed(&answer, reason.as_str(), detail)));
        }
        if self.is_a_clients(record) {
            self.remember_dead(record, id, text("ce_subject").unwrap_or(id), reason, detail)?;
        }
        Ok(())
    }

    /// A command as it is put aside, if there is personal data in it: where nobody can read what that is, all of it is sealed.
    fn sealed_letter(&self, record: &Record) -> Result<Option<Record>, Stop> {
        let (service, Some(sealer)) = (self.service, self.sealer) else { return Ok(None) };
        let envelope = record.envelope().ok();
        let of = |envelope: &'_ Envelope| service.personal().find(|handler| handler.name() == envelope.kind.aggregate);
        let known = envelope.and_then(|envelope| Some((of(envelope)?, envelope)));
        let others = envelope.is_some_and(|envelope| known.is_none() && service.handler(&envelope.kind.aggregate).is_some());
        // Of a type that nobody knows, it is taken for whose the first of them would be.
        let Some(aggregate) = known.map(|(handler, _)| handler).or_else(|| service.personal().next()).filter(|_| !others) else { return Ok(None) };
        let (key, body) = (String::from_utf8_lossy(&record.key), record.body());
        let key = envelope.map_or(key.as_ref(), |envelope| (self.rules.routing_key)(&envelope.subject));
        let subject = service.data_subject(aggregate.name(), key, envelope.map_or(key, |envelope| &envelope.subject));
        let kind = envelope.map(|envelope| envelope.kind.to_string()).unwrap_or_default();
        let of = Body { id: envelope.map_or("", |envelope| &envelope.id), kind: &kind, subject: &subject };
        let decoded = known.map(|(handler, envelope)| (&envelope.kind, caught(|| handler.decode_command(&envelope.kind, body))));
        // A type that has none is there to be read by whoever mends what wrote it.
        if decoded.as_ref().is_some_and(|(kind, decoded)| !service.is_personal(kind) && !matches!(decoded, Ok(Err(Malformed::UnknownKind(_))))) {
            return Ok(None);
        }
        let readable = matches!(decoded, Some((_, Ok(Ok(_)))));
        let sealed = if readable { sealer.seal_command(of, body) } else { sealer.seal_whole(of, body).map(Some) }.map_err(Fault::from)?;
        Ok(sealed.map(|body| record.with(body)))
    }

    /// A marker says what became of the command, for those who ask later. It remembers no answer: once its cause is
    /// mended, the same command may be sent again.
    fn remember_dead(&mut self, record: &Record, id: &str, subject: &str, reason: Reason, detail: &str) -> Result<(), Fault> {
        let (partition, service) = (record.partition, self.service);
        let now = self.now(partition)?;
        if self.heads.mark(partition, id, now)?.is_some() {
            return Ok(()); // the id is an earlier command's, which has its answer
        }
        let named = record.headers.text("ce_type").and_then(|text| text.parse::<Kind>().ok()).map(|kind| kind.aggregate);
        let own = |name: &str| service.handler(name).map(|handler| Cow::Borrowed(handler.name()));
        let Some(aggregate) = named.and_then(|name| own(&name)).or_else(|| service.aggregates.first().map(|first| Cow::Borrowed(first.name()))) else {
            return Ok(());
        };
        let outcome = Outcome::Refused { code: reason.as_str().to_owned(), detail: shortened(detail) };
        let (name, body) = outcome.marker();
        let place = usize::try_from(record.offset.0).unwrap_or(usize::MAX);
        let mut envelope = Envelope::new(
            caused_id(id, "dead-letter", place),
            format!("/{}/{aggregate}", service.name),
            Kind { aggregate, name: name.into(), version: 1 },
            subject,
        );
        (envelope.time, envelope.causation, envelope.dead_letter) = (Some(now), Some(id.to_owned()), Some(reason.as_str().to_owned()));
        let key: &[u8] = if record.key.len() <= PART_BYTES_MAX { &record.key } else { &[] };
        self.leave_marker(partition, key, &envelope, body)
    }

    /// There is no record of a deadline's command, so the letter is the command itself, signed: it can be written as it is.
    fn bury_deadline(&mut self, asked: &Asked<'_>, timer: &Timer, body: &[u8], reason: Reason, detail: &str) -> Result<(), Stop> {
        let mut headers = asked.envelope.headers();
        sign(&self.secret, asked.key, &mut headers, body);
        let (topic, now) = (self.service.events(), self.now(asked.partition)?);
        let offset = self.heads.last_of(asked.partition, &timer.aggregate, &timer.id);
        let command = Message { topic, partition: asked.partition, key: asked.key.to_vec(), headers, value: Some(body.to_vec()) };
        self.letter(&Record::of(command, offset, now), reason, detail, &[(DLT_DEADLINE, &timer.at.to_string())]);
        Ok(())
    }

    fn letter(&mut self, record: &Record, reason: Reason, detail: &str, about: &[(&'static str, &str)]) {
        let Partition(partition) = record.partition;
        let said = shortened(detail);
        tracing::warn!(service = self.service.name, partition, offset = record.offset.0, reason = reason.as_str(), detail = said, "dead letter");
        self.notes.push(Note::DeadLetter(reason.as_str()));
        self.effects.push(Effect::DeadLetter(dead_letter(record, reason, detail, about)));
    }
}
