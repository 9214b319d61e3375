//! What a process knows of the store that it shares with others, and how it keeps up and writes. Never writes without the
//! directory's lock, nor before it knows all that others wrote.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::Error;
use super::cache::Cache;
use super::dir::Dir;
use super::file::{self, Contents, Others, Place};
use super::frame::{FRAME_BYTES, Found, Frame, Header};
use super::ids::{KeyId, StoreId, random};
use super::seen::Seen;
use super::wrap::{DataKey, Kek, Subject};

/// How long it is taken for granted that no other process replaced the file.
pub const GRANTED: Duration = Duration::from_millis(20);
/// How long the lock is waited for.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What is left of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tombstone {
    /// which one
    pub key: KeyId,
    /// when it was erased, in milliseconds since 1970
    pub at_ms: u64,
}

/// What there is under a key's id.
#[derive(Debug)]
pub enum Lookup {
    /// the key
    Key(Arc<DataKey>),
    /// it was erased then, in milliseconds since 1970
    Erased(u64),
}

/// A store that several threads and processes have.
pub struct Shared {
    pub dir: Dir,
    pub id: StoreId,
    pub state: Mutex<State>,
    /// told when a thread ceases to be busy
    pub rested: Condvar,
}

/// What is known of it here.
pub struct State {
    pub kek: Kek,
    /// what is known of the file
    pub known: Contents,
    pub cache: Cache,
    /// when the file was looked at
    looked: Instant,
    /// the bytes it had then
    seen: u64,
    /// to be written next
    pub queue: BTreeMap<Subject, Arc<DataKey>>,
    /// being written now, without the mutex
    flight: BTreeMap<Subject, Arc<DataKey>>,
    /// whether a thread of this process writes, waits to write, or reads on: the one that may let go of the mutex meanwhile
    pub busy: bool,
    /// whether what is on the disk may be another thing than what is in the file
    failed: bool,
}

type Guard<'store> = MutexGuard<'store, State>;

impl State {
    /// Of a file that was looked at then.
    pub fn of(kek: Kek, known: Contents, looked: Instant) -> Self {
        let seen = known.length;
        Self { kek, known, cache: Cache::default(), looked, seen, queue: BTreeMap::new(), flight: BTreeMap::new(), busy: false, failed: false }
    }

    /// Has a key made for a subject with the next write, unless one is being made.
    pub fn enqueue(&mut self, subject: Subject) -> Result<(), Error> {
        if !self.queue.contains_key(&subject) && !self.flight.contains_key(&subject) {
            self.queue.insert(subject, Arc::new(DataKey::new()?));
        }
        Ok(())
    }

    /// Whether there is more than what is known.
    fn grown(&self) -> bool {
        self.seen >= self.known.length + FRAME_BYTES as u64
    }
}

impl Shared {
    /// Learns that the file was replaced, unless it was looked at just now.
    pub fn fresh(&self, state: &mut Guard<'_>) -> Result<(), Error> {
        if state.looked.elapsed() < GRANTED { Ok(()) } else { self.look(state) }
    }

    /// Learns whether the file was replaced, and then all that is in it; and whether it grew.
    fn look(&self, state: &mut Guard<'_>) -> Result<(), Error> {
        let (now, seen) = (Instant::now(), self.seen()?);
        let length = seen.length;
        if !state.known.is(&seen) {
            let Some(contents) = Contents::of(seen, &self.dir.keys(), Others::MayWrite)? else {
                return self.locked(state, now + PATIENCE, |_| Ok(())); // being written, or replaced once more
            };
            self.adopt(state, contents)?;
        }
        (state.looked, state.seen) = (now, length);
        Ok(())
    }

    fn seen(&self) -> Result<Seen, Error> {
        self.dir.look()?.ok_or_else(|| Error::Missing(self.dir.keys()))
    }

    fn adopt(&self, state: &mut State, contents: Contents) -> Result<(), Error> {
        if contents.header.store != self.id {
            return Err(Error::Exchanged(self.dir.keys()));
        }
        self.dir.sync()?; // who replaced it may have been killed before that
        (state.known, state.cache) = (contents, Cache::default());
        Ok(())
    }

    /// Learns what other processes appended: for who did not find something. Known keys need none of it.
    pub fn catch_up(&self, state: &mut Guard<'_>) -> Result<(), Error> {
        let until = Instant::now() + PATIENCE;
        self.look(state)?;
        while state.busy && state.grown() {
            self.idle(state, until)?;
        }
        if !state.grown() {
            return Ok(());
        }
        self.safe(state)?;
        state.busy = true;
        let unclear = self.read_on(state, Others::MayWrite);
        self.rest(state);
        if unclear? { self.locked(state, until, |_| Ok(())) } else { Ok(()) }
    }

