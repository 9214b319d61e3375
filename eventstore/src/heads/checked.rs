//! Each state that a fold comes by, held against what its aggregate declares. Only a trial asks for it.

use schemas::Partition;

use super::Heads;
use super::invariants::{Broken, Invariants};
use crate::caught::caught;
use crate::log::Offset;
use crate::service::Handler;

impl Heads {
    /// The same, holding each state against what its aggregate declares.
    #[must_use]
    pub fn checking(self, invariants: Invariants) -> Self {
        Self { invariants: Some(invariants), ..self }
    }

    pub(super) fn check(&self, partition: Partition, handler: &dyn Handler, id: &str, (version, place): (u64, usize)) {
        let Some(invariants) = &self.invariants else { return };
        let slots = self.slots.borrow();
        let Some(slot) = slots.get(&(partition, handler.name())).and_then(|of_type| of_type.get(id)) else { return };
        let held = caught(|| handler.invariant(&slot.state)).unwrap_or_else(|panic| Err(format!("its invariant panics: {panic}")));
        if let Err(why) = held {
            invariants.broke(place, Broken { partition, offset: Offset::default(), aggregate: handler.name(), id: id.to_owned(), version, why });
        }
    }
}
