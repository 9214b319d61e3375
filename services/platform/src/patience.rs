//! Starting on a log that does not answer yet: a broker that is starting itself, or has just lost a leader, is waited for.

use std::time::{Duration, Instant};

use eventstore::Fault;

/// How long a start waits for a log that says that trying again may help.
const PATIENCE: Duration = Duration::from_secs(300);
/// Pause before the same is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// One start's patience.
pub struct Patience {
    until: Instant,
    pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { until: Instant::now() + PATIENCE, pause: PAUSE }
    }
}

impl Patience {
    /// Asks until the answer is another than to try again, or patience ends.
    pub fn with<T>(&self, mut ask: impl FnMut() -> Result<T, Fault>) -> Result<T, Fault> {
        loop {
            match ask() {
                Err(fault @ Fault::Retry(_)) if Instant::now() + self.pause < self.until => {
                    tracing::warn!(%fault, "starting");
                    std::thread::sleep(self.pause);
                }
                ended => return ended,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_help_is_tried_until_patience_ends_and_nothing_else_is() {
        let patience = Patience { until: Instant::now() + Duration::from_secs(60), pause: Duration::ZERO };
        let mut asked = 0;
        let mut answers = |ends: Result<u8, Fault>, after: u32| {
            patience.with(|| {
                asked += 1;
                if asked % (after + 1) == 0 { ends.clone() } else { Err(Fault::Retry("the broker is starting".into())) }
            })
        };
        assert!(matches!(answers(Ok(7), 3), Ok(7)));
        assert!(matches!(answers(Err(Fault::Fatal("another log".into())), 0), Err(Fault::Fatal(_))));
        let ended = Patience { until: Instant::now(), pause: Duration::ZERO }.with(|| Err::<(), _>(Fault::Retry("it is away".into())));
        assert!(matches!(ended, Err(Fault::Retry(_))));
    }
}
