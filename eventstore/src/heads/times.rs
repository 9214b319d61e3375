//! The time that a partition's decisions go by: never behind its newest record, whoever wrote that, by whatever clock.

use kernel::Timestamp;
use schemas::Partition;

use super::Heads;
use super::keys::{newest_key, read_sortable};
use super::newest::Newest;
use crate::log::Fault;

impl Heads {
    /// An own record of this time will be saved.
    pub fn passed(&mut self, partition: Partition, at: Timestamp) {
        self.times.entry(partition).and_modify(|newest| *newest = at.max(*newest)).or_insert(at);
    }

    /// Log time of a partition's newest own record, this batch's included; the earliest time without one.
    pub(super) fn newest(&self, partition: Partition) -> Result<Timestamp, Fault> {
        let saved = self.newest.borrow().get(&partition).map(|newest| newest.at);
        let saved = match saved {
            Some(at) => at,
            None => {
                let at = self.rows.get(&newest_key(partition))?.and_then(|row| read_sortable(&row)).unwrap_or(Timestamp(i64::MIN));
                self.newest.borrow_mut().insert(partition, Newest { at, ahead: None });
                at
            }
        };
        Ok(self.times.get(&partition).map_or(saved, |at| saved.max(*at)))
    }

    /// The time by which a partition's decisions go when the log's is `now`. It never goes back, also where an owner before
    /// had a clock that was ahead; then it goes half as fast as the log's until that has caught up.
    pub fn now(&self, partition: Partition, now: Timestamp) -> Result<Timestamp, Fault> {
        let newest = self.newest(partition)?;
        let mut known = self.newest.borrow_mut();
        let Some(known) = known.get_mut(&partition) else { return Ok(now.max(newest)) };
        if newest <= now {
            known.ahead = None;
            return Ok(now);
        }
        let (since, at) = *known.ahead.get_or_insert((now, newest));
        Ok(Timestamp(at.0.saturating_add((now.0.saturating_sub(since.0) / 2).max(1))).max(newest))
    }
}
