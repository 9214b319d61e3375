//! Where a process keeps what: its log, and in its data directory what it folds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "embedded")]
use eventstore::embedded::{Embedded, Settings, is_damage, repair};
#[cfg(feature = "kafka")]
use eventstore::kafka::{self, Kafka};
use eventstore::log::Rules;
use eventstore::memory::Memory;
use eventstore::{Fault, Log};

use projections::Generations;

use crate::budget::Budget;
#[cfg(feature = "kafka")]
use crate::patience::Patience;

/// Told how long each group of writes took until it was on the disk, where the log is in the data directory.
pub type Synced = Arc<dyn Fn(Duration) + Send + Sync>;

/// Where the log is.
pub enum LogLocation {
    /// in the data directory, which one process has
    #[cfg(feature = "embedded")]
    Here {
        /// of a new log
        partitions: Option<u16>,
        /// one that is damaged is opened as far as it can be read
        accept_loss: bool,
    },
    /// on Kafka, which many processes share
    #[cfg(feature = "kafka")]
    Kafka(Box<kafka::Settings>),
}

impl LogLocation {
    /// In the data directory; none if this program was built without such logs.
    #[cfg(feature = "embedded")]
    pub fn here(partitions: Option<u16>, accept_loss: bool) -> Option<Self> {
        Some(Self::Here { partitions, accept_loss })
    }

    /// In the data directory; none if this program was built without such logs.
    #[cfg(not(feature = "embedded"))]
    pub fn here(_: Option<u16>, _: bool) -> Option<Self> {
        None
    }

    /// Whether it is in the data directory.
    pub fn is_here(&self) -> bool {
        match self {
            #[cfg(feature = "embedded")]
            Self::Here { .. } => true,
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => false,
        }
    }

    /// Whether a damaged one is opened as far as it can be read.
    pub fn accepts_loss(&self) -> bool {
        match self {
            #[cfg(feature = "embedded")]
            Self::Here { accept_loss, .. } => *accept_loss,
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => false,
        }
    }

    /// Opens the log only to read it, where that is another thing.
    #[cfg_attr(not(feature = "embedded"), allow(unused_variables, reason = "Kafka needs neither"))]
    pub(crate) fn look(self, layout: &Layout, memory: &Memory, rules: Rules) -> anyhow::Result<Arc<dyn Log>> {
        Ok(match self {
            #[cfg(feature = "embedded")]
            Self::Here { .. } => Arc::new(Embedded::open(&layout.log(), Settings { looks: true, rules, memory: memory.clone(), ..Settings::default() })?),
            #[cfg(feature = "kafka")]
            Self::Kafka(settings) => Arc::new(Kafka::open(kafka::Settings { looks: true, rules, ..*settings })?),
        })
    }

    #[cfg_attr(not(all(feature = "embedded", feature = "kafka")), allow(unused_variables, reason = "each needs its own"))]
    pub(crate) fn open(&self, layout: &Layout, memory: &Memory, rules: Rules, budget: &Budget, synced: Synced) -> anyhow::Result<Arc<dyn Log>> {
        Ok(match self {
            #[cfg(feature = "embedded")]
            Self::Here { partitions, accept_loss } => {
                let settings = || Settings { partitions: *partitions, rules, memory: memory.clone(), synced: Arc::clone(&synced), ..Settings::default() };
                embedded(*accept_loss, settings, layout)?
            }
            #[cfg(feature = "kafka")]
            Self::Kafka(settings) => {
                let (newest_bytes, fetched_bytes) = (budget.newest_records, budget.fetched);
                let settings = || kafka::Settings { rules, newest_bytes, fetched_bytes, ..(**settings).clone() };
                Arc::new(Patience::default().with(|| Kafka::open(settings()))?)
            }
        })
    }
}

#[cfg(feature = "embedded")]
fn embedded(accept_loss: bool, settings: impl Fn() -> Settings, layout: &Layout) -> anyhow::Result<Arc<dyn Log>> {
    let open = |accept_loss| Embedded::open(&layout.log(), Settings { accept_loss, ..settings() });
    match open(false) {
        Err(fault) if accept_loss && is_damage(&fault) => {
            tracing::error!(%fault, "the loss is accepted");
            let log = match open(true) {
                Err(fault) if is_damage(&fault) => repair(&layout.log()).and_then(|()| open(true))?,
                opened => opened?,
            };
            layout.set_folds_aside(log.now())?; // they may hold what the log has lost
            Ok(Arc::new(log))
        }
        opened => Ok(Arc::new(opened?)),
    }
}

/// Where a data directory keeps what.
pub struct Layout(PathBuf);

impl Layout {
    /// Of the directory of one installation.
    pub fn of(data: &Path) -> Self {
        Self(data.to_path_buf())
    }
    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }
    /// Where the states of a service lie that are in use.
    pub(crate) fn heads(&self, service: &str) -> Result<PathBuf, Fault> {
        Generations::serving(&self.0.join("heads"), service)
    }
    /// Where those of this shape lie, which are in use from now on.
    pub(crate) fn heads_of(&self, service: &str, shape: &str, memory: &Memory) -> Result<PathBuf, Fault> {
        Generations::of(&self.0.join("heads"), service).of_shape(shape, memory)
    }
    /// Where the rows of a view lie that are served.
    pub(crate) fn view(&self, view: &str) -> Result<PathBuf, Fault> {
        Generations::serving(&self.views(), view)
    }
    pub(crate) fn mail(&self) -> PathBuf {
        self.0.join("mail")
    }
    pub(crate) fn erasures(&self) -> PathBuf {
        self.0.join("erasures")
    }
    /// Folds that were proven, kept for the next proof to go on from.
    pub(crate) fn proven(&self) -> PathBuf {
        self.0.join("proven")
    }
    pub(crate) fn views(&self) -> PathBuf {
        self.0.join("views")
    }
    /// Where all rows lie that were folded from the log, each in a directory of its own.
    pub(crate) fn folds(&self) -> [PathBuf; 3] {
        [self.0.join("heads"), self.views(), self.proven()]
    }
    /// The directories that hold something, each with those below it that are measured apart.
    pub(crate) fn directories(&self) -> Vec<(&'static str, PathBuf, bool)> {
        vec![("log", self.log(), false), ("heads", self.0.join("heads"), true), ("views", self.views(), true)]
    }
    /// Moves what is folded out of the way, to be folded anew.
    pub(crate) fn set_folds_aside(&self, now: kernel::Timestamp) -> anyhow::Result<()> {
        let aside = self.0.join(format!("set-aside-{}", now.0));
        eventstore::directory::make(&aside)?;
        for folds in self.folds().iter().chain([&self.mail(), &self.erasures()]).filter(|folds| folds.exists()) {
            std::fs::rename(folds, aside.join(folds.file_name().unwrap_or_default()))?;
        }
        tracing::warn!(to = %aside.display(), "what was folded is set aside, and folded anew from the log that is left");
        Ok(())
    }
    pub(crate) fn scratch(&self) -> PathBuf {
        self.0.join("scratch")
    }
    /// Whether a process ran here before, and may have made something with its keys.
    pub(crate) fn used(&self) -> bool {
        [self.log(), self.0.join("heads"), self.views()].iter().any(|dir| dir.exists())
    }
}
