//! Rows that are folded beside those that are served, and how far they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use eventstore::Offset;
use parking_lot::Mutex;
use schemas::Partition;

use crate::generation::Generation;
use crate::generations::{Asked, Vector};
use crate::verify::Verdict;

/// How far rows are that are folded beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// on their way
    Folding,
    /// held against those that are served
    Comparing,
    /// folded as far as they are to be; why they are not served
    Held(String),
    /// they cannot be folded, and why
    Failed(String),
}

/// See the module.
pub struct Beside {
    pub asked: Mutex<Asked>,
    pub generation: Arc<Generation>,
    pub phase: Mutex<Phase>,
    pub verdict: Mutex<Option<Verdict>>,
    /// since this process folds it
    began: Instant,
    /// records that it folded since then
    folded: AtomicU64,
    /// until when it waits, to fold no more in a second than it may
    waits: Mutex<Instant>,
}

impl Beside {
    /// Nothing folded yet by this process.
    pub fn of(asked: Asked, generation: Generation) -> Self {
        Self {
            asked: Mutex::new(asked),
            generation: Arc::new(generation),
            phase: Mutex::new(Phase::Folding),
            verdict: Mutex::default(),
            began: Instant::now(),
            folded: AtomicU64::default(),
            waits: Mutex::new(Instant::now()),
        }
    }

    /// So many records more.
    pub fn folded(&self, records: u64) {
        self.folded.fetch_add(records, Ordering::Relaxed);
        if let Some(rate) = self.asked.lock().rate {
            let mut waits = self.waits.lock();
            *waits = (*waits).max(Instant::now()) + Duration::from_secs_f64(records as f64 / rate.max(1) as f64);
        }
    }

    /// How long it waits, to fold no more in a second than it may.
    pub fn waits(&self) -> Duration {
        self.waits.lock().saturating_duration_since(Instant::now())
    }

    /// Records folded in a second since this process folds it.
    pub fn rate(&self) -> f64 {
        self.folded.load(Ordering::Relaxed) as f64 / self.began.elapsed().as_secs_f64().max(1e-3)
    }

    /// Where it goes to: as far as it was told, and never past where the served rows stand.
    pub fn goal(&self, serving: &Vector) -> Vector {
        let until = self.asked.lock().until.clone();
        let bounded = |(partition, at): (&Partition, &Offset)| {
            let bound = until.as_ref().map_or(*at, |until| until.get(partition).copied().unwrap_or(*at).min(*at));
            (*partition, bound)
        };
        serving.iter().map(bounded).collect()
    }

    /// Offsets that lie before and behind it on its way to `goal`.
    pub fn progress(&self, goal: &Vector) -> (u64, u64) {
        let at = self.generation.at();
        let done = |(partition, goal): (&Partition, &Offset)| (at.get(partition).map_or(0, |here| here.0.min(goal.0)), goal.0);
        goal.iter().map(done).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}
