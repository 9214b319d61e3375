//! Whether personal data is sealed, and where its keys are.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::secret::{KeySetting, Secret};
use crate::sealing::{SEALING_KEY, SealingStart};

/// Whether personal data is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seal {
    /// from now on, and for ever
    On,
    /// a new log is never begun with it
    Off,
}

/// What `up` and `serve` can be told of personal data.
#[derive(Args, Clone, Debug)]
pub struct SealingFlags {
    /// Whether personal data is sealed under a key for each person, so that it can be erased; settled for a log once it is on
    /// [default: on for a new log]
    #[arg(long, env = "DAYBOOK_SEAL", value_name = "SEAL")]
    seal: Option<Seal>,
    /// Where those keys are: a directory of its own, with backups of its own, that all instances share [default: beside the data
    /// directory, as <data>.keys]
    #[arg(long, env = "DAYBOOK_KEY_STORE", value_name = "DIR")]
    key_store: Option<PathBuf>,
    /// The key that those are encrypted with, as 64 hex digits, the same at every instance [default: kept in the data directory]
    #[arg(long, env = "DAYBOOK_SEALING_KEY", value_name = "HEX", hide_env_values = true)]
    sealing_key: Option<Secret>,
}

/// The same in a settings file.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct File {
    seal: Option<Seal>,
    key_store: Option<PathBuf>,
}

/// What holds.
#[derive(Clone, Debug)]
pub struct SealingConfig {
    seal: Option<Seal>,
    key_store: Option<PathBuf>,
    key: KeySetting,
}

impl SealingFlags {
    pub(super) fn or(self, file: File, rest: &mut toml::Table) -> anyhow::Result<SealingConfig> {
        let key = KeySetting::of(SEALING_KEY, self.sealing_key, false, rest)?;
        Ok(SealingConfig { seal: self.seal.or(file.seal), key_store: self.key_store.or(file.key_store), key })
    }
}

impl SealingConfig {
    /// What a process is started with.
    ///
    /// # Errors
    /// If the key is none.
    pub fn start(&self, data: &Path, shared: bool) -> anyhow::Result<SealingStart> {
        let beside = || {
            let mut name = data.file_name().unwrap_or_default().to_owned();
            name.push(".keys");
            data.with_file_name(name)
        };
        let given = self.key_store.is_some() && self.key.given.is_some();
        Ok(SealingStart {
            wanted: self.seal.map(|seal| seal == Seal::On),
            store: self.key_store.clone().unwrap_or_else(beside),
            beside: self.key_store.is_none(),
            key: self.key.origin()?,
            incomplete: shared && !given,
        })
    }

    pub(super) fn lines(&self, quoted: impl Fn(&str) -> String) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("seal", self.seal.map(|seal| quoted(if seal == Seal::On { "on" } else { "off" }))),
            ("key_store", self.key_store.as_ref().map(|path| quoted(&path.to_string_lossy()))),
            ("# sealing_key", self.key.given.as_ref().map(|_| quoted("(redacted)"))),
        ]
    }
}
