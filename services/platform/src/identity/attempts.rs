//! How often a sign-in may fail: each failure makes the next one wait, by address and by where it comes from. Known while the
//! process runs; knows no account, so that it says the same of one that is not there.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What failures are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// the e-mail address, as its reservation has it
    Address(String),
    /// where the request comes from
    Source(String),
}

/// Failures that cost nothing, by address and by source: many people come from one place.
const FREE: [u32; 2] = [4, 20];
/// Longest wait: an address is not shut by strangers for longer than its owner can bear, a source is.
const LONGEST: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(15 * 60)];
/// What has not failed for this long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);
/// Most that is remembered; what waits for the longest is then forgotten first.
const KNOWN_MAX: usize = 100_000;

/// The failures.
#[derive(Default)]
pub struct Attempts(Mutex<HashMap<By, Failed>>);

/// Of one of them.
#[derive(Clone, Copy)]
struct Failed {
    times: u32,
    last: Instant,
}

impl By {
    fn wait(&self, times: u32) -> Duration {
        let which = usize::from(matches!(self, Self::Source(_)));
        let over = times.saturating_sub(FREE[which]);
        if over == 0 { Duration::ZERO } else { LONGEST[which].min(Duration::from_secs(1 << (over - 1).min(20))) }
    }
}

impl Attempts {
    /// How long the next attempt must wait. One that may be made counts as failed until it is known to be none: of many that are
    /// made at once only so many get through.
    pub fn begin(&self, by: &[By], now: Instant) -> Result<(), Duration> {
        let mut known = self.0.lock();
        let left = |by: &By| known.get(by).map_or(Duration::ZERO, |failed| by.wait(failed.times).saturating_sub(now.saturating_duration_since(failed.last)));
        let longest = by.iter().map(left).max().unwrap_or_default();
        if longest > Duration::ZERO {
            return Err(longest);
        }
        if known.len() + by.len() > KNOWN_MAX {
            known.retain(|_, failed| now.saturating_duration_since(failed.last) < FORGOTTEN);
        }
        if known.len() + by.len() > KNOWN_MAX {
            known.clear(); // somebody tries very many: what protects single addresses does not protect against that
        }
        for by in by {
            let failed = known.entry(by.clone()).or_insert(Failed { times: 0, last: now });
            if now.saturating_duration_since(failed.last) >= FORGOTTEN {
                failed.times = 0;
            }
            (failed.times, failed.last) = (failed.times.saturating_add(1), now);
        }
        Ok(())
    }

    /// It did not fail: its address has no failures any more, and its source one less.
    pub fn succeeded(&self, by: &[By]) {
        let mut known = self.0.lock();
        for by in by {
            match by {
                By::Address(_) => drop(known.remove(by)),
                By::Source(_) => known.get_mut(by).into_iter().for_each(|failed| failed.times = failed.times.saturating_sub(1)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_makes_the_next_wait() {
        let (attempts, began) = (Attempts::default(), Instant::now());
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        let anna = [By::Address("anna".into()), By::Source("10.0.0.1".into())];
        let mut now = 0;
        assert!((0..5).all(|_| attempts.begin(&anna, at(now)).is_ok()));
        for wait in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(attempts.begin(&anna, at(now)), Err(Duration::from_secs(wait)));
            now += wait;
            assert_eq!(attempts.begin(&anna, at(now)), Ok(()));
        }
        // Another address from there goes on, until there are too many.
        let others = |n: u32| [By::Address(format!("other {n}")), By::Source("10.0.0.1".into())];
        let refused = (0..20).position(|n| attempts.begin(&others(n), at(now)).is_err());
        assert_eq!(refused, Some(9), "21 failures are one too many");
        // Elsewhere the address waits as well, and is free once its owner has signed in.
        let elsewhere = [By::Address("anna".into()), By::Source("10.0.0.2".into())];
        assert_eq!(attempts.begin(&elsewhere, at(now)), Err(Duration::from_secs(30)));
        attempts.succeeded(&anna);
        assert_eq!(attempts.begin(&elsewhere, at(now)), Ok(()));
        // What is long ago is forgotten.
        assert_eq!(attempts.begin(&others(0), at(now + 3_600)), Ok(()));
        assert_eq!(attempts.begin(&others(0), at(now + 3_600)), Ok(()));
    }
}
