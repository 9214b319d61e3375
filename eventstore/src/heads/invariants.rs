//! What aggregates declare to hold of every state, held against each state that a fold comes by. Only a trial asks for it.

use std::cell::RefCell;
use std::rc::Rc;

use schemas::Partition;

use super::Heads;
use crate::caught::caught;
use crate::log::Offset;
use crate::service::Handler;

/// A state of which something does not hold that its aggregate declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// where the event lies that it is so after
    pub partition: Partition,
    /// which event of the partition
    pub offset: Offset,
    /// the aggregate's type
    pub aggregate: &'static str,
    /// its id
    pub id: String,
    /// its version then
    pub version: u64,
    /// what does not hold
    pub why: String,
}

/// Hears of broken invariants, once their events are folded.
#[derive(Clone, Default)]
pub struct Invariants(Rc<RefCell<Heard>>);

#[derive(Default)]
struct Heard {
    /// of this batch, each with the place of its event
    batch: Vec<(usize, Broken)>,
    broken: Vec<Broken>,
}

impl Invariants {
    /// Those that were heard of since the last call.
    pub fn take(&self) -> Vec<Broken> {
        std::mem::take(&mut self.0.borrow_mut().broken)
    }

    pub(super) fn abort(&self) {
        self.0.borrow_mut().batch.clear();
    }
}

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
            let broken = Broken { partition, offset: Offset::default(), aggregate: handler.name(), id: id.to_owned(), version, why };
            invariants.0.borrow_mut().batch.push((place, broken));
        }
    }

    /// What was found of a batch counts now that it is saved.
    pub(super) fn checked(&self, partition: Partition, offsets: &[Offset]) {
        let Some(invariants) = &self.invariants else { return };
        let heard = &mut *invariants.0.borrow_mut();
        let placed = heard.batch.drain(..).map(|(place, broken)| Broken { partition, offset: offsets.get(place).copied().unwrap_or_default(), ..broken });
        heard.broken.extend(placed);
    }
}
