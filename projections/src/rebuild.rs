//! Rebuilt beside and swapped: a view is folded anew while readers see the rows that were there, held against these at one
//! position vector, and swapped in where the vector has come to meanwhile, so that no reader sees less than before. What was
//! served is kept, to be served again.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use eventstore::fold::{replay_to, rows_belong};
use eventstore::rows::Frozen;
use eventstore::{Fault, Limits};
use schemas::Partition;

use crate::beside::{Beside, Phase};
use crate::digest::Digest;
use crate::follow::{BULK, Projection};
use crate::generation::{Generation, skips};
use crate::generations::{Asked, Roles, Vector, Why, room};
use crate::verify::{Verdict, compare};

/// What is folded into one write: the rows it changes are written once, however often they change.
const BATCH: Limits = Limits { records: 50_000, bytes: 16 * 1024 * 1024 };
/// Records that may be folded while what is served waits for it.
const LAST_RECORDS: u64 = 2_000;

/// Why something asked of a view is refused.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// It is the wrong moment, and what to do instead.
    #[error("{0}")]
    Refused(String),
    /// It failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

fn refused<T>(why: impl Into<String>) -> Result<T, RebuildError> {
    Err(RebuildError::Refused(why.into()))
}

/// What a view is folded anew for.
#[derive(Clone, Debug)]
pub struct Rebuild {
    /// as far as these offsets only: then it is never served before it goes on to the end
    pub until: Option<Vector>,
    /// most records in a second
    pub rate: Option<u64>,
    /// it is served at the end, if it is the same
    pub swaps: bool,
    /// and if it is not, too
    pub accepts: bool,
    /// what is served until then is kept
    pub keeps: bool,
    /// who asks
    pub actor: Option<String>,
    /// it is only looked whether it could begin
    pub dry_run: bool,
}

/// What one step of a rebuild came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// nothing is to be done now
    Idle,
    /// it went on
    Worked,
    /// What was folded beside is served from now on: what was asked for, and how many rows differ, if they were compared.
    Swapped(Box<Asked>, Option<usize>),
    /// it was given up, and why
    Failed(String),
}

impl Projection {
    /// Begins to fold it anew beside what is served.
    pub fn rebuild(&self, rebuild: Rebuild) -> Result<u32, RebuildError> {
        let mut beside = self.beside.lock();
        if beside.is_some() {
            return refused(format!("{} is being folded beside already: wait for its end, or give that up first (rollback)", self.name()));
        }
        for (partition, until) in rebuild.until.iter().flatten() {
            let here = self.generation().at().get(partition).copied().unwrap_or_default();
            if *until > here {
                return refused(format!("{} stands at offset {here} of partition {partition}, and {until} lies beyond", self.name()));
            }
        }
        room(&self.generations.dir(0))?;
        let Rebuild { until, rate, swaps, accepts, keeps, actor, dry_run } = rebuild;
        let mut roles = self.roles.lock();
        let number = roles.next();
        if dry_run {
            return Ok(number);
        }
        let asked = Asked { number, why: Why::Asked, until, rate, swaps, accepts, keeps, paused: false, actor };
        let dir = self.generations.dir(number);
        if dir.exists() {
            // Of a process that died before it was settled what this is.
            std::fs::remove_dir_all(&dir).map_err(|why| Fault::Fatal(format!("{}: {why}", dir.display())))?;
        }
        let made = self.made(number, &self.view.shape())?;
        let mut after = roles.clone();
        after.shapes.insert(number, self.view.shape());
        after.beside = Some(asked.clone());
        self.settled(&mut roles, after)?;
        *self.ended.lock() = None;
        *beside = Some(Arc::new(Beside::of(asked, made)));
        Ok(number)
    }

    /// Opens a generation of today's shape, or one that this program reads.
    fn made(&self, number: u32, shape: &str) -> Result<Generation, Fault> {
        Generation::open(number, (&self.view, shape), &self.control, &self.generations.dir(number), &self.memory)
    }

    /// Clears away generations that are nothing any more, once nobody reads them.
    fn sweep(&self) -> Result<(), Fault> {
        let mut retired = self.retired.lock();
        let before = retired.len();
        retired.retain(|(_, rows)| rows.strong_count() > 0);
        if retired.len() == before {
            return Ok(());
        }
        drop(retired);
        self.generations.settle(&mut self.roles.lock(), |number| self.is_read(number))
    }

