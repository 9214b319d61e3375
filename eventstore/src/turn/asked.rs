//! A command on its way to its aggregate: read from its record, or made here. What is read is held to bounds, since parts
//! of it are copied into all that it causes.

use domain::{Routing, routing_key};
use schemas::envelope::Malformed;
use schemas::{Envelope, Headers, Partition, partition_of};

use super::Turn;
use crate::bounds::{ACTOR_BYTES_MAX, PART_BYTES_MAX};
use crate::caught::caught;
use crate::dead_letters::Reason;
use crate::fingerprint::{Fingerprints, REQUEST};
use crate::heads::Timer;
use crate::inside::{AGAIN, AGAIN_CLIENT, is_signed};
use crate::log::Record;
use crate::replies::{Answer, ReplyTo};
use crate::service::Erased;

/// The header in which whoever writes a command for a client says under which id it would have been written before ids
/// had a scope: an answer that was given then is the answer now.
pub const UNSCOPED: &str = "daybook-unscoped-id";

/// The header of a command whose sender waits for its decision alone, and not for the end of the process it begins.
pub const TELL: &str = "daybook-tell";
/// The one value of [`TELL`].
pub const TELL_DECISION: &str = "decision";

/// Where a command came from.
pub enum Came<'r> {
    /// as a record of the command topic
    Record(&'r Record),
    /// from an event, by this policy
    Event(&'r Record, &'static str),
    /// from its aggregate, whose deadline has passed; with its body
    Deadline(&'r Timer, Vec<u8>),
}

/// See the module.
pub struct Asked<'r> {
    pub partition: Partition,
    pub key: &'r [u8],
    pub envelope: Envelope,
    /// A client's refusal is its answer; one of a command made inside is a dead letter.
    pub client: bool,
    /// What marks its answer; none of a command that was made inside and arrives exactly once.
    pub prints: Option<Fingerprints>,
    /// its id as it would have been when ids had no scope
    pub unscoped: Option<String>,
    pub reply_to: Option<ReplyTo>,
    /// see [`TELL`]
    pub tell_decision: bool,
    pub came: Came<'r>,
}

impl<'r> Asked<'r> {
    /// Made inside, just now.
    pub fn inside(partition: Partition, key: &'r [u8], envelope: Envelope, came: Came<'r>) -> Self {
        Self { partition, key, envelope, client: false, prints: None, unscoped: None, reply_to: None, tell_decision: false, came }
    }

    pub fn answer(&self) -> Answer<'_> {
        Answer { command_id: &self.envelope.id, subject: &self.envelope.subject, aggregate: &self.envelope.kind.aggregate, ended: None, decided_as: None }
    }
}

/// An id that can be an aggregate's or a command's.
pub fn is_id(text: &str) -> bool {
    (1..=PART_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

impl Turn<'_> {
    pub(super) fn read_command<'r>(&self, record: &'r Record) -> Result<(Asked<'r>, Erased), (Reason, String)> {
        let malformed = |why: Malformed| (Reason::Malformed, why.to_string());
        let envelope = record.envelope().cloned().map_err(|why| malformed(why.clone()))?;
        for (name, text) in [("ce_id", &envelope.id), ("ce_subject", &envelope.subject)] {
            if !is_id(text) {
                return Err((Reason::Malformed, format!("header {name}: at most {PART_BYTES_MAX} bytes and no control characters")));
            }
        }
        for (name, text, most) in [
            ("ce_causationid", &envelope.causation, PART_BYTES_MAX),
            ("ce_correlationid", &envelope.correlation, PART_BYTES_MAX),
            ("ce_actor", &envelope.actor, ACTOR_BYTES_MAX),
        ] {
            if text.as_ref().is_some_and(|text| text.len() > most) {
                return Err((Reason::Malformed, format!("header {name}: at most {most} bytes")));
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
        handler.check_id(&envelope.subject).map_err(|why| (Reason::Malformed, format!("header ce_subject: {why}")))?;
        if key.len() > PART_BYTES_MAX {
            return Err((Reason::Malformed, format!("the key: at most {PART_BYTES_MAX} bytes")));
        }
        let body = record.body();
        let decoded = caught(|| {
            let command = handler.decode_command(&envelope.kind, body)?;
            let newest = handler.encode_command(&command);
            Ok((command, newest))
        });
        let (command, newest) =
            decoded.map_err(|panic| (Reason::Malformed, format!("the program panics where it reads it: {panic}")))?.map_err(|why| match why {
                Malformed::UnknownKind(_) => (Reason::UnknownType, why.to_string()),
                Malformed::FromTheFuture(_) => (Reason::NewerVersion, why.to_string()),
                _ => (Reason::Malformed, why.to_string()),
            })?;
        // A command made inside arrives exactly once. All others are marked, whatever their headers say; so is one that an
        // operator writes once more, who may do so twice.
        let signed = is_signed(&self.secret, &record.key, &record.headers, body);
        let again = record.headers.text(AGAIN).filter(|_| signed);
        let client = !signed || again == Some(AGAIN_CLIENT);
        let prints = (client || again.is_some()).then(|| {
            let (kind, newest) = newest.unwrap_or_else(|| (envelope.kind.clone(), body.to_vec()));
            Fingerprints { kept: again.is_some(), ..Fingerprints::of(&envelope, body, &kind, &newest, record.headers.text(REQUEST)) }
        });
        let unscoped = record.headers.text(UNSCOPED).filter(|id| client && is_id(id)).map(str::to_owned);
        let (came, tell_decision) = (Came::Record(record), record.headers.text(TELL) == Some(TELL_DECISION));
        Ok((Asked { partition: record.partition, key: &record.key, envelope, client, prints, unscoped, reply_to, tell_decision, came }, command))
    }

    /// Whether a record of the command topic was written by a client.
    pub(super) fn is_a_clients(&self, record: &Record) -> bool {
        let again = |headers: &Headers| headers.text(AGAIN) == Some(AGAIN_CLIENT);
        !is_signed(&self.secret, &record.key, &record.headers, record.body()) || again(&record.headers)
    }
}
