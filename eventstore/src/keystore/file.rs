//! What is in the file of a key store, read from its start or from where it was read to. Never takes for certain, without the
//! lock, what may be half of another process's write.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::Error;
use super::frame::{Bytes, FRAME_BYTES, Found, Frame, Header};
use super::ids::KeyId;
use super::seen::{Identity, Seen};
use super::wrap::Subject;

/// Where each key is.
#[derive(Default)]
pub struct Index {
    /// by its id
    pub keys: HashMap<KeyId, Place>,
    /// the one that a subject's data is sealed with
    pub subjects: HashMap<Subject, KeyId>,
    /// keys that have a tombstone too, as after a merge of copies: they must go
    pub buried: usize,
}

/// Where a key is, or when it went.
#[derive(Clone, Copy)]
pub enum Place {
    /// the offset of its frame
    At(u64),
    /// when it was erased, in milliseconds since 1970
    Erased(u64),
}

/// An open file with all that was found in it.
pub struct Contents {
    /// the file
    pub file: Arc<File>,
    /// which file it is
    pub identity: Identity,
    /// bytes of it that were read: whole frames
    pub length: u64,
    /// its first frame
    pub header: Header,
    /// what is in it
    pub index: Index,
}

/// Who may be writing while a file is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// nobody: this process has the lock
    Wait,
    /// any other process
    MayWrite,
}

/// How far a file was read.
pub struct End {
    /// where the next frame begins
    pub at: u64,
    /// whether only the lock tells what is there
    pub unclear: bool,
}

impl Contents {
    /// Reads a file from its start; nothing if only the lock tells what is in it.
    pub fn of(Seen { file, identity, .. }: Seen, path: &Path, others: Others) -> Result<Option<Self>, Error> {
        let (mut index, mut header) = (Index::default(), None);
        let end = each(&file, path, 0, others, |at, frame| {
            match frame {
                Frame::Header(found) => header = Some(found),
                frame => index.add(at, &frame),
            }
            Ok(())
        })?;
        match header {
            _ if end.unclear => Ok(None),
            None if others == Others::MayWrite => Ok(None),
            None => Err(Error::Damaged { file: path.to_owned(), at: 0 }),
            Some(header) => {
                file.sync_data().map_err(|why| Error::io("synced", path, why))?; // who wrote it may have been killed before that
                Ok(Some(Self { file: Arc::new(file), identity, length: end.at, header, index }))
            }
        }
    }

    /// Whether this is what was seen, or the start of it.
    pub fn is(&self, seen: &Seen) -> bool {
        self.identity == seen.identity && self.length <= seen.length
    }

    /// Takes over frames that follow.
    pub fn add(&mut self, frames: &[(u64, Frame)], end: u64) {
        for (at, frame) in frames {
            self.index.add(*at, frame);
        }
        self.length = end;
    }
}

impl Index {
    /// What a frame says. Tombstones win, whatever comes first.
    pub fn add(&mut self, at: u64, frame: &Frame) {
        match *frame {
            Frame::Header(_) => {}
            Frame::Key { id, .. } if matches!(self.keys.get(&id), Some(Place::Erased(_))) => self.buried += 1,
            Frame::Key { id, subject, .. } => {
                self.keys.insert(id, Place::At(at));
                self.subjects.insert(subject, id);
            }
            Frame::Tombstone { id, at_ms } => match self.keys.insert(id, Place::Erased(at_ms)) {
                Some(Place::Erased(before)) => {
                    self.keys.insert(id, Place::Erased(before.min(at_ms)));
                }
                Some(Place::At(_)) => {
                    self.buried += 1;
                    self.subjects.retain(|_, of| *of != id);
                }
                None => {}
            },
        }
    }

    /// All that were erased, and when.
    pub fn erased(&self) -> impl Iterator<Item = (KeyId, u64)> {
        self.keys.iter().filter_map(|(id, place)| if let Place::Erased(at_ms) = place { Some((*id, *at_ms)) } else { None })
    }
}

/// Reads all frames from an offset on, with their offsets. A part of a frame at the end counts for nothing. With the lock, what
/// was appended when the power went was promised to nobody: holes are passed over. Without it, a hole or damage may be a frame
/// that another process is writing, or shredding: there the reading ends, and it is for who has the lock to say what it is.
pub fn each(file: &File, path: &Path, from: u64, others: Others, mut take: impl FnMut(u64, Frame) -> Result<(), Error>) -> Result<End, Error> {
    let (mut reader, mut bytes, mut at, mut holes) = (BufReader::with_capacity(64 * 1024, At(file, from)), [0; FRAME_BYTES], from, 0);
    while filled(&mut reader, &mut bytes).map_err(|why| Error::io("read", path, why))? {
        match Frame::of(&bytes) {
            Found::Frame(frame) if matches!(frame, Frame::Header(_)) == (at == 0) => take(at, frame)?,
            Found::Hole | Found::Damage if others == Others::MayWrite => return Ok(End { at, unclear: true }),
            Found::Hole if at > 0 => holes += 1,
            _ => return Err(Error::Damaged { file: path.to_owned(), at }),
        }
        at += FRAME_BYTES as u64;
    }
    if holes > 0 {
        tracing::warn!(file = %path.display(), holes, "the key store has frames that were never written, as a power failure leaves them");
    }
    Ok(End { at, unclear: false })
}

fn filled(reader: &mut impl Read, bytes: &mut Bytes) -> io::Result<bool> {
    match reader.read_exact(bytes) {
        Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

/// Reads a file from an offset on, whoever else does.
struct At<'file>(&'file File, u64);

impl Read for At<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read_at(into, self.1)?;
        self.1 += count as u64;
        Ok(count)
    }
}