    fn is_read(&self, number: u32) -> bool {
        self.retired.lock().iter().any(|(retired, rows)| *retired == number && rows.strong_count() > 0)
    }

    fn retire(&self, generation: &Generation) {
        self.retired.lock().push((generation.number, Arc::downgrade(&generation.rows)));
    }

    /// Settles roles, and takes them for its own only then: what cannot be written has not happened.
    fn settled(&self, roles: &mut Roles, after: Roles) -> Result<(), Fault> {
        let mut after = after;
        self.generations.settle(&mut after, |number| self.is_read(number))?;
        *roles = after;
        Ok(())
    }

    /// Folds nothing into what is served, or what is folded beside it, until it is resumed, over the next start as well.
    pub fn pause(&self, paused: bool, only_beside: bool) -> Result<(), RebuildError> {
        let beside = self.beside.lock();
        if only_beside && beside.is_none() {
            return refused(format!("nothing is folded beside {}", self.name()));
        }
        let mut roles = self.roles.lock();
        let mut after = Roles { paused: if only_beside { roles.paused } else { paused }, ..roles.clone() };
        let asked = beside.as_ref().map(|beside| {
            let asked = beside.asked.lock().clone();
            Asked { paused, until: if paused { asked.until } else { None }, ..asked } // on to the end
        });
        after.beside.clone_from(&asked);
        self.settled(&mut roles, after)?;
        if let (Some(beside), Some(asked)) = (&*beside, asked) {
            let mut before = beside.asked.lock();
            if before.until.is_some() && asked.until.is_none() {
                *beside.phase.lock() = Phase::Folding;
            }
            *before = asked;
        }
        drop((roles, beside));
        if !only_beside {
            self.hold(paused); // without what a swap asks for while it holds the turn
        }
        Ok(())
    }

    /// Serves what is folded beside, once it stands where the served rows stand; differences or not, if they are accepted.
    /// Where nothing is folded beside, and what was served before is not to be kept, that goes.
    pub fn swap(&self, accepts: bool, keeps: bool, actor: Option<String>) -> Result<(), RebuildError> {
        let beside = self.beside.lock();
        let mut roles = self.roles.lock();
        let Some(beside) = &*beside else {
            if keeps || roles.previous.is_none() {
                return refused(format!("nothing is folded beside {}: ask for it first (rebuild)", self.name()));
            }
            let after = Roles { previous: None, ..roles.clone() };
            return Ok(self.settled(&mut roles, after)?);
        };
        let mut asked = beside.asked.lock();
        if asked.until.is_some() {
            return refused(format!(
                "{} is folded beside up to an earlier position only, and readers would see less than before: let it go on first (resume)",
                self.name()
            ));
        }
        if asked.swaps && *beside.phase.lock() == Phase::Folding {
            return refused(format!("{} is being folded beside, and swapped in at its end", self.name()));
        }
        let told = Asked { swaps: true, accepts: asked.accepts || accepts, keeps, paused: false, actor: actor.or(asked.actor.clone()), ..asked.clone() };
        let after = Roles { beside: Some(told.clone()), ..roles.clone() };
        self.settled(&mut roles, after)?;
        *asked = told;
        *beside.phase.lock() = Phase::Folding;
        Ok(())
    }

    /// Gives up what is folded beside; where there is nothing, serves again what was served before, once it has caught up.
    pub fn rollback(&self, actor: Option<String>) -> Result<Option<u32>, RebuildError> {
        let mut beside = self.beside.lock();
        let mut roles = self.roles.lock();
        if let Some(given_up) = beside.clone() {
            let asked = given_up.asked.lock().clone();
            if asked.why == Why::Shape && *given_up.phase.lock() == Phase::Folding {
                return refused(format!("what is served of {} is of an earlier shape: what is folded beside it is needed", self.name()));
            }
            let number = given_up.generation.number;
            let after = Roles { beside: None, previous: if asked.why == Why::Rollback { Some(number) } else { roles.previous }, ..roles.clone() };
            self.retire(&given_up.generation); // its directory goes once its step has ended
            self.settled(&mut roles, after)?;
            *beside = None;
            *self.ended.lock() = Some(format!("generation {number} was given up"));
            return Ok(None);
        }
        let Some(previous) = roles.previous else {
            return refused(format!("nothing was served before of {}, or it was not kept", self.name()));
        };
        let shape = roles.shapes.get(&previous).cloned().unwrap_or_else(|| self.view.shape());
        if !self.view.reads(&shape) {
            return refused(format!(
                "what was served before of {} is of shape '{shape}', which this program does not read: start the program that does",
                self.name()
            ));
        }
        if self.is_read(previous) {
            return refused(format!("what was served before of {} is still being read: ask again in a moment", self.name()));
        }
        let asked = Asked { why: Why::Rollback, actor, ..Asked::for_shape(previous) };
        let made = self.made(previous, &shape)?;
        let after = Roles { previous: None, beside: Some(asked.clone()), ..roles.clone() };
        self.settled(&mut roles, after)?;
        *self.ended.lock() = None;
        *beside = Some(Arc::new(Beside::of(asked, made)));
        Ok(Some(previous))
    }

