//! A program without Kafka: its log is in the data directory.

use crate::location::LogLocation;

/// No settings.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Cluster {}

/// No settings.
#[derive(Default, serde::Deserialize)]
pub struct File {}

impl Cluster {
    /// Nowhere but in the data directory.
    pub fn location(&self, _: Option<u16>, _: Option<String>) -> Option<LogLocation> {
        None
    }

    /// None.
    pub fn brokers(&self) -> Option<&str> {
        None
    }

    pub(super) fn or(self, File {}: File) -> Self {
        self
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        Ok(())
    }

    pub(super) fn lines(&self, _: impl Fn(&str) -> String) -> Vec<(&'static str, String)> {
        vec![]
    }

    pub(super) fn part(&self, _: impl Fn(&str) -> String) -> Vec<String> {
        vec![]
    }
}
