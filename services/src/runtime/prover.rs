//! The proof that what is served equals a fold from zero: every view and every service's heads. Changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventstore::heads::Heads;
use eventstore::rows::{Memory, Rows};
use eventstore::service::Service;
use eventstore::{Fault, Log};
use parking_lot::Mutex;
use projections::{Folding, Projection, Verdict, verify};

use super::{Kept, Layout};
use crate::capabilities::Capability;

/// Folds anew beside the live folds and compares.
pub struct Prover {
    log: Arc<dyn Log>,
    scratch: PathBuf,
    views: Vec<Arc<Projection>>,
    heads: Vec<(Arc<Service>, Arc<Rows>)>,
    /// one proof at a time: it takes a second copy of the state
    running: Mutex<()>,
}

impl Prover {
    pub(super) fn new(log: Arc<dyn Log>, scratch: PathBuf, views: Vec<Arc<Projection>>, heads: Vec<(Arc<Service>, Arc<Rows>)>) -> Self {
        Self { log, scratch, views, heads, running: Mutex::new(()) }
    }

    /// Over a data directory that no process has open.
    pub fn open(data: &Path, at: Kept, capabilities: Vec<Capability>) -> anyhow::Result<Self> {
        let (layout, memory) = (Layout::of(data), Memory::default());
        let there = if matches!(at, Kept::Here { .. }) { layout.log() } else { layout.views() };
        anyhow::ensure!(there.is_dir(), "{} holds no Daybook data: name the directory that `daybook up --data` was given", data.display());
        let log = at.open(&layout, &memory)?;
        super::provision(log.as_ref(), &capabilities)?;
        let (mut views, mut heads) = (vec![], vec![]);
        // An instance has the folds of the services it ran.
        for capability in capabilities.into_iter().filter(|capability| layout.heads(capability.service.name).is_dir()) {
            let service = Arc::new(capability.service);
            for view in capability.views {
                views.push(Arc::new(Projection::open(view, Arc::clone(&log), &layout.views(), &memory, Box::new(|| ()))?));
            }
            let rows = Arc::new(Rows::open(&layout.heads(service.name), &service.shape(), &memory)?);
            heads.push((service, rows));
        }
        Ok(Self::new(log, layout.scratch(), views, heads))
    }

    /// Proves every fold, one after the other, each at its own saved position vector. None while another proof runs.
    pub fn prove(&self) -> anyhow::Result<Option<Vec<Verdict>>> {
        let Some(_one) = self.running.try_lock() else { return Ok(None) };
        let fresh = |name: &str| -> anyhow::Result<PathBuf> {
            let dir = self.scratch.join(name);
            if dir.exists() {
                std::fs::remove_dir_all(&dir)?; // of a proof that was interrupted
            }
            Ok(dir)
        };
        let mut verdicts = vec![];
        for projection in &self.views {
            let (view, name) = (Arc::clone(projection.view()), format!("view {}", projection.name()));
            let dir = fresh(projection.name())?;
            verdicts.push(verify(&name, self.log.as_ref(), projection.rows(), &dir, |rows| Box::new(Folding::new(view, rows)))?);
        }
        for (service, rows) in &self.heads {
            let dir = fresh(&format!("heads-{}", service.name))?;
            let make = |fresh| Box::new(Heads::new(Arc::clone(service), fresh)) as Box<dyn eventstore::fold::Fold>;
            verdicts.push(verify(&format!("heads {}", service.name), self.log.as_ref(), rows, &dir, make)?);
        }
        if self.scratch.exists() {
            std::fs::remove_dir_all(&self.scratch)?;
        }
        Ok(Some(verdicts))
    }

    /// Writes what the folds have in memory to files.
    pub(super) fn flush(&self) -> Result<(), Fault> {
        self.views.iter().try_for_each(|view| view.rows().flush())?;
        self.heads.iter().try_for_each(|(_, rows)| rows.flush())
    }
}