    /// One step of what is folded beside, at this moment. Called by one thread.
    pub fn step(&self, now: Instant) -> Result<Step, Fault> {
        self.sweep()?;
        let Some(beside) = self.beside.lock().clone() else { return Ok(Step::Idle) };
        if beside.asked.lock().paused || *beside.phase.lock() != Phase::Folding || beside.waits(now) || !self.is_ready() {
            return Ok(Step::Idle);
        }
        let advanced = self.advance(&beside, now);
        *beside.waits_for.lock() = advanced.as_ref().err().map(ToString::to_string);
        match advanced {
            Err(fault @ (Fault::Fatal(_) | Fault::Stop(_))) => {
                let why = fault.to_string();
                *beside.phase.lock() = Phase::Failed(why.clone());
                if let Err(fault) = self.rollback(None).map(|_| ()) {
                    tracing::warn!(view = self.name(), %fault, "what was folded beside cannot be cleared away");
                }
                *self.ended.lock() = Some(format!("given up: {why}"));
                Ok(Step::Failed(why))
            }
            done => done,
        }
    }

    fn advance(&self, beside: &Arc<Beside>, now: Instant) -> Result<Step, Fault> {
        let generation = &beside.generation;
        if beside.is_untouched() {
            for partition in (0..self.log.partitions()).map(Partition) {
                rows_belong(self.log.as_ref(), &self.view.topic, partition, &generation.rows)?;
            }
        }
        if let Some((topic, partition, offset)) = generation.rows.unskipped(&skips(&self.view, &self.control))? {
            return Err(Fault::Fatal(format!("{topic}/{partition} offset {offset} was folded before it was settled that it is passed over: ask for it anew")));
        }
        let goal = beside.goal(&self.generation().at());
        // The last few are folded with what follows: where events come all the while there are always some.
        let few = beside.asked.lock().rate.map_or(LAST_RECORDS, |rate| rate.min(LAST_RECORDS));
        if self.fold_towards(beside, &goal, now)? > 0 && self.behind(beside) > few {
            return Ok(Step::Worked);
        }
        let (until, swaps, accepts) = {
            let asked = beside.asked.lock();
            (asked.until.is_some(), asked.swaps, asked.accepts)
        };
        if until && self.behind(beside) > 0 {
            return Ok(Step::Worked);
        }
        if until {
            *beside.phase.lock() = Phase::Held("it is folded up to where it was asked for: let it go on (resume), or give it up (rollback)".to_owned());
            return Ok(Step::Worked);
        }
        // What was accepted, and of rows of another shape nothing else can be expected, is not compared.
        if !(accepts && swaps) {
            *beside.phase.lock() = Phase::Comparing;
            let verdict = self.compared(beside, now)?;
            let differs = verdict.live != verdict.rebuilt;
            let why = match (differs, swaps) {
                (true, _) => Some("it differs from what is served: see the keys, then accept that (swap --accept-differences) or give it up (rollback)"),
                (false, false) => Some("it equals what is served, and is not to be served by itself: swap does it"),
                (false, true) => None,
            };
            *beside.verdict.lock() = Some(verdict);
            *beside.phase.lock() = why.map_or(Phase::Folding, |why| Phase::Held(why.to_owned()));
            if why.is_some() {
                return Ok(Step::Worked);
            }
        }
        self.swap_in(beside, accepts, now)
    }

