//! A view: which topic it folds and what an event does to its rows. A view folds one topic, so that replay order is live order.

use std::sync::Arc;

use eventstore::fold::{Fold, unreadable};
use eventstore::rows::Rows;
use eventstore::{Fault, Offset, Page, Record};
use schemas::envelope::Malformed;
use schemas::{Envelope, Partition, Topic};

use crate::overlay::Overlay;

/// An event as a view sees it.
pub struct Seen<'r> {
    /// what stands around it
    pub envelope: Envelope,
    /// the record itself
    pub record: &'r Record,
}

impl Seen<'_> {
    /// The body.
    pub fn body(&self) -> &[u8] {
        self.record.value.as_deref().unwrap_or_default()
    }
}

/// Why a view could not fold an event.
#[derive(Debug, thiserror::Error)]
pub enum Unfolded {
    /// The event cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The rows cannot be read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What an event changes.
pub type FoldEvent = fn(&Seen<'_>, &mut Overlay<'_>) -> Result<(), Unfolded>;

/// A read model as data. Stateless: its rows are all it knows.
pub struct View {
    /// Lower case, unique in the process; the name of its directory.
    pub name: String,
    /// The shape of its rows. Raise it with every change: rows of another shape are folded anew.
    pub shape: u32,
    /// The one topic it folds.
    pub topic: Topic,
    /// What an event changes.
    pub fold: FoldEvent,
}

/// A view over its rows, as something a log can be folded into.
pub struct Folding {
    /// what an event does
    pub view: Arc<View>,
    /// where it is kept
    pub rows: Arc<Rows>,
}

impl Fold for Folding {
    fn next(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault> {
        self.rows.position(topic, partition)
    }

    fn fold(&mut self, topic: &Topic, partition: Partition, page: Page) -> Result<(), Fault> {
        let mut overlay = Overlay::over(&self.rows);
        for record in &page.records {
            let envelope = Envelope::read(&record.headers).map_err(|why| unreadable(record, &why))?;
            (self.view.fold)(&Seen { envelope, record }, &mut overlay).map_err(|why| match why {
                Unfolded::Malformed(why) => unreadable(record, &why),
                Unfolded::Fault(fault) => fault,
            })?;
        }
        let mut changes = overlay.changes()?;
        changes.position(topic, partition, page.next);
        self.rows.write(changes)
    }
}
