//! Records of the command topic, read and held to bounds: who wrote them, and whether they are here at all.

use kernel::Routing;
use schemas::envelope::Malformed;
use schemas::{Headers, partition_of};

use super::asked::{Asked, Came, TELL, TELL_DECISION, UNSCOPED, is_id};
use super::batch::Turn;
use crate::bounds::{ACTOR_BYTES_MAX, PART_BYTES_MAX};
use crate::caught::caught;
use crate::dead_letters::Reason;
use crate::fingerprint::{Fingerprints, REQUEST};
use crate::inside::{AGAIN, AGAIN_CLIENT, is_signed, is_vouched};
use crate::log::Record;
use crate::replies::ReplyTo;
use crate::service::Erased;

impl Turn<'_> {
    pub(super) fn read_command<'r>(&self, record: &'r Record) -> Result<(Asked<'r>, Erased), (Reason, String)> {
        let malformed = |why: Malformed| (Reason::Malformed, why.to_string());
        let mut envelope = record.envelope().cloned().map_err(|why| malformed(why.clone()))?;
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
        let routed = (self.rules.routing_key)(&envelope.subject);
        if handler.routing() == Routing::BySubject && routed != key {
            return Err((Reason::Misrouted, format!("subject '{}' is routed by key '{routed}', the record's key is '{key}'", envelope.subject)));
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
        // Whoever says who acts, and cannot show that it knows, has said nothing.
        if !signed && !is_vouched(&self.secret, &record.key, &record.headers, body) {
            envelope.actor = None;
        }
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
