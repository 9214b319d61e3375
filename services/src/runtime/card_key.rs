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
    /// a lost one is replaced, by this one or a new one: what tokens there are will not match
    New(Option<[u8; 32]>),
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
            Self::Given(key) | Self::New(Some(key)) => return self.known(data, *key),
            _ if file.exists() => {}
            Self::Kept if tokens()? => anyhow::bail!(
                "{} is missing, and tokens of cards were made with it: restore it from a backup, give the key as --card-key, or make a new one with \
                 --new-card-key: stored tokens will not match",
                file.display()
            ),
            _ => made(data, &file).with_context(|| format!("key of card tokens {}", file.display()))?,
        }
        let bytes = std::fs::read(&file).with_context(|| format!("key of card tokens {}", file.display()))?;
        let key = bytes.try_into().map_err(|_| anyhow::anyhow!("{} must hold 32 bytes: restore it, since card tokens depend on it", file.display()))?;
        self.known(data, key)
    }

    /// That it is the key that was used here before. Beside it lies what tells it from every other, and nothing of itself.
    fn known(&self, data: &Path, key: [u8; 32]) -> anyhow::Result<[u8; 32]> {
        let file = data.join("card.key.check");
        let check = blake3::derive_key("daybook 2026-11-26 which card key", &key);
        let check = blake3::Hash::from_bytes(check).to_hex();
        let at = || format!("check of the key of card tokens {}", file.display());
        match std::fs::read_to_string(&file) {
            Ok(before) if before.trim() == check.as_str() => return Ok(key),
            Ok(_) if !matches!(self, Self::New(_)) => anyhow::bail!(
                "the key of card tokens is another than the one that was used with {} before: tokens of the same card would differ. Restore card.key, or give \
                 the key as --card-key; if the other is lost for good, --new-card-key takes this one from now on",
                data.display()
            ),
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(why).with_context(at),
            _ => {}
        }
        std::fs::write(&file, check.as_bytes()).with_context(at)?;
        Ok(key)
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
