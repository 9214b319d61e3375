//! The embedded log: topics, groups and atomic batches in one directory and one process, on RocksDB. Durable before it
//! acknowledges. Must not promise what Kafka could not keep.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use kernel::Timestamp;
use parking_lot::Mutex;
use rocksdb::properties::PropName;
use rocksdb::{ColumnFamilyDescriptor, DBRecoveryMode, DBWithThreadMode, MultiThreaded, Options};
use schemas::{Partition, Topic};

use crate::directory;
use crate::log::clock::{Clock, LogClock, SystemClock};
use crate::log::{Begin, Fault, Group, Limits, Log, Member, Message, Offset, Page, Positions, Rules, TopicSpec};
use crate::memory::{Figures, Memory, apart, held};

mod appender;
mod keys;
mod member;
mod older;
mod records;
mod request;
mod shared;
mod state;
mod trim;

use request::{Request, ask};
use shared::{DAMAGED, RECORDS, Shared, damaged, is_corruption};
use state::{Known, State, TopicPartition};

/// Requests that wait for the appender.
const REQUESTS_MAX: usize = 1_024;

/// How a log is opened.
pub struct Settings {
    /// Partitions of every topic. Settled when the log is created: another number is refused later; none takes what is recorded.
    pub partitions: Option<u16>,
    /// Skips offsets at random from this seed, for tests.
    pub gaps: Option<u64>,
    /// what holds for all its records
    pub rules: Rules,
    /// where the time comes from
    pub clock: Arc<dyn Clock>,
    /// what it shares with the process's other databases
    pub memory: Memory,
    /// Only to be read, while no other process has it: nothing in the directory changes, and every write is refused.
    pub looks: bool,
    /// Opens a log that is damaged as far as it can be read, and takes it that the records behind the damage are lost.
    pub accept_loss: bool,
    /// Told how long each group of writes took until it was on the disk.
    pub synced: Arc<dyn Fn(Duration) + Send + Sync>,
    /// Whether a batch is on the disk before it is acknowledged. Never false but to show that a test notices.
    #[doc(hidden)]
    pub sync: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            partitions: None,
            gaps: None,
            rules: Rules::default(),
            clock: Arc::new(SystemClock::default()),
            memory: Memory::default(),
            looks: false,
            accept_loss: false,
            synced: Arc::new(|_| {}),
            sync: true,
        }
    }
}

/// The embedded log.
pub struct Embedded {
    shared: Arc<Shared>,
    requests: Sender<Request>,
    appender: Option<JoinHandle<()>>,
    /// keeps other processes out of what is open to be read
    _lock: Option<std::fs::File>,
}

impl Embedded {
    /// Opens the log in `dir`, or makes it. One process at a time.
    pub fn open(dir: &Path, settings: Settings) -> Result<Self, Fault> {
        directory::make(dir).map_err(|why| Fault::Fatal(format!("{}: {why}", dir.display())))?;
        let options = options(&settings.memory, settings.accept_loss);
        let families = [rocksdb::DEFAULT_COLUMN_FAMILY_NAME, RECORDS].map(|name| ColumnFamilyDescriptor::new(name, options.clone()));
        let (db, lock) = if settings.looks {
            let lock = apart(dir).map_err(Fault::Fatal)?;
            (DBWithThreadMode::open_cf_descriptors_read_only(&options, dir, families, false), Some(lock))
        } else {
            (DBWithThreadMode::open_cf_descriptors(&options, dir, families), None)
        };
        let db = db.map_err(|why| opening(dir, &why))?;
        let partitions = recorded_partitions(dir, &db, settings.partitions)?;
        let last = db.get(keys::CLOCK).map_err(|why| opening(dir, &why))?;
        let last = Timestamp(last.and_then(|bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?))).unwrap_or_default());
        let clock = LogClock::after(last, settings.clock);
        settings.rules.check()?;
        let shared = Shared {
            rules: settings.rules,
            dir: dir.to_path_buf(),
            db,
            partitions,
            clock,
            gaps: settings.gaps,
            synced: settings.synced,
            sync: settings.sync,
            secret: OnceLock::new(),
            state: Mutex::new(State::keeping(settings.memory.newest_bytes() / usize::from(partitions))),
        };
        shared.recover()?;
        if settings.looks {
            shared.state.lock().failed = Some(format!("the log in {} is open to be read only", dir.display()));
        }
        let shared = Arc::new(shared);
        let (requests, queue) = bounded(REQUESTS_MAX);
        let of_thread = Arc::clone(&shared);
        let appender = std::thread::Builder::new().name("log appender".into()).spawn(move || appender::run(&of_thread, &queue));
        let appender = appender.map_err(|why| Fault::Fatal(format!("no thread for the log: {why}")))?;
        Ok(Self { shared, requests, appender: Some(appender), _lock: lock })
    }

    fn ask<T>(&self, request: impl FnOnce(Sender<T>) -> Request) -> Result<T, Fault> {
        ask(&self.requests, request)
    }
}

