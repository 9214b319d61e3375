//! One generation of a view: rows, and where they stand.

use std::path::Path;
use std::sync::Arc;

use eventstore::control::Control;
use eventstore::fold::{Range, read_ahead};
use eventstore::memory::Memory;
use eventstore::observer::view as reader;
use eventstore::rows::{Changes, Rows};
use eventstore::{Fault, Limits, Log, Page, Positions};
use parking_lot::Mutex;
use schemas::{Partition, Topic};

use crate::generations::{Asked, Roles, Vector};
use crate::queue::Queue;
use crate::view::{Folding, View};

/// What is read at once where much is folded: it is folded while it is still in the processor's caches.
const PAGE: Limits = Limits { records: 1_000, bytes: 1024 * 1024 };

/// See the module. Whoever folds into it is its only writer.
pub struct Generation {
    /// among the view's
    pub number: u32,
    pub rows: Arc<Rows>,
    pub folding: Mutex<Folding>,
    pub queue: Option<Arc<Queue>>,
    at: Mutex<Vector>,
}

/// The places of its topic that a view passes over.
pub fn skips(view: &View, control: &Control) -> Positions {
    let places = control.skips().places(&reader(&view.name), &view.topic).into_iter();
    places.map(|(partition, offset)| (view.topic.clone(), partition, offset)).collect()
}

/// Which generation is served by a program of this view: of those that are there, the one of its shape; else the one that is
/// served, as long as it can be read; else a new one.
pub fn chosen(view: &View, roles: &mut Roles) {
    let (shape, serving) = (view.shape(), roles.shapes.get(&roles.serving).cloned());
    let Some(found) = serving.filter(|found| *found != shape) else {
        roles.shapes.entry(roles.serving).or_insert(shape);
        return;
    };
    if let Some(previous) = roles.previous.filter(|previous| roles.shapes.get(previous) == Some(&shape)) {
        tracing::info!(view = view.name, "rows of this shape were served before: they are again");
        (roles.previous, roles.serving, roles.beside) = (Some(roles.serving), previous, None);
    } else if view.reads(&found) {
        let beside = roles.beside.take().filter(|beside| roles.shapes.get(&beside.number) == Some(&shape));
        let beside = beside.unwrap_or_else(|| Asked::for_shape(roles.next()));
        roles.shapes.insert(beside.number, shape);
        tracing::info!(view = view.name, "rows are of an earlier shape ({found}): they are served until they are folded anew");
        roles.beside = Some(Asked { swaps: true, accepts: true, until: None, ..beside });
    } else {
        let next = roles.next();
        tracing::info!(view = view.name, "rows are of another shape ({found}): they are folded anew");
        (roles.previous, roles.serving, roles.beside) = (Some(roles.serving), next, None);
        roles.shapes.insert(next, shape);
    }
}

impl Generation {
    /// Opens the rows in `dir`, which are of this shape, or makes them.
    pub fn open(number: u32, (view, shape): (&Arc<View>, &str), control: &Control, dir: &Path, memory: &Memory) -> Result<Self, Fault> {
        let (topic, log) = (&view.topic, control.log());
        let rows = Arc::new(Rows::open_of(dir, shape, control.id(), &skips(view, control), memory)?);
        let at: Vector =
            (0..log.partitions()).map(Partition).map(|partition| Ok((partition, rows.position(topic, partition)?))).collect::<Result<_, Fault>>()?;
        // A proof tells by this what was not folded yet from what is missing.
        let mut standing = Changes::default();
        at.iter().for_each(|(partition, here)| standing.position(topic, *partition, *here));
        rows.write(standing)?;
        let queue = view.queue.map(|prefix| Queue::open(prefix, &rows)).transpose()?.map(Arc::new);
        let folding = Folding::new(Arc::clone(view), Arc::clone(&rows)).telling(queue.clone()).honouring(Arc::clone(control.skips()));
        Ok(Self { number, rows, folding: Mutex::new(folding), queue, at: Mutex::new(at) })
    }

    /// Folds pages, which begin where it stands. `done` is called once the rows can be read, before it says that it stands there.
    pub fn fold(&self, topic: &Topic, pages: &[(Partition, Page)], done: impl FnOnce()) -> Result<(), Fault> {
        self.folding.lock().fold_all(topic, pages)?;
        done();
        self.at.lock().extend(pages.iter().map(|(partition, page)| (*partition, page.next)));
        Ok(())
    }

    /// Folds what lies in these ranges until so much of it is folded, and writes that at once; says how many records
    /// it was. `done` is called as by [`Generation::fold`].
    pub fn fold_ranges(&self, log: &dyn Log, topic: &Topic, ranges: &[Range], most: Limits, done: impl FnOnce()) -> Result<u64, Fault> {
        let (mut folding, mut records) = (self.folding.lock(), 0);
        let page = Limits { records: PAGE.records.min(most.records), ..PAGE };
        let read = read_ahead(log, topic, ranges, page, most, &mut |partition, page| {
            records += page.records.len() as u64;
            folding.gather(partition, &page)
        });
        if let Err(fault) = read {
            folding.forget();
            return Err(fault);
        }
        let written = folding.write(topic)?;
        done();
        self.at.lock().extend(written);
        Ok(records)
    }

    /// Where it stands. Rows may already be newer, never older.
    pub fn at(&self) -> Vector {
        self.at.lock().clone()
    }
}
