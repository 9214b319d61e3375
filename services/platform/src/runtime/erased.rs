//! Tells the key store what the log knows to be erased: a store that came back from a backup forgets again, before anything is
//! sealed or opened with it.

use std::time::{Duration, Instant};

use eventstore::keystore::{Lookup, Tombstone};
use eventstore::sealing::Error;
use eventstore::{Fault, Positions};

use crate::erasure::view::{ERASURES, tombstones};
use crate::http::app::App;

/// How often the store is asked whether what was erased is back.
const LOOK: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub struct Erased {
    /// where the view must stand before the store is used
    due: Option<Positions>,
    /// where it stood when the store was told
    told: Option<Positions>,
    /// what it was told; looked at again now and then, since a store can be put back at any time
    gone: Vec<Tombstone>,
    looked: Option<Instant>,
}

impl Erased {
    /// Tells what is new.
    pub fn turn(&mut self, app: &App) -> Result<(), Fault> {
        let (Some(sealer), Some(view)) = (&app.sealer, app.views.get(ERASURES)) else { return Ok(()) };
        let stands = view.positions();
        if self.due.is_none() {
            self.due = Some(view.ends()?);
        }
        if self.told.as_ref() == Some(&stands) {
            if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
                return Ok(());
            }
            self.looked = Some(Instant::now());
            let back = |gone: &Tombstone| matches!(sealer.keys().look_up(gone.key), Ok(Lookup::Key(_)) | Err(eventstore::keystore::Error::Lost { .. }));
            if !self.gone.iter().any(back) {
                return Ok(());
            }
        } else if !self.due.as_ref().is_some_and(|due| view.has_folded(due)) {
            return Ok(());
        } else {
            self.gone = tombstones(view)?;
        }
        let forgotten = sealer.keys().absorb_tombstones(&self.gone).map_err(Error::from)?;
        if forgotten > 0 {
            tracing::warn!(keys = forgotten, "the key store was older than the log: what was erased since is erased again");
        }
        sealer.release();
        self.told = Some(stands);
        Ok(())
    }
}
