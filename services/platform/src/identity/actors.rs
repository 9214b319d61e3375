//! Who stands behind a session, for as long as nothing was folded that could have changed it. Looks at no row.

use std::collections::HashMap;
use std::sync::Arc;

use eventstore::actor::Actor;
use parking_lot::Mutex;

/// Sessions that are known at once. All are forgotten when there are more.
const KNOWN_MAX: usize = 20_000;

/// See the module.
#[derive(Default)]
pub struct Actors(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// how often the view of accounts had folded when they were read
    folds: u64,
    actors: HashMap<String, Arc<Actor>>,
}

impl Actors {
    /// Whose a session is, if that was read since the last fold.
    pub fn get(&self, folds: u64, session: &str) -> Option<Arc<Actor>> {
        let known = self.0.lock();
        if known.folds == folds { known.actors.get(session).cloned() } else { None }
    }

    /// Keeps whose a session is, as it was read after so many folds.
    pub fn put(&self, folds: u64, session: &str, actor: &Arc<Actor>) {
        let mut known = self.0.lock();
        if known.folds < folds || known.actors.len() >= KNOWN_MAX {
            *known = Known { folds, actors: HashMap::new() };
        }
        if known.folds == folds {
            known.actors.insert(session.to_owned(), Arc::clone(actor));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outlives_a_fold() {
        let (actors, anna) = (Actors::default(), Arc::new(Actor { account: "a".into(), roles: [].into() }));
        actors.put(3, "a-1", &anna);
        assert!(actors.get(3, "a-1").is_some() && actors.get(3, "a-2").is_none());
        assert!(actors.get(4, "a-1").is_none() && actors.get(2, "a-1").is_none());
        actors.put(4, "a-2", &anna);
        actors.put(3, "a-1", &anna); // was read before the fold
        assert!(actors.get(4, "a-1").is_none() && actors.get(3, "a-1").is_none() && actors.get(4, "a-2").is_some());
        for number in 0..2 * KNOWN_MAX {
            actors.put(4, &number.to_string(), &anna);
        }
        assert!(actors.0.lock().actors.len() <= KNOWN_MAX);
    }
}
