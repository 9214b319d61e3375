//! Rows of a fold and the positions they stand for, in one RocksDB write batch. With the
//! embedded log and the memory they share, the only place that names RocksDB. Never syncs: what a crash of the machine takes, the log gives back.

use std::fs::File;
use std::path::Path;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::properties::PropName;
use rocksdb::{DB, Direction, IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions};
use schemas::{Headers, Partition, Topic};

use crate::log::{Fault, Message, Offset, Positions, Record};
use crate::memory::{Figures, Memory, apart, held};

/// First bytes of the database's own keys: no UTF-8 text begins with them.
const SKIPPED: u8 = 0xfc;
const LAST: u8 = 0xfd;
const POSITION: u8 = 0xfe;
const META: u8 = 0xff;

/// A database of rows. Keys that begin with the bytes 0xfc to 0xff are its own.
pub struct Rows {
    db: DB,
    /// keeps other processes out of what is open to be read
    _lock: Option<File>,
}

/// What tells the last record that was folded from any other at its place: a hash of its key, headers and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// its offset
    pub offset: Offset,
    /// its first 64 bits of BLAKE3
    pub digest: u64,
}

impl Last {
    /// Of a record.
    pub fn of(record: &Record) -> Self {
        Self { offset: record.offset, digest: digest(&record.key, &record.headers, record.value.as_deref()) }
    }
}

/// A message's digest, before its offset is known.
#[derive(Clone, Copy, Debug)]
pub struct Digested(u64);

impl Digested {
    /// Of a message.
    pub fn of(message: &Message) -> Self {
        Self(digest(&message.key, &message.headers, message.value.as_deref()))
    }

    /// It was written there.
    #[must_use]
    pub fn at(self, offset: Offset) -> Last {
        Last { offset, digest: self.0 }
    }
}

