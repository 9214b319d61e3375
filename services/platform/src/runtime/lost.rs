//! A log that has lost what was folded from it, where that is accepted: the folds are set aside, and made anew of what is left.

use std::sync::Arc;

use eventstore::control::Control;
use eventstore::fold::rows_belong;
use eventstore::memory::Memory;
use eventstore::rows::Rows;
use eventstore::{Fault, Log};
use projections::View;
use schemas::{Partition, Topic};

use crate::capability::Capability;
use crate::location::Layout;

/// Sets the folds of a data directory aside if not all of them are of this log as it is.
pub fn accept(layout: &Layout, control: &Control, capabilities: &[Capability], memory: &Memory) -> anyhow::Result<()> {
    let log = control.log().as_ref();
    for capability in capabilities {
        let (service, events) = (&capability.service, capability.service.events());
        let heads = (layout.heads(service.name)?, eventstore::heads::shape(service), events);
        let served = |view: &Arc<View>| Ok((layout.view(&view.name)?, view.shape(), view.topic.clone()));
        let views = capability.views.iter().map(served).collect::<Result<Vec<_>, Fault>>()?;
        for (dir, shape, topic) in std::iter::once(heads).chain(views).filter(|(dir, ..)| dir.is_dir()) {
            let folded = Rows::look(&dir, &shape, Some(control.id()).filter(|id| !id.is_empty()), memory);
            if let Err(fault) = folded.and_then(|rows| belong(log, &topic, &rows)) {
                tracing::error!(%fault, "the loss is accepted");
                return layout.set_folds_aside(log.now());
            }
        }
    }
    Ok(())
}

fn belong(log: &dyn Log, topic: &Topic, rows: &Rows) -> Result<(), Fault> {
    (0..log.partitions()).map(Partition).try_for_each(|partition| rows_belong(log, topic, partition, rows))
}
