//! The directory of a key store: its locks, and its file as a whole. Never lets half of a change be seen, nor changes anything
//! without the lock, and leaves nothing of what it replaces.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Error;
use super::file::{Contents, Index};
use super::frame::{FRAME_BYTES, Frame, Header};
use super::seen::Seen;

/// The shortest and the longest pause before the lock is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_micros(250), Duration::from_millis(8));
/// What a file is overwritten with. No zeros: those could pass for holes in a copy that was being made of it meanwhile.
const SHRED: &[u8] = &[0xff; 64 * 1024];

/// A directory that all processes of an installation share.
pub struct Dir {
    path: PathBuf,
    /// who has it may write
    lock: File,
    /// who has it is the next to get the lock: else a busy process would have it again before anybody else tried
    next: File,
}

/// A lock, until it is dropped.
pub struct Lock<'dir> {
    file: &'dir File,
    path: &'dir Path,
}

/// What takes the frames of a file that is written.
pub type Put<'file> = dyn FnMut(Frame) -> Result<(), Error> + 'file;

impl Dir {
    /// A directory; a new one if it is not there.
    pub fn open(path: &Path) -> Result<Self, Error> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|why| Error::io("made", path, why))?;
        let open = |name| {
            let file = path.join(name);
            private().create(true).truncate(false).open(&file).map_err(|why| Error::io("opened", &file, why))
        };
        Ok(Self { path: path.to_owned(), lock: open("keys.lock")?, next: open("keys.next")? })
    }

    /// Waits for its lock, and cleans up after whoever was killed with it. The lock is a process's: only one thread may ask.
    pub fn lock(&self, until: Instant) -> Result<Lock<'_>, Error> {
        let next = self.wait(&self.next, until)?;
        let lock = self.wait(&self.lock, until)?;
        drop(next);
        let other = self.other();
        match OpenOptions::new().write(true).open(&other) {
            Ok(left) => {
                shred(&left, &other);
                std::fs::remove_file(&other).map_err(|why| Error::io("removed", &other, why))?;
            }
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => return Err(Error::io("opened", &other, why)),
        }
        Ok(lock)
    }

    fn wait<'dir>(&'dir self, file: &'dir File, until: Instant) -> Result<Lock<'dir>, Error> {
        let mut pause = PAUSES.0;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { file, path: &self.path }),
                Err(TryLockError::WouldBlock) if Instant::now() >= until => return Err(Error::Busy(self.path.clone())),
                Err(TryLockError::WouldBlock) => std::thread::sleep(pause),
                Err(TryLockError::Error(why)) => return Err(Error::io("locked", &self.path, why)),
            }
            pause = PAUSES.1.min(pause * 2);
        }
    }

    /// Where the keys are.
    pub fn keys(&self) -> PathBuf {
        self.path.join("keys")
    }

    /// Opens what is there now; nothing if nothing is. It is opened, not only asked for, because a network's file system answers
    /// from memory what it is asked, and asks the server when it opens.
    pub fn look(&self) -> Result<Option<Seen>, Error> {
        let path = self.keys();
        match OpenOptions::new().read(true).write(true).open(&path).and_then(Seen::of) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            seen => seen.map(Some).map_err(|why| Error::io("opened", &path, why)),
        }
    }

    /// Sees to it that the file that is there now is there after a power failure.
    pub fn sync(&self) -> Result<(), Error> {
        File::open(&self.path).and_then(|dir| dir.sync_all()).map_err(|why| Error::io("synced", &self.path, why))
    }

    /// Sees to it that a directory that was made just now is found after a power failure.
    pub fn sync_parent(&self) -> Result<(), Error> {
        let absolute = std::path::absolute(&self.path).map_err(|why| Error::io("found", &self.path, why))?;
        let parent = absolute.parent().unwrap_or(&absolute);
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(|why| Error::io("synced", parent, why))
    }

    fn other(&self) -> PathBuf {
        self.path.join("keys.new")
    }

    /// Writes another file beside it, down to the disk. It counts for nothing yet. Only with the lock.
    pub fn write(&self, header: Header, frames: impl FnOnce(&mut Put<'_>) -> Result<(), Error>) -> Result<Contents, Error> {
        let path = self.other();
        let written = written(&path, header, frames);
        if written.is_err()
            && let Ok(left) = OpenOptions::new().write(true).open(&path)
        {
            shred(&left, &path);
            let _cleaned_up_with_the_next_lock = std::fs::remove_file(&path);
        }
        written
    }

    /// Lets the other file take the place of the one before, if there is one, and overwrites that as far as the disk lets it.
    /// Only with the lock.
    pub fn replace(&self, before: Option<&File>) -> Result<(), Error> {
        let path = self.keys();
        std::fs::rename(self.other(), &path).map_err(|why| Error::io("replaced", &path, why))?;
        self.sync()?;
        if let Some(before) = before {
            shred(before, &path);
        }
        Ok(())
    }
}

impl Drop for Lock<'_> {
    /// Closing would do, but for children that this process is starting at the moment: they hold what is open for as long.
    fn drop(&mut self) {
        if let Err(why) = self.file.unlock() {
            tracing::warn!(dir = %self.path.display(), %why, "the key store could not be unlocked");
        }
    }
}

fn written(path: &Path, header: Header, frames: impl FnOnce(&mut Put<'_>) -> Result<(), Error>) -> Result<Contents, Error> {
    let io = |why| Error::io("written", path, why);
    let file = private().create_new(true).open(path).map_err(io)?;
    let (mut out, mut length, mut index) = (BufWriter::new(&file), 0, Index::default());
    let mut put = |frame: Frame| {
        index.add(length, &frame);
        length += FRAME_BYTES as u64;
        out.write_all(&frame.bytes()).map_err(io)
    };
    put(Frame::Header(header))?;
    frames(&mut put)?;
    out.flush().map_err(io)?;
    drop(out);
    file.sync_all().map_err(io)?;
    let Seen { file, identity, .. } = Seen::of(file).map_err(io)?;
    Ok(Contents { file: Arc::new(file), identity, length, header, index })
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// Overwrites a file that is going. A disk or file system may keep copies all the same, which only encryption of the disk
/// helps against.
fn shred(file: &File, path: &Path) {
    let overwritten = || {
        let (length, mut at) = (file.metadata()?.len(), 0);
        while at < length {
            let count = usize::try_from(length - at).unwrap_or(usize::MAX).min(SHRED.len());
            file.write_all_at(&SHRED[..count], at)?;
            at += count as u64;
        }
        file.sync_data()
    };
    if let Err(why) = overwritten() {
        tracing::warn!(file = %path.display(), %why, "the key store's file of before could not be overwritten");
    }
}
