//! Records of the command topic, read and held to bounds: who wrote them, and whether they are here at all.

use std::borrow::Cow;

use kernel::Routing;
use schemas::envelope::Malformed;
use schemas::{Envelope, Headers, partition_of};

use super::asked::{Asked, Came, TELL, TELL_DECISION, UNSCOPED, is_id};
use super::batch::Turn;
use crate::bounds::{ACTOR_BYTES_MAX, PART_BYTES_MAX};
use crate::caught::caught;
use crate::dead_letters::Reason;
use crate::fingerprint::{Fingerprints, REQUEST};
use crate::inside::{AGAIN, AGAIN_CLIENT, is_signed, is_vouched};
use crate::log::{Fault, Record};
use crate::replies::ReplyTo;
use crate::sealing::Body;
use crate::sealing::bodies::{self, Unopened};
use crate::service::{Erased, Handler};
use crate::stop::Stop;

/// Why a command is not decided.
pub(super) enum Unread {
    /// it is put aside
    Letter(Reason, String),
    /// its worker cannot go on
    Stop(Stop),
}

impl From<(Reason, String)> for Unread {
    fn from((reason, detail): (Reason, String)) -> Self {
        Self::Letter(reason, detail)
    }
}

impl Turn<'_> {
    pub(super) fn read_command<'r>(&self, record: &'r Record) -> Result<(Asked<'r>, Erased), Unread> {
        let malformed = |why: Malformed| (Reason::Malformed, why.to_string());
        let mut envelope = record.envelope().cloned().map_err(|why| malformed(why.clone()))?;
        for (name, text) in [("ce_id", &envelope.id), ("ce_subject", &envelope.subject)] {
            if !is_id(text) {
                return Err((Reason::Malformed, format!("header {name}: at most {PART_BYTES_MAX} bytes and no control characters")).into());
            }
        }
        for (name, text, most) in [
            ("ce_causationid", &envelope.causation, PART_BYTES_MAX),
            ("ce_correlationid", &envelope.correlation, PART_BYTES_MAX),
            ("ce_actor", &envelope.actor, ACTOR_BYTES_MAX),
        ] {
            if text.as_ref().is_some_and(|text| text.len() > most) {
                return Err((Reason::Malformed, format!("header {name}: at most {most} bytes")).into());
            }
        }
        let reply_to = envelope.reply_to.as_deref().map(|text| ReplyTo::parse(text, self.partitions)).transpose().map_err(|why| (Reason::Malformed, why))?;
        let Some(handler) = self.service.handler(&envelope.kind.aggregate) else {
            return Err((Reason::UnknownType, Malformed::UnknownKind(envelope.kind.to_string()).to_string()).into());
        };
        let key = String::from_utf8_lossy(&record.key);
        let due = partition_of(&record.key, self.partitions);
        if due != record.partition {
            return Err((
                Reason::Misrouted,
                format!("key '{key}' belongs to partition {due} (murmur2 of the key, modulo {}), the record is in {}", self.partitions, record.partition),
            )
                .into());
        }
        let routed = (self.rules.routing_key)(&envelope.subject);
        if handler.routing() == Routing::BySubject && routed != key {
            return Err((Reason::Misrouted, format!("subject '{}' is routed by key '{routed}', the record's key is '{key}'", envelope.subject)).into());
        }
        handler.check_id(&envelope.subject).map_err(|why| (Reason::Malformed, format!("header ce_subject: {why}")))?;
        if key.len() > PART_BYTES_MAX {
            return Err((Reason::Malformed, format!("the key: at most {PART_BYTES_MAX} bytes")).into());
        }
        let signed = is_signed(&self.secret, &record.key, &record.headers, record.body());
        let again = record.headers.text(AGAIN).filter(|_| signed);
        let client = !signed || again == Some(AGAIN_CLIENT);
        let (sent, personal) = (record.body(), self.service.is_personal(&envelope.kind));
        let body = if personal { self.opened(handler, &envelope, &key, sent, client)? } else { Cow::Borrowed(sent) };
        let decoded = caught(|| {
            let command = handler.decode_command(&envelope.kind, &body)?;
            let newest = handler.encode_command(&command);
            Ok((command, newest))
        });
        let (command, newest) =
            decoded.map_err(|panic| (Reason::Malformed, format!("the program panics where it reads it: {panic}")))?.map_err(|why| match why {
                Malformed::UnknownKind(_) => (Reason::UnknownType, why.to_string()),
                Malformed::FromTheFuture(_) => (Reason::NewerVersion, why.to_string()),
                _ => (Reason::Malformed, if personal { unquoted(&why.to_string()) } else { why.to_string() }),
            })?;
        // A command made inside arrives exactly once. All others are marked, whatever their headers say; so is one that an
        // operator writes once more, who may do so twice.
        // Whoever says who acts, and cannot show that it knows, has said nothing.
        if !signed && !is_vouched(&self.secret, &record.key, &record.headers, sent) {
            envelope.actor = None;
        }
        let prints = (client || again.is_some()).then(|| {
            let (kind, newest) = newest.unwrap_or_else(|| (envelope.kind.clone(), body.to_vec()));
            Fingerprints { kept: again.is_some(), ..Fingerprints::of(&envelope, &body, &kind, &newest, record.headers.text(REQUEST)) }
        });
        let prints = match (prints, self.sealer.filter(|_| personal)) {
            (Some(prints), Some(sealer)) => {
                let subject = self.service.data_subject(handler.name(), &key, &envelope.subject);
                Some(sealer.blind(&subject, &envelope.id, prints).map_err(|why| Unread::Stop(Fault::from(why).into()))?)
            }
            (prints, _) => prints,
        };
        let unscoped = record.headers.text(UNSCOPED).filter(|id| client && is_id(id)).map(str::to_owned);
        let (came, tell_decision) = (Came::Record(record), record.headers.text(TELL) == Some(TELL_DECISION));
        Ok((Asked { partition: record.partition, key: &record.key, envelope, client, prints, unscoped, reply_to, tell_decision, came }, command))
    }

    /// A command's body with the personal data opened that was sealed for it.
    fn opened<'b>(&self, handler: &dyn Handler, envelope: &Envelope, key: &str, body: &'b [u8], client: bool) -> Result<Cow<'b, [u8]>, Unread> {
        let subject = self.service.data_subject(handler.name(), key, &envelope.subject);
        let of = Body { id: &envelope.id, kind: &envelope.kind.to_string(), subject: &subject };
        let opened = match self.sealer {
            Some(sealer) => sealer.open_command(of, body, client),
            None if client => bodies::clear(body).map(|()| None),
            None => Ok(None),
        };
        match opened {
            Ok(opened) => Ok(opened.map_or(Cow::Borrowed(body), Cow::Owned)),
            Err(why @ Unopened::Command(_)) => Err(Unread::Letter(Reason::Malformed, why.to_string())),
            Err(Unopened::Keys(why)) => Err(Unread::Stop(Fault::from(why).into())),
        }
    }

    /// Whether a record of the command topic was written by a client.
    pub(super) fn is_a_clients(&self, record: &Record) -> bool {
        let again = |headers: &Headers| headers.text(AGAIN) == Some(AGAIN_CLIENT);
        !is_signed(&self.secret, &record.key, &record.headers, record.body()) || again(&record.headers)
    }
}

