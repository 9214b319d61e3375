//! How a view stands: what is served, what was, and what is folded beside.

use std::time::Instant;

use eventstore::Fault;

use crate::beside::Phase;
use crate::digest::Digest;
use crate::follow::Projection;
use crate::generations::Asked;
use crate::verify::Verdict;

/// How a view stands with its generations.
pub struct Standing {
    /// the generation that is served, and its shape
    pub serving: (u32, String),
    /// the digest that its fold keeps
    pub digest: Digest,
    /// the one that was served before, and its shape
    pub previous: Option<(u32, String)>,
    /// whether nothing is folded into what is served
    pub paused: bool,
    /// what is folded beside
    pub beside: Option<BesideStanding>,
    /// what became of the last one
    pub ended: Option<String>,
}

/// How far rows are that are folded beside.
pub struct BesideStanding {
    /// what was asked for
    pub asked: Asked,
    /// what it does
    pub phase: Phase,
    /// offsets that lie behind it, of those on its way
    pub done: (u64, u64),
    /// records a second since this process folds it
    pub rate: f64,
    /// why its last step came to nothing, and is tried again
    pub waits_for: Option<String>,
    /// what was found when it was compared
    pub verdict: Option<Verdict>,
}

impl Projection {
    /// How it stands, at this moment.
    pub fn standing(&self, now: Instant) -> Result<Standing, Fault> {
        let (generation, roles) = (self.generation(), self.roles.lock().clone());
        let shape = |number: u32| (number, roles.shapes.get(&number).cloned().unwrap_or_else(|| self.view.shape()));
        let beside = self.beside.lock().clone().map(|beside| {
            let (asked, phase, verdict) = (beside.asked.lock().clone(), beside.phase.lock().clone(), beside.verdict.lock().clone());
            let (done, rate, waits_for) = (beside.progress(&beside.goal(&generation.at())), beside.rate(now), beside.waits_for.lock().clone());
            BesideStanding { asked, phase, done, rate, waits_for, verdict }
        });
        Ok(Standing {
            serving: shape(roles.serving),
            digest: Digest::kept(&generation.rows)?,
            previous: roles.previous.map(shape),
            paused: roles.paused,
            beside,
            ended: self.ended.lock().clone(),
        })
    }
}
