//! Secrets of an installation: keys that what is in its log depends on, as tokens made with them do. Never replaced in
//! silence where something may have been made with them.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use eventstore::Fault;

/// A key that an application declares. Its setting is `<name>_key`, its flags `--<name>-key` and `--new-<name>-key`, its
/// file in the data directory `<name>.key`.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// its name, one lower-case word; it never changes
    pub name: &'static str,
    /// what is made with it, in words
    pub makes: &'static str,
}

/// Where a key comes from.
#[derive(Clone, Copy)]
pub enum KeyOrigin {
    /// from whoever starts the process
    Given([u8; 32]),
    /// from the data directory, where the first start makes it
    Kept,
    /// a lost one is replaced, by this one or a new one: what was made with the other will not match
    New(Option<[u8; 32]>),
}

/// An installation's keys, by name.
#[derive(Default)]
pub struct Keys(BTreeMap<&'static str, [u8; 32]>);

impl Keys {
    /// Of these.
    pub fn new(keys: impl IntoIterator<Item = (&'static str, [u8; 32])>) -> Self {
        Self(keys.into_iter().collect())
    }

    /// The key of this name.
    ///
    /// # Panics
    /// If the application declares none of this name.
    pub fn get(&self, name: &str) -> &[u8; 32] {
        self.0.get(name).unwrap_or_else(|| panic!("the application declares no key '{name}'"))
    }
}

impl KeyOrigin {
    /// The key; of the directory the one that is there, or a new one where nothing can have been made with one yet.
    pub(crate) fn key(&self, spec: KeySpec, data: &Path, used: impl FnOnce() -> Result<bool, Fault>) -> anyhow::Result<[u8; 32]> {
        let KeySpec { name, makes } = spec;
        let file = data.join(format!("{name}.key"));
        let about = || format!("key of {makes} {}", file.display());
        match self {
            Self::Given(key) | Self::New(Some(key)) => return self.known(spec, data, *key),
            _ if file.exists() => {}
            Self::Kept if used()? => anyhow::bail!(
                "{} is missing, and {makes} were made with it: restore it from a backup, give the key as --{name}-key, or make a new one with \
                 --new-{name}-key: stored ones will not match",
                file.display()
            ),
            _ => made(name, data, &file).with_context(about)?,
        }
        let bytes = std::fs::read(&file).with_context(about)?;
        let key = bytes.try_into().map_err(|_| anyhow::anyhow!("{} must hold 32 bytes: restore it, since {makes} depend on it", file.display()))?;
        self.known(spec, data, key)
    }

    /// That it is the key that was used here before. Beside it lies what tells it from every other, and nothing of itself.
    fn known(&self, KeySpec { name, makes }: KeySpec, data: &Path, key: [u8; 32]) -> anyhow::Result<[u8; 32]> {
        let file = data.join(format!("{name}.key.check"));
        let check = blake3::derive_key(&format!("daybook 2026-11-26 which {name} key"), &key);
        let check = blake3::Hash::from_bytes(check).to_hex();
        let at = || format!("check of the key of {makes} {}", file.display());
        match std::fs::read_to_string(&file) {
            Ok(before) if before.trim() == check.as_str() => return Ok(key),
            Ok(_) if !matches!(self, Self::New(_)) => anyhow::bail!(
                "the key of {makes} is another than the one that was used with {} before: what is made with it would differ. Restore {name}.key, or give \
                 the key as --{name}-key; if the other is lost for good, --new-{name}-key takes this one from now on",
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
fn made(name: &str, dir: &Path, file: &Path) -> std::io::Result<()> {
    let random: Vec<u8> = (0..4).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).collect();
    let new = dir.join(format!("{name}.key.{}", std::process::id()));
    let mut out = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    out.write_all(blake3::hash(&random).as_bytes())?;
    out.sync_all()?;
    match std::fs::hard_link(&new, file) {
        Err(why) if why.kind() != std::io::ErrorKind::AlreadyExists => std::fs::rename(&new, file)?, // no links there
        _ => std::fs::remove_file(&new)?,
    }
    std::fs::File::open(dir)?.sync_all()
}
