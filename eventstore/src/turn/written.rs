//! Where a batch's own events lie among its records: what a commit's offsets say of them. Knows no aggregate.

use std::collections::BTreeMap;

use schemas::Partition;

use crate::log::{Message, Offset};
use crate::rows::{Digested, Last};

/// Where a partition's own events go on, if nobody else writes there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// after the last that was folded or committed
    pub next: Offset,
    /// the offsets that its commit still takes. A broker answers a commit before it writes the marker, and what others
    /// write may come first; the next own event cannot.
    pub markers: u64,
}

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
    pub fn between(&self, offsets: &[Offset], ends: &BTreeMap<Partition, End>) -> Vec<(Partition, Offset, Offset)> {
        let (mut between, mut ends) = (vec![], ends.clone());
        for (partition, offset) in self.partitions.iter().zip(offsets).filter_map(|(partition, offset)| Some(((*partition)?, *offset))) {
            let end = ends.insert(partition, End { next: offset.next(), markers: 0 }).unwrap_or_default();
            if end.next.0.saturating_add(end.markers) != offset.0 {
                between.push((partition, end.next, offset));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A marker that is written late has another's record before it. Asked only of what lies after where the marker was
    /// thought to be, the worker passed over that record while it ran, and stopped there at its next start.
    #[test]
    fn what_others_write_before_a_late_marker_is_looked_at() {
        let (here, written) = (Partition(0), Written { partitions: vec![Some(Partition(0)), None, Some(Partition(0))], lasts: vec![] });
        let after = |markers| BTreeMap::from([(here, End { next: Offset(1), markers })]);
        let at = |first: u64| [Offset(first), Offset(9), Offset(first + 1)];
        // What was committed at 0 takes its marker at 1; at 1 and 2 lie another's record and the marker, in either order.
        assert_eq!(written.between(&at(2), &after(1)), []);
        assert_eq!(written.between(&at(3), &after(1)), [(here, Offset(1), Offset(3))]);
        // After a fold no marker is owed, and whatever lies between is looked at.
        assert_eq!(written.between(&at(1), &after(0)), []);
        assert_eq!(written.between(&at(2), &after(0)), [(here, Offset(1), Offset(2))]);
    }
}
