//! A fold that passes over what it cannot take, notes it, and goes on: a trial finds all that is wrong, and not the first of it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{set_hook, take_hook};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use eventstore::fold::Fold;
use eventstore::heads::{Heads, Invariants};
use eventstore::{Fault, Offset, Page, Record};
use projections::Folding;
use schemas::{Partition, Topic};

use super::findings::{Findings, Kind};

/// What is folded into.
pub enum Into {
    /// a view's rows
    View(Box<Folding>),
    /// a service's heads, which tell of states that break what they declare
    Heads(Box<Heads>, Invariants),
}

/// What became of one fold so far.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    /// events it read
    pub events: u64,
    /// what it met that is wrong
    pub findings: u64,
    /// how long reading and folding took
    pub took: Duration,
}

/// The fold.
pub struct Passing {
    /// its name
    pub name: String,
    /// what is folded into
    pub into: Into,
    /// what all folds find
    pub findings: Rc<RefCell<Findings>>,
    /// what this one does
    pub tally: Rc<Cell<Tally>>,
    /// somebody wants it to end
    pub ends: Arc<AtomicBool>,
    /// since when it reads
    pub since: Cell<Option<Instant>>,
}

enum Step {
    Fold(Page),
    PassOver(Arc<Record>),
}

impl Fold for Passing {
    fn next(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault> {
        self.since.set(Some(Instant::now()));
        self.inner().next(topic, partition)
    }

    fn fold(&mut self, topic: &Topic, partition: Partition, page: Page) -> Result<(), Fault> {
        if self.ends.load(Ordering::Relaxed) {
            return Err(Fault::Fatal("it was told to end".to_owned()));
        }
        let events = page.records.len() as u64;
        let mut steps = VecDeque::from([Step::Fold(page)]);
        while let Some(step) = steps.pop_front() {
            match step {
                Step::Fold(page) => self.step(topic, partition, &page, &mut steps)?,
                Step::PassOver(record) => self.pass_over(topic, &record)?,
            }
        }
        // The next page is waited for from here on: it is read meanwhile.
        let took = self.since.replace(Some(Instant::now())).map_or(Duration::ZERO, |since| since.elapsed());
        self.told(|tally| (tally.events, tally.took) = (tally.events + events, tally.took + took));
        Ok(())
    }
}

impl Passing {
    fn inner(&self) -> &dyn Fold {
        match &self.into {
            Into::View(view) => &**view,
            Into::Heads(heads, _) => &**heads,
        }
    }

    fn told(&self, change: impl FnOnce(&mut Tally)) {
        let mut tally = self.tally.get();
        change(&mut tally);
        self.tally.set(tally);
    }

    /// Folds a page, or up to the first event of it that cannot be taken: what is left comes next.
    fn step(&mut self, topic: &Topic, partition: Partition, page: &Page, steps: &mut VecDeque<Step>) -> Result<(), Fault> {
        match self.quietly(|inner| inner.fold(topic, partition, page.clone())) {
            Ok(()) => self.hear(topic),
            Err(Fault::Stop(stuck)) => {
                let at = page.records.iter().position(|record| record.offset == stuck.offset);
                let Some(at) = at else { return Err(Fault::Stop(stuck)) };
                self.note(page, at, (stuck.wrong.into(), &stuck.why), steps);
            }
            // It does not say which event it failed at: halves of the page do.
            Err(Fault::Fatal(why)) if page.records.len() == 1 => self.note(page, 0, (Kind::Stopped, &why), steps),
            Err(Fault::Fatal(_)) if page.records.len() > 1 => {
                let (one, other) = page.records.split_at(page.records.len() / 2);
                let middle = other.first().map_or(page.next, |record| record.offset);
                steps.push_front(Step::Fold(Page { records: other.to_vec(), next: page.next }));
                steps.push_front(Step::Fold(Page { records: one.to_vec(), next: middle }));
            }
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    /// The event at this place of the page is passed over, once those before it are folded.
    fn note(&self, page: &Page, at: usize, (kind, why): (Kind, &str), steps: &mut VecDeque<Step>) {
        let (before, from) = page.records.split_at(at);
        let Some((record, after)) = from.split_first() else { return };
        self.findings.borrow_mut().at(&self.name, record, kind, why);
        self.told(|tally| tally.findings += 1);
        steps.push_front(Step::Fold(Page { records: after.to_vec(), next: page.next }));
        steps.push_front(Step::PassOver(Arc::clone(record)));
        if !before.is_empty() {
            steps.push_front(Step::Fold(Page { records: before.to_vec(), next: record.offset }));
        }
    }

    /// A panic is told as a finding, and needs no lines of its own on standard error.
    fn quietly<T>(&mut self, work: impl FnOnce(&mut dyn Fold) -> T) -> T {
        let said = take_hook();
        set_hook(Box::new(|_| {}));
        let done = match &mut self.into {
            Into::View(view) => work(&mut **view),
            Into::Heads(heads, _) => work(&mut **heads),
        };
        set_hook(said);
        done
    }

    fn hear(&self, topic: &Topic) {
        let Into::Heads(_, invariants) = &self.into else { return };
        for broken in invariants.take() {
            let new = self.findings.borrow_mut().broken(&self.name, topic, broken);
            self.told(|tally| tally.findings += u64::from(new));
        }
    }

    /// As an operator's skip would have it: an aggregate whose event is passed over is closed.
    fn pass_over(&mut self, topic: &Topic, record: &Record) -> Result<(), Fault> {
        let next = Offset(record.offset.0 + 1);
        match &mut self.into {
            Into::View(view) => view.fold(topic, record.partition, Page { records: vec![], next }),
            Into::Heads(heads, _) => {
                if let Err(fault) = heads.pass_over(record, "it cannot be folded") {
                    heads.abort();
                    if !matches!(fault, Fault::Stop(_)) {
                        return Err(fault);
                    }
                }
                heads.save(&[], &[(record.partition, next)])
            }
        }
    }
}
