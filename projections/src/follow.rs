//! A projection: a view that follows its topic, says how fresh it is, and makes readers wait rather than read behind
//! what they have seen. Serves nothing before it has caught up once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventstore::rows::{Memory, Rows};
use eventstore::{Fault, Limits, Log, Offset, Page, Positions};
use parking_lot::Mutex;
use schemas::{Partition, Topic};
use serde::de::DeserializeOwned;

use crate::overlay::read;
use crate::queue::Queue;
use crate::view::{Folding, View};

/// Why a read is not served now.
#[derive(Debug, thiserror::Error)]
pub enum NotServed {
    /// The view has not caught up since it was opened.
    #[error("view {0} is being folded: try again shortly")]
    Rebuilding(String),
    /// It stands before the position the reader brought.
    #[error("view {0} has not reached the position asked for")]
    Behind(String),
    /// The token names no topic this view folds.
    #[error("view {view} folds {folds}, and the position names only other topics: {named}")]
    OtherTopic {
        /// the view
        view: String,
        /// its topic
        folds: Topic,
        /// the token's
        named: String,
    },
    /// It stopped at an event it cannot fold.
    #[error("view {view} stopped: {why}")]
    Stopped {
        /// the view
        view: String,
        /// where and why
        why: String,
    },
    /// Its rows cannot be read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A view, its rows and where it stands.
pub struct Projection {
    view: Arc<View>,
    rows: Arc<Rows>,
    folding: Mutex<Folding>,
    queue: Option<Arc<Queue>>,
    log: Arc<dyn Log>,
    /// the ends it must reach before it serves
    goal: BTreeMap<Partition, Offset>,
    at: Mutex<BTreeMap<Partition, Offset>>,
    ready: AtomicBool,
    stopped: Mutex<Option<String>>,
    folded: Box<dyn Fn() + Send + Sync>,
}

impl Projection {
    /// Opens the view's rows below `dir`; `folded` is called after each step, for those who wait.
    pub fn open(view: Arc<View>, log: Arc<dyn Log>, dir: &Path, memory: &Memory, folded: Box<dyn Fn() + Send + Sync>) -> Result<Self, Fault> {
        let rows = Arc::new(Rows::open(&dir.join(&view.name), &format!("{} {}", view.name, view.shape), memory)?);
        let topic = &view.topic;
        let (mut goal, mut at) = (BTreeMap::new(), BTreeMap::new());
        for partition in (0..log.partitions()).map(Partition) {
            let (end, here) = (log.end(topic, partition)?, rows.position(topic, partition)?);
            if here > end {
                return Err(Fault::Fatal(format!(
                    "view {} stands at {topic}/{partition} offset {here}, past the log's end {end}: these rows belong to another log; delete {} and start again",
                    view.name,
                    dir.join(&view.name).display()
                )));
            }
            goal.insert(partition, end);
            at.insert(partition, here);
        }
        let ready = AtomicBool::new(at.iter().all(|(partition, here)| *here >= goal[partition]));
        let queue = view.queue.map(|prefix| Queue::open(prefix, &rows)).transpose()?.map(Arc::new);
        let folding = Mutex::new(Folding::new(Arc::clone(&view), Arc::clone(&rows)).telling(queue.clone()));
        Ok(Self { view, rows, folding, queue, log, goal, at: Mutex::new(at), ready, stopped: Mutex::new(None), folded })
    }

    /// The view's name.
    pub fn name(&self) -> &str {
        &self.view.name
    }

    /// The view itself.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Its rows, for scans and proofs.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// What waits in its queue, if it has one. Rows may be newer.
    pub fn queue(&self) -> Option<&Queue> {
        self.queue.as_deref()
    }

    /// Folds what is new, one page of each partition; waits at most `wait` for something new. Says whether there was any.
    pub fn turn(&self, wait: Duration, limits: Limits) -> Result<bool, Fault> {
        let result = self.try_turn(wait, limits);
        if let Err(fault @ (Fault::Fatal(_) | Fault::Stop(_))) = &result {
            *self.stopped.lock() = Some(fault.to_string());
        }
        result
    }

