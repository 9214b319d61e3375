//! A view: which topic it folds and what an event does to its rows. A view folds one topic, so that replay order is live order.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventstore::caught::caught;
use eventstore::control::Skips;
use eventstore::fold::{Fold, unreadable};
use eventstore::log::{Stuck, Wrong};
use eventstore::observer::view as reader;
use eventstore::outcome::Outcome;
use eventstore::rows::{Last, Rows};
use eventstore::{Fault, Offset, Page, Record};
use kernel::Aggregate;
use schemas::envelope::Malformed;
use schemas::{Codec, Envelope, Partition, Topic};

use crate::generations::Vector;
use crate::overlay::Overlay;
use crate::queue::Queue;

/// An event as a view sees it.
pub struct Seen<'r> {
    /// what stands around it
    pub envelope: &'r Envelope,
    /// the record itself
    pub record: &'r Record,
}

impl Seen<'_> {
    /// The body.
    pub fn body(&self) -> &[u8] {
        self.record.body()
    }

    /// The event, if it is one of aggregate `A`'s; none if it is another's, or tells only what became of a command.
    pub fn event<A: Codec<W>, W>(&self) -> Result<Option<A::Event>, Malformed> {
        let kind = &self.envelope.kind;
        if kind.aggregate != <A as Aggregate>::NAME || Outcome::of_marker(kind, self.body())?.is_some() {
            return Ok(None);
        }
        A::decode_event(kind, self.body()).map(Some)
    }
}

