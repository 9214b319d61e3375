//! Folding a log: read to a head that was taken beforehand, page by page. Cannot end early by accident, sends nothing.

use std::sync::mpsc::sync_channel;
use std::thread::Builder;

use schemas::envelope::Malformed;
use schemas::{Partition, Topic};

use crate::log::{Fault, Limits, Log, Offset, Page, Record, Stuck, Wrong};
use crate::rows::{Last, Rows};

/// Pages that are read before they are asked for.
const AHEAD: usize = 2;
const ALL: Limits = Limits { records: usize::MAX, bytes: usize::MAX };

/// What a log can be folded into.
pub trait Fold {
    /// Where it stands in a partition.
    fn next(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault>;
    /// Takes a page; its effects and `page.next` become visible together.
    fn fold(&mut self, topic: &Topic, partition: Partition, page: Page) -> Result<(), Fault>;
    /// The last record it folded of a partition, if it knows.
    fn last(&self, topic: &Topic, partition: Partition) -> Result<Option<Last>, Fault> {
        let _not_known = (topic, partition);
        Ok(None)
    }
}

/// Whether what was folded of a partition is what lies in the log: that it does not stand past the end, and that its
/// last record is still there. A log that was restored from an older copy beneath its folds, or replaced, fails here.
pub fn belongs(log: &dyn Log, topic: &Topic, partition: Partition, fold: &dyn Fold) -> Result<(), Fault> {
    lies_in(log, topic, partition, fold.next(topic, partition)?, fold.last(topic, partition)?)
}

/// The same of rows that nothing folds into now.
pub fn rows_belong(log: &dyn Log, topic: &Topic, partition: Partition, rows: &Rows) -> Result<(), Fault> {
    lies_in(log, topic, partition, rows.position(topic, partition)?, rows.last(topic, partition)?)
}

fn lies_in(log: &dyn Log, topic: &Topic, partition: Partition, here: Offset, last: Option<Last>) -> Result<(), Fault> {
    let end = log.end(topic, partition)?;
    let wrong = |what: String| {
        Fault::Fatal(format!(
            "{what}. The log has lost records that were acknowledged, or is another: bring back the log that was folded, from a backup if need be; or \
             accept that what it lacks is lost, with --accept-loss (on Kafka: move heads/ and views/ of the data directory aside), and what is left is \
             folded anew"
        ))
    };
    if here > end {
        return Err(wrong(format!("the folds stand at {topic}/{partition} offset {here}, past the log's end {end}")));
    }
    let Some(last) = last else { return Ok(()) };
    if last.offset < log.start(topic, partition)? {
        return Ok(()); // not kept any more
    }
    let page = log.read(topic, partition, last.offset, Limits { records: 1, ..Limits::default() })?;
    match page.records.first().filter(|record| record.offset == last.offset) {
        None if page.next <= last.offset => Err(Fault::Retry(format!("{topic}/{partition}: asked for the record at {}, got none", last.offset))),
        Some(record) if Last::of(record) == last => Ok(()),
        _ => Err(wrong(format!("the record at {topic}/{partition} offset {} is not the one that was folded from there", last.offset))),
    }
}

/// Folds a partition from where the fold stands to the log's end as it is at the call, and returns that end.
pub fn replay(log: &dyn Log, topic: &Topic, partition: Partition, into: &mut dyn Fold, limits: Limits) -> Result<Offset, Fault> {
    let end = log.end(topic, partition)?; // taken once: a busy log cannot keep us here for ever
    replay_to(log, topic, partition, into, limits, end)
}

/// Folds a partition up to `end`, and not one record further.
pub fn replay_to(log: &dyn Log, topic: &Topic, partition: Partition, into: &mut dyn Fold, limits: Limits, end: Offset) -> Result<Offset, Fault> {
    let from = into.next(topic, partition)?;
    read_ahead(log, topic, &[(partition, from, end)], limits, ALL, &mut |partition, page| into.fold(topic, partition, page))?;
    Ok(end)
}

/// Of a partition, from one offset up to another.
pub type Range = (Partition, Offset, Offset);

/// Takes a page of a partition.
pub type Take<'t> = dyn FnMut(Partition, Page) -> Result<(), Fault> + 't;

/// Reads these ranges of a topic and not one record further, one after the other, until `most` is read. Where that is more than a
/// page, the next pages are read by a thread of their own while one is taken: reading costs as much as folding.
pub fn read_ahead(log: &dyn Log, topic: &Topic, ranges: &[Range], page: Limits, most: Limits, take: &mut Take<'_>) -> Result<(), Fault> {
    if ranges.iter().map(|(_, from, end)| end.0.saturating_sub(from.0)).sum::<u64>() <= page.records as u64 {
        return read_each(log, topic, ranges, page, most, &mut |partition, page| take(partition, page).map(|()| true));
    }
    std::thread::scope(|scope| {
        let (give, given) = sync_channel(AHEAD);
        let read = move || read_each(log, topic, ranges, page, most, &mut |partition, page| Ok(give.send((partition, page)).is_ok()));
        let reader =
            Builder::new().name("log ahead".into()).spawn_scoped(scope, read).map_err(|why| Fault::Retry(format!("no thread to read a log: {why}")))?;
        for (partition, page) in given {
            take(partition, page)?; // whoever reads ahead then finds nobody, and ends
        }
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn read_each(
    log: &dyn Log,
    topic: &Topic,
    ranges: &[Range],
    limits: Limits,
    most: Limits,
    give: &mut dyn FnMut(Partition, Page) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let (mut records, mut bytes) = (0, 0);
    for (partition, mut from, end) in ranges.iter().copied() {
        // What is read and not taken would have to be read again.
        while from < end && records < most.records && bytes < most.bytes {
            let mut page = log.read(topic, partition, from, limits)?;
            if page.next <= from {
                return Err(Fault::Retry(format!("{topic}/{partition}: asked for records from {from} below the end {end}, got none")));
            }
            if page.next > end {
                page.records.retain(|record| record.offset < end);
                page.next = end;
            }
            from = page.next;
            records += page.records.len();
            bytes += page.records.iter().map(|record| record.bytes()).sum::<usize>();
            if !give(partition, page)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Says which record cannot be folded, and why its partition stops.
pub fn unreadable(record: &Record, why: &Malformed) -> Fault {
    Fault::Stop(Box::new(Stuck::at(record, why.to_string()).being(Wrong::Undecodable)))
}
