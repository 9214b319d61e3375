//! Where the keys of subjects live: a directory of its own, with its own backups and its own clock, that all processes of an
//! installation share. Never lets a key be used that is not on the disk, nor forgets that one was erased.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

mod cache;
mod dir;
mod error;
mod file;
mod frame;
mod ids;
mod seen;
mod shared;
pub(crate) mod wrap;

use dir::Dir;
pub use error::Error;
use file::{Contents, Others, Place};
use frame::{Frame, Header};
pub use ids::{KeyId, NoId, StoreId};
pub use shared::{Lookup, Tombstone};
use shared::{PATIENCE, Shared, State};
pub use wrap::DataKey;
use wrap::{KEY_BYTES, Kek, Subject};

/// The keys of all subjects, shared by the processes of one installation: on one machine, or on a volume on which `flock` and
/// an atomic rename work between machines, as with NFS 4.
///
/// Every change takes the directory's lock for as long as it lasts, and counts on nothing but the file as it then is. Lookups
/// take no lock. A key that one process made is found by all from then on. A key that one process erased is gone from every
/// other within [`KeyStore::ERASED_WITHIN`], for all lookups that begin after that; who keeps the [`Arc`] of a key for longer
/// has it for longer.
///
/// A backup is a copy of the file `keys`, made while nothing replaces it: `flock keys.lock cp keys <backup>`. One that is made
/// without the lock while a key is erased may be damaged, and is found to be so when it is opened. A backup is put back while no
/// process has the store open, or by a rename.
pub struct KeyStore(Shared);

impl KeyStore {
    /// How long a key that another process erased, or wrapped anew, may still be found.
    pub const ERASED_WITHIN: Duration = shared::GRANTED;

    /// Opens the one in a directory.
    ///
    /// # Errors
    /// If there is none, it was made with another key-encryption key, or it is damaged.
    pub fn open(dir: &Path, kek: &[u8; KEY_BYTES]) -> Result<Self, Error> {
        Self::opened(dir, kek, |dir| Err(Error::Missing(dir.keys())))
    }

    /// Opens the one in a directory, or makes an empty one. Only for an installation that can have sealed nothing yet: a lost
    /// store must not be followed by an empty one in silence.
    ///
    /// # Errors
    /// As [`Self::open`], but for its being missing.
    pub fn open_or_make(dir: &Path, kek: &[u8; KEY_BYTES]) -> Result<Self, Error> {
        Self::opened(dir, kek, |dir| {
            let header = Header { check: Kek::new(kek).check(), store: StoreId::new()?, edition: ids::random()? };
            let contents = dir.write(header, |_| Ok(()))?;
            dir.replace(None)?;
            dir.sync_parent()?;
            Ok(contents)
        })
    }

    fn opened(path: &Path, kek: &[u8; KEY_BYTES], missing: impl FnOnce(&Dir) -> Result<Contents, Error>) -> Result<Self, Error> {
        let (dir, kek) = (Dir::open(path)?, Kek::new(kek));
        let lock = dir.lock(Instant::now() + PATIENCE)?;
        let now = Instant::now();
        let known = match dir.look()? {
            Some(seen) => Contents::of(seen, &dir.keys(), Others::Wait)?.ok_or_else(|| Error::Damaged { file: dir.keys(), at: 0 })?,
            None => missing(&dir)?,
        };
        dir.sync()?; // who replaced it may have been killed before that
        drop(lock);
        if kek.check() != known.header.check {
            return Err(Error::WrongKek(dir.keys()));
        }
        let (id, buried) = (known.header.store, known.index.buried);
        let store = Self(Shared { dir, id, state: Mutex::new(State::of(kek, known, now)), rested: Condvar::new() });
        if buried > 0 {
            store.0.locked(&mut store.0.state.lock(), now + PATIENCE, |state| store.0.bury(state, |_, _| None))?;
        }
        Ok(store)
    }

    /// Which store it is.
    pub fn id(&self) -> StoreId {
        self.0.id
    }

