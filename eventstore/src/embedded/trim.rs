//! What is deleted: records past their topic's retention, and commands that are decided. Never more than that; the
//! start that a partition has then is recorded in the same write.

use domain::Timestamp;
use rocksdb::WriteBatch;
use schemas::{Partition, Topic, commands_of};

use super::state::{Extent, Known, Place};
use super::{Shared, keys, records};
use crate::log::{Fault, Limits, Offset, may_trim};

/// Expired records that one look removes from one partition.
const EXPIRED_MAX: usize = 50_000;

impl Shared {
    /// The place, and where it begins, if its records before `before` may be deleted. Committed positions only rise, so
    /// it still holds when the appender comes to it.
    pub(super) fn may_trim(&self, topic: &Topic, partition: Partition, before: Offset) -> Result<(Place, Offset), Fault> {
        let state = self.state.lock();
        let place = state.place(topic, partition, self.partitions)?;
        let service = commands_of(topic).and_then(|service| state.groups.get(service));
        may_trim(topic, partition, before, service.and_then(|service| service.committed.get(&place).copied()))?;
        Ok((place, state.extent(place).start))
    }

    /// Deletes a place's records before `new`, and says so for the next start.
    pub(super) fn drop_before(&self, batch: &mut WriteBatch, place: Place, extent: Extent, new: Offset) {
        batch.put(keys::start(place), [new.0.to_be_bytes(), extent.end.0.to_be_bytes()].concat());
        batch.delete_range_cf(&self.records(), records::key(place.0, place.1, extent.start), records::key(place.0, place.1, new));
    }

    /// Removes records past their topic's retention, some at a time.
    pub(super) fn expire(&self) -> Result<(), Fault> {
        let topics: Vec<Known> = self.state.lock().topics.values().filter(|known| known.spec.retention.is_some()).cloned().collect();
        for Known { number, spec } in topics {
            let kept = i64::try_from(spec.retention.unwrap_or_default().as_micros()).unwrap_or(i64::MAX);
            let before = Timestamp(self.clock.now().0.saturating_sub(kept));
            for place in (0..self.partitions).map(|partition| (number, Partition(partition))) {
                let extent = self.state.lock().extent(place);
                let new = self.first_since(&spec.topic, place, extent, before)?;
                if new > extent.start {
                    let mut batch = WriteBatch::default();
                    self.drop_before(&mut batch, place, extent, new);
                    self.db.write(batch).map_err(|why| self.broken(&why))?;
                    let mut state = self.state.lock();
                    state.extents.entry(place).or_default().start = new;
                    state.ring(place, self.partitions).forget(new);
                }
            }
        }
        Ok(())
    }

    /// The first offset recorded at `since` or later, looking at most at [`EXPIRED_MAX`] records.
    fn first_since(&self, topic: &Topic, place: Place, extent: Extent, since: Timestamp) -> Result<Offset, Fault> {
        let page = self.older(topic, place, extent.start, extent.end, Limits { records: EXPIRED_MAX, bytes: usize::MAX })?;
        Ok(page.records.iter().find(|record| record.recorded_at >= since).map_or(page.next, |record| record.offset))
    }

    /// Gives the disk back what files hold nothing but deleted records; the rest goes with RocksDB's own compactions.
    pub(super) fn give_back(&self, place: Place, from: Offset, to: Offset) {
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