    /// Folds a batch towards a position vector, and says how many records there were.
    fn fold_towards(&self, beside: &Beside, goal: &Vector, now: Instant) -> Result<u64, Fault> {
        let (topic, log) = (&self.view.topic, self.log.as_ref());
        room(&self.generations.dir(beside.generation.number))?;
        let most = beside.asked.lock().rate.map_or(BATCH.records, |rate| usize::try_from(rate / 4 + 1).unwrap_or(BATCH.records).min(BATCH.records));
        let to = |partition| goal.get(partition).copied().unwrap_or_default();
        let ranges: Vec<_> =
            beside.generation.at().iter().map(|(partition, from)| (*partition, *from, to(partition))).filter(|(_, from, to)| from < to).collect();
        if ranges.is_empty() {
            return Ok(0);
        }
        let records = beside.generation.fold_ranges(log, topic, &ranges, Limits { records: most, ..BATCH }, || ())?;
        beside.folded(records, now);
        Ok(records.max(1))
    }

    /// Offsets that lie between it and where it goes to.
    fn behind(&self, beside: &Beside) -> u64 {
        let (done, all) = beside.progress(&beside.goal(&self.generation().at()));
        all - done
    }

    /// Both at the position vector of one moment, which what is folded beside has not reached yet.
    fn compared(&self, beside: &Beside, now: Instant) -> Result<Verdict, Fault> {
        let serving = self.generation();
        let live = serving.rows.freeze();
        let goal = self.vector(&live)?;
        while self.fold_towards(beside, &goal, now)? > 0 {}
        compare(self.name(), &live, &beside.generation.rows.freeze(), beside.generation.at().values().map(|at| at.0).sum())
    }

    fn vector(&self, live: &Frozen<'_>) -> Result<Vector, Fault> {
        Ok(live.positions()?.into_iter().filter(|(topic, ..)| *topic == self.view.topic).map(|(_, partition, at)| (partition, at)).collect())
    }

    fn swap_in(&self, beside: &Arc<Beside>, accepts: bool, now: Instant) -> Result<Step, Fault> {
        while self.behind(beside) > LAST_RECORDS {
            self.fold_towards(beside, &self.generation().at(), now)?;
        }
        beside.generation.rows.flush()?; // what is served from here on is on the disk, as what it replaces is
        let turn = self.turning.lock();
        let serving = self.generation();
        while self.fold_towards(beside, &serving.at(), now)? > 0 {}
        if !accepts && Digest::kept(&serving.rows)? != Digest::kept(&beside.generation.rows)? {
            return Ok(Step::Worked); // it is compared again, and the keys are named
        }
        let mut slot = self.beside.lock();
        if !slot.as_ref().is_some_and(|there| Arc::ptr_eq(there, beside)) {
            return Ok(Step::Idle); // it was given up meanwhile
        }
        let (mut roles, asked) = (self.roles.lock(), beside.asked.lock().clone());
        let mut after = roles.clone();
        let before = std::mem::replace(&mut after.serving, beside.generation.number);
        (after.previous, after.beside) = (asked.keeps.then_some(before), None);
        self.retire(&serving);
        self.settled(&mut roles, after)?;
        drop(self.serve(Arc::clone(&beside.generation)));
        *slot = None;
        let found = beside.verdict.lock().as_ref().map(|verdict| verdict.differences.len());
        *self.ended.lock() = Some(format!("generation {} is served since, instead of {before}", beside.generation.number));
        drop((turn, slot, roles, serving));
        Ok(Step::Swapped(Box::new(asked), found))
    }

    /// What would be different if it were folded anew, or, with `at`, what was different then: the rows that are served, at
    /// one position vector, held against a fold from zero in `scratch`, an empty directory.
    pub fn diff(&self, at: Option<&Vector>, scratch: &Path) -> Result<Verdict, Fault> {
        let serving = self.generation();
        let live = serving.rows.freeze();
        let goal = self.vector(&live)?;
        room(scratch)?;
        let anew = Generation::open(0, (&self.view, &self.view.shape()), &self.control, scratch, &self.memory)?;
        let mut folding = anew.folding.lock();
        for (partition, end) in &goal {
            let end = at.and_then(|at| at.get(partition)).map_or(*end, |at| *at.min(end));
            replay_to(self.log.as_ref(), &self.view.topic, *partition, &mut *folding, BULK, end)?;
        }
        drop(folding);
        let records = anew.rows.freeze().positions()?.iter().map(|(.., at)| at.0).sum();
        compare(self.name(), &live, &anew.rows.freeze(), records)
    }
}
