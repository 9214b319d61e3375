//! What a batch's decisions come to, in their order: values with their bytes, encoded once, when they are decided, since an
//! event's size says whether it is one or its command a dead letter. Records are made of them here, at the end, and nowhere else.

use schemas::envelope::Kind;
use schemas::{Envelope, Headers, Partition, Stream, topic};

use super::written::Written;
use crate::dead_letters::DeadLetter;
use crate::log::Message;
use crate::replies::Reply;
use crate::service::{Erased, Service};

/// One thing to be written.
pub enum Effect {
    /// An event of an aggregate: its value stays beside its bytes, so that a follower in this process need not decode them.
    Event { kind: Kind, event: Erased, bytes: Encoded },
    /// What became of a command that no event tells of.
    Marker(Encoded),
    /// An answer.
    Reply(Reply),
    /// What could not be processed.
    DeadLetter(DeadLetter),
}

/// A record of the own events, as bytes.
pub struct Encoded {
    pub partition: Partition,
    pub key: Vec<u8>,
    pub headers: Headers,
    pub body: Vec<u8>,
}

impl Encoded {
    pub fn new(partition: Partition, key: &[u8], envelope: &Envelope, body: Vec<u8>) -> Self {
        Self { partition, key: key.to_vec(), headers: envelope.headers(), body }
    }

    /// How many, as a record's are counted.
    pub fn len(&self) -> usize {
        self.key.len() + self.headers.bytes() + self.body.len()
    }
}

impl Effect {
    /// The value of an event.
    pub fn event(&self) -> Option<&Erased> {
        if let Self::Event { event, .. } = self { Some(event) } else { None }
    }
}

/// Their records, one for each, in the same places.
pub fn records(effects: Vec<Effect>, service: &Service) -> (Vec<Message>, Written) {
    let (events, replies, letters) = (service.events(), topic(Stream::Replies), service.dead_letters());
    let own = |effect: &Effect| match effect {
        Effect::Event { bytes, .. } | Effect::Marker(bytes) => Some(bytes.partition),
        Effect::Reply(_) | Effect::DeadLetter(_) => None,
    };
    let partitions = effects.iter().map(own).collect();
    let record = |effect| match effect {
        Effect::Event { bytes: Encoded { partition, key, headers, body }, .. } | Effect::Marker(Encoded { partition, key, headers, body }) => {
            Message { topic: events.clone(), partition, key, headers, value: Some(body) }
        }
        Effect::Reply(Reply { to, headers, body }) => {
            Message { topic: replies.clone(), partition: to.partition, key: to.instance.into_bytes(), headers, value: Some(body) }
        }
        Effect::DeadLetter(letter) => letter.message(letters.clone()),
    };
    let outputs: Vec<_> = effects.into_iter().map(record).collect();
    let written = Written::of(&outputs, partitions);
    (outputs, written)
}
