//! States that break what their aggregate declares, as a trial hears of them. Changes nothing.

use std::cell::RefCell;
use std::rc::Rc;

use schemas::Partition;

use crate::log::Offset;

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

    /// After the event at this place of the batch.
    pub(super) fn broke(&self, place: usize, broken: Broken) {
        self.0.borrow_mut().batch.push((place, broken));
    }

    pub(super) fn abort(&self) {
        self.0.borrow_mut().batch.clear();
    }

    /// What was found of a batch counts now that it is saved, with these offsets by place.
    pub(super) fn saved(&self, offsets: &[Offset]) {
        let heard = &mut *self.0.borrow_mut();
        let placed = heard.batch.drain(..).map(|(place, broken)| Broken { offset: offsets.get(place).copied().unwrap_or_default(), ..broken });
        heard.broken.extend(placed);
    }
}