fn digest(key: &[u8], headers: &Headers, value: Option<&[u8]>) -> u64 {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    part(key);
    headers.iter().for_each(|(name, value)| {
        part(name.as_bytes());
        part(value);
    });
    part(value.unwrap_or_default());
    hasher.finalize().as_bytes().iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// Changes that happen together.
#[derive(Default)]
pub struct Changes(WriteBatch);

impl Changes {
    /// Sets a row.
    pub fn put(&mut self, key: &[u8], row: &[u8]) {
        self.0.put(key, row);
    }

    /// Removes a row.
    pub fn delete(&mut self, key: &[u8]) {
        self.0.delete(key);
    }

    /// Removes the rows whose keys begin with `prefix`, which is not empty and does not end with the byte 0xff.
    pub fn delete_all(&mut self, prefix: &[u8]) {
        let mut after = prefix.to_vec();
        if let Some(last) = after.last_mut() {
            *last += 1;
        }
        self.0.delete_range(prefix, &after);
    }

    /// Forgets where the fold stands in a partition, and how it came there.
    pub fn delete_standing(&mut self, topic: &Topic, partition: Partition) {
        self.0.delete(position_key(topic, partition));
        self.0.delete(own_key(LAST, topic, partition, &[]));
        let skipped = |offset: u64| own_key(SKIPPED, topic, partition, &offset.to_be_bytes());
        self.0.delete_range(skipped(0), skipped(u64::MAX));
    }

    /// Says where the fold stands after these changes.
    pub fn position(&mut self, topic: &Topic, partition: Partition, next: Offset) {
        self.0.put(position_key(topic, partition), next.0.to_be_bytes());
    }

    /// Says which record of a partition was the last to be folded.
    pub fn last(&mut self, topic: &Topic, partition: Partition, last: Last) {
        self.0.put(own_key(LAST, topic, partition, &[]), [last.offset.0.to_be_bytes(), last.digest.to_be_bytes()].concat());
    }

    /// Says that a record was passed over, as an operator settled it.
    pub fn skipped(&mut self, topic: &Topic, partition: Partition, offset: Offset) {
        self.0.put(own_key(SKIPPED, topic, partition, &offset.0.to_be_bytes()), []);
    }

    /// Sets a note that the fold keeps beside its rows: it is none of them.
    pub fn note(&mut self, name: &str, note: &[u8]) {
        self.0.put(meta_key(name), note);
    }

    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A row's key.
pub type Key = Box<[u8]>;
/// A row with its key, as a scan gives it.
pub type KeyedRow = (Key, Box<[u8]>);

impl Rows {
    /// Opens the database in `dir`, or makes it, whatever log it is of. One of another `shape` is deleted first, to be
    /// folded anew.
    pub fn open(dir: &Path, shape: &str, memory: &Memory) -> Result<Self, Fault> {
        Self::open_of(dir, shape, "", &[], memory)
    }

    /// The same for rows that are folded from the log with this identity, passing over what `skips` say: those of
    /// another log are refused, and those that hold a record which is passed over now are folded anew.
    pub fn open_of(dir: &Path, shape: &str, log: &str, skips: &[(Topic, Partition, Offset)], memory: &Memory) -> Result<Self, Fault> {
        let rows = Self::open_any(dir, memory)?;
        let found = rows.get(&meta_key("shape"))?;
        if found.as_deref() == Some(shape.as_bytes()) {
            rows.belongs(dir, log)?;
            let Some((topic, partition, offset)) = rows.unskipped(skips)? else { return Ok(rows) };
            tracing::info!(dir = %dir.display(), "these rows hold {topic}/{partition} offset {offset}, which is passed over now: folding them anew");
        } else if found.is_some() {
            tracing::info!(dir = %dir.display(), shape, "rows are of another shape: folding them anew");
        }
        let rows = if found.is_some() {
            drop(rows);
            DB::destroy(&Options::default(), dir).map_err(|why| broken(dir, &why))?;
            Self::open_any(dir, memory)?
        } else {
            rows
        };
        let mut changes = Changes::default();
        changes.put(&meta_key("shape"), shape.as_bytes());
        if !log.is_empty() {
            changes.put(&meta_key("log"), log.as_bytes());
        }
        rows.write(changes)?;
        Ok(rows)
    }

    /// Opens the database in `dir` to be read, while no other process has it: nothing in it changes. Fatal if it is of
    /// another shape, or was folded from another log (none: whose it is was not recorded yet).
    pub fn look(dir: &Path, shape: &str, log: Option<&str>, memory: &Memory) -> Result<Self, Fault> {
        let lock = unopened(dir)?;
        let mut options = memory.options();
        options.create_if_missing(false);
        let db = DB::open_for_read_only(&options, dir, false).map_err(|why| broken(dir, &why))?;
        let rows = Self { db, _lock: lock };
        let found = rows.get(&meta_key("shape"))?.map(|found| String::from_utf8_lossy(&found).into_owned());
        if found.as_deref() != Some(shape) {
            return Err(Fault::Fatal(format!(
                "the rows in {} are of shape '{}', and this program folds '{shape}': they are folded anew at the next start, and prove nothing until then",
                dir.display(),
                found.unwrap_or_default()
            )));
        }
        log.map_or(Ok(()), |log| rows.belongs_or_unsaid(dir, log).map(|_| ()))?;
        Ok(rows)
    }

    /// Where they lie.
    pub fn dir(&self) -> &Path {
        self.db.path()
    }

    /// What the rows in `dir` are marked with, while no other process has them; none if there are none. Nothing in it changes.
    pub fn shape_in(dir: &Path, memory: &Memory) -> Result<Option<String>, Fault> {
        if !dir.join("CURRENT").exists() {
            return Ok(None);
        }
        let lock = unopened(dir)?;
        let mut options = memory.options();
        options.create_if_missing(false);
        let db = DB::open_for_read_only(&options, dir, false).map_err(|why| broken(dir, &why))?;
        let found = Self { db, _lock: lock }.get(&meta_key("shape"))?;
        Ok(found.map(|found| String::from_utf8_lossy(&found).into_owned()))
    }

    fn open_any(dir: &Path, memory: &Memory) -> Result<Self, Fault> {
        std::fs::create_dir_all(dir).map_err(|why| Fault::Fatal(format!("{}: {why}", dir.display())))?;
        Ok(Self { db: DB::open(&memory.options(), dir).map_err(|why| broken(dir, &why))?, _lock: None })
    }

    /// Rows of the version before do not say whose they are: they are taken for this log's, and say so from now on.
    fn belongs(&self, dir: &Path, log: &str) -> Result<(), Fault> {
        if !log.is_empty() && !self.belongs_or_unsaid(dir, log)? {
            let mut changes = Changes::default();
            changes.put(&meta_key("log"), log.as_bytes());
            self.write(changes)?;
        }
        Ok(())
    }

    fn belongs_or_unsaid(&self, dir: &Path, log: &str) -> Result<bool, Fault> {
        match self.get(&meta_key("log"))? {
            Some(of) if of != log.as_bytes() => Err(Fault::Fatal(format!(
                "{} was folded from another log ({}) than this one ({log}): name the data directory that belongs to this log (--data), or the brokers and \
                 namespace that the directory belongs to. If this is that log and it has lost what it held (a file of it was removed, or an empty or older copy put \
                 in its place), restore it from a backup; or accept that this is lost, with --accept-loss (on Kafka: move heads/ and views/ aside), and what \
                 is left is folded anew",
                dir.display(),
                String::from_utf8_lossy(&of)
            ))),
            found => Ok(found.is_some()),
        }
    }

    /// The first of `skips` that lies before where the fold stands, and was not passed over.
    pub fn unskipped<'s>(&self, skips: &'s [(Topic, Partition, Offset)]) -> Result<Option<&'s (Topic, Partition, Offset)>, Fault> {
        for skip @ (topic, partition, offset) in skips {
            let passed = self.get(&own_key(SKIPPED, topic, *partition, &offset.0.to_be_bytes()))?.is_some();
            if !passed && self.position(topic, *partition)? > *offset {
                return Ok(Some(skip));
            }
        }
        Ok(None)
    }

    /// The last record of a partition that was folded; none if there was none, or it was not recorded.
    pub fn last(&self, topic: &Topic, partition: Partition) -> Result<Option<Last>, Fault> {
        let row = self.get(&own_key(LAST, topic, partition, &[]))?;
        let number = |bytes: Option<&[u8]>| Some(u64::from_be_bytes(bytes?.try_into().ok()?));
        Ok(row.and_then(|row| Some(Last { offset: Offset(number(row.get(..8))?), digest: number(row.get(8..))? })))
    }

    /// What the fold noted beside its rows.
    pub fn note(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        self.get(&meta_key(name))
    }

    /// A row.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.db.get(key).map_err(|why| broken(self.db.path(), &why))
    }

    /// The rows whose keys begin with `prefix`, in key order, from `from` on (or from the prefix's first), at most `most`.
    pub fn scan(&self, prefix: &[u8], from: Option<&[u8]>, most: usize) -> Result<Vec<KeyedRow>, Fault> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(rocksdb::PrefixRange(prefix));
        let start = from.unwrap_or(prefix);
        let all = self.db.iterator_opt(IteratorMode::From(start, Direction::Forward), options).map(|row| row.map_err(|why| broken(self.db.path(), &why)));
        all.filter(|row| row.as_ref().map_or(true, |(key, _)| !own(key))).take(most).collect()
    }

    /// The same, ending also before a row with which they would have more than `bytes`, the first excepted; and the key of
    /// the row that comes next, if there is one.
    pub fn scan_within(&self, prefix: &[u8], from: Option<&[u8]>, most: usize, bytes: usize) -> Result<(Vec<KeyedRow>, Option<Key>), Fault> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(rocksdb::PrefixRange(prefix));
        let (mut rows, mut sum) = (vec![], 0);
        for row in self.db.iterator_opt(IteratorMode::From(from.unwrap_or(prefix), Direction::Forward), options) {
            let (key, row) = row.map_err(|why| broken(self.db.path(), &why))?;
            if own(&key) {
                continue;
            }
            sum += key.len() + row.len();
            if rows.len() >= most || (sum > bytes && !rows.is_empty()) {
                return Ok((rows, Some(key)));
            }
            rows.push((key, row));
        }
        Ok((rows, None))
    }

    /// The keys that begin with `prefix`, in order, as long as they are wanted: the first that is not ends the read, so
    /// looking for nothing costs nothing.
    pub fn keys_while(&self, prefix: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<Box<[u8]>>, Fault> {
        self.keys_from(prefix, prefix, wanted)
    }

    /// The same, of the keys that are not before `from`.
    pub fn keys_from(&self, prefix: &[u8], from: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<Box<[u8]>>, Fault> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(rocksdb::PrefixRange(prefix));
        let mut keys = vec![];
        for row in self.db.iterator_opt(IteratorMode::From(from, Direction::Forward), options) {
            let (key, _) = row.map_err(|why| broken(self.db.path(), &why))?;
            if !wanted(&key) {
                break;
            }
            keys.push(key);
        }
        Ok(keys)
    }

    /// All rows and positions as they stand together now.
    pub fn freeze(&self) -> Frozen<'_> {
        Frozen { rows: self, snapshot: self.db.snapshot() }
    }

    /// Where the fold stands in a partition; the start if it never folded any of it.
    pub fn position(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault> {
        let row = self.get(&position_key(topic, partition))?;
        Ok(row.and_then(|row| Some(Offset(u64::from_be_bytes(row.try_into().ok()?)))).unwrap_or_default())
    }

    /// Makes all the changes or none.
    pub fn write(&self, changes: Changes) -> Result<(), Fault> {
        self.db.write_opt(changes.0, &WriteOptions::default()).map_err(|why| broken(self.db.path(), &why))
    }

    /// What the database says of itself.
    pub fn figures(&self) -> Figures {
        let asked = |property: &PropName| self.db.property_int_value(property).ok().flatten().unwrap_or_default();
        Figures::of(asked, asked)
    }

    /// Makes a copy of all there is in `to`, which must not be there: as far as it can of the same files, which take no room again.
    pub fn copy(&self, to: &Path) -> Result<(), Fault> {
        let copies = Checkpoint::new(&self.db).and_then(|copies| copies.create_checkpoint(to));
        copies.map_err(|why| broken(to, &why))
    }

    /// Writes what is in memory to files, so that the next start has little to fold again.
    pub fn flush(&self) -> Result<(), Fault> {
        self.db.flush().map_err(|why| broken(self.db.path(), &why))
    }
}

