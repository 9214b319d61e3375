//! A batch being decided: what it is decided by, and what has come of it so far. Sends nothing.

use kernel::Timestamp;
use schemas::{Envelope, Partition};

use super::effects::{Effect, Encoded, records};
use super::written::Written;
use crate::heads::Heads;
use crate::log::{Fault, Log, Message, Rules};
use crate::observer::Note;
use crate::sealing::Sealer;
use crate::service::Service;

/// A batch being decided.
pub struct Turn<'a> {
    pub(super) service: &'a Service,
    pub(super) heads: &'a mut Heads,
    now: Timestamp,
    pub(super) partitions: u16,
    pub(super) rules: Rules,
    pub(super) secret: [u8; 32],
    pub(super) sealer: Option<&'a Sealer>,
    pub(super) effects: Vec<Effect>,
    pub(super) notes: Vec<Note>,
}

/// What a batch comes to.
pub struct Decision {
    /// what is to be written
    pub outputs: Vec<Message>,
    /// which of that are own events
    pub written: Written,
    /// what is to be told once it is committed
    pub notes: Vec<Note>,
}

impl<'a> Turn<'a> {
    /// Begins with nothing to write, at log time `now`.
    pub fn new(service: &'a Service, heads: &'a mut Heads, log: &dyn Log, now: Timestamp) -> Self {
        Self { service, heads, now, partitions: log.partitions(), rules: log.rules(), secret: log.secret(), sealer: None, effects: vec![], notes: vec![] }
    }

    /// Seals personal data in what it writes, if there are keys.
    #[must_use]
    pub fn sealing(self, sealer: Option<&'a Sealer>) -> Self {
        Self { sealer, ..self }
    }

    /// Ends with what was decided.
    pub fn done(self) -> Decision {
        let (outputs, written) = records(self.effects, self.service);
        Decision { outputs, written, notes: self.notes }
    }

    /// Log time in a partition.
    pub(super) fn now(&self, partition: Partition) -> Result<Timestamp, Fault> {
        self.heads.now(partition, self.now)
    }

    /// A marker among the own events.
    pub(super) fn leave_marker(&mut self, partition: Partition, key: &[u8], envelope: &Envelope, body: Vec<u8>) -> Result<(), Fault> {
        self.heads.passed(partition, self.now(partition)?);
        self.effects.push(Effect::Marker(Encoded::new(partition, key, envelope, body)));
        Ok(())
    }
}