    /// The key that a subject's data is sealed with, if it has one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn get(&self, subject: &str) -> Result<Option<Arc<DataKey>>, Error> {
        let subject = Subject::of(subject);
        let mut state = self.0.state.lock();
        self.0.fresh(&mut state)?;
        if !state.known.index.subjects.contains_key(&subject) {
            self.0.catch_up(&mut state)?;
        }
        self.0.key_of(&mut state, subject)
    }

    /// The key of this id.
    ///
    /// # Errors
    /// If it cannot be read, or the store knows nothing of it.
    pub fn look_up(&self, id: KeyId) -> Result<Lookup, Error> {
        let mut state = self.0.state.lock();
        self.0.fresh(&mut state)?;
        self.0.find(&mut state, id)
    }

    /// The key that a subject's data is sealed with; a new one if it has none. It is on the disk before it is known to anybody.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn get_or_make(&self, subject: &str) -> Result<Arc<DataKey>, Error> {
        let of = Subject::of(subject);
        loop {
            let mut state = self.0.state.lock();
            self.0.fresh(&mut state)?;
            if let Some(key) = self.0.key_of(&mut state, of)? {
                return Ok(key);
            }
            drop(state);
            self.make_all(&[subject])?; // might be erased before it is got
        }
    }

    /// Makes keys for those subjects that have none, with one write for all of them and for whoever else waits.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn make_all(&self, subjects: &[&str]) -> Result<(), Error> {
        let mut missing: Vec<Subject> = subjects.iter().map(|subject| Subject::of(subject)).collect();
        let (mut state, until) = (self.0.state.lock(), Instant::now() + PATIENCE);
        self.0.fresh(&mut state)?;
        loop {
            missing.retain(|subject| !state.known.index.subjects.contains_key(subject));
            if missing.is_empty() {
                return Ok(());
            }
            missing.iter().try_for_each(|subject| state.enqueue(*subject))?;
            if state.busy {
                self.0.idle(&mut state, until)?;
            } else {
                let done = self.0.locked(&mut state, until, |state| self.0.write_queue(state));
                if done.is_err() {
                    state.queue.clear(); // nobody gets a key later that was refused now: who still waits asks again
                }
                done?;
            }
        }
    }

    /// Destroys a subject's keys for good, and answers their tombstones: nothing if it has none. The tombstones belong in the
    /// log too, for [`Self::absorb_tombstones`]; if the process ends before they are there, [`Self::tombstones`] has them.
    ///
    /// # Errors
    /// If it cannot be written: then the keys may be there still, and it is to be asked again.
    pub fn erase(&self, subject: &str, at_ms: u64) -> Result<Vec<Tombstone>, Error> {
        let subject = Subject::of(subject);
        self.0.locked(&mut self.0.state.lock(), Instant::now() + PATIENCE, |state| {
            if !state.known.index.subjects.contains_key(&subject) {
                return Ok(Vec::new());
            }
            self.0.bury(state, |_, of| (of == subject).then_some(at_ms))
        })
    }

    /// Takes over what was erased elsewhere, as the log has it: a store that was restored from a backup forgets again.
    /// Answers how many keys it had of them.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn absorb_tombstones(&self, tombstones: &[Tombstone]) -> Result<usize, Error> {
        let erased: BTreeMap<KeyId, u64> = tombstones.iter().map(|Tombstone { key, at_ms }| (*key, *at_ms)).collect();
        self.0.locked(&mut self.0.state.lock(), Instant::now() + PATIENCE, |state| {
            let unknown = erased.iter().filter(|(id, _)| !state.known.index.keys.contains_key(id));
            let frames: Vec<Frame> = unknown.map(|(id, at_ms)| Frame::Tombstone { id: *id, at_ms: *at_ms }).collect();
            if !frames.is_empty() {
                self.0.append(state, &frames)?;
            }
            if erased.keys().any(|id| matches!(state.known.index.keys.get(id), Some(Place::At(_)))) {
                return self.0.bury(state, |id, _| erased.get(&id).copied()).map(|buried| buried.len());
            }
            Ok(0)
        })
    }

    /// Whether there never was a key in it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn is_empty(&self) -> Result<bool, Error> {
        let mut state = self.0.state.lock();
        self.0.catch_up(&mut state)?;
        Ok(state.known.index.keys.is_empty())
    }

    /// All keys that were erased, in the order of their ids.
    ///
    /// # Errors
    /// If what other processes erased cannot be read.
    pub fn tombstones(&self) -> Result<Vec<Tombstone>, Error> {
        let mut state = self.0.state.lock();
        self.0.catch_up(&mut state)?;
        let mut erased: Vec<Tombstone> = state.known.index.erased().map(|(key, at_ms)| Tombstone { key, at_ms }).collect();
        erased.sort_unstable();
        Ok(erased)
    }

    /// Wraps all keys anew, whole or not at all, and answers how many. What was sealed stays as it is. From then on the store
    /// opens with the new key-encryption key alone; who was killed meanwhile finds out by opening which one counts. Other
    /// processes are told [`Error::WrongKek`] until they start with the new one, or are asked for the same: then they find that
    /// it is done, and take it over. They can erase without it.
    ///
    /// # Errors
    /// If the old one is not the store's, or it cannot be written.
    pub fn rewrap(&self, old: &[u8; KEY_BYTES], new: &[u8; KEY_BYTES]) -> Result<usize, Error> {
        let (old, new, file) = (Kek::new(old), Kek::new(new), self.0.dir.keys());
        self.0.locked(&mut self.0.state.lock(), Instant::now() + PATIENCE, |state| {
            let (mut count, check) = (0, state.known.header.check);
            if check != new.check() {
                if check != old.check() {
                    return Err(Error::WrongKek(file));
                }
                self.0.rewrite(state, new.check(), |at, frame| match frame {
                    Frame::Key { id, subject, wrapped } => {
                        let key = old.unwrap(subject, id, &wrapped).ok_or_else(|| Error::Damaged { file: file.clone(), at })?;
                        count += 1;
                        Ok(Frame::Key { id, subject, wrapped: new.wrap(subject, &key)? })
                    }
                    frame => Ok(frame),
                })?;
            }
            state.kek = new;
            Ok(count)
        })
    }
}