/// A database as it stood at one moment, whatever is written since.
pub struct Frozen<'r> {
    rows: &'r Rows,
    snapshot: rocksdb::Snapshot<'r>,
}

impl Frozen<'_> {
    /// The rows in key order, without the database's own.
    pub fn rows(&self) -> impl Iterator<Item = Result<KeyedRow, Fault>> {
        let all = self.snapshot.iterator(IteratorMode::Start).map(|row| row.map_err(|why| broken(self.rows.db.path(), &why)));
        all.filter(|row| row.as_ref().map_or(true, |(key, _)| !own(key)))
    }

    /// What the fold had noted beside them.
    pub fn note(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        self.snapshot.get(meta_key(name)).map_err(|why| broken(self.rows.db.path(), &why))
    }

    /// The positions the rows stand for.
    pub fn positions(&self) -> Result<Positions, Fault> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(rocksdb::PrefixRange(vec![POSITION]));
        let all = self.snapshot.iterator_opt(IteratorMode::Start, options).map(|row| row.map_err(|why| broken(self.rows.db.path(), &why)));
        Ok(all.collect::<Result<Vec<_>, _>>()?.iter().filter_map(|(key, row)| read_position(key, row)).collect())
    }
}

fn own(key: &[u8]) -> bool {
    matches!(key.first(), Some(&(SKIPPED | LAST | POSITION | META)))
}

