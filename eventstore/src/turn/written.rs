//! Where a batch's own events lie among its records: what a commit's offsets say of them. Knows no aggregate.

use std::collections::BTreeMap;

use schemas::Partition;

use crate::log::{Message, Offset};
use crate::rows::{Digested, Last};

/// The partitions of a batch's own events, by place among its outputs.
pub struct Written {
    partitions: Vec<Option<Partition>>,
    /// each partition's last, by its place
    lasts: Vec<(Partition, usize, Digested)>,
}

impl Written {
    /// Of `outputs`, each own event with its partition.
    pub(super) fn of(outputs: &[Message], partitions: Vec<Option<Partition>>) -> Self {
        let last: BTreeMap<Partition, usize> = partitions.iter().enumerate().filter_map(|(place, partition)| Some(((*partition)?, place))).collect();
        let lasts = last.into_iter().filter_map(|(partition, place)| Some((partition, place, Digested::of(outputs.get(place)?)))).collect();
        Self { partitions, lasts }
    }

    /// Each partition's last event, now that its offset is known.
    pub fn lasts(&self, offsets: &[Offset]) -> Vec<(Partition, Last)> {
        self.lasts.iter().filter_map(|(partition, place, digested)| Some((*partition, digested.at(*offsets.get(*place)?)))).collect()
    }

    /// The places before and among the own events at which something else may lie, each up to the own event that follows
    /// it. `ends` says where each partition's own events would go on, if nobody else wrote there.
    pub fn between(&self, offsets: &[Offset], ends: &BTreeMap<Partition, Offset>) -> Vec<(Partition, Offset, Offset)> {
        let (mut between, mut ends) = (vec![], ends.clone());
        for (partition, offset) in self.partitions.iter().zip(offsets).filter_map(|(partition, offset)| Some(((*partition)?, *offset))) {
            let due = ends.insert(partition, offset.next()).unwrap_or_default();
            if due != offset {
                between.push((partition, due, offset));
            }
        }
        between
    }

    /// Where the fold of the own events stands once the outputs are committed at `offsets`.
    pub fn next(&self, offsets: &[Offset]) -> Vec<(Partition, Offset)> {
        let own = self.partitions.iter().zip(offsets).filter_map(|(partition, offset)| Some(((*partition)?, offset.next())));
        own.collect::<BTreeMap<_, _>>().into_iter().collect()
    }
}