/// Makes of a damaged log one that can be opened again, of all that can still be read: where opening it as far as that
/// goes does not help, since a file of it is damaged in itself. What it leaves out stays in the directory's `lost`.
pub fn repair(dir: &Path) -> Result<(), Fault> {
    DBWithThreadMode::<MultiThreaded>::repair(&options(&Memory::default(), true), dir).map_err(|why| opening(dir, &why))
}

/// Whether a log was not opened because it is damaged.
pub fn is_damage(fault: &Fault) -> bool {
    matches!(fault, Fault::Fatal(why) if why.contains(DAMAGED))
}

/// The bytes a message is kept as, for benches that write the same ones.
#[doc(hidden)]
pub fn kept_as(message: &Message) -> Vec<u8> {
    records::encode(message)
}

fn options(memory: &Memory, accept_loss: bool) -> Options {
    let mut options = memory.options();
    // A write that was cut off at the end was never acknowledged, and goes. Damage before that took what was: left to its
    // default, RocksDB would open the log cut off there, and say nothing.
    options.set_wal_recovery_mode(if accept_loss { DBRecoveryMode::PointInTime } else { DBRecoveryMode::TolerateCorruptedTailRecords });
    options.create_missing_column_families(true);
    options.set_write_buffer_size(32 * 1024 * 1024);
    options.set_max_write_buffer_number(4);
    // A rarely written family must not keep the WAL for ever; and a start after a kill reads no more than this.
    options.set_max_total_wal_size(128 * 1024 * 1024);
    options
}

fn opening(dir: &Path, why: &rocksdb::Error) -> Fault {
    let text = why.to_string();
    if held(&text) {
        return Fault::Fatal(format!(
            "{} is open in another process: a log has one process at a time; stop that one, or name another data directory",
            dir.display()
        ));
    }
    if is_corruption(why) {
        return damaged(dir, why);
    }
    Fault::Fatal(format!("the log in {} cannot be opened: {text}", dir.display()))
}

fn recorded_partitions(dir: &Path, db: &DBWithThreadMode<MultiThreaded>, asked: Option<u16>) -> Result<u16, Fault> {
    let recorded = db.get(keys::PARTITIONS).map_err(|why| opening(dir, &why))?;
    let recorded = recorded.and_then(|bytes| Some(u16::from_be_bytes(bytes.try_into().ok()?)));
    match (recorded, asked) {
        (Some(recorded), Some(asked)) if recorded != asked => Err(Fault::Fatal(format!(
            "the log in {} was created with {recorded} partitions, not {asked}: leave the number out, or begin a new directory",
            dir.display()
        ))),
        (Some(recorded), _) => Ok(recorded),
        (None, Some(0)) => Err(Fault::Fatal("a log has at least 1 partition".to_owned())),
        (None, asked) => {
            let partitions = asked.unwrap_or(crate::log::PARTITIONS);
            let mut options = rocksdb::WriteOptions::default();
            options.set_sync(true);
            db.put_opt(keys::PARTITIONS, partitions.to_be_bytes(), &options).map_err(|why| opening(dir, &why))?;
            Ok(partitions)
        }
    }
}

impl Log for Embedded {
    fn partitions(&self) -> u16 {
        self.shared.partitions
    }

    fn rules(&self) -> Rules {
        self.shared.rules
    }

    fn secret(&self) -> [u8; 32] {
        self.shared.secret.get().copied().unwrap_or_default()
    }

    fn initiate(&self, secret: [u8; 32]) {
        let _the_same = self.shared.secret.set(secret);
    }

    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    fn ahead(&self) -> i64 {
        self.shared.clock.ahead()
    }

