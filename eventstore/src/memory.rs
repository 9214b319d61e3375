//! What the databases of a process share: memory, and the rule that a directory has one process at a time.

use std::fs::File;
use std::path::Path;

use rocksdb::properties::{self, PropName};
use rocksdb::{BlockBasedOptions, Cache, Options, WriteBufferManager};

/// Bytes of each topic's newest records that are kept in memory where nothing else is said.
pub const NEWEST_BYTES: usize = 8 * 1024 * 1024;

/// Memory that all of a process's databases share.
#[derive(Clone)]
pub struct Memory {
    cache: Cache,
    buffers: WriteBufferManager,
    /// tables that each database may have open
    files: i32,
    /// bytes of the newest records that a log keeps of each topic
    newest: usize,
}

impl Memory {
    /// `cache_bytes` for blocks, of which the write buffers may take `buffer_bytes`.
    pub fn new(cache_bytes: usize, buffer_bytes: usize) -> Self {
        let cache = Cache::new_lru_cache(cache_bytes);
        let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(buffer_bytes, false, cache.clone());
        Self { cache, buffers, files: 256, newest: NEWEST_BYTES }
    }

    /// Each database may have so many tables open.
    #[must_use]
    pub fn files(self, files: i32) -> Self {
        Self { files, ..self }
    }

    /// A log keeps about so many bytes of each topic's newest records.
    #[must_use]
    pub fn newest(self, newest: usize) -> Self {
        Self { newest, ..self }
    }

    /// See [`Memory::newest`].
    pub fn newest_bytes(&self) -> usize {
        self.newest
    }

    /// Bytes of blocks and write buffers that are in memory now.
    pub fn used(&self) -> usize {
        self.cache.get_usage()
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

/// What a database says of itself; 0 where it cannot say. Its properties are explained in RocksDB's `db.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// bytes of rows that are not in tables yet
    pub memtable_bytes: u64,
    /// bytes of tables on the disk
    pub table_bytes: u64,
    /// bytes that compactions have to rewrite until all levels have the size they should have
    pub pending_compaction_bytes: u64,
    /// compactions at work
    pub running_compactions: u64,
    /// whether writes wait for compactions
    pub write_stopped: bool,
    /// errors of work in the background since it was opened
    pub background_errors: u64,
}

impl Figures {
    /// As a database says: of all its families together, and of itself.
    pub(crate) fn of(families: impl Fn(&PropName) -> u64, database: impl Fn(&PropName) -> u64) -> Self {
        Self {
            memtable_bytes: families(properties::CUR_SIZE_ALL_MEM_TABLES),
            table_bytes: families(properties::TOTAL_SST_FILES_SIZE),
            pending_compaction_bytes: families(properties::ESTIMATE_PENDING_COMPACTION_BYTES),
            running_compactions: database(properties::NUM_RUNNING_COMPACTIONS),
            write_stopped: database(properties::IS_WRITE_STOPPED) > 0,
            background_errors: database(properties::BACKGROUND_ERRORS),
        }
    }
}

/// The smallest share that works: for tests and short commands.
impl Default for Memory {
    fn default() -> Self {
        Self::new(64 * 1024 * 1024, 32 * 1024 * 1024)
    }
}

/// The lock that RocksDB keeps on a directory, taken for as long as it is read: it would not take it for a reader.
pub(crate) fn apart(dir: &Path) -> Result<File, String> {
    let failed = |why: std::io::Error| format!("{}: {why}", dir.display());
    let file = File::options().write(true).open(dir.join("LOCK")).map_err(failed)?;
    rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| format!("{} is open in another process: a directory is looked at while nothing else has it", dir.display()))?;
    Ok(file)
}

/// Whether RocksDB says with this that somebody else has the directory.
pub(crate) fn held(text: &str) -> bool {
    ["While lock file", "lock hold by"].iter().any(|said| text.contains(said))
}
