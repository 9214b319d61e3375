//! What this process handed out a moment ago, so that two callers at once are not given the same thing to do. A help
//! against work done twice, never a promise: another process does not know, and everything is forgotten soon.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long it is remembered: longer than a view needs to show what was done.
const MOMENT: Duration = Duration::from_secs(5);
/// Most that is remembered.
const KEPT_MAX: usize = 50_000;

/// See the module.
#[derive(Default)]
pub struct Recently(Mutex<HashMap<String, Instant>>);

/// This process's.
pub static RECENTLY: LazyLock<Recently> = LazyLock::new(Recently::default);

impl Recently {
    /// Whether nobody was given this a moment ago; from now on somebody was.
    pub fn give(&self, what: &str) -> bool {
        let mut given = self.0.lock();
        if given.len() >= KEPT_MAX {
            given.retain(|_, since| since.elapsed() < MOMENT);
        }
        if given.len() >= KEPT_MAX || given.get(what).is_some_and(|since| since.elapsed() < MOMENT) {
            return false;
        }
        given.insert(what.to_owned(), Instant::now());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_given_twice_at_once() {
        let recently = Recently::default();
        assert_eq!([recently.give("a"), recently.give("b"), recently.give("a")], [true, true, false]);
        recently.0.lock().values_mut().for_each(|since| *since -= MOMENT);
        assert!(recently.give("a"));
    }
}
