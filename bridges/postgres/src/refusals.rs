//! What PostgreSQL refuses whenever it is asked: by a constraint of a view, say. Finds the partition that it lies in, so that the
//! others go on. Asks nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use daybook::eventstore::log::{Batch, Positions, Stuck, Wrong};
use daybook::schemas::Partition;

/// How often a partition that stands still is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Others can be first so often in a row, and no more often: then it is no race.
const BEATEN_MAX: u32 = 50;

/// Partitions whose commits were refused.
#[derive(Default)]
pub struct Refusals {
    /// one of them is why, or several are: each is tried alone
    suspects: BTreeSet<Partition>,
    /// refused alone, and when it is tried again
    standing: BTreeMap<Partition, (Stuck, Instant)>,
    /// what is tried alone now, and where it begins
    tried: Option<Stuck>,
    /// how often in a row others were first
    beaten: u32,
}

impl Refusals {
    /// Where partitions stand still.
    pub fn stops(&self) -> impl Iterator<Item = &Stuck> {
        self.standing.values().map(|(stuck, _)| stuck)
    }

    /// Whether some that stood still are due: what was polled of them must come again.
    pub fn due(&mut self) -> bool {
        let due: Vec<Partition> = self.standing.iter().filter(|(_, (_, at))| Instant::now() >= *at).map(|(partition, _)| *partition).collect();
        for partition in &due {
            self.suspects.insert(*partition);
            self.standing.entry(*partition).and_modify(|(_, at)| *at = Instant::now() + AGAIN);
        }
        !due.is_empty()
    }

    /// Leaves of a batch what can be tried now: nothing of what stands still, and of suspects one alone.
    pub fn narrow(&mut self, batch: &mut Batch) {
        self.tried = None;
        if self.suspects.is_empty() && self.standing.is_empty() {
            return;
        }
        let first = batch.records.iter().find(|record| self.suspects.contains(&record.partition));
        if let Some(first) = first {
            self.tried =
                Some(Stuck { topic: first.topic.clone(), partition: first.partition, offset: first.offset, why: String::new(), wrong: Wrong::Refused });
        }
        let only = self.tried.as_ref().map(|tried| tried.partition);
        let may = |partition: Partition| only.map_or_else(|| !self.standing.contains_key(&partition), |only| only == partition);
        batch.records.retain(|record| may(record.partition));
        batch.positions.retain(|(_, partition, _)| may(*partition));
    }

    /// A commit that moves these positions was refused.
    pub fn refused(&mut self, positions: &Positions, why: &str) {
        match self.tried.take() {
            Some(tried) => {
                self.suspects.remove(&tried.partition);
                self.standing.insert(tried.partition, (Stuck { why: why.to_owned(), ..tried }, Instant::now() + AGAIN));
            }
            None => self.suspects.extend(positions.iter().map(|(_, partition, _)| *partition)),
        }
    }

    /// Others were first, and it is decided again: by what is there then, unless that is what the log does not have.
    pub fn beaten(&mut self, positions: &Positions, why: &str) {
        self.beaten += 1;
        if self.beaten >= BEATEN_MAX || self.tried.as_ref().is_some_and(|tried| self.standing.contains_key(&tried.partition)) {
            self.beaten = 0;
            self.refused(positions, &format!("what was decided is not taken, however often: {why}"));
        }
    }

    /// A commit was taken. Whether it was of one alone: then the others come again.
    pub fn taken(&mut self) -> bool {
        self.beaten = 0;
        let Some(tried) = self.tried.take() else { return false };
        self.suspects.remove(&tried.partition);
        self.standing.remove(&tried.partition);
        true
    }

    /// Others have these partitions now.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::sync::Arc;

    use daybook::Timestamp;
    use daybook::eventstore::log::{Assignment, Message, Offset, Record};
    use daybook::schemas::{Headers, Stream, topic};

    use super::*;

    /// A record of each of these partitions.
    fn batch(partitions: &[u16]) -> Batch {
        let (topic, partitions): (_, Vec<Partition>) = (topic(Stream::Commands("accounts")), partitions.iter().copied().map(Partition).collect());
        let record = |partition: &Partition| {
            let message = Message { topic: topic.clone(), partition: *partition, key: vec![], headers: Headers::default(), value: None };
            Arc::new(Record::of(message, Offset(7), Timestamp(0)))
        };
        let positions = partitions.iter().map(|partition| (topic.clone(), *partition, Offset(8))).collect();
        Batch { records: partitions.iter().map(record).collect(), positions, assignment: Assignment { epoch: 1, partitions } }
    }

    fn narrowed(refusals: &mut Refusals) -> (Vec<u16>, Positions) {
        let mut batch = batch(&[1, 2, 3]);
        refusals.narrow(&mut batch);
        (batch.records.iter().map(|record| record.partition.0).collect(), batch.positions)
    }

    /// A race ends; who is beaten without end stands still where that lies, and the others go on.
    #[test]
    fn who_is_beaten_without_end_stands_still() {
        let mut refusals = Refusals::default();
        for _ in 1..BEATEN_MAX {
            let (all, positions) = narrowed(&mut refusals);
            assert_eq!(all, [1, 2, 3]);
            refusals.beaten(&positions, "others were first");
        }
        let (_, positions) = narrowed(&mut refusals);
        refusals.beaten(&positions, "others were first");
        for innocent in [1, 2] {
            assert_eq!(narrowed(&mut refusals).0, [innocent], "each is tried alone");
            assert!(refusals.taken(), "the others come again");
        }
        for _ in 0..BEATEN_MAX {
            let (alone, positions) = narrowed(&mut refusals);
            assert_eq!(alone, [3]);
            refusals.beaten(&positions, "others were first");
        }
        assert_eq!(narrowed(&mut refusals).0, [1, 2]);
        let stops: Vec<_> = refusals.stops().map(|stuck| (stuck.partition.0, stuck.offset.0)).collect();
        assert_eq!(stops, [(3, 7)]);
        assert!(!refusals.due() && !refusals.taken());
        refusals.forget();
        assert_eq!(narrowed(&mut refusals).0, [1, 2, 3]);
    }
}
