//! The file of signing keys: read whole, replaced whole, by one process at a time. It must never be readable by others,
//! and never be there in part.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Bytes that the file has at most; sixteen keys need two thousand.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What the file holds.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    /// all keys, in the order in which they were made
    pub keys: Vec<KeptKey>,
}

/// A key as the file holds it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptKey {
    /// its name, which tells whether the rest is whole
    pub kid: String,
    /// its private half, 32 bytes in base64url
    pub seed: Zeroizing<String>,
    /// when it begins to sign, by RFC 3339
    pub signs_from: String,
}

/// What changes about a file when it is replaced or written to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    /// when its bytes changed, in seconds and nanoseconds
    modified: (i64, i64),
    /// when its bytes, owner or mode changed
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file at this path.
    pub(crate) fn at(path: &Path) -> anyhow::Result<Self> {
        std::fs::metadata(path).map(|data| Self::of(&data)).with_context(|| about(path))
    }

    fn of(data: &std::fs::Metadata) -> Self {
        Self {
            device: data.dev(),
            inode: data.ino(),
            length: data.len(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }
}

/// The file's contents, and the stamp that they had.
pub(crate) fn read(path: &Path) -> anyhow::Result<(Kept, Stamp)> {
    let file = File::open(path).with_context(|| about(path))?;
    let data = file.metadata().with_context(|| about(path))?;
    let (mode, length) = (data.mode() & 0o7777, data.len());
    anyhow::ensure!(data.is_file(), "{} is no file", about(path));
    anyhow::ensure!(mode & 0o077 == 0, "{} can be read or written by others (mode {mode:04o}): run 'chmod 600 {}'", about(path), path.display());
    anyhow::ensure!(length <= FILE_BYTES_MAX, "{} is longer than {FILE_BYTES_MAX} bytes", about(path));
    let mut text = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize)); // of one size, so that no copy stays behind
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).with_context(|| about(path))?;
    // serde's own words would show what it stumbled over, which may be a seed
    let broken =
        |why: serde_json::Error| anyhow::anyhow!("{} is broken at line {}, column {}: restore it from a backup", about(path), why.line(), why.column());
    Ok((serde_json::from_slice(&text).map_err(broken)?, Stamp::of(&data)))
}

/// Makes the file if it is not there. Others may do the same at this moment: there is one, whoever comes first.
pub(crate) fn make_if_missing(path: &Path, contents: impl FnOnce() -> anyhow::Result<Kept>) -> anyhow::Result<()> {
    if path.try_exists().with_context(|| about(path))? {
        return Ok(()); // nothing is written beside it: the directory may be for reading only
    }
    let lock = Held(lock_file(path)?);
    lock.0.lock().with_context(|| about(path))?;
    match path.try_exists().with_context(|| about(path))? {
        true => Ok(()),
        false => replace(path, &contents()?),
    }
}

/// A lock, for as long as this lives. Given back and not only closed: a child that is being started has a copy of it for a moment.
pub(crate) struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        let _closed_next = self.0.unlock();
    }
}

/// Holds the file for one process that changes it.
pub(crate) fn lock(path: &Path) -> anyhow::Result<Held> {
    let lock = Held(lock_file(path)?);
    match lock.0.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => anyhow::bail!("{} is being changed by another process: try again", about(path)),
        Err(TryLockError::Error(why)) => Err(why).with_context(|| about(path)),
    }
}

/// Replaces the file, whole or not at all. Only while it is locked.
pub(crate) fn replace(path: &Path, contents: &Kept) -> anyhow::Result<()> {
    let new = beside(path, "new");
    written(&new, contents).and_then(|()| std::fs::rename(&new, path)).and_then(|()| File::open(directory(path))?.sync_all()).with_context(|| about(path))
}

/// What the file is called in errors.
pub(crate) fn about(path: &Path) -> String {
    format!("file of signing keys {}", path.display())
}

fn written(new: &Path, contents: &Kept) -> std::io::Result<()> {
    match std::fs::remove_file(new) {
        Err(why) if why.kind() != ErrorKind::NotFound => return Err(why),
        _ => {} // what a process left behind that ended here
    }
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
    let mut text = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize));
    serde_json::to_writer_pretty(&mut *text, contents)?;
    text.push(b'\n');
    out.write_all(&text)?;
    out.sync_all()
}

/// Beside the file, since that one is replaced and this one must stay the same.
fn lock_file(path: &Path) -> anyhow::Result<File> {
    let lock = beside(path, "lock");
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock).with_context(|| format!("lock {}", lock.display()))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}
