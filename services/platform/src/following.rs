//! Effects of events outside the log: mail, keys that are destroyed. Each record is taken at least once, and where that stands is
//! kept in rows; decides nothing.

use std::time::Duration;

use eventstore::rows::{Changes, Rows};
use eventstore::{Fault, Limits, Log, Record};
use schemas::{Partition, Topic};

/// One turn: at most `wait` for something new in a topic, then until a page of each partition is taken.
///
/// # Errors
/// If the log cannot be read, or a record was not taken: then it comes again.
pub fn turn(
    log: &dyn Log,
    rows: &Rows,
    topic: &Topic,
    (limits, wait): (Limits, Duration),
    mut take: impl FnMut(&Record) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let stand = |partition| Ok((topic.clone(), partition, rows.position(topic, partition)?));
    let standing = (0..log.partitions()).map(|partition| stand(Partition(partition))).collect::<Result<Vec<_>, Fault>>()?;
    if !log.wait(&standing, wait)? {
        return Ok(());
    }
    for (topic, partition, from) in standing {
        let page = log.read(&topic, partition, from, limits)?;
        if page.next == from {
            continue;
        }
        page.records.iter().try_for_each(|record| take(record))?;
        let mut changes = Changes::default();
        changes.position(&topic, partition, page.next);
        rows.write(changes)?;
    }
    Ok(())
}
