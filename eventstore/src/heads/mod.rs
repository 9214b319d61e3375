//! Heads: the current states of a service's aggregates, the marks of its clients' commands, its timers and the
//! index of its streams. All of it is a fold of the service's own events, never led by anything else.
//!
//! Decisions evolve states in an overlay; the overlay becomes rows when its batch is committed, and dies when it is not.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use kernel::Timestamp;
use schemas::Partition;

use crate::caught::caught;
use crate::log::{Fault, Offset, Stuck, Wrong};
use crate::rows::{Changes, KeyedRow, Rows};
use crate::service::{Erased, Handler, REMEMBERED, Service, State};

mod checked;
mod closed;
mod closing;
mod command_record;
mod fold;
mod invariants;
mod keys;
mod marks;
mod newest;
mod timers;
mod times;

pub use command_record::CommandRecord;
pub use invariants::{Broken, Invariants};
pub use timers::{Timer, Woken};

use keys::{head_key, key, newest_key, read_sortable, sortable, stream_key, timer_key, waiting_key};
use newest::Newest;
use timers::Timers;

/// Bytes of states kept in memory by one worker, past those of its batch, where nothing else is said.
const KEPT_BYTES: usize = 16 * 1024 * 1024;
/// What a state takes in memory, about: some times the bytes of its row, and what is around it.
const IN_MEMORY: usize = 4;
const AROUND_BYTES: usize = 400;
/// The shape of the tables below. Raise it when they hold something else: saved heads are folded anew.
const TABLES: u8 = 3;

/// Names the shape of a service's saved heads: that of all heads' tables, and of its own states.
pub fn shape(service: &Service) -> String {
    let states = service.aggregates.iter().map(|handler| format!(" {}.{}", handler.name(), handler.state_version()));
    // Another memory of command ids is another fold: what was forgotten is remembered again, or the other way.
    let remembers = (service.remembers != REMEMBERED).then(|| format!(" remembers.{}", service.remembers));
    std::iter::once(format!("tables.{TABLES}")).chain(states).chain(remembers).collect()
}

struct Slot {
    version: u64,
    state: State,
    /// the deadline its saved row stands under, and whether that is among those that wait
    saved: Waits,
    /// the same of the state as it is now
    waits: Waits,
    /// log time of its newest event in this batch
    since: Timestamp,
    dirty: bool,
    /// of its row
    bytes: usize,
}

/// What a state waits for.
#[derive(Clone, Copy, Default, PartialEq)]
struct Waits {
    due: Option<Timestamp>,
    at_all: bool,
}

/// An event of this batch, and the place of its record among those that are saved with it.
struct Indexed {
    partition: Partition,
    aggregate: &'static str,
    id: String,
    version: u64,
    at: Timestamp,
    place: usize,
}

/// Why a head could not be evolved by an event.
#[derive(Debug)]
pub enum Unevolved {
    /// The event broke a rule of the program; says which.
    Panicked(String),
    /// It does not follow the head's version.
    Gap(String),
    /// The rows below cannot be read.
    Fault(Fault),
}

