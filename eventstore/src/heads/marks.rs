//! Marks: how clients' commands were answered, so that a repeat is given the first answer. What is remembered follows from
//! the order of events alone, however they are divided into pages and batches, and whatever their times do.

use std::cell::Cell;

use kernel::Timestamp;
use schemas::{Partition, codec};

use super::Heads;
use super::command_record::CommandRecord;
use super::keys::{expiry_key, expiry_prefix, mark_key, read_expiry};
use crate::log::Fault;
use crate::rows::Changes;

const MARK_SHAPE: u8 = 2;

impl Heads {
    /// What is remembered at `now` of a client's command, this batch's included.
    pub fn mark(&self, partition: Partition, command_id: &str, now: Timestamp) -> Result<Option<CommandRecord>, Fault> {
        if let Some(mark) = self.marks.get(&(partition, command_id.to_owned())) {
            return Ok(Some(mark.clone()));
        }
        Ok(self.saved_mark(partition, command_id)?.filter(|mark| !mark.is_over(now, self.service.remembers)))
    }

    fn saved_mark(&self, partition: Partition, command_id: &str) -> Result<Option<CommandRecord>, Fault> {
        let Some(row) = self.rows.get(&mark_key(partition, command_id))? else { return Ok(None) };
        codec::load(MARK_SHAPE, &row).map_err(|why| Fault::Fatal(format!("mark of command {command_id}: {why}")))
    }

    /// Remembers the answer to a client's command; of several events of one command the last one's counts.
    pub fn remember(&mut self, partition: Partition, command_id: &str, mark: CommandRecord) -> Result<(), Fault> {
        if !mark.is_over(self.newest(partition)?, self.service.remembers) {
            self.marks.insert((partition, command_id.to_owned()), mark);
        }
        Ok(())
    }

    /// Saves the batch's marks and forgets those past their time: by the time of the newest event so far, never by that
    /// of whatever came last.
    pub(super) fn save_marks(&self, changes: &mut Changes) -> Result<(), Fault> {
        for partition in self.times.keys() {
            self.expire(changes, *partition, self.newest(*partition)?)?; // before the new marks: an id may be used again
        }
        for ((partition, id), mark) in &self.marks {
            if let Some(before) = self.saved_mark(*partition, id)? {
                changes.delete(&expiry_key(*partition, before.at, id)); // or it would end this mark before its time
            }
            if mark.is_over(self.newest(*partition)?, self.service.remembers) {
                changes.delete(&mark_key(*partition, id));
                changes.delete(&expiry_key(*partition, mark.at, id));
                continue;
            }
            changes.put(&mark_key(*partition, id), &codec::save(MARK_SHAPE, mark).map_err(Fault::Fatal)?);
            if !mark.prints.kept {
                changes.put(&expiry_key(*partition, mark.at, id), &[]);
                self.marks_from.borrow_mut().entry(*partition).and_modify(|first| *first = mark.at.min(*first));
            }
        }
        Ok(())
    }

    fn expire(&self, changes: &mut Changes, partition: Partition, now: Timestamp) -> Result<(), Fault> {
        let before = now.plus_seconds(-self.service.remembers);
        if self.marks_from.borrow().get(&partition).is_some_and(|first| before <= *first) {
            return Ok(());
        }
        let first = Cell::new(before); // this batch's own may be as old
        let expired = |key: &[u8]| {
            let at = read_expiry(key).map_or(before, |(at, _)| at);
            first.set(at.max(before));
            at < before
        };
        let keys = self.rows.keys_while(&expiry_prefix(partition), expired)?;
        self.marks_from.borrow_mut().insert(partition, first.get());
        for key in keys {
            if let Some((_, id)) = read_expiry(&key) {
                changes.delete(&mark_key(partition, id));
            }
            changes.delete(&key);
        }
        Ok(())
    }
}
