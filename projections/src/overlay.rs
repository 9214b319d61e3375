//! An overlay over rows: a page's changes in memory, each row read and written once however often it changes.
//! Never writes by itself.

use std::any::Any;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use eventstore::Fault;
use eventstore::rows::{Changes, Rows};
use serde::{Serialize, de::DeserializeOwned};

/// A row of any type, in memory.
trait Row: Any {
    fn bytes(&self) -> Result<Vec<u8>, Fault>;
}

impl<T: Serialize + 'static> Row for T {
    fn bytes(&self) -> Result<Vec<u8>, Fault> {
        serde_json::to_vec(self).map_err(|why| Fault::Fatal(format!("a row cannot be written as JSON: {why}")))
    }
}

/// Changes on their way to rows. Rows are JSON, so that people and tools can read them.
pub struct Overlay<'r> {
    rows: &'r Rows,
    /// none is a row that is not there, or no longer
    slots: HashMap<String, Option<Box<dyn Row>>>,
}

impl<'r> Overlay<'r> {
    /// Nothing changed yet.
    pub fn over(rows: &'r Rows) -> Self {
        Self { rows, slots: HashMap::new() }
    }

    /// Changes a row, or makes it from its default first. A key holds rows of one type.
    pub fn update<T: Default + Serialize + DeserializeOwned + 'static>(&mut self, key: &str, change: impl FnOnce(&mut T)) -> Result<(), Fault> {
        let slot = match self.slots.entry(key.to_owned()) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(slot) => slot.insert(match self.rows.get(key.as_bytes())? {
                None => None,
                Some(bytes) => Some(Box::new(read::<T>(key, &bytes)?) as Box<dyn Row>),
            }),
        };
        let row = slot.get_or_insert_with(|| Box::new(T::default()));
        let row: &mut dyn Any = row.as_mut();
        let row = row.downcast_mut::<T>().ok_or_else(|| Fault::Fatal(format!("row {key} is used as two types")))?;
        change(row);
        Ok(())
    }

    /// Sets a row, whatever was there.
    pub fn put<T: Serialize + 'static>(&mut self, key: String, row: T) {
        self.slots.insert(key, Some(Box::new(row)));
    }

    /// Removes a row.
    pub fn delete(&mut self, key: String) {
        self.slots.insert(key, None);
    }

    /// The changes, in key order: RocksDB takes sorted keys several times faster than scattered ones.
    pub fn changes(self) -> Result<Changes, Fault> {
        let mut slots: Vec<_> = self.slots.into_iter().collect();
        slots.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        let mut changes = Changes::default();
        for (key, row) in slots {
            match row {
                Some(row) => changes.put(key.as_bytes(), &row.as_ref().bytes()?),
                None => changes.delete(key.as_bytes()),
            }
        }
        Ok(changes)
    }
}

/// A row from its bytes.
pub fn read<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|why| Fault::Fatal(format!("row {key}: {why}; was its shape changed without raising the view's?")))
}
