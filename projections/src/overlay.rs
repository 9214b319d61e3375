//! An overlay over rows: changes in memory, each row read and written once however often it changes in a turn, and
//! kept for the next one. Never writes by itself.

use std::any::Any;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use eventstore::Fault;
use eventstore::rows::{Changes, Rows};
use serde::{Serialize, de::DeserializeOwned};

use crate::digest::Digest;
use crate::queue::Moved;

/// Bytes of rows, as they are written, that are kept for the next turn; past that all are read again.
const KEPT_BYTES: usize = 2 * 1024 * 1024;

/// A row of any type, in memory.
trait Row: Any + Send {
    fn bytes(&self) -> Result<Vec<u8>, Fault>;
}

impl<T: Serialize + Send + 'static> Row for T {
    fn bytes(&self) -> Result<Vec<u8>, Fault> {
        serde_json::to_vec(self).map_err(|why| Fault::Fatal(format!("a row cannot be written as JSON: {why}")))
    }
}

/// A row that was changed; none is one that is not there, or no longer.
struct Changed {
    row: Option<Box<dyn Row>>,
    /// as it is written, where that was looked at: none is one that is not there
    before: Option<Option<Vec<u8>>>,
    /// it may well change again soon
    keep: bool,
}

/// Changes on their way to rows, or over nothing. Rows are JSON, so that people and tools can read them.
#[derive(Default)]
pub struct Overlay {
    rows: Option<Arc<Rows>>,
    changed: HashMap<String, Changed>,
    /// rows as they were last written, with their bytes: whoever has an overlay is the only one who writes its rows
    kept: HashMap<String, (Box<dyn Row>, Vec<u8>)>,
    kept_bytes: usize,
    /// of the rows as they are written; none before the first changes
    digest: Option<Digest>,
}

impl Overlay {
    /// Nothing changed yet.
    pub fn over(rows: Arc<Rows>) -> Self {
        Self { rows: Some(rows), ..Self::default() }
    }

    /// Changes a row, or makes it from its default first. A key holds rows of one type.
    pub fn update<T: Default + Serialize + DeserializeOwned + Send + 'static>(&mut self, key: &str, change: impl FnOnce(&mut T)) -> Result<(), Fault> {
        let changed = match self.changed.entry(key.to_owned()) {
            Entry::Occupied(changed) => changed.into_mut(),
            Entry::Vacant(place) => place.insert(match self.kept.remove(key) {
                Some((row, bytes)) => {
                    self.kept_bytes -= bytes.len();
                    Changed { row: Some(row), before: Some(Some(bytes)), keep: true }
                }
                None => {
                    let before = saved(self.rows.as_deref(), key)?;
                    let row = before.as_ref().map(|bytes| read::<T>(key, bytes)).transpose()?;
                    Changed { row: row.map(|row| Box::new(row) as Box<dyn Row>), before: Some(before), keep: true }
                }
            }),
        };
        let row: &mut dyn Any = changed.row.get_or_insert_with(|| Box::new(T::default())).as_mut();
        let row = row.downcast_mut::<T>().ok_or_else(|| Fault::Fatal(format!("row {key} is used as two types")))?;
        change(row);
        Ok(())
    }

    /// Sets a row, whatever was there.
    pub fn put<T: Serialize + Send + 'static>(&mut self, key: String, row: T) {
        self.set(key, Some(Box::new(row)));
    }

    /// Removes a row.
    pub fn delete(&mut self, key: String) {
        self.set(key, None);
    }

    fn set(&mut self, key: String, row: Option<Box<dyn Row>>) {
        let kept = self.kept.remove(&key).map(|(_, bytes)| bytes);
        self.kept_bytes -= kept.as_ref().map_or(0, Vec::len);
        match self.changed.entry(key) {
            Entry::Occupied(mut changed) => (changed.get_mut().row, changed.get_mut().keep) = (row, false),
            Entry::Vacant(place) => drop(place.insert(Changed { row, before: kept.map(Some), keep: false })),
        }
    }

    /// A row that was changed, as it would be read again; none if it is not there, or no longer.
    pub fn changed<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Fault> {
        let row = self.changed.get(key).and_then(|changed| changed.row.as_ref());
        row.map(|row| read(key, &row.as_ref().bytes()?)).transpose()
    }

    /// The changed rows whose keys begin with `prefix`, and whether they are there now.
    pub fn moved(&self, prefix: &str) -> Vec<Moved> {
        self.changed.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(key, changed)| (key.clone(), changed.row.is_some())).collect()
    }

    /// The changes since the last call, in key order: RocksDB takes sorted keys several times faster than scattered ones.
    pub fn changes(&mut self) -> Result<Changes, Fault> {
        let mut changed: Vec<_> = self.changed.drain().collect();
        changed.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        let mut changes = Changes::default();
        let kept = || self.rows.as_ref().map_or_else(|| Ok(Digest::default()), |rows| Digest::kept(rows));
        let mut digest = self.digest.map_or_else(kept, Ok)?;
        for (key, Changed { row, before, keep }) in changed {
            if let Some(before) = before.map_or_else(|| saved(self.rows.as_deref(), &key), Ok)? {
                digest.remove(key.as_bytes(), &before);
            }
            let Some(row) = row else {
                changes.delete(key.as_bytes());
                continue;
            };
            let bytes = row.as_ref().bytes()?;
            changes.put(key.as_bytes(), &bytes);
            digest.add(key.as_bytes(), &bytes);
            if keep {
                self.kept_bytes += bytes.len();
                self.kept.insert(key, (row, bytes));
            }
        }
        digest.keep(&mut changes);
        self.digest = Some(digest);
        if self.kept_bytes > KEPT_BYTES {
            (self.kept, self.kept_bytes) = (HashMap::new(), 0);
        }
        Ok(changes)
    }

    /// Forgets everything in memory: the changes were not written.
    pub fn forget(&mut self) {
        *self = Self { rows: self.rows.take(), ..Self::default() };
    }
}

fn saved(rows: Option<&Rows>, key: &str) -> Result<Option<Vec<u8>>, Fault> {
    rows.map_or(Ok(None), |rows| rows.get(key.as_bytes()))
}

/// A row from its bytes.
pub fn read<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|why| Fault::Fatal(format!("row {key}: {why}; was its shape changed without raising the view's?")))
}
