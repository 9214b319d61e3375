//! Data keys that were used of late. Never holds more than a fixed number, and a key that leaves it is wiped with its last
//! user.

use std::collections::HashMap;
use std::sync::Arc;

use super::ids::KeyId;
use super::wrap::DataKey;

/// Keys of one generation; the cache holds two.
pub const GENERATION_KEYS_MAX: usize = 8 * 1024;

/// Two generations: what is used in the older one moves to the younger, and the rest goes when that is full.
#[derive(Default)]
pub struct Cache {
    young: HashMap<KeyId, Arc<DataKey>>,
    old: HashMap<KeyId, Arc<DataKey>>,
}

impl Cache {
    /// The key, if it was used of late.
    pub fn get(&mut self, id: KeyId) -> Option<Arc<DataKey>> {
        if let Some(key) = self.young.get(&id) {
            return Some(Arc::clone(key));
        }
        let key = self.old.remove(&id)?;
        self.put(Arc::clone(&key));
        Some(key)
    }

    /// Keeps a key for a while.
    pub fn put(&mut self, key: Arc<DataKey>) {
        if self.young.len() >= GENERATION_KEYS_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key.id, key);
    }

    /// Forgets a key at once.
    pub fn forget(&mut self, id: KeyId) {
        self.young.remove(&id);
        self.old.remove(&id);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn holds_two_generations_and_what_is_used() {
        let mut cache = Cache::default();
        let first = Arc::new(DataKey::new().unwrap());
        cache.put(Arc::clone(&first));
        for number in 0..10 * GENERATION_KEYS_MAX {
            cache.put(Arc::new(DataKey::new().unwrap()));
            if number % 1000 == 0 {
                assert!(cache.get(first.id).is_some(), "what is used stays");
            }
            assert!(cache.young.len() + cache.old.len() <= 2 * GENERATION_KEYS_MAX);
        }
        cache.forget(first.id);
        assert!(cache.get(first.id).is_none());
        assert_eq!(Arc::strong_count(&first), 1, "nobody else has it");
    }
}
