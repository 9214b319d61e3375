//! What can be asked of the thread that writes, and how an answer is waited for.

use crossbeam_channel::{Sender, bounded};

use super::state::TopicPartition;
use crate::log::{Assignment, Commit, Fault, Message, Offset, Positions, TopicSpec};

/// What can be asked of the appender.
pub enum Request {
    /// Messages outside any group.
    Append(Vec<StoredRecord>, Sender<Result<Vec<Offset>, Fault>>),
    /// A member's outputs and positions.
    Commit { group: String, serial: u64, outputs: Vec<StoredRecord>, positions: Positions, assignment: Assignment, answer: Sender<Result<Commit, Fault>> },
    /// A new member; answers its serial number. Topics by number that it reads from now on, where its group has no position.
    Join { group: String, member: String, from_now_on: Vec<u16>, answer: Sender<Result<u64, Fault>> },
    /// A member goes.
    Leave { group: String, serial: u64, answer: Option<Sender<()>> },
    /// Records before an offset to delete; answers where the place begins now.
    Trim(TopicPartition, Offset, Sender<Result<Offset, Fault>>),
    /// A topic to create.
    Create(TopicSpec, Sender<Result<(), Fault>>),
    /// The log closes.
    Close,
}

impl Request {
    pub fn bytes(&self) -> usize {
        match self {
            Self::Append(kept, _) | Self::Commit { outputs: kept, .. } => kept.iter().map(|kept| kept.bytes.len()).sum(),
            _ => 0,
        }
    }
}

/// A message as it will be kept: made by the caller, so that callers share the work.
pub struct StoredRecord {
    /// where
    pub place: TopicPartition,
    /// its bytes, not yet stamped
    pub bytes: Vec<u8>,
    /// itself, for those who follow the place
    pub message: Message,
}

/// Sends a request to the appender and waits for its answer.
pub fn ask<T>(requests: &Sender<Request>, request: impl FnOnce(Sender<T>) -> Request) -> Result<T, Fault> {
    let closed = || Fault::Fatal("the log is closed".to_owned());
    let (answer, answered) = bounded(1);
    requests.send(request(answer)).map_err(|_| closed())?;
    answered.recv().map_err(|_| closed())
}