/// Why a view could not fold an event.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// The event cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The rows cannot be read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What an event changes.
pub type FoldEvent = fn(&Seen<'_>, &mut Overlay) -> Result<(), FoldError>;

/// A read model as data. Stateless: its rows are all it knows.
pub struct View {
    /// Lower case, unique in the process; the name of its directory.
    pub name: String,
    /// The shape of its rows. Raise it with every change: rows of another shape are folded anew.
    pub shape: u32,
    /// The one topic it folds.
    pub topic: Topic,
    /// What an event changes.
    pub fold: FoldEvent,
    /// Rows whose keys begin with this are a [`Queue`].
    pub queue: Option<&'static str>,
    /// The oldest shape whose rows this program's readers and fold can still take as they are, as they can where fields were only
    /// added, with a default. Such rows are served, and folded further, until those of today's shape are folded beside them.
    /// Rows of other shapes are not served: the view answers 503 until it is folded anew. Today's shape if nothing older can
    /// be read.
    pub readable_from: u32,
}

impl View {
    /// What its rows are marked with.
    pub fn shape(&self) -> String {
        format!("{} {}", self.name, self.shape)
    }

    /// Whether rows that are marked so are of this view, of whatever shape.
    pub fn is_of(&self, shape: &str) -> bool {
        shape.strip_prefix(&self.name).is_some_and(|rest| rest.starts_with(' '))
    }

    /// Whether rows that are marked so can be served until there are others.
    pub fn reads(&self, shape: &str) -> bool {
        let number = shape.strip_prefix(&self.name).and_then(|rest| rest.trim_start().parse::<u32>().ok());
        number.is_some_and(|number| (self.readable_from..=self.shape).contains(&number))
    }

    /// Changes rows as a record of its topic says; false if an operator settled that it is passed over.
    pub fn change(&self, record: &Record, skips: &Skips, rows: &mut Overlay) -> Result<bool, Fault> {
        if skips.of(&reader(&self.name), record).is_some() {
            return Ok(false);
        }
        let envelope = record.envelope().map_err(|why| unreadable(record, why))?;
        if let Some(why) = skips.misplaced(record, envelope) {
            return Err(Fault::Stop(Box::new(Stuck::at(record, why))));
        }
        // A panic is a rule of ours that is broken: it must not end the view, and would come again with each start.
        let folded = caught(|| (self.fold)(&Seen { envelope, record }, rows));
        folded.map_err(|panic| Fault::Stop(Box::new(Stuck::at(record, format!("folding it panicked: {panic}")).being(Wrong::Panicked))))?.map_err(|why| {
            match why {
                FoldError::Malformed(why) => unreadable(record, &why),
                FoldError::Fault(fault) => fault,
            }
        })?;
        Ok(true)
    }
}

/// A view over its rows, as something a log can be folded into. The only one that writes them.
pub struct Folding {
    view: Arc<View>,
    rows: Arc<Rows>,
    overlay: Overlay,
    gathered: Gathered,
    queue: Option<Arc<Queue>>,
    skips: Arc<Skips>,
}

/// What was folded in memory and is not written yet.
#[derive(Default)]
struct Gathered {
    /// where each partition stands by it, and the last record of it
    places: BTreeMap<Partition, (Offset, Option<Last>)>,
    /// what an operator settled is passed over
    passed: Vec<(Partition, Offset)>,
}

impl Fold for Folding {
    fn next(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault> {
        self.rows.position(topic, partition)
    }

    fn fold(&mut self, topic: &Topic, partition: Partition, page: Page) -> Result<(), Fault> {
        self.fold_all(topic, &[(partition, page)])
    }

    fn last(&self, topic: &Topic, partition: Partition) -> Result<Option<Last>, Fault> {
        self.rows.last(topic, partition)
    }
}

impl Folding {
    /// Of `view` into `rows`; nobody looks at its queue.
    pub fn new(view: Arc<View>, rows: Arc<Rows>) -> Self {
        Self { overlay: Overlay::over(Arc::clone(&rows)), view, rows, gathered: Gathered::default(), queue: None, skips: Arc::default() }
    }

    /// Tells its queue, too.
    #[must_use]
    pub fn telling(self, queue: Option<Arc<Queue>>) -> Self {
        Self { queue, ..self }
    }

    /// The same, passing over what an operator settled.
    #[must_use]
    pub fn honouring(self, skips: Arc<Skips>) -> Self {
        Self { skips, ..self }
    }

    /// Folds pages of several partitions: one write makes all of it visible together.
    pub fn fold_all(&mut self, topic: &Topic, pages: &[(Partition, Page)]) -> Result<(), Fault> {
        pages.iter().try_for_each(|(partition, page)| self.gather(*partition, page))?;
        self.write(topic).map(drop)
    }

    /// Folds a page in memory, to be written with those before it. After an error nothing is gathered.
    pub fn gather(&mut self, partition: Partition, page: &Page) -> Result<(), Fault> {
        for record in &page.records {
            match self.view.change(record, &self.skips, &mut self.overlay) {
                Ok(true) => {}
                Ok(false) => self.gathered.passed.push((record.partition, record.offset)),
                Err(fault) => {
                    self.forget();
                    return Err(fault);
                }
            }
        }
        let (next, last) = self.gathered.places.entry(partition).or_default();
        *next = page.next;
        page.records.last().into_iter().for_each(|record| *last = Some(Last::of(record)));
        Ok(())
    }

    /// Writes what is gathered, and makes it visible together; says where its partitions stand now.
    pub fn write(&mut self, topic: &Topic) -> Result<Vector, Fault> {
        let written = self.write_gathered(topic);
        if written.is_err() {
            self.forget();
        }
        written
    }

    /// Forgets what is gathered.
    pub fn forget(&mut self) {
        self.overlay.forget();
        self.gathered = Gathered::default();
    }

    fn write_gathered(&mut self, topic: &Topic) -> Result<Vector, Fault> {
        let moved = self.queue.as_ref().map(|queue| self.overlay.moved(queue.prefix()));
        let mut changes = self.overlay.changes()?;
        let Gathered { places, passed } = std::mem::take(&mut self.gathered);
        for (partition, (next, last)) in &places {
            changes.position(topic, *partition, *next);
            last.iter().for_each(|last| changes.last(topic, *partition, *last));
        }
        passed.iter().for_each(|(partition, offset)| changes.skipped(topic, *partition, *offset));
        self.rows.write(changes)?;
        self.queue.iter().zip(moved).for_each(|(queue, moved)| queue.moved(moved));
        Ok(places.into_iter().map(|(partition, (next, _))| (partition, next)).collect())
    }
}
