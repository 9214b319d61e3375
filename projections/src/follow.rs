//! A projection: a view that follows its topic, says how fresh it is, and makes readers wait rather than read behind
//! what they have seen. Serves nothing before it has caught up once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use eventstore::control::Control;
use eventstore::fold::{Range, rows_belong};
use eventstore::log::Stuck;
use eventstore::memory::Memory;
use eventstore::rows::Rows;
use eventstore::{Fault, Limits, Log, Offset, Page, Positions};
use parking_lot::{Mutex, RwLock};
use schemas::{Partition, Topic};

use crate::beside::Beside;
use crate::generation::{Generation, chosen, skips};
use crate::generations::{Generations, Roles};
use crate::queue::Queue;
use crate::view::View;

/// What is read of each partition at once where nobody waits for what is folded: rows that change often are then written once.
pub const BULK: Limits = Limits { records: 10_000, bytes: 4 * 1024 * 1024 };

/// Hears what a projection does. All calls return at once.
pub trait Watcher: Send + Sync {
    /// There may be something new for those who wait for it.
    fn told(&self);
    /// It is about to fold pages.
    fn begins(&self) {}
    /// It folded these, which are new.
    fn folded(&self, _pages: &[(Partition, Page)]) {}
    /// It folded so many records on its way to where it is new.
    fn replayed(&self, _records: u64) {}
}

/// Who only waits.
impl<F: Fn() + Send + Sync> Watcher for F {
    fn told(&self) {
        self();
    }
}

/// A view, its rows and where it stands.
pub struct Projection {
    pub(crate) view: Arc<View>,
    /// what readers see
    serving: RwLock<Arc<Generation>>,
    /// who folds into what is served, or swaps it
    pub(crate) turning: Mutex<()>,
    pub(crate) generations: Generations,
    pub(crate) roles: Mutex<Roles>,
    pub(crate) beside: Mutex<Option<Arc<Beside>>>,
    /// what became of the last that was folded beside
    pub(crate) ended: Mutex<Option<String>>,
    /// generations that are not served any more, until nobody reads them
    pub(crate) retired: Mutex<Vec<(u32, Weak<Rows>)>>,
    pub(crate) memory: Memory,
    pub(crate) log: Arc<dyn Log>,
    /// the ends it must reach before it serves
    goal: BTreeMap<Partition, Offset>,
    /// rises with every fold
    folds: AtomicU64,
    ready: AtomicBool,
    paused: AtomicBool,
    /// partitions that stand still at a record, the others go on
    pub(crate) stopped: Mutex<BTreeMap<Partition, Stuck>>,
    /// why all of it stands still
    failed: Mutex<Option<String>>,
    /// whether what was folded before the start was held against the log
    proven: AtomicBool,
    pub(crate) control: Arc<Control>,
    /// the operator's orders that were heard of
    orders: AtomicU64,
    watcher: Box<dyn Watcher>,
}

impl Projection {
    /// Opens the view's rows below `dir`; `watcher` is told of each step.
    pub fn open(view: Arc<View>, control: &Arc<Control>, dir: &Path, memory: &Memory, watcher: Box<dyn Watcher>) -> Result<Self, Fault> {
        let (topic, log, orders) = (&view.topic, control.log(), control.orders());
        let generations = Generations::of(dir, &view.name);
        let settled = generations.recovered(|shape| view.is_of(shape), memory)?;
        let mut roles = generations.known(settled.clone(), memory)?;
        chosen(&view, &mut roles);
        if roles != settled {
            generations.settle(&mut roles, |_| false)?;
        }
        generations.clear(&roles);
        let open = |number: u32| {
            let shape = roles.shapes.get(&number).cloned().unwrap_or_else(|| view.shape());
            Generation::open(number, (&view, &shape), control, &generations.dir(number), memory)
        };
        let serving = open(roles.serving)?;
        let beside = roles.beside.as_ref().map(|asked| {
            // It serves nobody: if it is damaged it begins anew.
            let made = open(asked.number).or_else(|why| {
                tracing::warn!(view = view.name, %why, "what was folded beside cannot be opened: it is folded anew");
                generations.remove(asked.number).map_err(|_| why)?;
                open(asked.number)
            })?;
            Ok::<_, Fault>(Arc::new(Beside::of(asked.clone(), made)))
        });
        let beside = beside.transpose()?;
        let goal = (0..log.partitions()).map(Partition).map(|partition| Ok((partition, log.end(topic, partition)?))).collect::<Result<_, Fault>>()?;
        Ok(Self {
            log: Arc::clone(log),
            serving: RwLock::new(Arc::new(serving)),
            turning: Mutex::default(),
            beside: Mutex::new(beside),
            ended: Mutex::default(),
            retired: Mutex::default(),
            paused: AtomicBool::new(roles.paused),
            roles: Mutex::new(roles),
            generations,
            memory: memory.clone(),
            view,
            goal,
            folds: AtomicU64::default(),
            ready: AtomicBool::new(false),
            stopped: Mutex::default(),
            failed: Mutex::default(),
            proven: AtomicBool::new(false),
            control: Arc::clone(control),
            orders: AtomicU64::new(orders),
            watcher,
        })
    }

