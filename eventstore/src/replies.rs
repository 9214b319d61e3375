//! Answers to waiting callers. A lost reply costs nothing: the outcome is in the events.

use schemas::wire::{ReplyV1, marker};
use schemas::{Envelope, Headers, Partition, codec};

use crate::dead_letters::shortened;
use crate::outcome::Outcome;

/// Where a caller waits: an instance and the partition of the reply topic it tails. Written `<instance>@<partition>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// the instance's name, 1 to 100 bytes
    pub instance: String,
    /// the partition it tails
    pub partition: Partition,
}

impl ReplyTo {
    /// Reads the header's text.
    pub fn parse(text: &str, partitions: u16) -> Result<Self, String> {
        let parsed = text.rsplit_once('@').and_then(|(instance, partition)| Some((instance, partition.parse::<u16>().ok()?)));
        match parsed {
            Some((instance, partition)) if (1..=100).contains(&instance.len()) && partition < partitions => {
                Ok(Self { instance: instance.to_owned(), partition: Partition(partition) })
            }
            _ => Err(format!("header reply-to is '{text}', expected <instance>@<partition below {partitions}>")),
        }
    }

    /// The answer of a decision.
    pub fn decided(&self, answer: &AnsweredCommand<'_>, outcome: &Outcome) -> Reply {
        match outcome {
            Outcome::Accepted { version } => self.write(answer, "accepted", None, None, Some(*version)),
            Outcome::Refused { code, detail } => self.write(answer, "refused", Some(code), Some(detail), None),
        }
    }

    /// The command was accepted before, and its answer is given by another aggregate's event.
    pub fn later(&self, answer: &AnsweredCommand<'_>) -> Reply {
        self.write(answer, "later", None, None, None)
    }

    /// The id was used before for another command.
    pub fn conflict(&self, answer: &AnsweredCommand<'_>) -> Reply {
        self.write(answer, "conflict", Some("id-used"), Some("this command id was used before, for another command"), None)
    }

    /// The command became a dead letter.
    pub fn failed(&self, answer: &AnsweredCommand<'_>, reason: &str, detail: &str) -> Reply {
        self.write(answer, "failed", Some(reason), Some(detail), None)
    }

    fn write(&self, answer: &AnsweredCommand<'_>, outcome: &str, code: Option<&str>, detail: Option<&str>, version: Option<u64>) -> Reply {
        let body = ReplyV1 {
            command_id: answer.command_id.to_owned(),
            outcome: outcome.to_owned(),
            code: code.map(str::to_owned),
            detail: detail.map(shortened),
            aggregate: answer.aggregate.to_owned(),
            subject: answer.subject.to_owned(),
            version,
            ended: answer.ended.map(str::to_owned),
            decided_as: answer.decided_as.map(str::to_owned),
        };
        let id = schemas::envelope::caused_id(answer.command_id, "reply", 0);
        let mut envelope = Envelope::new(id, "/daybook/replies", marker::reply_kind(), answer.subject);
        envelope.causation = Some(answer.command_id.to_owned());
        Reply { to: self.clone(), headers: envelope.headers(), body: codec::to_json(&body) }
    }
}

/// An answer, encoded.
pub struct Reply {
    /// where its caller waits
    pub to: ReplyTo,
    /// its envelope
    pub headers: Headers,
    /// its body
    pub body: Vec<u8>,
}

/// Whose command is answered, and by which aggregate.
pub struct AnsweredCommand<'a> {
    /// the id its client gave it
    pub command_id: &'a str,
    /// the answering aggregate's id
    pub subject: &'a str,
    /// its type
    pub aggregate: &'a str,
    /// the event that ended the process, if it is that which answers
    pub ended: Option<&'a str>,
    /// the id under which the command was decided, if that is another
    pub decided_as: Option<&'a str>,
}
