//! Rows of a fold and the positions they stand for, in one RocksDB write batch. The only place outside the
//! embedded log that names RocksDB. Never syncs: what a crash of the machine takes, the log gives back.

use std::path::Path;

use rocksdb::{BlockBasedOptions, Cache, DB, Direction, IteratorMode, Options, ReadOptions, WriteBatch, WriteBufferManager, WriteOptions};
use schemas::{Partition, Topic};

use crate::log::{Fault, Offset, Positions};

/// Memory that all of a process's databases share.
#[derive(Clone)]
pub struct Memory {
    cache: Cache,
    buffers: WriteBufferManager,
    /// tables that each database may have open
    files: i32,
}

impl Memory {
    /// `cache_bytes` for blocks, of which the write buffers may take `buffer_bytes`.
    pub fn new(cache_bytes: usize, buffer_bytes: usize) -> Self {
        let cache = Cache::new_lru_cache(cache_bytes);
        let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(buffer_bytes, false, cache.clone());
        Self { cache, buffers, files: 256 }
    }

    /// Each database may have so many tables open.
    #[must_use]
    pub fn files(self, files: i32) -> Self {
        Self { files, ..self }
    }

    /// Options every database of ours begins with, for a machine of a few cores.
    pub fn options(&self) -> Options {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        blocks.set_bloom_filter(10.0, false);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&blocks);
        options.set_write_buffer_manager(&self.buffers);
        options.set_write_buffer_size(16 * 1024 * 1024);
        options.set_compression_type(rocksdb::DBCompressionType::Lz4);
        options.set_max_background_jobs(2);
        options.set_max_open_files(self.files);
        options.set_max_total_wal_size(64 * 1024 * 1024);
        options.set_keep_log_file_num(2);
        options
    }
}

/// The smallest share that works: for tests and short commands.
impl Default for Memory {
    fn default() -> Self {
        Self::new(64 * 1024 * 1024, 32 * 1024 * 1024)
    }
}

/// First bytes of the database's own keys: no UTF-8 text begins with them.
const POSITION: u8 = 0xfe;
const META: u8 = 0xff;

/// A database of rows. Keys that begin with the bytes 0xfe and 0xff are its own.
pub struct Rows {
    db: DB,
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

    /// Says where the fold stands after these changes.
    pub fn position(&mut self, topic: &Topic, partition: Partition, next: Offset) {
        self.0.put(position_key(topic, partition), next.0.to_be_bytes());
    }

    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A row with its key, as a scan gives it.
pub type KeyedRow = (Box<[u8]>, Box<[u8]>);

impl Rows {
    /// Opens the database in `dir`, or makes it. One of another `shape` is deleted first, to be folded anew.
    pub fn open(dir: &Path, shape: &str, memory: &Memory) -> Result<Self, Fault> {
        let rows = Self::open_any(dir, memory)?;
        let shape_key = [&[META], "shape".as_bytes()].concat();
        let found = rows.get(&shape_key)?;
        if found.as_deref() == Some(shape.as_bytes()) {
            return Ok(rows);
        }
        let rows = if found.is_some() {
            tracing::info!(dir = %dir.display(), shape, "rows are of another shape: folding them anew");
            drop(rows);
            DB::destroy(&Options::default(), dir).map_err(|why| broken(dir, &why))?;
            Self::open_any(dir, memory)?
        } else {
            rows
        };
        let mut changes = Changes::default();
        changes.put(&shape_key, shape.as_bytes());
        rows.write(changes)?;
        Ok(rows)
    }

    fn open_any(dir: &Path, memory: &Memory) -> Result<Self, Fault> {
        std::fs::create_dir_all(dir).map_err(|why| Fault::Fatal(format!("{}: {why}", dir.display())))?;
        Ok(Self { db: DB::open(&memory.options(), dir).map_err(|why| broken(dir, &why))? })
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
    pub fn scan_within(&self, prefix: &[u8], from: Option<&[u8]>, most: usize, bytes: usize) -> Result<(Vec<KeyedRow>, Option<Box<[u8]>>), Fault> {
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
        let mut options = ReadOptions::default();
        options.set_iterate_range(rocksdb::PrefixRange(prefix));
        let mut keys = vec![];
        for row in self.db.iterator_opt(IteratorMode::From(prefix, Direction::Forward), options) {
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

    /// The positions the rows stand for.
    pub fn positions(&self) -> Result<Positions, Fault> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(rocksdb::PrefixRange(vec![POSITION]));
        let all = self.snapshot.iterator_opt(IteratorMode::Start, options).map(|row| row.map_err(|why| broken(self.rows.db.path(), &why)));
        Ok(all.collect::<Result<Vec<_>, _>>()?.iter().filter_map(|(key, row)| read_position(key, row)).collect())
    }
}

fn own(key: &[u8]) -> bool {
    matches!(key.first(), Some(&(POSITION | META)))
}

fn position_key(topic: &Topic, partition: Partition) -> Vec<u8> {
    [&[POSITION], topic.as_str().as_bytes(), &[0], &partition.0.to_be_bytes()].concat()
}

fn read_position(key: &[u8], row: &[u8]) -> Option<(Topic, Partition, Offset)> {
    let (name, partition) = key.get(1..)?.split_at_checked(key.len().checked_sub(4)?)?;
    let partition = Partition(u16::from_be_bytes(partition.get(1..)?.try_into().ok()?));
    Some((Topic::named(std::str::from_utf8(name).ok()?), partition, Offset(u64::from_be_bytes(row.try_into().ok()?))))
}

/// RocksDB keeps no error that goes away by itself: reopen, and fold anew if that fails.
fn broken(dir: &Path, why: &rocksdb::Error) -> Fault {
    Fault::Fatal(format!("rows in {}: {why}; stop, and if it happens again delete that directory: it will be folded anew from the log", dir.display()))
}
