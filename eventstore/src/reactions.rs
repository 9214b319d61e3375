//! What foreign events ask of a service: its policies' commands, and how they are written down. Sends nothing.

use kernel::Routing;
use schemas::envelope::{DLT_COMMAND, DLT_POLICY, Kind, Malformed, caused_id};
use schemas::{Envelope, Partition, anchor_key, partition_of};

use crate::bounds::PART_BYTES_MAX;
use crate::caught::caught;
use crate::dead_letters::{Reason, dead_letter};
use crate::inside::{AGAIN, AGAIN_INSIDE, sign};
use crate::log::{Message, Record, Rules, Stuck};
use crate::observer::{Done, Note, Step, short};
use crate::outcome::Outcome;
use crate::service::{Erased, Reaction, Service};
use crate::stop::Stop;

/// A policy, the event it reacts to, and its commands with their targets' ids; where it broke, what it said.
pub type Reacted<'s, 'r> = (&'s Reaction, &'r Envelope, Result<Vec<(String, Erased)>, String>);

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
    let react = |reaction: &'s Reaction| match caught(|| (reaction.react)(&envelope.subject, &envelope.kind, body)) {
        Ok(commands) => Ok((reaction, envelope, Ok(commands.map_err(stop)?))),
        Err(panic) => Ok((reaction, envelope, Err(panic))),
    };
    followers.into_iter().map(react).collect()
}

/// What an event hands on to the commands it causes. Parts that no command of a client could have are left behind: whoever
/// wrote the event, the commands fit their records.
pub fn caused(reaction: &Reaction, service: &str, cause: &Envelope, id: String, kind: Kind, target: &str) -> Envelope {
    let mut envelope = Envelope::new(id, format!("/{service}/{}", reaction.policy), kind, target);
    let bounded = |part: &Option<String>| part.clone().filter(|text| text.len() <= PART_BYTES_MAX);
    envelope.causation = bounded(&Some(cause.id.clone()));
    envelope.correlation = bounded(&cause.correlation);
    envelope.occurred_at = cause.occurred_at.or(cause.time);
    envelope.trace = cause.trace;
    envelope
}

/// The keys by which a broadcast reaches every partition, in their order.
pub fn anchors(partitions: u16) -> Vec<String> {
    (0..partitions).map(|partition| anchor_key(Partition(partition), partitions)).collect()
}

/// Writes policies' commands into their service's command topic.
pub struct Writer<'s> {
    service: &'s Service,
    anchors: &'s [String],
    secret: [u8; 32],
    rules: Rules,
}

impl<'s> Writer<'s> {
    /// Of a service; `anchors`, `secret` and `rules` are those of its log.
    pub fn new(service: &'s Service, anchors: &'s [String], secret: [u8; 32], rules: Rules) -> Self {
        Self { service, anchors, secret, rules }
    }

    /// The commands of a routed event, and a dead letter for each that cannot be written.
    pub fn write(&self, record: &Record, (reaction, cause, commands): Reacted<'_, '_>, notes: &mut Vec<Note>) -> Result<Vec<Message>, String> {
        let commands = match commands {
            Ok(commands) => commands,
            Err(panic) => return Ok(vec![self.dead_letter(record, Reason::Panicked, &panic, &[(DLT_POLICY, reaction.policy)], notes)]),
        };
        let mut messages = vec![];
        for (index, (target, command)) in commands.into_iter().enumerate() {
            let (kind, body, keys) = match caught(|| self.encoded(reaction, &target, &command)) {
                Ok(encoded) => encoded?,
                Err(panic) => {
                    messages.push(self.dead_letter(record, Reason::Panicked, &panic, &[(DLT_POLICY, reaction.policy)], notes));
                    continue;
                }
            };
            for (copy, key) in keys.into_iter().enumerate() {
                let id = caused_id(&cause.id, reaction.policy, index * self.anchors.len() + copy);
                let mut envelope = caused(reaction, self.service.name, cause, id, kind.clone(), &target);
                if let Some(step) = Step::of(Done::Send, &envelope, cause.trace) {
                    let place = (record.topic.clone(), record.partition, record.offset);
                    notes.push(Note::Traced(Box::new(Step { record: Some(place), policy: Some(reaction.policy), outcome: "sent", ..step })));
                }
                envelope.trace = cause.trace.map(|of| Done::Send.causes(of, &envelope.id));
                let message = self.message(key, &envelope, body.clone(), false);
                messages.push(if message.bytes() <= self.rules.record_bytes {
                    message
                } else {
                    let detail = format!("command {kind} for {target} would have {} bytes; a record has at most {}", message.bytes(), self.rules.record_bytes);
                    self.dead_letter(record, Reason::TooLarge, &detail, &[(DLT_POLICY, reaction.policy), (DLT_COMMAND, &envelope.id)], notes)
                });
            }
        }
        Ok(messages)
    }

