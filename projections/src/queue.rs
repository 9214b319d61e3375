//! A queue: the keys of rows that wait for something, in memory and in order. Rows that go from the front of a range
//! leave deleted keys there, and a scan for the first that is left would walk past every one of them.

use std::collections::BTreeSet;
use std::ops::Bound;

use eventstore::Fault;
use eventstore::rows::Rows;
use parking_lot::Mutex;

/// A key under the queue's prefix, and whether its row is still there.
pub type Moved = (String, bool);

/// See the module. Takes about a hundred bytes for each row that waits.
pub struct Queue {
    prefix: &'static str,
    keys: Mutex<BTreeSet<String>>,
}

impl Queue {
    /// Of the rows whose keys begin with `prefix`.
    pub fn open(prefix: &'static str, rows: &Rows) -> Result<Self, Fault> {
        let keys = rows.keys_while(prefix.as_bytes(), |_| true)?;
        Ok(Self { prefix, keys: Mutex::new(keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect()) })
    }

    /// What its keys begin with.
    pub fn prefix(&self) -> &'static str {
        self.prefix
    }

    /// Rows came and went.
    pub fn moved(&self, keys: Vec<Moved>) {
        let mut all = self.keys.lock();
        for (key, there) in keys {
            if there {
                all.insert(key);
            } else {
                all.remove(&key);
            }
        }
    }

    /// The first key that is not before `from`.
    pub fn first(&self, from: &str) -> Option<String> {
        self.keys.lock().range::<str, _>((Bound::Included(from), Bound::Unbounded)).next().cloned()
    }

    /// Of the first `most` keys that begin with `prefix` the first that is wanted.
    pub fn find(&self, prefix: &str, most: usize, mut wanted: impl FnMut(&str) -> bool) -> Option<String> {
        let keys = self.keys.lock();
        let mut all = keys.range::<str, _>((Bound::Included(prefix), Bound::Unbounded)).take_while(|key| key.starts_with(prefix)).take(most);
        all.find(|key| wanted(key)).cloned()
    }
}