fn meta_key(name: &str) -> Vec<u8> {
    [&[META], name.as_bytes()].concat()
}

fn own_key(kind: u8, topic: &Topic, partition: Partition, more: &[u8]) -> Vec<u8> {
    [&[kind], topic.as_str().as_bytes(), &[0], &partition.0.to_be_bytes()[..], more].concat()
}

fn position_key(topic: &Topic, partition: Partition) -> Vec<u8> {
    own_key(POSITION, topic, partition, &[])
}

fn read_position(key: &[u8], row: &[u8]) -> Option<(Topic, Partition, Offset)> {
    let (name, partition) = key.get(1..)?.split_at_checked(key.len().checked_sub(4)?)?;
    let partition = Partition(u16::from_be_bytes(partition.get(1..)?.try_into().ok()?));
    Some((Topic::named(std::str::from_utf8(name).ok()?), partition, Offset(u64::from_be_bytes(row.try_into().ok()?))))
}

/// RocksDB keeps no error that goes away by itself: reopen, and fold anew if that fails.
fn broken(dir: &Path, why: &rocksdb::Error) -> Fault {
    let text = why.to_string();
    if held(&text) {
        return Fault::Fatal(format!(
            "{} is open in another process: a data directory has one process at a time; stop that one, or name another data directory",
            dir.display()
        ));
    }
    Fault::Fatal(format!("rows in {}: {text}; stop, and if it happens again delete that directory: it will be folded anew from the log", dir.display()))
}

/// That no other process has a database open. A copy may be without its lock: nobody has it open.
fn unopened(dir: &Path) -> Result<Option<File>, Fault> {
    dir.join("LOCK").exists().then(|| apart(dir)).transpose().map_err(Fault::Fatal)
}