    fn try_turn(&self, wait: Duration, limits: Limits) -> Result<bool, Fault> {
        let standing = self.positions();
        if !self.log.wait(&standing, wait)? {
            return Ok(false);
        }
        let (mut pages, mut records, mut bytes) = (vec![], 0, 0);
        for (topic, partition, from) in standing {
            let place = [(topic, partition, from)];
            if !self.log.wait(&place, Duration::ZERO)? {
                continue;
            }
            let page = self.log.read(&place[0].0, partition, from, limits)?;
            records += page.records.len();
            bytes += page.records.iter().map(|record| record.bytes()).sum::<usize>();
            pages.push((partition, page));
            // Little is written at once; much is not gathered from all partitions first.
            if records >= limits.records || bytes >= limits.bytes {
                self.fold(std::mem::take(&mut pages))?;
                (records, bytes) = (0, 0);
            }
        }
        self.fold(pages)?;
        if !self.ready.load(Ordering::Acquire) {
            let caught_up = self.at.lock().iter().all(|(partition, here)| *here >= self.goal[partition]);
            self.ready.store(caught_up, Ordering::Release);
        }
        (self.folded)();
        Ok(true)
    }

    fn fold(&self, pages: Vec<(Partition, Page)>) -> Result<(), Fault> {
        if !pages.is_empty() {
            self.folding.lock().fold_all(&self.view.topic, &pages)?;
            self.at.lock().extend(pages.iter().map(|(partition, page)| (*partition, page.next)));
        }
        Ok(())
    }

    /// Where it stands: what a reader of now is told. Rows may already be newer, never older.
    pub fn positions(&self) -> Positions {
        self.at.lock().iter().map(|(partition, next)| (self.view.topic.clone(), *partition, *next)).collect()
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

    /// Whether it may serve a reader who brings `token` (possibly empty).
    pub fn serves(&self, token: &Positions) -> Result<(), NotServed> {
        if let Some(why) = self.stopped.lock().clone() {
            return Err(NotServed::Stopped { view: self.name().to_owned(), why });
        }
        if !self.ready.load(Ordering::Acquire) {
            return Err(NotServed::Rebuilding(self.name().to_owned()));
        }
        let own: Vec<_> = token.iter().filter(|(topic, ..)| *topic == self.view.topic).collect();
        if own.is_empty() && !token.is_empty() {
            let named = token.iter().map(|(topic, ..)| topic.to_string()).collect::<Vec<_>>().join(", ");
            return Err(NotServed::OtherTopic { view: self.name().to_owned(), folds: self.view.topic.clone(), named });
        }
        let at = self.at.lock();
        let reached = |(_, partition, next): &&(Topic, Partition, Offset)| at.get(partition).is_some_and(|here| here >= next);
        if own.iter().all(reached) { Ok(()) } else { Err(NotServed::Behind(self.name().to_owned())) }
    }

    /// A row.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Fault> {
        self.rows.get(key.as_bytes())?.map(|bytes| read(key, &bytes)).transpose()
    }

    /// Rows whose keys begin with `prefix`, from `from` on, at most `most` of them and at most `bytes`; and the key after them.
    pub fn page<T: DeserializeOwned>(&self, prefix: &str, from: Option<&str>, most: usize, bytes: usize) -> Result<(Vec<T>, Option<String>), Fault> {
        let (rows, next) = self.rows.scan_within(prefix.as_bytes(), from.map(str::as_bytes), most, bytes)?;
        let decode = |(key, row): &(Box<[u8]>, Box<[u8]>)| read(&String::from_utf8_lossy(key), row);
        Ok((rows.iter().map(decode).collect::<Result<_, _>>()?, next.map(|key| String::from_utf8_lossy(&key).into_owned())))
    }

    /// Rows whose keys begin with `prefix`, from `from` on, at most `most`, with their keys.
    pub fn scan<T: DeserializeOwned>(&self, prefix: &str, from: Option<&str>, most: usize) -> Result<Vec<(String, T)>, Fault> {
        let rows = self.rows.scan(prefix.as_bytes(), from.map(str::as_bytes), most)?;
        let decode = |(key, row): &(Box<[u8]>, Box<[u8]>)| {
            let key = String::from_utf8_lossy(key).into_owned();
            read(&key, row).map(|row| (key, row))
        };
        rows.iter().map(decode).collect()
    }
}
