//! Rows that are folded beside those that are served, and how far they are.

use std::sync::Arc;
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
    /// why its last step came to nothing, and is tried again
    pub waits_for: Mutex<Option<String>>,
    pace: Mutex<Pace>,
}

/// What this process folded.
#[derive(Default)]
struct Pace {
    /// since when
    began: Option<Instant>,
    records: u64,
    /// until when it waits, to fold no more in a second than it may
    waits: Option<Instant>,
}

impl Beside {
    /// Nothing folded yet by this process.
    pub fn of(asked: Asked, generation: Generation) -> Self {
        Self {
            asked: Mutex::new(asked),
            generation: Arc::new(generation),
            phase: Mutex::new(Phase::Folding),
            verdict: Mutex::default(),
            waits_for: Mutex::default(),
            pace: Mutex::default(),
        }
    }

    /// So many records more, at this moment.
    pub fn folded(&self, records: u64, now: Instant) {
        let mut pace = self.pace.lock();
        pace.began.get_or_insert(now);
        pace.records += records;
        if let Some(rate) = self.asked.lock().rate {
            let from = pace.waits.map_or(now, |waits| waits.max(now));
            pace.waits = Some(from + Duration::from_secs_f64(records as f64 / rate.max(1) as f64));
        }
    }

    /// Whether this process has folded nothing of it yet.
    pub fn is_untouched(&self) -> bool {
        self.pace.lock().began.is_none()
    }

    /// Whether it waits, to fold no more in a second than it may.
    pub fn waits(&self, now: Instant) -> bool {
        self.pace.lock().waits.is_some_and(|until| now < until)
    }

    /// Records folded in a second since this process folds it.
    pub fn rate(&self, now: Instant) -> f64 {
        let pace = self.pace.lock();
        pace.began.map_or(0.0, |began| pace.records as f64 / now.saturating_duration_since(began).as_secs_f64().max(0.1))
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
