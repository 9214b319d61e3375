//! What the worker's tests work with: a tally that has a deadline, policies between tallies, a clock that a test moves, and a
//! bench of a real embedded log with one service's heads.

use std::sync::Arc;
use std::time::Duration;

use domain::{Aggregate, Context, Policy, Timestamp};
use eventstore::clock::Clock;
use eventstore::embedded::{Embedded, Settings};
use eventstore::fold::replay;
use eventstore::heads::Heads;
use eventstore::log::TopicSpec;
use eventstore::rows::{Memory, Rows};
use eventstore::service::Service;
use eventstore::worker::{Progress, Worker};
use eventstore::{Limits, Log, Message, Record};
use parking_lot::Mutex;
use schemas::{Codec, Envelope, Partition, Stream, Topic, partition_of, topic};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// A tally that wants to be emptied a minute after its first count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    count: u32,
    since: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Count { more: u32 },
    Empty,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Counted { more: u32, at: i64 },
    Emptied,
}

impl Aggregate for Tally {
    const NAME: &'static str = "tally";
    const STATE_VERSION: u8 = 1;
    type Command = Command;
    type Event = Event;
    type Refusal = String;

    fn decide(&self, command: Command, context: &Context<'_>) -> Result<Vec<Event>, String> {
        match command {
            Command::Count { more: 0 } => Ok(vec![]),
            Command::Count { more: 13 } => Err("thirteen".into()),
            Command::Count { more: 666 } => panic!("a broken rule"),
            Command::Count { more } => Ok(vec![Event::Counted { more, at: context.now.0 }]),
            Command::Empty => Ok(vec![Event::Emptied]),
        }
    }
    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Counted { more, at } => {
                self.count += more;
                self.since.get_or_insert(Timestamp(*at));
            }
            Event::Emptied => *self = Self::default(),
        }
    }
    fn refusal_code(_: &String) -> &'static str {
        "thirteen"
    }
    fn deadline(&self) -> Option<(Timestamp, Command)> {
        self.since.map(|since| (since.plus_seconds(60), Command::Empty))
    }
}

schemas::codec! { Tally;
    events {
        Counted { more: u32, at: i64 } as CountedV1 = "counted" 1;
        Emptied = "emptied" 1;
    }
    commands {
        Count { more: u32 } as CountV1 = "count" 1;
        Empty = "empty" 1;
    }
}

/// Whatever is counted in one service is counted in the other, under the same key or across keys.
pub struct Echo;
impl Policy for Echo {
    const NAME: &'static str = "echo";
    type Source = Tally;
    type Target = Tally;
    fn react(subject: &str, event: &Event) -> Vec<(String, Command)> {
        match event {
            Event::Counted { more, .. } => vec![(subject.to_owned(), Command::Count { more: *more })],
            Event::Emptied => vec![],
        }
    }
}

pub struct Across;
impl Policy for Across {
    const NAME: &'static str = "across";
    type Source = Tally;
    type Target = Tally;
    fn react(_: &str, event: &Event) -> Vec<(String, Command)> {
        match event {
            Event::Counted { more, .. } => vec![("all".to_owned(), Command::Count { more: *more })],
            Event::Emptied => vec![],
        }
    }
}

/// Clocks that the test moves: the time of day, and the one that never jumps.
#[derive(Default)]
pub struct Moved(Mutex<(i64, u64)>);
/// What the log reads it by.
pub struct Hands(pub Arc<Moved>);
impl Clock for Hands {
    fn wall(&self) -> Timestamp {
        Timestamp(self.0.0.lock().0)
    }
    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.0.lock().1)
    }
}
impl Moved {
    /// Time passes.
    pub fn by(&self, seconds: i64) {
        self.0.lock().1 += u64::try_from(seconds).unwrap() * 1_000_000;
        self.set_by(seconds);
    }

    /// Somebody sets the time of day.
    pub fn set_by(&self, seconds: i64) {
        self.0.lock().0 += seconds * 1_000_000;
    }
}

