//! The digest of rows: independent of their order, so that a fold keeps it current as rows come, change and go.

use eventstore::Fault;
use eventstore::rows::{Changes, Frozen, Rows};

/// The note in which rows keep their own.
const NOTE: &str = "digest";

/// The sum of the rows' BLAKE3 hashes, each over key and row, as four 64-bit lanes (AdHash, Bellare and Micciancio 1997: equal
/// sets have equal sums, and no others are to be expected where nobody chooses rows for it); and how many rows there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    lanes: [u64; 4],
    rows: u64,
}

fn lanes(key: &[u8], row: &[u8]) -> [u64; 4] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_le_bytes()).update(key).update(row);
    let (mut lanes, hash) = ([0; 4], hasher.finalize());
    for (lane, bytes) in lanes.iter_mut().zip(hash.as_bytes().chunks_exact(8)) {
        *lane = bytes.iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
    }
    lanes
}

impl Digest {
    /// A row came.
    pub fn add(&mut self, key: &[u8], row: &[u8]) {
        self.lanes.iter_mut().zip(lanes(key, row)).for_each(|(lane, more)| *lane = lane.wrapping_add(more));
        self.rows = self.rows.wrapping_add(1);
    }

    /// A row went.
    pub fn remove(&mut self, key: &[u8], row: &[u8]) {
        self.lanes.iter_mut().zip(lanes(key, row)).for_each(|(lane, less)| *lane = lane.wrapping_sub(less));
        self.rows = self.rows.wrapping_sub(1);
    }

    /// How many rows it is of.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// As people compare it.
    pub fn hex(&self) -> String {
        self.lanes.iter().map(|lane| format!("{lane:016x}")).collect()
    }

    /// As the fold of these rows keeps it. Rows that keep none, of a version before, are read all, once.
    pub fn kept(rows: &Rows) -> Result<Self, Fault> {
        let frozen = rows.freeze();
        if let Some(noted) = Self::frozen(&frozen)? {
            return Ok(noted);
        }
        let mut digest = Self::default();
        for row in frozen.rows() {
            let (key, row) = row?;
            digest.add(&key, &row);
        }
        Ok(digest)
    }

    /// As it was kept at that moment; none if it was not.
    pub fn frozen(rows: &Frozen<'_>) -> Result<Option<Self>, Fault> {
        Ok(rows.note(NOTE)?.as_deref().and_then(Self::read))
    }

    /// Keeps it with the changes that made it.
    pub fn keep(&self, changes: &mut Changes) {
        let numbers = self.lanes.iter().chain([&self.rows]);
        changes.note(NOTE, &numbers.flat_map(|number| number.to_be_bytes()).collect::<Vec<_>>());
    }

    fn read(noted: &[u8]) -> Option<Self> {
        let mut numbers = noted.chunks_exact(8).map(|bytes| bytes.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)));
        let mut next = || numbers.next();
        let digest = Self { lanes: [next()?, next()?, next()?, next()?], rows: next()? };
        (noted.len() == 40).then_some(digest)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_in_any_order_leaves_what_is_there() {
        let (mut one, mut other) = (Digest::default(), Digest::default());
        one.add(b"a", b"1");
        one.add(b"b", b"2");
        other.add(b"b", b"3");
        other.add(b"a", b"1");
        assert_ne!(one, other);
        other.remove(b"b", b"3");
        other.add(b"b", b"2");
        assert_eq!((one, one.rows(), one.hex().len()), (other, 2, 64));
        one.add(b"ab", b"");
        other.add(b"a", b"b");
        assert_ne!(one.lanes, other.lanes, "where a key ends is part of it");
        one.remove(b"ab", b"");
        [(&b"a"[..], &b"1"[..]), (b"b", b"2")].into_iter().for_each(|(key, row)| one.remove(key, row));
        assert_eq!(one, Digest::default());
    }
}
