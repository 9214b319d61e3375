//! What partitions of the log end with.

use std::sync::Arc;

use daybook::eventstore::log::{Fault, Limits, Log, Offset, Record};
use daybook::schemas::{Partition, Topic};

/// The newest record of a partition.
pub fn newest(log: &dyn Log, topic: &Topic, partition: Partition) -> Result<Option<Arc<Record>>, Fault> {
    let (start, end) = (log.start(topic, partition)?, log.end(topic, partition)?);
    let mut back = 64;
    loop {
        let from = Offset(end.0.saturating_sub(back)).max(start);
        let newest = read(log, topic, partition, from, end)?.pop();
        if newest.is_some() || from == start {
            return Ok(newest);
        }
        back *= 8; // offsets have gaps
    }
}

/// The records between two places.
pub fn read(log: &dyn Log, topic: &Topic, partition: Partition, mut from: Offset, end: Offset) -> Result<Vec<Arc<Record>>, Fault> {
    let mut all = vec![];
    while from < end {
        let page = log.read(topic, partition, from, Limits::default())?;
        all.extend(page.records);
        if page.next <= from {
            break;
        }
        from = page.next;
    }
    Ok(all)
}
