//! The proof that what is served equals a fold from zero: every view and every service's heads. Changes nothing of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventstore::control::Control;
use eventstore::fold::Fold;
use eventstore::heads::Heads;
use eventstore::observer::{view as reader, worker};
use eventstore::rows::Rows;
use eventstore::service::Service;
use eventstore::{Fault, Positions};
use parking_lot::Mutex;
use projections::{Folding, Kept, Projection, Proof, Verdict, View};
use schemas::Topic;

/// A view that is proven.
pub enum Proven {
    /// of this process
    Running(Arc<Projection>),
    /// rows that nothing folds into
    AtRest(Arc<View>, Arc<Rows>),
}

impl Proven {
    fn view(&self) -> &Arc<View> {
        match self {
            Self::Running(projection) => projection.view(),
            Self::AtRest(view, _) => view,
        }
    }

    fn rows(&self) -> Arc<Rows> {
        match self {
            Self::Running(projection) => projection.rows(),
            Self::AtRest(_, rows) => Arc::clone(rows),
        }
    }

    fn running(&self) -> Option<&Projection> {
        match self {
            Self::Running(projection) => Some(projection),
            Self::AtRest(..) => None,
        }
    }
}

/// Folds anew beside the live folds and compares.
pub struct Prover {
    control: Arc<Control>,
    scratch: PathBuf,
    /// where folds that were proven are kept; not where nothing may be written
    kept: Option<PathBuf>,
    views: Vec<Proven>,
    heads: Vec<(Arc<Service>, Arc<Rows>)>,
    /// folds that cannot be looked at, and why
    unseen: Vec<(String, String)>,
    /// one proof at a time: it takes a second copy of the state
    running: Mutex<()>,
}

/// A fold that is proven.
struct One<'a> {
    /// what its verdict is of
    name: String,
    /// of its directories
    dir: &'a str,
    shape: String,
    /// as the control topic knows it
    reader: String,
    topic: &'a Topic,
    live: &'a Rows,
    whole: bool,
    runs: bool,
}

impl Prover {
    /// Over the folds of a running process.
    pub fn new<'a>(
        control: Arc<Control>,
        scratch: PathBuf,
        kept: PathBuf,
        views: impl Iterator<Item = &'a Arc<Projection>>,
        heads: Vec<(Arc<Service>, Arc<Rows>)>,
    ) -> Self {
        let views = views.map(|view| Proven::Running(Arc::clone(view))).collect();
        Self { control, scratch, kept: Some(kept), views, heads, unseen: vec![], running: Mutex::new(()) }
    }

    /// Over folds at rest, and those that cannot be looked at.
    pub fn at_rest(control: Arc<Control>, scratch: PathBuf, views: Vec<Proven>, heads: Vec<(Arc<Service>, Arc<Rows>)>, unseen: Vec<(String, String)>) -> Self {
        Self { control, scratch, kept: None, views, heads, unseen, running: Mutex::new(()) }
    }

    /// Proves every fold, one after the other, each at its own saved position vector: from zero if all of it is to be, and else
    /// from what was proven before. None while another proof runs.
    pub fn prove(&self, full: bool) -> anyhow::Result<Option<Vec<Verdict>>> {
        let Some(_one) = self.running.try_lock() else { return Ok(None) };
        let mut verdicts: Vec<Verdict> = self.unseen.iter().map(|(name, why)| Verdict::of_none(name, why.clone())).collect();
        let skips = self.control.skips();
        for proven in &self.views {
            let (view, rows, running) = (proven.view(), proven.rows(), proven.running());
            let name = format!("view {}", view.name);
            if let Some(shape) = running.and_then(Projection::earlier_shape) {
                let why = format!("what is served is of an earlier shape ({shape}), and proves nothing, until rows of today's are folded beside it");
                verdicts.push(Verdict::of_none(&name, why));
                continue;
            }
            let (shape, reader, runs) = (view.shape(), reader(&view.name), running.is_some());
            let one = One { name, dir: &view.name, shape, reader, topic: &view.topic, live: &rows, whole: true, runs };
            let mut verdict = self.one(&one, full, |rows| Box::new(Folding::new(Arc::clone(view), rows).honouring(Arc::clone(skips))))?;
            if let Some(why) = running.and_then(Projection::failed) {
                verdict.wrong = Some(why);
            }
            verdicts.push(verdict);
        }
        for (service, rows) in &self.heads {
            let (dir, topic, shape) = (format!("heads-{}", service.name), service.events(), eventstore::heads::shape(service));
            let (name, reader) = (format!("heads {}", service.name), worker(service.name));
            let one = One { name, dir: &dir, shape, reader, topic: &topic, live: rows, whole: false, runs: false };
            verdicts.push(self.one(&one, full, |rows| Box::new(Heads::new(Arc::clone(service), rows).honouring(Arc::clone(skips))))?);
        }
        if self.scratch.exists() {
            std::fs::remove_dir_all(&self.scratch)?;
        }
        Ok(Some(verdicts))
    }

    fn one(&self, one: &One<'_>, full: bool, make: impl FnOnce(Arc<Rows>) -> Box<dyn Fold>) -> anyhow::Result<Verdict> {
        let scratch = fresh(&self.scratch, one.dir)?;
        let skips = self.control.skips().places(&one.reader, one.topic).into_iter();
        let skips: Positions = skips.map(|(partition, offset)| (one.topic.clone(), partition, offset)).collect();
        let kept = self.kept.as_ref().map(|kept| Kept { dir: kept.join(one.dir), shape: one.shape.clone(), log: self.control.id(), skips });
        let (name, log, whole) = (one.name.as_str(), self.control.log().as_ref(), one.whole.then_some(one.topic));
        let proof = Proof { name, log, live: one.live, scratch: &scratch, kept: kept.as_ref(), full, whole, runs: one.runs };
        Ok(whatever_stops(name, proof.verify(make))?)
    }

    /// What would be different of one view, or was, held against a fold from zero up to `at`: see [`Projection::diff`].
    pub fn diff(&self, view: &Projection, at: Option<&projections::Vector>) -> anyhow::Result<Option<Verdict>> {
        let Some(_one) = self.running.try_lock() else { return Ok(None) };
        let scratch = fresh(&self.scratch, view.name())?;
        let verdict = whatever_stops(view.name(), view.diff(at, &scratch))?;
        std::fs::remove_dir_all(&self.scratch)?;
        Ok(Some(verdict))
    }

    /// Writes what the folds have in memory to files.
    pub(super) fn flush(&self) -> Result<(), Fault> {
        self.views.iter().try_for_each(|proven| proven.rows().flush())?;
        self.heads.iter().try_for_each(|(_, rows)| rows.flush())
    }
}

/// An empty place to fold in: what a proof left that was interrupted goes.
fn fresh(scratch: &Path, name: &str) -> std::io::Result<PathBuf> {
    let dir = scratch.join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(scratch)?;
    Ok(dir)
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
