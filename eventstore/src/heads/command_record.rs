//! What is remembered of a client's command.

use kernel::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fingerprint::Fingerprints;
use crate::outcome::Outcome;

/// How a client's command was answered, and what a repeat is known by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandRecord {
    /// what makes another one the same
    pub prints: Fingerprints,
    /// the first answer
    pub outcome: Outcome,
    /// log time of the decision
    pub at: Timestamp,
    /// Aggregate type and id of a command that was decided when an id's scope was the whole service.
    pub unscoped: Option<(String, String)>,
}

impl CommandRecord {
    pub(super) fn is_over(&self, now: Timestamp, remembers: i64) -> bool {
        !self.prints.kept && self.at < now.plus_seconds(-remembers)
    }
}
