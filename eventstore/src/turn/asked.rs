//! A command on its way to its aggregate: read from its record, or made here. What is read is held to bounds, since parts
//! of it are copied into all that it causes.

use schemas::{Envelope, Partition};

use crate::bounds::PART_BYTES_MAX;
use crate::fingerprint::Fingerprints;
use crate::heads::Timer;
use crate::log::Record;
use crate::replies::{AnsweredCommand, ReplyTo};

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

    pub fn answer(&self) -> AnsweredCommand<'_> {
        AnsweredCommand {
            command_id: &self.envelope.id,
            subject: &self.envelope.subject,
            aggregate: &self.envelope.kind.aggregate,
            ended: None,
            decided_as: None,
        }
    }
}

/// An id that can be an aggregate's or a command's.
pub fn is_id(text: &str) -> bool {
    (1..=PART_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}
