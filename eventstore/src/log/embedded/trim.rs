//! What is deleted: records past their topic's retention, and commands that are decided. Never more than that; the
//! start that a partition has then is recorded in the same write.

use kernel::Timestamp;
use rocksdb::{ReadOptions, WriteBatch};
use schemas::{Partition, Topic, commands_of};

use super::shared::Shared;
use super::state::{Extent, TopicPartition};
use super::{keys, records};
use crate::log::{Fault, Offset, TopicSpec, may_trim};

impl Shared {
    /// The place, and where it begins, if its records before `before` may be deleted. Committed positions only rise, so
    /// it still holds when the appender comes to it.
    pub(super) fn may_trim(&self, topic: &Topic, partition: Partition, before: Offset) -> Result<(TopicPartition, Offset), Fault> {
        let state = self.state.lock();
        let place = state.place(topic, partition, self.partitions)?;
        let service = commands_of(topic).and_then(|service| state.groups.get(service));
        may_trim(topic, partition, before, service.and_then(|service| service.committed.get(&place).copied()))?;
        Ok((place, state.extent(place).start))
    }

    /// Deletes a place's records before `new`, and says so for the next start.
    pub(super) fn drop_before(&self, batch: &mut WriteBatch, place: TopicPartition, extent: Extent, new: Offset) {
        batch.put(keys::start(place), [new.0.to_be_bytes(), extent.end.0.to_be_bytes()].concat());
        batch.delete_range_cf(&self.records(), records::key(place.0, place.1, extent.start), records::key(place.0, place.1, new));
    }

    /// The places whose records do not stay for ever.
    pub(super) fn passing(&self) -> Vec<(TopicPartition, TopicSpec)> {
        let state = self.state.lock();
        let passing = state.topics.values().filter(|known| known.spec.retention.is_some());
        passing.flat_map(|known| (0..self.partitions).map(|partition| ((known.number, Partition(partition)), known.spec.clone()))).collect()
    }

    /// Removes a place's records that are past their topic's retention: a few seeks, however many they are, since the
    /// log's time rises with the offset.
    pub(super) fn expire(&self, place: TopicPartition, spec: &TopicSpec) -> Result<(), Fault> {
        let kept = i64::try_from(spec.retention.unwrap_or_default().as_micros()).unwrap_or(i64::MAX);
        let since = Timestamp(self.clock.now().0.saturating_sub(kept));
        let extent = self.state.lock().extent(place);
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(records::key(place.0, place.1, extent.end));
        let mut rows = self.db.raw_iterator_cf_opt(&self.records(), options);
        let new = first_since(extent, since, |from| {
            rows.seek(records::key(place.0, place.1, from));
            rows.status().map_err(|why| self.broken(&why))?;
            let Some((key, value)) = rows.item() else { return Ok(None) };
            let offset = records::offset_of(key).unwrap_or_default();
            Ok(Some((offset, records::stamped(value).ok_or_else(|| self.damaged(&spec.topic, place, offset))?)))
        })?;
        if new > extent.start {
            let mut batch = WriteBatch::default();
            self.drop_before(&mut batch, place, extent, new);
            self.db.write(batch).map_err(|why| self.broken(&why))?;
            let mut state = self.state.lock();
            state.extents.entry(place).or_default().start = new;
            state.ring(place).forget(new);
        }
        Ok(())
    }

    /// Gives the disk back what files hold nothing but deleted records; the rest goes with RocksDB's own compactions.
    pub(super) fn give_back(&self, place: TopicPartition, from: Offset, to: Offset) {
        let [from, to] = [from, to].map(|offset| records::key(place.0, place.1, offset));
        if let Err(why) = self.db.delete_file_in_range_cf(&self.records(), from, to) {
            tracing::warn!(%why, "files of trimmed records stay for now");
        }
    }

    /// Bytes of a partition's records in files.
    pub(super) fn bytes(&self, topic: &Topic, partition: Partition) -> Result<Option<u64>, Fault> {
        let place = self.state.lock().place(topic, partition, self.partitions)?;
        let [first, last] = [Offset(0), Offset(u64::MAX)].map(|offset| records::key(place.0, place.1, offset));
        Ok(self.db.get_approximate_sizes_cf(&self.records(), &[rocksdb::Range::new(&first, &last)]).first().copied())
    }
}

/// The first offset that was stamped at `since` or later, or the end. `at` finds the first record from an offset on, with
/// its stamp; it is asked at most 65 times, since each answer halves what is left.
fn first_since(extent: Extent, since: Timestamp, mut at: impl FnMut(Offset) -> Result<Option<(Offset, Timestamp)>, Fault>) -> Result<Offset, Fault> {
    let (mut low, mut high, mut found) = (extent.start, extent.end, extent.end);
    let mut middle = low; // mostly nothing has expired: the first record tells
    while low < high {
        match at(middle)? {
            Some((offset, stamped)) if offset < high && stamped < since => low = offset.next(),
            Some((offset, stamped)) if offset < high && stamped >= since => (high, found) = (middle, offset),
            _ => high = middle, // there is nothing in between
        }
        middle = Offset(low.0 + high.0.saturating_sub(low.0) / 2);
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_has_expired_is_found_by_looking_at_a_few_records() {
        const COUNT: u64 = 300_000;
        // Offsets with gaps of up to 40,000, stamps that repeat.
        let kept: Vec<(Offset, Timestamp)> =
            (0..COUNT).map(|n| (Offset(n + n / 7 * 3 + if n > COUNT / 3 { 40_000 } else { 0 }), Timestamp((n / 3) as i64))).collect();
        let end = kept.last().unwrap().0.next();
        for (start, since) in [(0, 0), (0, 1), (0, 5_000), (0, 99_998), (0, 99_999), (0, 100_000), (0, 200_000), (77, 3), (200_000, 7), (end.0, 9)] {
            let extent = Extent { start: Offset(start), end };
            let mut looked = 0;
            let found = first_since(extent, Timestamp(since), |from| {
                looked += 1;
                Ok(kept.get(kept.partition_point(|(offset, _)| *offset < from)).copied())
            });
            let expected = kept.iter().find(|(offset, stamped)| offset.0 >= start && stamped.0 >= since).map_or(end, |(offset, _)| *offset);
            assert_eq!(found.unwrap(), expected, "from {start}, since {since}");
            assert!(looked <= 25, "looked at {looked} records");
        }
    }
}