/// What is wrong with a body, without what it says: that may be somebody's name. Only what was expected is named.
fn unquoted(why: &str) -> String {
    let hidden = |text: &str, mark: char| {
        let parts = text.split(mark).enumerate().map(|(at, part)| if at == 1 { "…" } else { part });
        parts.collect::<Vec<_>>().join(&mark.to_string())
    };
    match why.find("unknown variant `").or_else(|| why.find("unknown field `")) {
        Some(from) => format!("{}{}", &why[..from], hidden(&why[from..], '`')),
        None if why.contains('"') => {
            let (before, rest) = why.split_once('"').unwrap_or_default();
            let after = rest.rsplit_once('"').map_or("", |(_, after)| after);
            format!("{before}\"…\"{after}")
        }
        None => why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::unquoted;

    #[test]
    fn what_is_wrong_is_said_without_what_it_says() {
        for (why, said) in [
            ("invalid type: string \"Anna \"B\" Berg\", expected a map", "invalid type: string \"…\", expected a map"),
            ("unknown variant `Anna`, expected `clear` or `sealed`", "unknown variant `…`, expected `clear` or `sealed`"),
            ("unknown field `anna@example.com`, expected `a`", "unknown field `…`, expected `a`"),
            ("missing field `personal` at line 1", "missing field `personal` at line 1"),
            ("key must be a string at line 1 column 3", "key must be a string at line 1 column 3"),
        ] {
            assert_eq!(unquoted(why), said);
        }
    }
}
