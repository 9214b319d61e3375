//! Turns that fail: told to readiness when they have failed for a while, and when one has gone well again.

use std::time::{Duration, Instant};

use eventstore::Fault;
use eventstore::observer::Observer;

/// Turns may fail for this long before the part is called not ready: a leader that moves takes less.
const PATIENCE: Duration = Duration::from_secs(5);

/// One part's run of failed turns.
pub struct Trouble {
    part: String,
    since: Option<Instant>,
    patience: Duration,
}

impl Trouble {
    /// None so far.
    pub fn of(part: &str) -> Self {
        Self { part: part.to_owned(), since: None, patience: PATIENCE }
    }

    /// How a turn ended.
    pub fn turned<T>(&mut self, ended: &Result<T, Fault>, observer: &dyn Observer) {
        match ended {
            Ok(_) if self.since.take().is_some() => observer.troubled(&self.part, None),
            Ok(_) => {}
            Err(fault) if self.since.get_or_insert_with(Instant::now).elapsed() >= self.patience => observer.troubled(&self.part, Some(&fault.to_string())),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::telemetry::{Metrics, Spans};

    #[test]
    fn a_part_whose_turns_keep_failing_is_not_ready_until_one_goes_well() {
        let metrics = Metrics::new("0.1.0", vec![], vec![], Spans::default()).unwrap();
        let mut trouble = Trouble { patience: Duration::from_millis(50), ..Trouble::of("stock worker") };
        let failed = Err::<(), _>(Fault::Retry("the broker is away".into()));
        trouble.turned(&failed, &metrics);
        assert!(metrics.standing.ready(), "one turn is no trouble yet");
        std::thread::sleep(Duration::from_millis(60));
        trouble.turned(&failed, &metrics);
        let (check, why) = metrics.standing.checks().into_iter().find(|(_, wrong)| wrong.is_some()).unwrap();
        assert!(check.contains("stock worker") && why.unwrap().contains("the broker is away"), "{check}");
        trouble.turned(&Ok::<_, Fault>(()), &metrics);
        assert!(metrics.standing.ready());
        trouble.turned(&failed, &metrics);
        assert!(metrics.standing.ready(), "patience begins anew");
    }
}
