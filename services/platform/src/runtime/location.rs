//! Where a process keeps what: its log, and in its data directory what it folds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventstore::Log;
use eventstore::embedded::{Embedded, Settings, is_damage, repair};
use eventstore::kafka::{self, Kafka};
use eventstore::memory::Memory;

use crate::patience::Patience;

/// Where the log is.
pub enum LogLocation {
    /// in the data directory, which one process has
    Here {
        /// of a new log
        partitions: Option<u16>,
        /// one that is damaged is opened as far as it can be read
        accept_loss: bool,
    },
    /// on Kafka, which many processes share
    Kafka(Box<kafka::Settings>),
}

impl LogLocation {
    /// Opens the log only to read it, where that is another thing.
    pub(super) fn look(self, layout: &Layout, memory: &Memory) -> anyhow::Result<Arc<dyn Log>> {
        Ok(match self {
            Self::Here { .. } => Arc::new(Embedded::open(&layout.log(), Settings { looks: true, memory: memory.clone(), ..Settings::default() })?),
            Self::Kafka(settings) => Arc::new(Kafka::open(kafka::Settings { looks: true, ..*settings })?),
        })
    }

    pub(super) fn open(&self, layout: &Layout, memory: &Memory) -> anyhow::Result<Arc<dyn Log>> {
        Ok(match self {
            Self::Here { partitions, accept_loss } => {
                let (partitions, accept_loss) = (*partitions, *accept_loss);
                let open = |accept_loss| Embedded::open(&layout.log(), Settings { partitions, accept_loss, memory: memory.clone(), ..Settings::default() });
                match open(false) {
                    Err(fault) if accept_loss && is_damage(&fault) => {
                        tracing::error!(%fault, "the loss is accepted");
                        let log = match open(true) {
                            Err(fault) if is_damage(&fault) => repair(&layout.log()).and_then(|()| open(true))?,
                            opened => opened?,
                        };
                        layout.set_folds_aside(log.now())?; // they may hold what the log has lost
                        Arc::new(log)
                    }
                    opened => Arc::new(opened?),
                }
            }
            Self::Kafka(settings) => Arc::new(Patience::default().with(|| Kafka::open((**settings).clone()))?),
        })
    }
}

/// Where a data directory keeps what.
pub struct Layout(PathBuf);

impl Layout {
    /// Of the directory of one installation.
    pub fn of(data: &Path) -> Self {
        Self(data.to_path_buf())
    }
    pub(super) fn log(&self) -> PathBuf {
        self.0.join("log")
    }
    pub(super) fn heads(&self, service: &str) -> PathBuf {
        self.0.join("heads").join(service)
    }
    pub(super) fn views(&self) -> PathBuf {
        self.0.join("views")
    }
    /// The directories that hold something, each with those below it that are measured apart.
    pub(super) fn directories(&self) -> Vec<(&'static str, PathBuf, bool)> {
        vec![("log", self.log(), false), ("heads", self.0.join("heads"), true), ("views", self.views(), true)]
    }
    /// Moves what is folded out of the way, to be folded anew.
    pub(super) fn set_folds_aside(&self, now: kernel::Timestamp) -> anyhow::Result<()> {
        let aside = self.0.join(format!("set-aside-{}", now.0));
        eventstore::directory::make(&aside)?;
        for folds in [self.0.join("heads"), self.views()].iter().filter(|folds| folds.exists()) {
            std::fs::rename(folds, aside.join(folds.file_name().unwrap_or_default()))?;
        }
        tracing::warn!(to = %aside.display(), "what was folded is set aside, and folded anew from the log that is left");
        Ok(())
    }
    pub(super) fn scratch(&self) -> PathBuf {
        self.0.join("scratch")
    }
    /// Whether a process ran here before, and may have made something with its keys.
    pub(super) fn used(&self) -> bool {
        [self.log(), self.0.join("heads"), self.views()].iter().any(|dir| dir.exists())
    }
}
