//! Which deadlines to look at. Those that were woken without effect stay in the table, and must neither hide the ones
//! behind them nor be looked at for ever; those that were met leave deleted keys, which cost time to walk past.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use kernel::Timestamp;
use schemas::Partition;

use super::keys::{read_timer, timer_prefix};
use crate::log::Fault;
use crate::rows::Rows;

/// Keys that one look passes, whoever they belong to; the next look goes on behind them.
const LOOKED_MAX: usize = 1_000;

/// What waking an aggregate came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Nothing: it need not be woken at this instant again.
    Nothing,
    /// Events, or what its command's refusal leaves.
    Something,
    /// A dead letter: its command failed.
    Buried,
}

/// An aggregate's deadline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer {
    /// where it is
    pub partition: Partition,
    /// its type
    pub aggregate: String,
    /// its id
    pub id: String,
    /// the instant it stands under
    pub at: Timestamp,
}

/// How far a partition's deadlines were looked through.
#[derive(Default)]
struct Looked {
    /// nothing wants to be woken before this
    from: Option<Timestamp>,
    /// where the next look begins, if not at the first
    next: Option<Box<[u8]>>,
    /// since the first one of this round none wanted to be woken
    quiet: bool,
}

/// What is remembered of deadlines beside their table.
#[derive(Default)]
pub struct Timers {
    looked: RefCell<BTreeMap<Partition, Looked>>,
    /// woken without effect, so not woken again at the same instant
    awake: BTreeSet<Timer>,
    /// woken to a dead letter that is not committed yet
    buried: Vec<Timer>,
}

impl Timers {
    /// Those of a partition that are due and were not woken yet, at most `most`.
    pub fn due(&self, rows: &Rows, partition: Partition, now: Timestamp, most: usize) -> Result<Vec<Timer>, Fault> {
        let mut looked = self.looked.borrow_mut();
        let looked = looked.entry(partition).or_default();
        if looked.from.is_some_and(|first| now < first) {
            return Ok(vec![]);
        }
        let prefix = timer_prefix(partition);
        let begin = looked.next.take();
        looked.quiet |= begin.is_none();
        let (count, later, rest) = (Cell::new(0), Cell::new(Timestamp(i64::MAX)), RefCell::new(None));
        let wanted = |key: &[u8]| {
            let at = read_timer(key).map_or(now, |(_, _, at)| at);
            if at > now {
                later.set(at);
                return false;
            }
            if count.replace(count.get() + 1) == LOOKED_MAX {
                rest.replace(Some(key.into()));
                return false;
            }
            true
        };
        let keys = rows.keys_from(&prefix, begin.as_deref().unwrap_or(&prefix), wanted)?;
        looked.next = rest.into_inner();
        let mut due = vec![];
        for key in keys {
            let Some((aggregate, id, at)) = read_timer(&key) else { continue };
            let timer = Timer { partition, aggregate, id, at };
            if self.awake.contains(&timer) {
                continue;
            }
            if due.len() == most {
                looked.next = Some(key);
                break;
            }
            due.push(timer);
        }
        looked.quiet &= due.is_empty();
        if looked.next.is_none() && looked.quiet {
            looked.from = Some(later.get());
        }
        Ok(due)
    }

    /// A deadline stands in the table now.
    pub fn set(&mut self, partition: Partition, at: Timestamp) {
        if let Some(looked) = self.looked.get_mut().get_mut(&partition) {
            looked.from = looked.from.map(|first| first.min(at));
            looked.quiet = false; // it may stand before the place that this round has come to
        }
    }

    /// A deadline stands there no longer.
    pub fn gone(&mut self, timer: &Timer) {
        self.awake.remove(timer);
    }

    /// What waking one came to.
    pub fn woke(&mut self, woken: Woken, timer: Timer) {
        match woken {
            Woken::Nothing => drop(self.awake.insert(timer)),
            Woken::Something => {}
            Woken::Buried => self.buried.push(timer),
        }
    }

    /// The batch is committed.
    pub fn save(&mut self) {
        self.awake.extend(self.buried.drain(..));
    }

    /// The batch is not.
    pub fn abort(&mut self) {
        self.buried.clear();
    }

    /// Another owner may have changed the table.
    pub fn forget(&mut self) {
        self.looked.get_mut().clear();
    }

    /// Of others' partitions nothing is remembered.
    pub fn keep(&mut self, partitions: &[Partition]) {
        self.awake.retain(|timer| partitions.contains(&timer.partition));
    }
}
