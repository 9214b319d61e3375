//! What a batch passes over and closes, until it is saved.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use schemas::{Partition, Topic};

use super::keys::closed_key;
use crate::control::Skips;
use crate::log::Offset;
use crate::rows::{Changes, Last};

/// An aggregate of a partition, by its type's name and its id.
pub(super) type Closed = (Partition, String, String);
/// Why each is closed, by type and id.
pub(super) type Reasons = HashMap<(String, String), String>;

/// What a batch passes over and closes, until it is saved.
#[derive(Default)]
pub(super) struct Closing {
    pub(super) skips: Arc<Skips>,
    /// of a partition, once they were looked for
    pub(super) known: RefCell<HashMap<Partition, Reasons>>,
    pub(super) passed: Vec<(Partition, Offset)>,
    pub(super) closed: Vec<(Closed, String, Vec<Vec<u8>>)>,
    pub(super) lasts: Vec<(Partition, Last)>,
}

impl Closing {
    pub(super) fn save(&self, events: &Topic, changes: &mut Changes) {
        for (partition, offset) in &self.passed {
            changes.skipped(events, *partition, *offset);
        }
        for ((partition, aggregate, id), why, gone) in &self.closed {
            changes.put(&closed_key(*partition, aggregate, id), why.as_bytes());
            gone.iter().for_each(|key| changes.delete(key));
        }
        self.lasts.iter().for_each(|(partition, last)| changes.last(events, *partition, *last));
    }

    pub(super) fn saved(&mut self) {
        self.passed.clear();
        self.closed.clear();
        self.lasts.clear();
    }

    pub(super) fn abort(&mut self) {
        self.saved();
        self.known.get_mut().clear();
    }
}