    /// The view's name.
    pub fn name(&self) -> &str {
        &self.view.name
    }

    /// The view itself.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// What is served.
    pub(crate) fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.serving.read())
    }

    /// Serves another from here on, which stands where this one does. The caller holds `turning`.
    pub(crate) fn serve(&self, other: Arc<Generation>) -> Arc<Generation> {
        let before = std::mem::replace(&mut *self.serving.write(), other);
        self.folds.fetch_add(1, Ordering::AcqRel);
        self.watcher.told();
        before
    }

    /// Its rows, for scans and proofs: those that are served now.
    pub fn rows(&self) -> Arc<Rows> {
        Arc::clone(&self.generation().rows)
    }

    /// Those that are served, and those that are folded beside them.
    pub fn all_rows(&self) -> Vec<Arc<Rows>> {
        let beside = self.beside.lock().as_ref().map(|beside| Arc::clone(&beside.generation.rows));
        std::iter::once(self.rows()).chain(beside).collect()
    }

    /// The shape of the rows that are served, where it is an earlier one.
    pub fn earlier_shape(&self) -> Option<String> {
        let roles = self.roles.lock();
        roles.shapes.get(&roles.serving).filter(|shape| **shape != self.view.shape()).cloned()
    }

    /// What waits in its queue, if it has one. Rows may be newer.
    pub fn queue(&self) -> Option<Arc<Queue>> {
        self.generation().queue.clone()
    }

    /// Whether nothing is folded into what is served.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Folds nothing into what is served from here on, or again.
    pub(crate) fn hold(&self, paused: bool) {
        let _turn = self.turning.lock();
        self.paused.store(paused, Ordering::Release);
        self.watcher.told();
    }

    /// Folds what is new, one page of each partition; waits at most `wait` for something new. Says whether there was any.
    /// A partition whose next record cannot be folded stands still from then on, and no other: see [`Projection::stops`].
    pub fn turn(&self, wait: Duration, limits: Limits) -> Result<bool, Fault> {
        let result = self.obey().and_then(|()| self.try_turn(wait, limits));
        if let Err(fault @ (Fault::Fatal(_) | Fault::Stop(_))) = &result {
            self.fail(&fault.to_string());
        }
        result
    }

    /// Nothing of it goes on, and it serves nobody, until the next start.
    pub fn fail(&self, why: &str) {
        *self.failed.lock() = Some(why.to_owned());
        self.watcher.told();
    }

    /// Where its partitions stand still, if any do.
    pub fn stops(&self) -> Vec<Stuck> {
        self.stopped.lock().values().cloned().collect()
    }

    /// Why all of it stands still, if it does.
    pub fn failed(&self) -> Option<String> {
        self.failed.lock().clone()
    }

    /// How far it is from serving, as records folded of those there were at the start.
    pub fn progress(&self) -> (u64, u64) {
        let at = self.generation().at();
        let folded = |partition: &Partition, goal: &Offset| at.get(partition).map_or(0, |here| here.0.min(goal.0));
        self.goal.iter().fold((0, 0), |(done, all), (partition, goal)| (done + folded(partition, goal), all + goal.0))
    }

    /// Rises with every fold, once its rows can be read: what was read before is of no use after it.
    pub fn folds(&self) -> u64 {
        self.folds.load(Ordering::Acquire)
    }

    /// Whether it has caught up once.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// After a new order, what stands still is tried again.
    fn obey(&self) -> Result<(), Fault> {
        let orders = self.control.orders();
        if self.orders.swap(orders, Ordering::AcqRel) == orders {
            return Ok(());
        }
        self.stopped.lock().clear();
        match self.rows().unskipped(&skips(&self.view, &self.control))? {
            Some((topic, partition, offset)) => Err(Fault::Fatal(format!(
                "{topic}/{partition} offset {offset} was folded here before it was settled that it is passed over: start again, and the view is folded anew"
            ))),
            None => Ok(()),
        }
    }

    fn try_turn(&self, wait: Duration, limits: Limits) -> Result<bool, Fault> {
        if !self.proven.load(Ordering::Acquire) {
            for partition in (0..self.log.partitions()).map(Partition) {
                rows_belong(self.log.as_ref(), &self.view.topic, partition, &self.rows())?;
            }
            self.proven.store(true, Ordering::Release);
            self.look_whether_ready();
        }
        if self.is_paused() {
            std::thread::sleep(wait);
            return Ok(false);
        }
        let mut standing = self.positions();
        standing.retain(|(_, partition, _)| !self.stopped.lock().contains_key(partition));
        if self.catch_up(&standing, limits)? {
            self.look_whether_ready();
            self.watcher.told();
            return Ok(true);
        }
        if !self.log.wait(&standing, wait)? {
            return Ok(false);
        }
        let (mut pages, mut records, mut bytes) = (vec![], 0, 0);
        for place in standing {
            let place = [place];
            if !self.log.wait(&place, Duration::ZERO)? {
                continue;
            }
            let [(topic, partition, from)] = &place;
            let page = self.log.read(topic, *partition, *from, limits)?;
            records += page.records.len();
            bytes += page.records.iter().map(|record| record.bytes()).sum::<usize>();
            pages.push((*partition, page));
            // Little is written at once; much is not gathered from all partitions first.
            if records >= limits.records || bytes >= limits.bytes {
                self.fold(std::mem::take(&mut pages))?;
                (records, bytes) = (0, 0);
            }
        }
        self.fold(pages)?;
        self.look_whether_ready();
        self.watcher.told();
        Ok(true)
    }

    /// Folds much at once, one partition after the other, until it has caught up: a log reads on faster than it comes back. Says
    /// whether there was something; not if one of its records cannot be folded, up to which it then goes page by page.
    fn catch_up(&self, standing: &Positions, limits: Limits) -> Result<bool, Fault> {
        let ranges: Vec<Range> =
            standing.iter().map(|(_, partition, next)| (*partition, *next, self.goal[partition])).filter(|(_, next, goal)| next < goal).collect();
        if self.is_ready() || ranges.is_empty() {
            return Ok(false);
        }
        let _turn = self.turning.lock();
        if self.is_paused() {
            return Ok(false);
        }
        self.watcher.begins();
        match self.generation().fold_ranges(self.log.as_ref(), &self.view.topic, &ranges, limits, || _ = self.folds.fetch_add(1, Ordering::AcqRel)) {
            Ok(records) => {
                self.watcher.replayed(records);
                Ok(true)
            }
            Err(Fault::Stop(_)) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    fn look_whether_ready(&self) {
        if !self.is_ready() {
            let stopped = self.stopped.lock();
            let caught_up = self.generation().at().iter().all(|(partition, here)| *here >= self.goal[partition] || stopped.contains_key(partition));
            self.ready.store(caught_up, Ordering::Release);
        }
    }

    fn fold(&self, mut pages: Vec<(Partition, Page)>) -> Result<(), Fault> {
        // Each round ends with all of it folded, or with one more partition that stands still.
        while !pages.is_empty() {
            // Whatever is swapped in stands where the other stood: pages that were read for one fit the other.
            let _turn = self.turning.lock();
            if self.is_paused() {
                return Ok(()); // meanwhile
            }
            self.watcher.begins();
            match self.generation().fold(&self.view.topic, &pages, || _ = self.folds.fetch_add(1, Ordering::AcqRel)) {
                Ok(()) => {
                    if self.is_ready() {
                        self.watcher.folded(&pages);
                    } else {
                        self.watcher.replayed(pages.iter().map(|(_, page)| page.records.len() as u64).sum());
                    }
                    return Ok(());
                }
                Err(Fault::Stop(stuck)) => {
                    for (partition, page) in pages.iter_mut().filter(|(partition, _)| *partition == stuck.partition) {
                        page.records.retain(|record| record.partition == *partition && record.offset < stuck.offset);
                        page.next = stuck.offset;
                    }
                    if self.stopped.lock().insert(stuck.partition, (*stuck).clone()).is_some() {
                        return Err(Fault::Fatal(format!("{stuck}: it stopped there twice")));
                    }
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Where it stands: what a reader of now is told. Rows may already be newer, never older.
    pub fn positions(&self) -> Positions {
        self.generation().at().into_iter().map(|(partition, next)| (self.view.topic.clone(), partition, next)).collect()
    }

    /// Where its topic ends.
    pub fn ends(&self) -> Result<Positions, Fault> {
        let topic = &self.view.topic;
        (0..self.log.partitions()).map(|partition| Ok((topic.clone(), Partition(partition), self.log.end(topic, Partition(partition))?))).collect()
    }

    /// Whether all of what lies before these places of its topic is folded.
    pub fn has_folded(&self, ends: &Positions) -> bool {
        let at = self.generation().at();
        ends.iter().all(|(_, partition, end)| at.get(partition).copied().unwrap_or_default() >= *end)
    }

    /// How many offsets it is behind, by partition.
    pub fn lag(&self) -> Result<Vec<(Partition, u64)>, Fault> {
        self.positions().into_iter().map(|(topic, partition, next)| Ok((partition, self.log.end(&topic, partition)?.0.saturating_sub(next.0)))).collect()
    }

    /// The same by ends that are known without asking the log: for whoever must not wait for it. Partitions whose end is
    /// not known yet are absent.
    pub fn lag_seen(&self) -> Vec<(Partition, u64)> {
        let lag = |(topic, partition, next): (Topic, Partition, Offset)| Some((partition, self.log.end_seen(&topic, partition)?.0.saturating_sub(next.0)));
        self.positions().into_iter().filter_map(lag).collect()
    }
}
