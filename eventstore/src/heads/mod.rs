//! Heads: the current states of a service's aggregates, the marks of its clients' commands, its timers and the
//! index of its streams. All of it is a fold of the service's own events, never led by anything else.
//!
//! Decisions evolve states in an overlay; the overlay becomes rows when its batch is committed, and dies when it is not.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use domain::Timestamp;
use schemas::{Partition, codec};
use serde::{Deserialize, Serialize};

use crate::log::{Fault, Offset};
use crate::rows::{Changes, KeyedRow, Rows};
use crate::service::{Erased, Handler, Service, State};

mod closed;
mod keys;

use keys::{
    expiry_key, expiry_prefix, head_key, key, mark_key, read_expiry, read_sortable, read_timer, sortable, stream_key, timer_key, timer_prefix, waiting_key,
};

/// How long, in log time, a client's command id is remembered.
pub const MARK_SECONDS: i64 = 7 * 24 * 60 * 60;
/// States kept in memory by one worker, past those of its batch.
const CACHED_MAX: usize = 20_000;
const MARK_SHAPE: u8 = 1;
/// The shape of the tables below. Raise it when they hold something else: saved heads are folded anew.
pub const TABLES: u8 = 2;

/// How a client's command was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// The aggregate's version after it.
    Accepted {
        /// from 1; 0 where it has no event
        version: u64,
    },
    /// A business no.
    Refused {
        /// its stable name
        code: String,
        /// for people
        detail: String,
    },
}

/// What is remembered of a client's command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// of its type, subject and body
    pub hash: String,
    /// the first answer
    pub outcome: Outcome,
    /// log time of the decision
    pub at: Timestamp,
}

struct Slot {
    version: u64,
    state: State,
    /// the deadline its saved row stands under
    due: Option<Timestamp>,
    /// whether it is saved among those that wait
    waits: bool,
    /// log time of its newest event in this batch
    since: Timestamp,
    dirty: bool,
}

/// The place of an event's record among those that are saved with it.
struct Indexed {
    partition: Partition,
    aggregate: &'static str,
    id: String,
    version: u64,
    place: usize,
}

