//! Records that are in memory no more, from the disk.

use std::sync::Arc;

use rocksdb::{Direction, IteratorMode, ReadOptions};
use schemas::Topic;

use super::records;
use super::shared::Shared;
use super::state::TopicPartition;
use crate::log::{Fault, Limits, Offset, Page, Record};

impl Shared {
    /// Records of a place from `from` on, below `end`, from the disk.
    pub(super) fn older(&self, topic: &Topic, place: TopicPartition, from: Offset, end: Offset, limits: Limits) -> Result<Page, Fault> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(records::key(place.0, place.1, end));
        let first = records::key(place.0, place.1, from);
        let (mut page, mut bytes) = (Page { records: vec![], next: end }, 0);
        for row in self.db.iterator_cf_opt(&self.records(), options, IteratorMode::From(&first, Direction::Forward)) {
            let (key, value) = row.map_err(|why| self.broken(&why))?;
            let offset = records::offset_of(&key).unwrap_or_default();
            if page.records.len() >= limits.records.max(1) || (bytes + value.len() > limits.bytes && !page.records.is_empty()) {
                page.next = offset;
                break;
            }
            bytes += value.len();
            page.records.push(Arc::new(self.decode(topic, place, offset, &value)?));
        }
        Ok(page)
    }

    fn decode(&self, topic: &Topic, place: TopicPartition, offset: Offset, value: &[u8]) -> Result<Record, Fault> {
        records::decode(topic, place.1, offset, value).ok_or_else(|| self.damaged(topic, place, offset))
    }

    pub(super) fn damaged(&self, topic: &Topic, place: TopicPartition, offset: Offset) -> Fault {
        Fault::Fatal(format!(
            "the log in {}: the record at {topic}/{} offset {offset} is damaged; restore the directory from a backup",
            self.dir.display(),
            place.1
        ))
    }
}
