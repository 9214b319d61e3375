//! Tells the key store what the log knows to be erased: a store that came back from a backup forgets again, before anything is
//! sealed or opened with it.

use eventstore::sealing::Error;
use eventstore::{Fault, Positions};
use projections::Projection;
use schemas::Partition;

use crate::erasure::view::{ERASURES, tombstones};
use crate::http::app::App;

/// See the module.
#[derive(Default)]
pub struct Erased {
    /// where the view must stand before the store is used
    due: Option<Positions>,
    /// where it stood when the store was told
    told: Option<Positions>,
}

impl Erased {
    /// Tells what is new.
    pub fn turn(&mut self, app: &App) -> Result<(), Fault> {
        let (Some(sealer), Some(view)) = (&app.sealer, app.views.get(ERASURES)) else { return Ok(()) };
        let stands = view.positions();
        if self.due.is_none() {
            self.due = Some(ends(app, view)?);
        }
        let reached = |(topic, partition, end): &(_, _, _)| stands.iter().any(|(of, at, next)| of == topic && at == partition && next >= end);
        if self.told.as_ref() == Some(&stands) || !self.due.iter().flatten().all(reached) {
            return Ok(());
        }
        let forgotten = sealer.keys().absorb_tombstones(&tombstones(view)?).map_err(Error::from)?;
        if forgotten > 0 {
            tracing::warn!(keys = forgotten, "the key store was older than the log: what was erased since is erased again");
        }
        sealer.release();
        self.told = Some(stands);
        Ok(())
    }
}

/// Where a view's topic ends. Where it has nothing yet, a view stands nowhere and need not.
fn ends(app: &App, view: &Projection) -> Result<Positions, Fault> {
    let topic = &view.view().topic;
    let end = |partition| Ok((topic.clone(), partition, app.log.end(topic, partition)?));
    let all = (0..app.log.partitions()).map(|partition| end(Partition(partition))).collect::<Result<Positions, Fault>>()?;
    Ok(all.into_iter().filter(|(_, _, end)| end.0 > 0).collect())
}