    /// Takes over the frames that follow what is known, once they are on the disk for sure: who appended them may not be done,
    /// or may have been killed. Answers whether only the lock tells what follows them.
    fn read_on(&self, state: &mut Guard<'_>, others: Others) -> Result<bool, Error> {
        let (file, from, path) = (Arc::clone(&state.known.file), state.known.length, self.dir.keys());
        let read = MutexGuard::unlocked(state, || {
            let mut frames = Vec::new();
            let end = file::each(&file, &path, from, others, |at, frame| {
                frames.push((at, frame));
                Ok(())
            })?;
            let synced = if frames.is_empty() { Ok(()) } else { file.sync_data() };
            Ok::<_, Error>((frames, end, synced))
        });
        let (frames, end, synced) = read?;
        if let Err(why) = synced {
            state.failed = true;
            return Err(Error::io("synced", &path, why));
        }
        if Arc::ptr_eq(&file, &state.known.file) {
            state.known.add(&frames, end.at);
        }
        Ok(end.unclear)
    }

    /// Does something with the directory's lock, as the only thread of this process, and knowing all that others wrote.
    /// Waits for it until then.
    pub fn locked<T>(&self, state: &mut Guard<'_>, until: Instant, act: impl FnOnce(&mut Guard<'_>) -> Result<T, Error>) -> Result<T, Error> {
        while state.busy {
            self.idle(state, until)?;
        }
        self.safe(state)?;
        state.busy = true;
        let lock = MutexGuard::unlocked(state, || self.dir.lock(until));
        let done = lock.and_then(|_lock| {
            self.refresh(state)?;
            act(state)
        });
        self.rest(state);
        done
    }

    /// Waits until another thread of this process is done.
    pub fn idle(&self, state: &mut Guard<'_>, until: Instant) -> Result<(), Error> {
        let late = self.rested.wait_until(state, until).timed_out();
        if late { Err(Error::Busy(self.dir.keys())) } else { Ok(()) }
    }

    fn rest(&self, state: &mut State) {
        state.busy = false;
        self.rested.notify_all();
    }

    /// Learns all that others wrote. With the lock, so that nobody writes meanwhile.
    fn refresh(&self, state: &mut Guard<'_>) -> Result<(), Error> {
        let (now, seen) = (Instant::now(), self.seen()?);
        let length = seen.length;
        if !state.known.is(&seen) {
            let path = self.dir.keys();
            let contents = Contents::of(seen, &path, Others::Wait)?.ok_or(Error::Damaged { file: path, at: 0 })?;
            self.adopt(state, contents)?;
        }
        (state.looked, state.seen) = (now, length);
        if state.grown() {
            self.read_on(state, Others::Wait)?;
        }
        Ok(())
    }

    fn safe(&self, state: &State) -> Result<(), Error> {
        if state.failed { Err(Error::Unsafe(self.dir.keys())) } else { Ok(()) }
    }

    /// Makes sure that keys are wrapped and unwrapped with the key-encryption key of now.
    fn fits(&self, state: &State) -> Result<(), Error> {
        if state.kek.check() == state.known.header.check { Ok(()) } else { Err(Error::WrongKek(self.dir.keys())) }
    }

    /// The key that a subject's data is sealed with, as far as is known.
    pub fn key_of(&self, state: &mut Guard<'_>, subject: Subject) -> Result<Option<Arc<DataKey>>, Error> {
        while let Some(id) = state.known.index.subjects.get(&subject).copied() {
            if let Lookup::Key(key) = self.find(state, id)? {
                return Ok(Some(key));
            } // it was erased at this moment, so that the subject has another one or none
        }
        Ok(None)
    }

    /// What there is under an id.
    pub fn find(&self, state: &mut Guard<'_>, id: KeyId) -> Result<Lookup, Error> {
        let mut caught_up = false;
        loop {
            if let Some(key) = state.cache.get(id) {
                return Ok(Lookup::Key(key));
            }
            let at = match state.known.index.keys.get(&id) {
                None if caught_up => return Err(Error::Lost { file: self.dir.keys(), id }),
                None => {
                    self.catch_up(state)?;
                    caught_up = true;
                    continue;
                }
                Some(Place::Erased(at_ms)) => return Ok(Lookup::Erased(*at_ms)),
                Some(Place::At(at)) => *at,
            };
            self.fits(state)?;
            let file = Arc::clone(&state.known.file);
            let Err(failed) = self.read_key(state, &file, id, at) else { continue };
            self.look(state)?;
            if Arc::ptr_eq(&file, &state.known.file) {
                return Err(failed);
            } // it was replaced, and shredded meanwhile
        }
    }

    /// Reads a key into the cache.
    fn read_key(&self, state: &mut State, file: &File, id: KeyId, at: u64) -> Result<(), Error> {
        let (mut bytes, path) = ([0; FRAME_BYTES], self.dir.keys());
        file.read_exact_at(&mut bytes, at).map_err(|why| Error::io("read", &path, why))?;
        let key = match Frame::of(&bytes) {
            Found::Frame(Frame::Key { id: found, subject, wrapped }) if found == id => state.kek.unwrap(subject, id, &wrapped),
            _ => None,
        };
        state.cache.put(key.ok_or(Error::Damaged { file: path, at })?);
        Ok(())
    }

    /// Writes what is queued, with the lock. Others may look up and queue more meanwhile.
    pub fn write_queue(&self, state: &mut Guard<'_>) -> Result<(), Error> {
        let mut queue = std::mem::take(&mut state.queue);
        queue.retain(|subject, _| !state.known.index.subjects.contains_key(subject)); // another process was faster
        if queue.is_empty() {
            return Ok(());
        }
        self.fits(state)?;
        let frame = |(subject, key): (&Subject, &Arc<DataKey>)| Ok(Frame::Key { id: key.id, subject: *subject, wrapped: state.kek.wrap(*subject, key)? });
        let frames = queue.iter().map(frame).collect::<Result<Vec<_>, Error>>()?;
        state.flight = queue;
        let appended = self.append(state, &frames);
        let flight = std::mem::take(&mut state.flight);
        if appended? {
            for key in flight.into_values() {
                state.cache.put(key);
            }
        }
        Ok(())
    }

    /// Appends down to the disk, with the lock; answers whether what was appended is known now. If it fails, what was written
    /// of it stays, because others may have taken it over: a part of a frame at the end is overwritten by whoever is next.
    pub fn append(&self, state: &mut Guard<'_>, frames: &[Frame]) -> Result<bool, Error> {
        let (file, mut at) = (Arc::clone(&state.known.file), state.known.length);
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        let (written, synced) = MutexGuard::unlocked(state, || {
            let written = file.write_all_at(&bytes, at);
            let synced = if written.is_ok() { file.sync_data() } else { Ok(()) };
            (written, synced)
        });
        let io = |why| Error::io("appended to", &self.dir.keys(), why);
        written.map_err(io)?; // the disk is full, most often
        if let Err(why) = synced {
            state.failed = true; // what a failed sync left on the disk, nobody knows
            return Err(io(why));
        }
        let same = Arc::ptr_eq(&file, &state.known.file);
        if same {
            for frame in frames {
                state.known.index.add(at, frame);
                at += FRAME_BYTES as u64;
            }
            state.known.length = at;
        }
        Ok(same)
    }

    /// Replaces keys by tombstones, with the lock: those for which there is a time, and those that have one already.
    pub fn bury(&self, state: &mut State, erased: impl Fn(KeyId, Subject) -> Option<u64>) -> Result<Vec<Tombstone>, Error> {
        let buried = if state.known.index.buried > 0 { state.known.index.erased().collect() } else { BTreeMap::new() };
        let mut tombstones = Vec::new();
        self.rewrite(state, state.known.header.check, |_, frame| match frame {
            Frame::Key { id, subject, .. } => Ok(match buried.get(&id).copied().or_else(|| erased(id, subject)) {
                Some(at_ms) => {
                    tombstones.push(Tombstone { key: id, at_ms });
                    Frame::Tombstone { id, at_ms }
                }
                None => frame,
            }),
            frame => Ok(frame),
        })?;
        for Tombstone { key, .. } in &tombstones {
            state.cache.forget(*key);
        }
        Ok(tombstones)
    }

    /// Replaces the file, with the lock, by one for a key-encryption key in which each frame is what it is made into.
    pub fn rewrite(&self, state: &mut State, check: [u8; 32], mut into: impl FnMut(u64, Frame) -> Result<Frame, Error>) -> Result<(), Error> {
        let (before, path) = (Arc::clone(&state.known.file), self.dir.keys());
        let header = Header { check, edition: random()?, ..state.known.header };
        let now = self.dir.write(header, |put| {
            let frames = |at, frame| if let Frame::Header(_) = frame { Ok(()) } else { put(into(at, frame)?) };
            file::each(&before, &path, 0, Others::Wait, frames).map(drop)
        })?;
        if let Err(why) = self.dir.replace(Some(&before)) {
            state.failed = true; // which of the two files counts is known at the next start
            return Err(why);
        }
        (state.looked, state.seen, state.known) = (Instant::now(), now.length, now);
        Ok(())
    }
}