pub struct Bench {
    pub dir: TempDir,
    pub clock: Arc<Moved>,
    pub log: Arc<dyn Log>,
    pub service: Arc<Service>,
    pub rows: Arc<Rows>,
}

impl Bench {
    pub fn of(service: Service, seed: u64) -> Self {
        let (dir, clock) = (TempDir::new().unwrap(), Arc::new(Moved::default()));
        clock.by(1_000_000);
        let log: Arc<dyn Log> = Arc::new(
            Embedded::open(
                &dir.path().join("log"),
                Settings { partitions: Some(3), gaps: Some(seed), clock: Arc::new(Hands(Arc::clone(&clock))), ..Settings::default() },
            )
            .unwrap(),
        );
        let mut topics = vec![topic(Stream::Replies), topic(Stream::Events("other"))];
        topics.extend([service.commands(), service.events(), service.dead_letters()]);
        log.provision(&topics.into_iter().map(|topic| TopicSpec { topic, retention: None }).collect::<Vec<_>>()).unwrap();
        let rows = Arc::new(Rows::open(&dir.path().join("heads"), &service.shape(), &Memory::default()).unwrap());
        Self { dir, clock, log, service: Arc::new(service), rows }
    }

    pub fn worker(&self) -> Worker {
        Worker::join(Arc::clone(&self.service), Arc::clone(&self.log), Arc::clone(&self.rows), "worker", Limits::test_min(), Arc::new(())).unwrap()
    }

    pub fn command(&self, id: &str, subject: &str, more: u32) -> Message {
        let (kind, body) = Tally::encode_command(&Command::Count { more });
        let envelope = Envelope::new(id, "/test", kind, subject);
        let partition = partition_of(subject.as_bytes(), 3);
        Message { topic: self.service.commands(), partition, key: subject.as_bytes().to_vec(), headers: envelope.headers(), value: Some(body) }
    }

    pub fn send(&self, message: Message) {
        self.log.append(vec![message]).unwrap();
    }

    pub fn all(&self, topic: &Topic) -> Vec<Arc<Record>> {
        let read =
            |partition| self.log.read(topic, Partition(partition), eventstore::Offset(0), Limits { records: 100_000, ..Limits::default() }).unwrap().records;
        (0..3).flat_map(read).collect()
    }

    pub fn kinds(&self) -> Vec<String> {
        self.all(&self.service.events()).iter().map(|record| Envelope::read(&record.headers).unwrap().kind.name.into_owned()).collect()
    }

    pub fn count(&self, subject: &str) -> (u64, u32) {
        let heads = Heads::new(Arc::clone(&self.service), Arc::clone(&self.rows));
        let handler = self.service.handler("tally").unwrap();
        let (version, state) = heads.head(partition_of(subject.as_bytes(), 3), handler, subject).unwrap();
        (version, state.downcast_ref::<Tally>().unwrap().count)
    }

    /// Every row of the live heads equals that of a fold from zero, byte for byte.
    pub fn assert_equals_a_fold_from_zero(&self) {
        let fresh = Arc::new(Rows::open(&self.dir.path().join("fresh"), &self.service.shape(), &Memory::default()).unwrap());
        let mut heads = Heads::new(Arc::clone(&self.service), Arc::clone(&fresh));
        for partition in (0..3).map(Partition) {
            replay(self.log.as_ref(), &self.service.events(), partition, &mut heads, Limits { records: 7, ..Limits::default() }).unwrap();
        }
        let rows = |rows: &Rows| rows.freeze().rows().collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(rows(&self.rows), rows(&fresh));
        drop(heads);
        drop(fresh);
        std::fs::remove_dir_all(self.dir.path().join("fresh")).unwrap();
    }
}

pub fn settle(worker: &mut Worker) {
    let mut idle = 0;
    while idle < 3 {
        idle = if worker.turn(Duration::ZERO).unwrap() == Progress::Idle { idle + 1 } else { 0 };
    }
}

pub fn alone() -> Service {
    Service::new("tally").owns::<Tally>()
}
