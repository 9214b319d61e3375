//! The proof that what is served equals a fold from zero: every view and every service's heads. Changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use eventstore::Fault;
use eventstore::control::Control;
use eventstore::heads::Heads;
use eventstore::rows::Rows;
use eventstore::service::Service;
use parking_lot::Mutex;
use projections::{Folding, Projection, Proof, Verdict, View};

/// A view that is proven: what it folds, its rows, and the running projection, if there is one.
pub type Proven = (Arc<View>, Arc<Rows>, Option<Arc<Projection>>);

/// Folds anew beside the live folds and compares.
pub struct Prover {
    control: Arc<Control>,
    scratch: PathBuf,
    views: Vec<Proven>,
    heads: Vec<(Arc<Service>, Arc<Rows>)>,
    /// folds that cannot be looked at, and why
    unseen: Vec<(String, String)>,
    /// one proof at a time: it takes a second copy of the state
    running: Mutex<()>,
}

impl Prover {
    /// Over the folds of a running process.
    pub fn new<'a>(control: Arc<Control>, scratch: PathBuf, views: impl Iterator<Item = &'a Arc<Projection>>, heads: Vec<(Arc<Service>, Arc<Rows>)>) -> Self {
        let views = views.map(|view| (Arc::clone(view.view()), Arc::clone(view.rows()), Some(Arc::clone(view)))).collect();
        Self { control, scratch, views, heads, unseen: vec![], running: Mutex::new(()) }
    }

    /// Over folds at rest, and those that cannot be looked at.
    pub fn at_rest(control: Arc<Control>, scratch: PathBuf, views: Vec<Proven>, heads: Vec<(Arc<Service>, Arc<Rows>)>, unseen: Vec<(String, String)>) -> Self {
        Self { control, scratch, views, heads, unseen, running: Mutex::new(()) }
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
        let mut verdicts: Vec<Verdict> = self.unseen.iter().map(|(name, why)| Verdict::of_none(name, why.clone())).collect();
        let (log, skips) = (self.control.log().as_ref(), self.control.skips());
        for (view, rows, running) in &self.views {
            let (scratch, name) = (fresh(&view.name)?, format!("view {}", view.name));
            let proof = Proof { name: &name, log, live: rows, scratch: &scratch, whole: Some(&view.topic), runs: running.is_some() };
            let mut verdict = whatever_stops(&name, proof.verify(|rows| Box::new(Folding::new(Arc::clone(view), rows).honouring(Arc::clone(skips)))))?;
            if let Some(why) = running.as_ref().and_then(|view| view.failed()) {
                verdict.wrong = Some(why);
            }
            verdicts.push(verdict);
        }
        for (service, rows) in &self.heads {
            let (scratch, name) = (fresh(&format!("heads-{}", service.name))?, format!("heads {}", service.name));
            let proof = Proof { name: &name, log, live: rows, scratch: &scratch, whole: None, runs: false };
            let made = proof.verify(|fresh| Box::new(Heads::new(Arc::clone(service), fresh).honouring(Arc::clone(skips))));
            verdicts.push(whatever_stops(&name, made)?);
        }
        if self.scratch.exists() {
            std::fs::remove_dir_all(&self.scratch)?;
        }
        Ok(Some(verdicts))
    }

    /// Writes what the folds have in memory to files.
    pub(super) fn flush(&self) -> Result<(), Fault> {
        self.views.iter().try_for_each(|(_, rows, _)| rows.flush())?;
        self.heads.iter().try_for_each(|(_, rows)| rows.flush())
    }
}

/// A record that cannot be folded from zero, or read, and rows that are of another log are a verdict, and no failure of
/// the proof.
fn whatever_stops(name: &str, verified: Result<Verdict, Fault>) -> Result<Verdict, Fault> {
    match verified {
        Err(Fault::Stop(stuck)) => Ok(Verdict::of_none(name, stuck.to_string())),
        Err(Fault::Fatal(why)) => Ok(Verdict::of_none(name, why)),
        other => other,
    }
}
