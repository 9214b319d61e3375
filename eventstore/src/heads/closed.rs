//! Records that an operator had passed over, and the aggregates that are closed by that: an event of theirs is missing,
//! so their versions have a hole and nothing more can be decided on them. Part of the fold, so that one from zero
//! closes the same.

use std::sync::Arc;

use schemas::envelope::event_id;
use schemas::{Envelope, Partition};

use super::Heads;
use super::keys::{TABLES_ALL, key, timer_key, waiting_key};
use crate::control::Skips;
use crate::log::{Fault, Record};
use crate::observer::worker;
use crate::rows::{Changes, Last};

impl Heads {
    /// The same, passing over what an operator settled.
    #[must_use]
    pub fn honouring(mut self, skips: Arc<Skips>) -> Self {
        self.closing.skips = skips;
        self
    }

    /// Why a record of the service's own events is passed over, if it is.
    pub fn passes_over(&self, record: &Record) -> Option<String> {
        self.closing.skips.of(&worker(self.service.name), record)
    }

    /// Why an event may not be folded where it lies; see [`Skips::misplaced`].
    pub fn misplaced(&self, record: &Record, envelope: &Envelope) -> Option<String> {
        self.closing.skips.misplaced(record, envelope)
    }

    /// Passes over it. If it is an event of one of the aggregates, that one is closed.
    pub fn pass_over(&mut self, record: &Record, why: &str) -> Result<(), Fault> {
        self.closing.passed.push((record.partition, record.offset));
        self.closed(record.partition, "", "")?; // so that those which are closed already are known
        // Only what was written here has the id that follows from its place in its stream; anything else leaves no hole.
        let own = record.envelope().ok().filter(|envelope| {
            let source = format!("/{}/{}", self.service.name, envelope.kind.aggregate);
            let id = |version| event_id(&source, &String::from_utf8_lossy(&record.key), &envelope.subject, version);
            envelope.version.is_some_and(|version| envelope.id == id(version))
        });
        let Some((aggregate, subject)) = own.map(|envelope| (envelope.kind.aggregate.to_string(), envelope.subject.clone())) else { return Ok(()) };
        let why = format!("its event at {}/{} offset {} was passed over: {why}", record.topic, record.partition, record.offset);
        let mut gone = vec![waiting_key(record.partition, &aggregate, &subject)];
        let service = Arc::clone(&self.service);
        if let Some(handler) = service.handler(&aggregate) {
            let (_, state) = self.head(record.partition, handler, &subject)?;
            gone.extend(handler.deadline(&state).map(|(at, _)| timer_key(record.partition, at, &aggregate, &subject)));
        }
        self.closing.known.get_mut().entry(record.partition).or_default().insert((aggregate.clone(), subject.clone()), why.clone());
        self.closing.closed.push(((record.partition, aggregate, subject), why, gone));
        Ok(())
    }

    /// Why nothing is decided on an aggregate any more, if it was closed.
    pub fn closed(&self, partition: Partition, aggregate: &str, id: &str) -> Result<Option<String>, Fault> {
        let mut known = self.closing.known.borrow_mut();
        let of_partition = match known.entry(partition) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let rows = self.rows.scan(&key(b'c', partition, &[]), None, usize::MAX)?;
                let read = rows.iter().filter_map(|(key, why)| {
                    let (aggregate, id) = std::str::from_utf8(key.get(3..)?).ok()?.split_once('\0')?;
                    Some(((aggregate.to_owned(), id.to_owned()), text(why)))
                });
                place.insert(read.collect())
            }
        };
        if of_partition.is_empty() {
            return Ok(None); // almost always: nothing is copied to look it up
        }
        Ok(of_partition.get(&(aggregate.to_owned(), id.to_owned())).cloned())
    }

    /// The last record of a partition among those that are saved next.
    pub fn ends_with(&mut self, partition: Partition, last: Last) {
        self.closing.lasts.push((partition, last));
    }

    /// Drops the rows of partitions in which a record was folded that an operator has had passed over since: they are
    /// folded anew.
    pub fn drop_unskipped(&mut self) -> Result<(), Fault> {
        let events = self.service.events();
        let places = self.closing.skips.places(&worker(self.service.name), &events);
        for place in places.into_iter().map(|(partition, offset)| (events.clone(), partition, offset)) {
            let (_, partition, offset) = place;
            if self.rows.unskipped(std::slice::from_ref(&place))?.is_some() {
                tracing::info!(service = self.service.name, %partition, %offset, "heads hold a record that is passed over now: folding them anew");
                self.forget();
                let mut changes = Changes::default();
                TABLES_ALL.iter().for_each(|table| changes.delete_all(&key(*table, partition, &[])));
                changes.delete_standing(&events, partition);
                self.rows.write(changes)?;
            }
        }
        Ok(())
    }
}
