//! Which file is at a path, told from every other that was or will be there.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use super::frame::{Bytes, FRAME_BYTES};

/// What the path of the keys leads to at a time.
pub struct Seen {
    /// the file
    pub file: File,
    /// its bytes
    pub length: u64,
    /// which file it is
    pub identity: Identity,
}

/// Which file it is. The first frame tells files apart whose inode has one number, as it may come about on a network.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    first: Bytes,
}

impl Seen {
    /// Of a file that was opened just now.
    pub fn of(file: File) -> io::Result<Self> {
        let (of, mut first) = (file.metadata()?, [0; FRAME_BYTES]);
        if of.len() >= FRAME_BYTES as u64 {
            file.read_exact_at(&mut first, 0)?;
        }
        Ok(Self { file, length: of.len(), identity: Identity { device: of.dev(), inode: of.ino(), first } })
    }
}
