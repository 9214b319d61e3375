//! Why a key store does not do what it is asked, and what to do about it. Never has a key in it, nor anything sealed.

use std::io;
use std::path::{Path, PathBuf};

use super::ids::{KeyId, NoId};

/// Why a key store does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// its lock was not to be had for as long as it is waited for
    #[error("another process holds the lock of the key store {}, and has for long: see whether it hangs, then ask again", .0.display())]
    Busy(PathBuf),
    /// there is none
    #[error("{} is missing: restore the key store from its backup; without it nothing that was sealed can be read", .0.display())]
    Missing(PathBuf),
    /// it was made with another key-encryption key
    #[error("{} is sound, and was made with another key-encryption key: give that one, or restore the file that belongs to this one", .0.display())]
    WrongKek(PathBuf),
    /// it is not the one that was opened
    #[error("{} is another key store's now: put back the one that was there, or start again if it is the right one", .0.display())]
    Exchanged(PathBuf),
    /// it is not what was written
    #[error("{} is damaged at byte {at}: restore the key store from its backup, then start again: the log tells it what was erased since", file.display())]
    Damaged {
        /// the file
        file: PathBuf,
        /// the offset of what is damaged
        at: u64,
    },
    /// a key that was never erased is not there
    #[error("{} has neither the key {id} nor a record of its erasure: it is older than what was sealed, so restore a newer backup of it", file.display())]
    Lost {
        /// the file
        file: PathBuf,
        /// the key
        id: KeyId,
    },
    /// the disk failed when it was written
    #[error("{} could not be written safely before: see to the disk, then start again", .0.display())]
    Unsafe(PathBuf),
    /// the disk, or who may use it
    #[error("{} could not be {what}: {why}: see to the disk's space and health, and that this process may write there", file.display())]
    Io {
        /// what was tried
        what: &'static str,
        /// the file
        file: PathBuf,
        /// what the system says
        why: io::Error,
    },
    /// not the text of an id
    #[error(transparent)]
    NoId(#[from] NoId),
    /// no random bytes
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// more than can be encrypted at once
    #[error("it is too long to be encrypted at once")]
    TooLong,
}

impl Error {
    pub(super) fn io(what: &'static str, file: &Path, why: io::Error) -> Self {
        Self::Io { what, file: file.to_owned(), why }
    }
}