impl From<Fault> for Unevolved {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

type Slots = BTreeMap<(Partition, &'static str), HashMap<String, Slot>>;

/// The heads of the partitions one worker owns.
pub struct Heads {
    service: Arc<Service>,
    rows: Arc<Rows>,
    slots: RefCell<Slots>,
    /// what the slots take, about
    kept: Cell<usize>,
    kept_max: usize,
    dirty: Vec<(Partition, &'static str, String)>,
    marks: HashMap<(Partition, String), CommandRecord>,
    indexed: Vec<Indexed>,
    /// log time of the newest event of each partition that this batch wrote to
    times: BTreeMap<Partition, Timestamp>,
    /// the same of each partition's saved events, with the log time at which it was found ahead of that
    newest: RefCell<BTreeMap<Partition, Newest>>,
    timers: Timers,
    /// Not before this does any mark of a partition expire.
    marks_from: RefCell<BTreeMap<Partition, Timestamp>>,
    /// A fault met where only an absence could be answered.
    fault: Cell<Option<Fault>>,
    closing: closing::Closing,
    invariants: Option<Invariants>,
}

impl Heads {
    /// Heads over saved rows.
    pub fn new(service: Arc<Service>, rows: Arc<Rows>) -> Self {
        Self {
            service,
            rows,
            slots: RefCell::default(),
            kept: Cell::default(),
            kept_max: KEPT_BYTES,
            dirty: vec![],
            marks: HashMap::new(),
            indexed: vec![],
            times: BTreeMap::new(),
            newest: RefCell::default(),
            timers: Timers::default(),
            marks_from: RefCell::default(),
            fault: Cell::new(None),
            closing: closing::Closing::default(),
            invariants: None,
        }
    }

    /// Keeps about so many bytes of states in memory.
    #[must_use]
    pub fn keeping(self, bytes: usize) -> Self {
        Self { kept_max: bytes, ..self }
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
        let broken = |panic: String| self.broken(partition, handler, id, &panic);
        let (version, state, bytes) = caught(|| loaded(&self.rows, partition, handler, id)).map_err(broken)??.unwrap_or_else(|| (0, handler.blank(), 0));
        let waits = waits(handler, &state).map_err(broken)?;
        of_type.insert(id.to_owned(), Slot { version, state: Rc::clone(&state), saved: waits, waits, since: Timestamp::default(), dirty: false, bytes });
        self.kept.set(self.kept.get() + bytes * IN_MEMORY + AROUND_BYTES + id.len());
        Ok((version, state))
    }

    /// A saved state that panics where it is looked at: its partition cannot go on, and its newest event says where.
    pub fn broken(&self, partition: Partition, handler: &dyn Handler, id: &str, panic: &str) -> Fault {
        let offset = self.last_of(partition, handler.name(), id);
        let why = format!("the state of {} {id} after it panics where it is looked at: {panic}", handler.name());
        Fault::Stop(Box::new(Stuck { topic: self.service.events(), partition, offset, why, wrong: Wrong::Panicked }))
    }

    /// Where an aggregate's newest saved event lies; the beginning if it has none.
    pub fn last_of(&self, partition: Partition, aggregate: &str, id: &str) -> Offset {
        const PAGE: usize = 1_000;
        let (mut offset, mut from) = (Offset::default(), 1);
        while let Ok(page) = stream(&self.rows, partition, aggregate, id, from, PAGE) {
            let Some((version, at)) = page.last() else { break };
            (offset, from) = (*at, version + 1);
        }
        offset
    }

    /// The other heads of a partition, for a decision to look at.
    pub fn of(&self, partition: Partition) -> PartitionHeads<'_> {
        PartitionHeads { heads: self, partition }
    }

    /// Evolves a head by an event that is `version` of it, whose record will be the `place`th saved. After any failure the
    /// batch must be aborted, or this aggregate's part of it taken back.
    pub fn evolve(
        &mut self,
        partition: Partition,
        handler: &dyn Handler,
        id: &str,
        (version, at, place): (u64, Timestamp, usize),
        event: &Erased,
    ) -> Result<(), Unevolved> {
        let (head, state) = self.head(partition, handler, id)?;
        drop(state); // the slot's must be the only one, or evolving copies it
        if version != head + 1 {
            let name = handler.name();
            return Err(Unevolved::Gap(format!("{name} {id}: version {version} follows {head}: a gap or a repeat in its stream, refusing to invent state")));
        }
        self.evolve_slot(partition, handler, id, (version, at), event)?;
        self.check(partition, handler, id, (version, place));
        self.indexed.push(Indexed { partition, aggregate: handler.name(), id: id.to_owned(), version, at, place });
        Ok(())
    }

    fn evolve_slot(&mut self, partition: Partition, handler: &dyn Handler, id: &str, (version, at): (u64, Timestamp), event: &Erased) -> Result<(), Unevolved> {
        let of_type = self.slots.get_mut().entry((partition, handler.name())).or_default();
        let Some(slot) = of_type.get_mut(id) else { return Ok(()) };
        let evolved = caught(|| {
            handler.evolve(&mut slot.state, event);
            waits(handler, &slot.state)
        });
        match evolved.and_then(|waits| waits) {
            Ok(waits) => (slot.version, slot.since, slot.waits) = (version, at, waits),
            Err(panic) => {
                of_type.remove(id); // half evolved
                return Err(Unevolved::Panicked(format!("{} {id}, version {version}: {panic}", handler.name())));
            }
        }
        if !slot.dirty {
            slot.dirty = true;
            self.dirty.push((partition, handler.name(), id.to_owned()));
        }
        Ok(())
    }

    /// How many events the batch has, to [take back](Self::take_back) those after them.
    pub fn evolved(&self) -> usize {
        self.indexed.len()
    }

    /// Takes back all events but the first `events`, which are all of this aggregate: its head is made anew of what is
    /// saved and of the batch's earlier events, which `event` gives by their places.
    pub fn take_back<'e>(
        &mut self,
        events: usize,
        partition: Partition,
        handler: &dyn Handler,
        id: &str,
        event: impl Fn(usize) -> Option<&'e Erased>,
    ) -> Result<(), Unevolved> {
        self.indexed.truncate(events);
        if let Some(of_type) = self.slots.get_mut().get_mut(&(partition, handler.name())) {
            of_type.remove(id);
        }
        self.head(partition, handler, id)?;
        let indexed = std::mem::take(&mut self.indexed);
        let mut own = indexed.iter().filter(|event| (event.partition, event.aggregate, event.id.as_str()) == (partition, handler.name(), id));
        let evolved = own.try_for_each(|own| {
            let lost = || Unevolved::Gap(format!("{} {id}: version {} is not at its place in the batch", handler.name(), own.version));
            self.evolve_slot(partition, handler, id, (own.version, own.at), event(own.place).ok_or_else(lost)?)
        });
        self.indexed = indexed;
        evolved
    }

    /// The deadlines of a partition that have come and were not woken yet, at most `most`.
    pub fn due(&self, partition: Partition, now: Timestamp, most: usize) -> Result<Vec<Timer>, Fault> {
        self.timers.due(&self.rows, partition, now, most)
    }

    /// What is remembered of deadlines.
    pub fn timers(&mut self) -> &mut Timers {
        &mut self.timers
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
        self.timers.abort();
        self.invariants.iter().for_each(Invariants::abort);
    }

    /// Forgets every state in memory: another owner may have changed them.
    pub fn forget(&mut self) {
        self.abort();
        self.slots.get_mut().clear();
        self.kept.set(0);
        self.newest.get_mut().clear();
        self.timers.forget();
        self.marks_from.get_mut().clear();
    }

    /// Saves what the batch did, now that it is committed: rows, marks, timers, index and positions in one write.
    /// `offsets` are those of the batch's records, by place; `positions` where the fold stands now.
    pub fn save(&mut self, offsets: &[Offset], positions: &[(Partition, Offset)]) -> Result<(), Fault> {
        let mut changes = Changes::default();
        self.save_states(&mut changes, offsets)?;
        for event in &self.indexed {
            let offset = offsets
                .get(event.place)
                .ok_or_else(|| Fault::Fatal(format!("{} {}: the log gave no offset for version {}", event.aggregate, event.id, event.version)))?;
            changes.put(&stream_key(event.partition, event.aggregate, &event.id, event.version), &offset.0.to_be_bytes());
        }
        self.save_marks(&mut changes)?;
        for partition in self.times.keys() {
            changes.put(&newest_key(*partition), &sortable(self.newest(*partition)?));
        }
        let events = self.service.events();
        positions.iter().for_each(|(partition, next)| changes.position(&events, *partition, *next));
        self.closing.save(&events, &mut changes);
        self.rows.write(changes)?;
        self.marks.clear();
        self.indexed.clear();
        for (partition, at) in std::mem::take(&mut self.times) {
            self.newest.get_mut().entry(partition).and_modify(|newest| newest.at = at.max(newest.at));
        }
        self.timers.save();
        self.closing.saved();
        if self.kept.get() > self.kept_max {
            self.slots.get_mut().clear();
            self.kept.set(0);
        }
        Ok(())
    }

    fn save_states(&mut self, changes: &mut Changes, offsets: &[Offset]) -> Result<(), Fault> {
        let slots = self.slots.get_mut();
        for (partition, aggregate, id) in self.dirty.drain(..) {
            let Some(slot) = slots.get_mut(&(partition, aggregate)).and_then(|of_type| of_type.get_mut(&id)) else { continue };
            let Some(handler) = self.service.handler(aggregate).filter(|_| slot.dirty) else { continue };
            slot.dirty = false;
            let row = caught(|| handler.save(slot.version, &slot.state)).map_err(|panic| {
                let last = self.indexed.iter().rev().find(|event| (event.partition, event.aggregate, &event.id) == (partition, aggregate, &id));
                let offset = last.and_then(|event| offsets.get(event.place)).copied().unwrap_or_default();
                let why = format!("the state of {aggregate} {id} after it panics where it is saved: {panic}");
                Fault::Stop(Box::new(Stuck { topic: self.service.events(), partition, offset, why, wrong: Wrong::Panicked }))
            })?;
            let row = row.map_err(Fault::Fatal)?;
            // It only grows until all are forgotten: what shrinks, or is taken back, counts as it was.
            self.kept.set(self.kept.get() + row.len().saturating_sub(slot.bytes) * IN_MEMORY);
            slot.bytes = row.len();
            changes.put(&head_key(partition, aggregate, &id), &row);
            if slot.waits.due != slot.saved.due {
                if let Some(at) = slot.saved.due {
                    changes.delete(&timer_key(partition, at, aggregate, &id));
                    self.timers.gone(&Timer { partition, aggregate: aggregate.to_owned(), id: id.clone(), at });
                }
                if let Some(at) = slot.waits.due {
                    changes.put(&timer_key(partition, at, aggregate, &id), &[]);
                    self.timers.set(partition, at);
                }
            }
            if slot.waits.at_all {
                changes.put(&waiting_key(partition, aggregate, &id), &sortable(slot.since));
            } else if slot.saved.at_all {
                changes.delete(&waiting_key(partition, aggregate, &id));
            }
            slot.saved = slot.waits;
        }
        Ok(())
    }
}

/// Of a saved or fresh state; what it panicked with, if it did.
fn waits(handler: &dyn Handler, state: &State) -> Result<Waits, String> {
    caught(|| {
        let due = handler.deadline(state).map(|(at, _)| at);
        Waits { due, at_all: due.is_some() || handler.awaits(state).is_some() }
    })
}

/// The heads of one partition, read only.
pub struct PartitionHeads<'a> {
    heads: &'a Heads,
    partition: Partition,
}

impl kernel::Heads for PartitionHeads<'_> {
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
    Ok(loaded(rows, partition, handler, id)?.map(|(version, state, _)| (version, state)))
}

/// The same, with the bytes of its row.
fn loaded(rows: &Rows, partition: Partition, handler: &dyn Handler, id: &str) -> Result<Option<(u64, State, usize)>, Fault> {
    let Some(row) = rows.get(&head_key(partition, handler.name(), id))? else { return Ok(None) };
    let (version, state) = handler.load(&row).map_err(|why| unreadable(handler, id, &why))?.ok_or_else(|| unreadable(handler, id, "another shape"))?;
    Ok(Some((version, state, row.len())))
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