    fn provision(&self, topics: &[TopicSpec]) -> Result<(), Fault> {
        for spec in topics {
            let known = self.shared.state.lock().topics.get(&spec.topic).cloned();
            match known {
                None => self.ask(|answer| Request::Create(spec.clone(), answer))??,
                Some(Known { spec: known, .. }) if known != *spec => {
                    let said = |retention: Option<Duration>| retention.map_or("for ever".to_owned(), |kept| format!("for {} s", kept.as_secs()));
                    return Err(Fault::Fatal(format!(
                        "topic {} keeps records {} in the log in {}, and {} is asked: ask for what it has, or begin a new directory",
                        spec.topic,
                        said(known.retention),
                        self.shared.dir.display(),
                        said(spec.retention)
                    )));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn append(&self, messages: Vec<Message>) -> Result<Vec<Offset>, Fault> {
        let kept = self.shared.kept(messages)?;
        self.ask(|answer| Request::Append(kept, answer))?
    }

    fn read(&self, topic: &Topic, partition: Partition, from: Offset, limits: Limits) -> Result<Page, Fault> {
        let state = self.shared.state.lock();
        let place = state.place(topic, partition, self.shared.partitions)?;
        let (extent, newest) = (state.extent(place), state.page(place, from, limits));
        drop(state);
        if from < extent.start {
            return Err(Fault::Fatal(format!(
                "{topic}/{partition} begins at offset {}, and offset {from} was asked for: what was before is not kept",
                extent.start
            )));
        }
        if from >= extent.end {
            return Ok(Page { records: vec![], next: from });
        }
        newest.map_or_else(|| self.shared.older(topic, place, from, extent.end, limits), Ok)
    }

    fn start(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault> {
        let state = self.shared.state.lock();
        Ok(state.extent(state.place(topic, partition, self.shared.partitions)?).start)
    }

    fn end(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault> {
        let state = self.shared.state.lock();
        Ok(state.extent(state.place(topic, partition, self.shared.partitions)?).end)
    }

    fn end_known(&self, topic: &Topic, partition: Partition) -> Option<Offset> {
        self.end(topic, partition).ok()
    }

    fn wait(&self, positions: &[(Topic, Partition, Offset)], wait: Duration) -> Result<bool, Fault> {
        let state = self.shared.state.lock();
        let beyond = positions
            .iter()
            .map(|(topic, partition, offset)| Ok((state.place(topic, *partition, self.shared.partitions)?, *offset)))
            .collect::<Result<_, Fault>>()?;
        drop(state);
        self.shared.wait(beyond, wait, |_| false)
    }

    fn committed(&self, group: &str) -> Result<Positions, Fault> {
        let state = self.shared.state.lock();
        let Some(of_group) = state.groups.get(group) else { return Ok(vec![]) };
        let named = |place: &TopicPartition| state.topics.values().find(|known| known.number == place.0).map(|known| known.spec.topic.clone());
        let mut positions: Positions = of_group.committed.iter().filter_map(|(place, next)| Some((named(place)?, place.1, *next))).collect();
        positions.sort();
        Ok(positions)
    }

    fn trim(&self, topic: &Topic, partition: Partition, before: Offset) -> Result<Offset, Fault> {
        let (place, from) = self.shared.may_trim(topic, partition, before)?;
        let start = self.ask(|answer| Request::Trim(place, before, answer))??;
        if start > from {
            self.shared.give_back(place, from, start);
        }
        Ok(start)
    }

    fn bytes(&self, topic: &Topic, partition: Partition) -> Result<Option<u64>, Fault> {
        self.shared.bytes(topic, partition)
    }

    fn figures(&self) -> Option<Figures> {
        let (db, records) = (&self.shared.db, self.shared.records());
        let told = |asked: Result<Option<u64>, rocksdb::Error>| asked.ok().flatten().unwrap_or_default();
        let own = |property: &PropName| told(db.property_int_value(property));
        Some(Figures::of(|property| own(property) + told(db.property_int_value_cf(&records, property)), own))
    }

    fn join(&self, group: Group) -> Result<Box<dyn Member>, Fault> {
        let from_now_on = {
            let state = self.shared.state.lock();
            state.known(&group.commands)?;
            let numbers = group.inputs.iter().map(|input| Ok((state.known(&input.topic)?.number, input.begin)));
            let numbers: Vec<(u16, Begin)> = numbers.collect::<Result<_, Fault>>()?;
            numbers.into_iter().filter(|(_, begin)| *begin == Begin::Next).map(|(number, _)| number).collect()
        };
        let serial = self.ask(|answer| Request::Join { group: group.name.clone(), member: group.member.clone(), from_now_on, answer })??;
        Ok(Box::new(member::EmbeddedMember::new(Arc::clone(&self.shared), self.requests.clone(), group, serial)))
    }
}

/// What waits is still written and answered.
impl Drop for Embedded {
    fn drop(&mut self) {
        let _closed = self.requests.send(Request::Close);
        if let Some(appender) = self.appender.take() {
            let _panicked = appender.join();
        }
    }
}
