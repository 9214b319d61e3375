//! One fold tried: into a directory that is thrown away, and held against the rows that stand live, where these are of this
//! program's shape.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventstore::control::Control;
use eventstore::fold::replay;
use eventstore::heads::{Heads, Invariants};
use eventstore::memory::Memory;
use eventstore::rows::Rows;
use eventstore::service::Service;
use eventstore::{Fault, Limits};
use projections::{Difference, Folding, Proof, View};
use schemas::{Partition, Topic};
use serde::Serialize;

use super::findings::{Findings, Kind};
use super::passing::{Into, Passing, Tally};
use crate::patience::Patience;

/// What is folded.
pub enum Of {
    /// a view's rows
    View(Arc<View>),
    /// the states of a service's aggregates
    Heads(Arc<Service>),
}

impl Of {
    /// Its name.
    pub fn name(&self) -> String {
        match self {
            Self::View(view) => format!("view {}", view.name),
            Self::Heads(service) => format!("heads {}", service.name),
        }
    }

    fn topic(&self) -> Topic {
        match self {
            Self::View(view) => view.topic.clone(),
            Self::Heads(service) => service.events(),
        }
    }

    fn shape(&self) -> String {
        match self {
            Self::View(view) => view.shape(),
            Self::Heads(service) => eventstore::heads::shape(service),
        }
    }
}

/// What became of it.
#[derive(Serialize)]
pub struct Tried {
    /// the fold's name
    pub name: String,
    /// events it read
    pub events: u64,
    /// what it met that is wrong
    pub findings: u64,
    /// how the live rows stand to it: the same, different, or why they were not compared
    pub live: Live,
    /// the first rows that differ, at most ten
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// how long it takes to fold all of it, in seconds
    pub seconds: f64,
}

/// How live rows stand to those that were folded.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Live {
    /// equal, row by row
    Same,
    /// some differ
    Differ,
    /// there are none
    None,
    /// they are of another shape, and will be folded anew
    AnotherShape,
    /// they cannot be compared
    Unknown,
}

/// What trials have in common.
pub struct Bench<'a> {
    /// the log, and what was settled on it
    pub control: &'a Control,
    /// to fold in
    pub scratch: &'a Path,
    /// what they find
    pub findings: Rc<RefCell<Findings>>,
    /// somebody wants them to end
    pub ends: &'a Arc<AtomicBool>,
}

impl Bench<'_> {
    /// Tries one; its live rows are in `live`, if there are any.
    pub fn tries(&self, of: &Of, live: Option<&Path>) -> Result<Tried, Fault> {
        let (name, memory) = (of.name(), Memory::default());
        let scratch = self.scratch.join(name.replace(' ', "-"));
        let tally = Rc::new(Cell::new(Tally::default()));
        let mut tried = Tried { name: name.clone(), events: 0, findings: 0, live: Live::None, differences: vec![], seconds: 0.0 };
        let fresh = RefCell::new(None);
        match live.map(|dir| self.standing(of, dir, &memory)) {
            None => {}
            Some(Err(fault)) => self.rows(&name, &fault, &mut tried, &tally),
            Some(Ok(None)) => tried.live = Live::AnotherShape,
            Some(Ok(Some(live))) => {
                let whole = of.topic();
                let whole = matches!(of, Of::View(_)).then_some(&whole);
                let proof = Proof { name: &name, log: self.control.log().as_ref(), live: &live, scratch: &scratch, kept: None, full: true, whole, runs: false };
                let proven = proof.verify(|rows| {
                    *fresh.borrow_mut() = Some(Arc::clone(&rows));
                    Box::new(self.passing(of, rows, &tally))
                });
                match proven {
                    Ok(verdict) => {
                        tried.live = if verdict.differences.is_empty() { Live::Same } else { Live::Differ };
                        tried.differences = verdict.differences;
                        verdict.wrong.into_iter().for_each(|why| self.rows(&name, &Fault::Fatal(why), &mut tried, &tally));
                    }
                    Err(fault) => self.rows(&name, &fault, &mut tried, &tally),
                }
            }
        }
        // What no live rows stand for is folded all the same.
        let rows = match fresh.take() {
            Some(rows) => rows,
            None => Arc::new(Rows::open(&scratch, &name, &memory)?),
        };
        if let Err(fault) = self.rest(of, rows, &tally) {
            self.unless_ended(&fault)?;
            self.findings.borrow_mut().of(&name, Kind::Stopped, fault.to_string());
            tally.set(Tally { findings: tally.get().findings + 1, ..tally.get() });
        }
        (tried.events, tried.findings, tried.seconds) = (tally.get().events, tally.get().findings, tally.get().took.as_secs_f64());
        std::fs::remove_dir_all(&scratch).map_err(|why| Fault::Fatal(format!("{}: {why}", scratch.display())))?;
        Ok(tried)
    }

    /// The live rows; none if they are of another shape.
    fn standing(&self, of: &Of, dir: &Path, memory: &Memory) -> Result<Option<Rows>, Fault> {
        if Rows::shape_in(dir, memory)?.as_deref() != Some(&of.shape()) {
            return Ok(None);
        }
        let log = Some(self.control.id()).filter(|id| !id.is_empty());
        Rows::look(dir, &of.shape(), log, memory).map(Some)
    }

    fn rows(&self, name: &str, fault: &Fault, tried: &mut Tried, tally: &Cell<Tally>) {
        if self.unless_ended(fault).is_ok() {
            tried.live = Live::Unknown;
            self.findings.borrow_mut().of(name, Kind::Rows, fault.to_string());
            tally.set(Tally { findings: tally.get().findings + 1, ..tally.get() });
        }
    }

    fn rest(&self, of: &Of, rows: Arc<Rows>, tally: &Rc<Cell<Tally>>) -> Result<(), Fault> {
        let (log, topic) = (self.control.log(), of.topic());
        let mut fold = self.passing(of, rows, tally);
        for partition in (0..log.partitions()).map(Partition) {
            Patience::default().with(|| replay(log.as_ref(), &topic, partition, &mut fold, Limits { records: 5_000, ..Limits::default() }))?;
        }
        Ok(())
    }

    fn passing(&self, of: &Of, rows: Arc<Rows>, tally: &Rc<Cell<Tally>>) -> Passing {
        let skips = Arc::clone(self.control.skips());
        let into = match of {
            Of::View(view) => Into::View(Box::new(Folding::new(Arc::clone(view), rows).honouring(skips))),
            Of::Heads(service) => {
                let invariants = Invariants::default();
                let heads = Heads::new(Arc::clone(service), rows).honouring(skips).checking(invariants.clone());
                Into::Heads(Box::new(heads), invariants)
            }
        };
        let (findings, ends) = (Rc::clone(&self.findings), Arc::clone(self.ends));
        Passing { name: of.name(), into, findings, tally: Rc::clone(tally), ends, since: Cell::default() }
    }

    /// What was interrupted found nothing.
    fn unless_ended(&self, fault: &Fault) -> Result<(), Fault> {
        if self.ends.load(Ordering::Relaxed) { Err(fault.clone()) } else { Ok(()) }
    }
}