type Slots = BTreeMap<(Partition, &'static str), HashMap<String, Slot>>;

/// The heads of the partitions one worker owns.
pub struct Heads {
    service: Arc<Service>,
    rows: Arc<Rows>,
    slots: RefCell<Slots>,
    dirty: Vec<(Partition, &'static str, String)>,
    marks: HashMap<(Partition, String), Mark>,
    indexed: Vec<Indexed>,
    /// log time of the newest event of each partition in the overlay
    times: BTreeMap<Partition, Timestamp>,
    /// Not before this is anything due in a partition; deadlines that were met leave deleted keys, and looking past
    /// them at every turn would cost more than the turn.
    due_from: RefCell<BTreeMap<Partition, Timestamp>>,
    /// Not before this does any mark of a partition expire.
    marks_from: RefCell<BTreeMap<Partition, Timestamp>>,
    /// A fault met where only an absence could be answered.
    fault: Cell<Option<Fault>>,
    closing: closed::Closing,
}

impl Heads {
    /// Heads over saved rows.
    pub fn new(service: Arc<Service>, rows: Arc<Rows>) -> Self {
        Self {
            service,
            rows,
            slots: RefCell::default(),
            dirty: vec![],
            marks: HashMap::new(),
            indexed: vec![],
            times: BTreeMap::new(),
            due_from: RefCell::default(),
            marks_from: RefCell::default(),
            fault: Cell::new(None),
            closing: closed::Closing::default(),
        }
    }

    /// Whose heads they are.
    pub fn service(&self) -> Arc<Service> {
        Arc::clone(&self.service)
    }

    /// The rows below.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// A state and its version, this batch's events included.
    pub fn head(&self, partition: Partition, handler: &dyn Handler, id: &str) -> Result<(u64, State), Fault> {
        let mut slots = self.slots.borrow_mut();
        let of_type = slots.entry((partition, handler.name())).or_default();
        if let Some(slot) = of_type.get(id) {
            return Ok((slot.version, Rc::clone(&slot.state)));
        }
        let (version, state) = saved(&self.rows, partition, handler, id)?.unwrap_or_else(|| (0, handler.blank()));
        let (due, waits) = (handler.deadline(&state).map(|(at, _)| at), handler.waits(&state));
        of_type.insert(id.to_owned(), Slot { version, state: Rc::clone(&state), due, waits, since: Timestamp::default(), dirty: false });
        Ok((version, state))
    }

    /// The other heads of a partition, for a decision to look at.
    pub fn of(&self, partition: Partition) -> PartitionHeads<'_> {
        PartitionHeads { heads: self, partition }
    }

    /// Evolves a head by an event that is `version` of it, whose record will be the `place`th saved.
    pub fn evolve(
        &mut self,
        partition: Partition,
        aggregate: &str,
        id: &str,
        (version, at, place): (u64, Timestamp, usize),
        event: &Erased,
    ) -> Result<(), Fault> {
        let service = Arc::clone(&self.service);
        let handler = service.handler(aggregate).ok_or_else(|| Fault::Fatal(format!("{}: no aggregate {aggregate}", service.name)))?;
        let (head, state) = self.head(partition, handler, id)?;
        drop(state); // the slot's must be the only one, or evolving copies it
        if version != head + 1 {
            return Err(Fault::Fatal(format!(
                "{} {id}: version {version} follows {head}: a gap or a repeat in its stream, refusing to invent state",
                handler.name()
            )));
        }
        let mut slots = self.slots.borrow_mut();
        if let Some(slot) = slots.get_mut(&(partition, handler.name())).and_then(|of_type| of_type.get_mut(id)) {
            handler.evolve(&mut slot.state, event);
            (slot.version, slot.since) = (version, at);
            if !slot.dirty {
                slot.dirty = true;
                self.dirty.push((partition, handler.name(), id.to_owned()));
            }
        }
        self.indexed.push(Indexed { partition, aggregate: handler.name(), id: id.to_owned(), version, place });
        self.times.insert(partition, at);
        Ok(())
    }

    /// What is remembered at `now` of a client's command, this batch's included.
    pub fn mark(&self, partition: Partition, command_id: &str, now: Timestamp) -> Result<Option<Mark>, Fault> {
        if let Some(mark) = self.marks.get(&(partition, command_id.to_owned())) {
            return Ok(Some(mark.clone()));
        }
        let Some(row) = self.rows.get(&mark_key(partition, command_id))? else { return Ok(None) };
        let mark: Option<Mark> = codec::load(MARK_SHAPE, &row).map_err(|why| Fault::Fatal(format!("mark of command {command_id}: {why}")))?;
        Ok(mark.filter(|mark| mark.at >= now.plus_seconds(-MARK_SECONDS)))
    }

    /// Remembers the answer to a client's command; of several events of one command the last one's counts.
    pub fn remember(&mut self, partition: Partition, command_id: &str, mark: Mark) {
        self.times.insert(partition, mark.at);
        self.marks.insert((partition, command_id.to_owned()), mark);
    }

    /// The aggregates of a partition whose deadline has come, at most `most`.
    pub fn due(&self, partition: Partition, now: Timestamp, most: usize) -> Result<Vec<(String, String, Timestamp)>, Fault> {
        if self.due_from.borrow().get(&partition).is_some_and(|first| now < *first) {
            return Ok(vec![]);
        }
        let (left, first) = (Cell::new(most), Cell::new(Timestamp(i64::MAX)));
        let due = |key: &[u8]| {
            let at = read_timer(key).map_or(now, |(_, _, at)| at);
            let wanted = at <= now && left.replace(left.get().saturating_sub(1)) > 0;
            first.set(if wanted { Timestamp(i64::MAX) } else { at });
            wanted
        };
        let due: Vec<_> = self.rows.keys_while(&timer_prefix(partition), due)?.iter().filter_map(|key| read_timer(key)).collect();
        if due.is_empty() {
            self.due_from.borrow_mut().insert(partition, first.get());
        }
        Ok(due)
    }

    /// A fault met while a decision looked at other heads.
    pub fn take_fault(&self) -> Option<Fault> {
        self.fault.take()
    }

    /// Forgets what the batch did.
    pub fn abort(&mut self) {
        let slots = self.slots.get_mut();
        for (partition, aggregate, id) in self.dirty.drain(..) {
            if let Some(of_type) = slots.get_mut(&(partition, aggregate)) {
                of_type.remove(&id);
            }
        }
        self.marks.clear();
        self.indexed.clear();
        self.times.clear();
        self.closing.abort();
    }

    /// Forgets every state in memory: another owner may have changed them.
    pub fn forget(&mut self) {
        self.abort();
        self.slots.get_mut().clear();
        self.due_from.get_mut().clear();
        self.marks_from.get_mut().clear();
    }

    /// Saves what the batch did, now that it is committed: rows, marks, timers, index and positions in one write.
    /// `offsets` are those of the batch's records, by place; `positions` where the fold stands now.
    pub fn save(&mut self, offsets: &[Offset], positions: &[(Partition, Offset)]) -> Result<(), Fault> {
        let mut changes = Changes::default();
        self.save_states(&mut changes)?;
        for event in &self.indexed {
            let offset = offsets
                .get(event.place)
                .ok_or_else(|| Fault::Fatal(format!("{} {}: the log gave no offset for version {}", event.aggregate, event.id, event.version)))?;
            changes.put(&stream_key(event.partition, event.aggregate, &event.id, event.version), &offset.0.to_be_bytes());
        }
        for (partition, now) in &self.times {
            self.expire(&mut changes, *partition, *now)?; // before the new marks: an id may be used again
        }
        for ((partition, id), mark) in &self.marks {
            let forgotten = self.times.get(partition).is_some_and(|now| mark.at < now.plus_seconds(-MARK_SECONDS));
            if !forgotten {
                changes.put(&mark_key(*partition, id), &codec::save(MARK_SHAPE, mark).map_err(Fault::Fatal)?);
                changes.put(&expiry_key(*partition, mark.at, id), &[]);
            }
        }
        let events = self.service.events();
        positions.iter().for_each(|(partition, next)| changes.position(&events, *partition, *next));
        self.closing.save(&events, &mut changes);
        self.rows.write(changes)?;
        self.marks.clear();
        self.indexed.clear();
        self.times.clear();
        self.closing.saved();
        if self.slots.get_mut().values().map(HashMap::len).sum::<usize>() > CACHED_MAX {
            self.slots.get_mut().clear();
        }
        Ok(())
    }

    fn save_states(&mut self, changes: &mut Changes) -> Result<(), Fault> {
        let slots = self.slots.get_mut();
        for (partition, aggregate, id) in self.dirty.drain(..) {
            let Some(slot) = slots.get_mut(&(partition, aggregate)).and_then(|of_type| of_type.get_mut(&id)) else { continue };
            let Some(handler) = self.service.handler(aggregate) else { continue };
            slot.dirty = false;
            changes.put(&head_key(partition, aggregate, &id), &handler.save(slot.version, &slot.state).map_err(Fault::Fatal)?);
            let due = handler.deadline(&slot.state).map(|(at, _)| at);
            if due != slot.due {
                slot.due.iter().for_each(|old| changes.delete(&timer_key(partition, *old, aggregate, &id)));
                if let Some(new) = due {
                    changes.put(&timer_key(partition, new, aggregate, &id), &[]);
                    self.due_from.get_mut().entry(partition).and_modify(|first| *first = new.min(*first));
                }
                slot.due = due;
            }
            let waits = handler.waits(&slot.state);
            if waits {
                changes.put(&waiting_key(partition, aggregate, &id), &sortable(slot.since));
            } else if slot.waits {
                changes.delete(&waiting_key(partition, aggregate, &id));
            }
            slot.waits = waits;
        }
        Ok(())
    }

    /// Forgets marks past their time. By the time of the newest event, so that a rebuild forgets the same.
    fn expire(&self, changes: &mut Changes, partition: Partition, now: Timestamp) -> Result<(), Fault> {
        let before = now.plus_seconds(-MARK_SECONDS);
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

/// The heads of one partition, read only.
pub struct PartitionHeads<'a> {
    heads: &'a Heads,
    partition: Partition,
}

impl domain::Heads for PartitionHeads<'_> {
    fn head(&self, aggregate: &'static str, id: &str) -> Option<State> {
        let handler = self.heads.service.handler(aggregate)?;
        match self.heads.head(self.partition, handler, id) {
            Ok((0, _)) => None,
            Ok((_, state)) => Some(state),
            Err(fault) => {
                self.heads.fault.set(Some(fault)); // the worker looks here before it believes the decision
                None
            }
        }
    }
}

/// An aggregate's saved version and state; none without an event.
pub(crate) fn saved(rows: &Rows, partition: Partition, handler: &dyn Handler, id: &str) -> Result<Option<(u64, State)>, Fault> {
    let Some(row) = rows.get(&head_key(partition, handler.name(), id))? else { return Ok(None) };
    let head = handler.load(&row).map_err(|why| unreadable(handler, id, &why))?.ok_or_else(|| unreadable(handler, id, "another shape"))?;
    Ok(Some(head))
}

/// An aggregate's versions from `from` on with their offsets, at most `most`.
pub(crate) fn stream(rows: &Rows, partition: Partition, aggregate: &str, id: &str, from: u64, most: usize) -> Result<Vec<(u64, Offset)>, Fault> {
    let prefix = key(b's', partition, &[aggregate.as_bytes(), &[0], id.as_bytes(), &[0]]);
    let number = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
    let read = |(key, row): &KeyedRow| Some((number(key.get(prefix.len()..)?)?, Offset(number(row)?)));
    Ok(rows.scan(&prefix, Some(&stream_key(partition, aggregate, id, from)), most)?.iter().filter_map(read).collect())
}

/// Those of a partition that wait, after `after`, with the log time of their last event, at most `most`.
pub(crate) fn waiting(rows: &Rows, partition: Partition, after: Option<(&str, &str)>, most: usize) -> Result<Vec<(String, String, Timestamp)>, Fault> {
    let from = after.map(|(aggregate, id)| [waiting_key(partition, aggregate, id), vec![0]].concat());
    let read = |(key, row): &KeyedRow| {
        let (aggregate, id) = std::str::from_utf8(key.get(3..)?).ok()?.split_once('\0')?;
        Some((aggregate.to_owned(), id.to_owned(), read_sortable(row)?))
    };
    Ok(rows.scan(&key(b'w', partition, &[]), from.as_deref(), most)?.iter().filter_map(read).collect())
}

fn unreadable(handler: &dyn Handler, id: &str, why: &str) -> Fault {
    Fault::Fatal(format!("saved head of {} {id}: {why}; delete the service's heads directory and start again: it is folded anew", handler.name()))
}
