//! The newest records of a partition in memory, shared by all who follow it. Holds only what is committed; what lies
//! further back is read from where it is kept.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::log::{Limits, Offset, Page, Record};

/// What a record takes besides its bytes: its parts, and what its envelope says.
const AROUND_BYTES: usize = 1_200;

/// See the module.
pub struct Ring {
    /// with their offsets: looking for one touches no record
    records: VecDeque<(Offset, Arc<Record>)>,
    bytes: usize,
    bytes_max: usize,
    /// everything from here on is in the ring
    first: Offset,
    /// everything before has been seen
    next: Offset,
}

fn size(record: &Record) -> usize {
    record.bytes() + AROUND_BYTES
}

impl Ring {
    /// Empty, of what will come from `next` on, and keeps about so many bytes of it.
    pub fn at(next: Offset, bytes_max: usize) -> Self {
        Self { records: VecDeque::new(), bytes: 0, bytes_max, first: next, next }
    }

    /// Where it begins: what was before is not in it any more.
    #[cfg(any(test, feature = "kafka"))]
    pub fn first(&self) -> Offset {
        self.first
    }

    /// Where the next record will be, or later.
    #[cfg(any(test, feature = "kafka"))]
    pub fn next(&self) -> Offset {
        self.next
    }

    /// Adds the next record, and drops the oldest where there is no room for all. One that is known is passed over.
    pub fn push(&mut self, record: Arc<Record>) {
        if record.offset < self.next {
            return;
        }
        self.next = record.offset.next();
        self.bytes += size(&record);
        self.records.push_back((record.offset, record));
        while self.bytes > self.bytes_max && self.records.len() > 1 {
            self.drop_first();
        }
    }

    /// Everything before `next` has been seen: there is no record in between.
    pub fn reach(&mut self, next: Offset) {
        self.next = self.next.max(next);
    }

    /// Gives nothing before `start` any more: it was deleted.
    pub fn forget(&mut self, start: Offset) {
        while self.records.front().is_some_and(|(offset, _)| *offset < start) {
            self.drop_first();
        }
        self.first = self.first.max(start);
        self.reach(start);
    }

    fn drop_first(&mut self) {
        if let Some((offset, gone)) = self.records.pop_front() {
            self.bytes -= size(&gone);
            self.first = offset.next();
        }
    }

    /// The records from `from` on, if all of them are in it and there may be some.
    pub fn page(&self, from: Offset, limits: Limits) -> Option<Page> {
        if from < self.first || from >= self.next {
            return None;
        }
        let begin = self.records.partition_point(|(offset, _)| *offset < from);
        let (mut page, mut bytes) = (Page { records: vec![], next: self.next }, 0);
        for (offset, record) in self.records.range(begin..) {
            if page.records.len() >= limits.records.max(1) || (bytes + record.bytes() > limits.bytes && !page.records.is_empty()) {
                page.next = *offset;
                break;
            }
            bytes += record.bytes();
            page.records.push(Arc::clone(record));
        }
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use kernel::Timestamp;
    use schemas::{Headers, Partition, Topic};

    use super::*;
    use crate::log::Message;

    fn record(offset: u64, bytes: usize) -> Arc<Record> {
        let message = Message { topic: Topic::named("t"), partition: Partition(0), key: vec![], headers: Headers::default(), value: Some(vec![0; bytes]) };
        Arc::new(Record::of(message, Offset(offset), Timestamp(0)))
    }

    fn offsets(ring: &Ring, from: u64, records: usize) -> Option<(Vec<u64>, u64)> {
        let page = ring.page(Offset(from), Limits { records, bytes: 1_000 })?;
        Some((page.records.iter().map(|record| record.offset.0).collect(), page.next.0))
    }

    #[test]
    fn a_page_is_whole_or_there_is_none() {
        let mut ring = Ring::at(Offset(5), 1024 * 1024);
        assert_eq!(offsets(&ring, 5, 9), None);
        [7, 8, 8, 11].into_iter().for_each(|offset| ring.push(record(offset, 400)));
        ring.reach(Offset(13));
        assert_eq!(offsets(&ring, 4, 9), None, "what was before it came is not its to give");
        assert_eq!(offsets(&ring, 5, 9), Some((vec![7, 8], 11)));
        assert_eq!(offsets(&ring, 5, 1), Some((vec![7], 8)));
        assert_eq!(offsets(&ring, 9, 9), Some((vec![11], 13)));
        assert_eq!(offsets(&ring, 12, 9), Some((vec![], 13)));
        assert_eq!(offsets(&ring, 13, 9), None);
        ring.forget(Offset(8));
        assert_eq!((offsets(&ring, 7, 9), offsets(&ring, 8, 9)), (None, Some((vec![8, 11], 13))));
        ring.forget(Offset(20));
        assert_eq!((offsets(&ring, 13, 9), ring.next()), (None, Offset(20)));
    }

    #[test]
    fn the_oldest_go_first() {
        let mut ring = Ring::at(Offset(0), 1024 * 1024);
        (0..10).for_each(|offset| ring.push(record(offset, 1024 * 1024 / 4)));
        assert_eq!((ring.first(), ring.next(), ring.records.len()), (Offset(7), Offset(10), 3));
        ring.push(record(10, 8 * 1024 * 1024));
        assert_eq!((ring.first(), ring.records.len()), (Offset(10), 1), "one is always kept");
    }
}
