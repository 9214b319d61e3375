//! The embedded log: topics, groups and atomic batches in one directory and one process, on RocksDB. Durable before it
//! acknowledges. Must not promise what Kafka could not keep.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use domain::Timestamp;
use parking_lot::{Condvar, Mutex};
use rocksdb::{BoundColumnFamily, ColumnFamilyDescriptor, DBRecoveryMode, DBWithThreadMode, IteratorMode, MultiThreaded, Options};
use schemas::{Partition, Topic};

use crate::directory;
use crate::log::clock::{Clock, LogClock, SystemClock};
use crate::log::{Begin, Claim, Fault, Group, Limits, Log, Member, Message, Offset, Page, Positions, RECORD_BYTES_MAX, TopicSpec};
use crate::memory::{Memory, apart, held};

mod appender;
mod keys;
mod member;
mod older;
mod records;
mod state;
mod trim;

use appender::{Kept, Request};
use state::{Known, Place, State, Waiter};

/// Partitions of a new log.
pub const PARTITIONS: u16 = 8;
/// Requests that wait for the appender.
const REQUESTS_MAX: usize = 1_024;
const RECORDS: &str = "records";
/// How a fault begins to say that a log is damaged.
const DAMAGED: &str = "is damaged:";

/// How a log is opened.
pub struct Settings {
    /// Partitions of every topic. Settled when the log is created: another number is refused later; none takes what is recorded.
    pub partitions: Option<u16>,
    /// Skips offsets at random from this seed, for tests.
    pub gaps: Option<u64>,
    /// where the time comes from
    pub clock: Arc<dyn Clock>,
    /// what it shares with the process's other databases
    pub memory: Memory,
    /// Only to be read, while no other process has it: nothing in the directory changes, and every write is refused.
    pub looks: bool,
    /// Opens a log that is damaged as far as it can be read, and takes it that the records behind the damage are lost.
    pub accept_loss: bool,
    /// Whether a batch is on the disk before it is acknowledged. Never false but to show that a test notices.
    #[doc(hidden)]
    pub sync: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { partitions: None, gaps: None, clock: Arc::new(SystemClock::default()), memory: Memory::default(), looks: false, accept_loss: false, sync: true }
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

/// What the log's threads share.
struct Shared {
    dir: PathBuf,
    db: DBWithThreadMode<MultiThreaded>,
    partitions: u16,
    clock: LogClock<Arc<dyn Clock>>,
    gaps: Option<u64>,
    sync: bool,
    secret: OnceLock<[u8; 32]>,
    state: Mutex<State>,
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
        let shared = Shared {
            dir: dir.to_path_buf(),
            db,
            partitions,
            clock,
            gaps: settings.gaps,
            sync: settings.sync,
            secret: OnceLock::new(),
            state: Mutex::default(),
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

/// Whether a log was not opened because it is damaged.
pub fn is_damage(fault: &Fault) -> bool {
    matches!(fault, Fault::Fatal(why) if why.contains(DAMAGED))
}

/// The bytes a message is kept as, for benches that write the same ones.
#[doc(hidden)]
pub fn kept_as(message: &Message) -> Vec<u8> {
    records::encode(message)
}

/// Sends a request to the appender and waits for its answer.
fn ask<T>(requests: &Sender<Request>, request: impl FnOnce(Sender<T>) -> Request) -> Result<T, Fault> {
    let closed = || Fault::Fatal("the log is closed".to_owned());
    let (answer, answered) = bounded(1);
    requests.send(request(answer)).map_err(|_| closed())?;
    answered.recv().map_err(|_| closed())
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
    if text.starts_with("Corruption") {
        return Fault::Fatal(format!(
            "the log in {} {DAMAGED} {text}. Records that were acknowledged lie behind the damage: stop here, keep a copy of the directory, and restore a \
             backup; or accept that they are lost with --accept-loss, which opens the log as far as it can be read",
            dir.display()
        ));
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
            let partitions = asked.unwrap_or(PARTITIONS);
            let mut options = rocksdb::WriteOptions::default();
            options.set_sync(true);
            db.put_opt(keys::PARTITIONS, partitions.to_be_bytes(), &options).map_err(|why| opening(dir, &why))?;
            Ok(partitions)
        }
    }
}

impl Shared {
    fn records(&self) -> Arc<BoundColumnFamily<'_>> {
        self.db.cf_handle(RECORDS).unwrap_or_else(|| unreachable!("opened with the database"))
    }

    fn broken(&self, why: &rocksdb::Error) -> Fault {
        Fault::Fatal(format!("the log in {}: {why}", self.dir.display()))
    }