    /// The commands that `policy` makes of an event, or that one of them which has this id, to be written once more.
    pub fn again(&self, record: &Record, policy: &str, id: Option<&str>) -> Result<Vec<Message>, String> {
        let (routed, direct) = (&self.service.routed, &self.service.direct);
        let mut messages = vec![];
        for (reactions, step) in [(routed, self.anchors.len()), (direct, 1)] {
            let reacted = reactions_to(reactions, record, &mut vec![]).map_err(|stop| match stop {
                Stop::Partition(stuck) => stuck.why,
                Stop::Worker(fault) => fault.to_string(),
            })?;
            for (reaction, cause, commands) in reacted.into_iter().filter(|(reaction, ..)| reaction.policy == policy) {
                for (index, (target, command)) in commands.map_err(|panic| format!("policy {policy} panics: {panic}"))?.into_iter().enumerate() {
                    let (kind, body, keys) = self.encoded(reaction, &target, &command)?;
                    for (copy, key) in keys.into_iter().enumerate() {
                        let caused_by = caused_id(&cause.id, policy, index * step + copy);
                        if id.is_none_or(|id| id == caused_by) {
                            let envelope = caused(reaction, self.service.name, cause, caused_by, kind.clone(), &target);
                            messages.push(self.message(key, &envelope, body.clone(), true));
                        }
                    }
                }
            }
        }
        match messages.iter().map(Message::bytes).find(|bytes| *bytes > self.rules.record_bytes) {
            Some(bytes) => Err(format!("a command of it would have {bytes} bytes; a record has at most {}", self.rules.record_bytes)),
            None => Ok(messages),
        }
    }

    /// A command's type and body, and the keys under which it goes to its target.
    fn encoded<'k>(&'k self, reaction: &Reaction, target: &'k str, command: &Erased) -> Result<(Kind, Vec<u8>, Vec<&'k str>), String> {
        let (policy, service) = (reaction.policy, self.service);
        let handler = service.handler(reaction.target).ok_or_else(|| format!("policy {policy} commands {}, which is not owned here", reaction.target))?;
        let (kind, body) = handler.encode_command(command).ok_or_else(|| format!("policy {policy} made a command of another aggregate"))?;
        let keys = match handler.routing() {
            Routing::BySubject => vec![(self.rules.routing_key)(target)],
            Routing::EveryPartition => self.anchors.iter().map(String::as_str).collect(),
        };
        Ok((kind, body, keys))
    }

    fn message(&self, key: &str, envelope: &Envelope, body: Vec<u8>, again: bool) -> Message {
        let mut headers = envelope.headers();
        if again {
            headers.push(AGAIN, AGAIN_INSIDE);
        }
        sign(&self.secret, key.as_bytes(), &mut headers, &body);
        let partition = partition_of(key.as_bytes(), u16::try_from(self.anchors.len()).unwrap_or(u16::MAX));
        Message { topic: self.service.commands(), partition, key: key.as_bytes().to_vec(), headers, value: Some(body) }
    }

    fn dead_letter(&self, record: &Record, reason: Reason, detail: &str, about: &[(&'static str, &str)], notes: &mut Vec<Note>) -> Message {
        tracing::warn!(router = self.service.name, partition = record.partition.0, offset = record.offset.0, reason = reason.as_str(), detail, "dead letter");
        notes.push(Note::DeadLetter(reason.as_str()));
        dead_letter(record, reason, detail, about).message(self.service.dead_letters())
    }
}
