//! The key of card tokens: what makes the same number the same token within an installation. Never replaced in silence
//! where tokens may have been made with it.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use eventstore::{Fault, Log, Offset};
use schemas::Partition;

use crate::capability::Capability;

/// Where the key of card tokens comes from.
pub enum CardKey {
    /// from whoever starts the process
    Given([u8; 32]),
    /// from the data directory, where the first start makes it
    Kept,
    /// a lost one is replaced: what tokens there are will not match
    New,
}

impl From<Option<[u8; 32]>> for CardKey {
    fn from(given: Option<[u8; 32]>) -> Self {
        given.map_or(Self::Kept, Self::Given)
    }
}

impl CardKey {
    /// The key; of the directory the one that is there, or a new one where there may be no tokens yet.
    pub(super) fn of(&self, data: &Path, tokens: impl FnOnce() -> Result<bool, Fault>) -> anyhow::Result<[u8; 32]> {
        let file = data.join("card.key");
        match self {
            Self::Given(key) => return Ok(*key),
            _ if file.exists() => {}
            Self::Kept if tokens()? => anyhow::bail!(
                "{} is missing, and tokens of cards were made with it: restore it from a backup, give the key as --card-key, or make a new one with \
                 --new-card-key: stored tokens will not match",
                file.display()
            ),
            _ => made(data, &file).with_context(|| format!("key of card tokens {}", file.display()))?,
        }
        let bytes = std::fs::read(&file).with_context(|| format!("key of card tokens {}", file.display()))?;
        bytes.try_into().map_err(|_| anyhow::anyhow!("{} must hold 32 bytes: restore it, since card tokens depend on it", file.display()))
    }
}

/// Makes a key, whole or not at all. Another process may do the same at this moment: there is one, whoever comes first.
fn made(dir: &Path, file: &Path) -> std::io::Result<()> {
    let random: Vec<u8> = (0..4).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).collect();
    let new = dir.join(format!("card.key.{}", std::process::id()));
    let mut out = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    out.write_all(blake3::hash(&random).as_bytes())?;
    out.sync_all()?;
    match std::fs::hard_link(&new, file) {
        Err(why) if why.kind() != std::io::ErrorKind::AlreadyExists => std::fs::rename(&new, file)?, // no links there
        _ => std::fs::remove_file(&new)?,
    }
    std::fs::File::open(dir)?.sync_all()
}

/// Whether anybody was ever asked anything.
pub(super) fn holds_commands(log: &dyn Log, capabilities: &[Capability]) -> Result<bool, Fault> {
    for capability in capabilities {
        for partition in (0..log.partitions()).map(Partition) {
            if log.end(&capability.service.commands(), partition)? > Offset(0) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