    /// Messages as they will be kept. The limit on their size concerns only the call they came with.
    fn kept(&self, messages: Vec<Message>) -> Result<Vec<Kept>, Fault> {
        let kept = |message: Message| {
            let place = self.state.lock().place(&message.topic, message.partition, self.partitions)?;
            if message.bytes() > RECORD_BYTES_MAX {
                let key = String::from_utf8_lossy(&message.key);
                return Err(Fault::Abort(format!(
                    "a record for {} with key '{key}' has {} bytes; a record has at most {RECORD_BYTES_MAX}",
                    message.topic,
                    message.bytes()
                )));
            }
            Ok(Kept { place, bytes: records::encode(&message), message })
        };
        messages.into_iter().map(kept).collect()
    }

    /// Whether the disk has taken everything so far.
    fn working(&self) -> Result<(), Fault> {
        self.state.lock().failed.clone().map_or(Ok(()), |why| Err(Fault::Fatal(why)))
    }

    /// The places of `positions`, if this member's claim holds for them.
    fn held(&self, group: &str, serial: u64, positions: &Positions, claim: &Claim) -> Result<Option<Vec<Place>>, Fault> {
        self.working()?;
        let state = self.state.lock();
        let touched = positions.iter().map(|(_, partition, _)| *partition);
        if !state.groups.get(group).is_some_and(|owners| owners.holds(serial, claim, self.partitions, touched)) {
            return Ok(None);
        }
        positions.iter().map(|(topic, partition, _)| state.place(topic, *partition, self.partitions)).collect::<Result<_, _>>().map(Some)
    }

    /// Topics, extents, groups from what is recorded: one seek a partition, whatever the log's size.
    fn recover(&self) -> Result<(), Fault> {
        let mut state = self.state.lock();
        let mut starts = vec![];
        for row in self.db.iterator(IteratorMode::Start) {
            let (key, value) = row.map_err(|why| self.broken(&why))?;
            match keys::read(&key, &value) {
                Some(keys::Meta::Topic(known)) => drop(state.topics.insert(known.spec.topic.clone(), known)),
                Some(keys::Meta::Start(place, extent)) => starts.push((place, extent)),
                Some(keys::Meta::Epoch(group, epoch)) => state.groups.entry(group).or_default().epoch = epoch,
                Some(keys::Meta::Position(group, place, next)) => drop(state.groups.entry(group).or_default().committed.insert(place, next)),
                None => {}
            }
        }
        state.extents.extend(starts);
        let mut last = self.db.raw_iterator_cf(&self.records());
        let numbers: Vec<u16> = state.topics.values().map(|known| known.number).collect();
        for place in numbers.into_iter().flat_map(|number| (0..self.partitions).map(move |partition| (number, Partition(partition)))) {
            last.seek_for_prev(records::key(place.0, place.1, Offset(u64::MAX)));
            last.status().map_err(|why| self.broken(&why))?;
            let prefix = &records::key(place.0, place.1, Offset(0))[..4];
            if let Some(offset) = last.key().filter(|key| key.starts_with(prefix)).and_then(records::offset_of) {
                let extent = state.extents.entry(place).or_default();
                extent.end = extent.end.max(offset.next());
            }
        }
        Ok(())
    }

    /// Waits until a place has passed its offset, owners changed (`or`), or the time is over.
    fn wait(&self, beyond: Vec<(Place, Offset)>, wait: Duration, mut or: impl FnMut(&State) -> bool) -> Result<bool, Fault> {
        let deadline = Instant::now() + wait;
        let mut state = self.state.lock();
        if state.passed(&beyond) || or(&state) || wait.is_zero() {
            return Ok(state.passed(&beyond));
        }
        let (number, told) = (state.next_serial(), Arc::new(Condvar::new()));
        state.waiters.insert(number, Waiter { beyond: beyond.clone(), told: Arc::clone(&told) });
        let passed = loop {
            let late = told.wait_until(&mut state, deadline).timed_out();
            let passed = state.passed(&beyond);
            if passed || late || or(&state) {
                break passed;
            }
        };
        state.waiters.remove(&number);
        match &state.failed {
            Some(why) => Err(Fault::Fatal(why.clone())),
            None => Ok(passed),
        }
    }
}

impl Log for Embedded {
    fn partitions(&self) -> u16 {
        self.shared.partitions
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
        let named = |place: &Place| state.topics.values().find(|known| known.number == place.0).map(|known| known.spec.topic.clone());
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
