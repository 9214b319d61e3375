//! What the worker's tests work with: a tally that has a deadline, policies between tallies, a clock that a test moves, and a
//! bench of a real embedded log with one service's heads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventstore::clock::Clock;
use eventstore::embedded::{Embedded, Settings};
use eventstore::fold::replay;
use eventstore::heads::Heads;
use eventstore::log::{Rules, TopicSpec};
use eventstore::memory::Memory;
use eventstore::rows::Rows;
use eventstore::service::Service;
use eventstore::worker::{Progress, Worker};
use eventstore::{Limits, Log, Message, Record};
use kernel::{Aggregate, Context, Policy, Timestamp};
use parking_lot::Mutex;
use schemas::{Codec, Envelope, Partition, Stream, Topic, partition_of, topic};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// A tally that wants to be emptied a minute after its first count. Some numbers bring bad luck: see below.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    count: u32,
    since: Option<Timestamp>,
}

/// Counting this breaks a rule in `decide`.
pub const BREAKS_DECIDE: u32 = 666;
/// Counting this makes an event that breaks `evolve`.
pub const BREAKS_EVOLVE: u32 = 667;
/// Counting this makes two events, of which the second breaks `evolve`.
pub const BREAKS_SECOND: u32 = 675;
/// A tally of this many breaks where its deadline is asked for.
pub const BREAKS_DEADLINE: u32 = 668;
/// Policies break over this many.
pub const BREAKS_REACT: u32 = 669;
/// Policies make a command of this many that no record can hold.
pub const TOO_LARGE: u32 = 670;
/// The deadline of a tally of this many changes nothing.
pub const SLEEPS: u32 = 671;
/// The deadline of a tally of this many is refused.
pub const DUE_REFUSED: u32 = 672;
/// The deadline of a tally of this many breaks a rule.
pub const DUE_BREAKS: u32 = 673;
/// The deadline of a tally of this many causes an event that no record can hold.
pub const DUE_TOO_LARGE: u32 = 674;

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Count {
        more: u32,
    },
    Empty,
    Note {
        text: String,
    },
    /// writes as many bytes as it says
    Swell {
        bytes: u32,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Counted { more: u32, at: i64 },
    Emptied,
    Noted { text: String },
}

/// How long a service remembers its clients' command ids, in seconds, if it does not say.
pub const REMEMBERED: i64 = 7 * 24 * 60 * 60;

/// An instant that no test's clock comes to.
const NEVER: i64 = 4_000_000_000_000_000;

/// Whether the numbers above still bring bad luck: programs can be mended.
pub static MENDED: AtomicBool = AtomicBool::new(false);

impl Aggregate for Tally {
    const NAME: &'static str = "tally";
    const STATE_VERSION: u8 = 1;
    const REFUSALS: &'static [&'static str] = &["thirteen", "never"];
    type Id = String;
    type Command = Command;
    type Event = Event;
    type Refusal = String;

    fn decide(&self, command: Command, context: &Context<'_>) -> Result<Vec<Event>, String> {
        match command {
            Command::Count { more: 0 } => Ok(vec![]),
            Command::Count { more: 13 } => Err("thirteen".into()),
            Command::Count { more: BREAKS_DECIDE } => panic!("a broken rule"),
            Command::Count { more: BREAKS_SECOND } => Ok([1, BREAKS_EVOLVE].map(|more| Event::Counted { more, at: context.now.0 }).into()),
            Command::Count { more } => Ok(vec![Event::Counted { more, at: context.now.0 }]),
            Command::Empty => Ok(vec![Event::Emptied]),
            Command::Note { text } => Ok(vec![Event::Noted { text }]),
            Command::Swell { bytes } => Ok(vec![Event::Noted { text: "x".repeat(bytes as usize) }]),
        }
    }
    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Noted { .. } => {}
            Event::Counted { more: BREAKS_EVOLVE, .. } => {
                self.count = 9_999; // half done
                panic!("a broken event");
            }
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
        assert!(self.count != BREAKS_DEADLINE, "a broken deadline");
        let command = match self.count {
            SLEEPS => Command::Count { more: 0 },
            DUE_REFUSED => Command::Count { more: 13 },
            DUE_BREAKS => Command::Count { more: BREAKS_DECIDE },
            DUE_TOO_LARGE => Command::Swell { bytes: 600_000 },
            _ => Command::Empty,
        };
        self.since.map(|since| (since.plus_seconds(60), command))
    }
}

schemas::codec! { Tally;
    events {
        Counted { more: u32, at: i64 } as CountedV1 = "counted" 1;
        Emptied = "emptied" 1;
        Noted { text: String } as NotedV1 = "noted" 1;
    }
    commands {
        Count { more: u32 } as CountV1 = "count" 1;
        Empty = "empty" 1;
        Note { text: String } as NoteV1 = "note" 1;
        Swell { bytes: u32 } as SwellV1 = "swell" 1;
    }
}

fn asked(more: u32) -> Command {
    assert!(more != BREAKS_REACT || MENDED.load(Ordering::Relaxed), "a broken policy");
    match more {
        TOO_LARGE => Command::Note { text: "x".repeat(600_000) },
        more => Command::Count { more },
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
            Event::Counted { more, .. } => vec![(subject.to_owned(), asked(*more))],
            Event::Emptied | Event::Noted { .. } => vec![],
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
            Event::Counted { more, .. } => vec![("all".to_owned(), asked(*more))],
            Event::Emptied | Event::Noted { .. } => vec![],
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
        Self::ruled(service, seed, Rules::default())
    }

    /// On a log with other rules.
    pub fn ruled(service: Service, seed: u64, rules: Rules) -> Self {
        let (dir, clock) = (TempDir::new().unwrap(), Arc::new(Moved::default()));
        clock.by(1_000_000);
        let log: Arc<dyn Log> = Arc::new(
            Embedded::open(
                &dir.path().join("log"),
                Settings { partitions: Some(3), gaps: Some(seed), rules, clock: Arc::new(Hands(Arc::clone(&clock))), ..Settings::default() },
            )
            .unwrap(),
        );
        let mut topics = vec![topic(Stream::Replies), topic(Stream::Events("other"))];
        topics.extend([service.commands(), service.events(), service.dead_letters()]);
        log.provision(&topics.into_iter().map(|topic| TopicSpec { topic, retention: None }).collect::<Vec<_>>()).unwrap();
        let rows = Arc::new(Rows::open(&dir.path().join("heads"), &eventstore::heads::shape(&service), &Memory::default()).unwrap());
        Self { dir, clock, log, service: Arc::new(service), rows }
    }

    pub fn worker(&self) -> Worker {
        self.worker_of(Limits::test_min())
    }

    pub fn worker_of(&self, limits: Limits) -> Worker {
        Worker::join(Arc::clone(&self.service), Arc::clone(&self.log), Arc::clone(&self.rows), "worker", limits, Arc::new(())).unwrap()
    }

    pub fn command(&self, id: &str, subject: &str, more: u32) -> Message {
        let (kind, body) = Tally::encode_command(&Command::Count { more });
        let envelope = Envelope::new(id, "/test", kind, subject);
        let partition = partition_of(subject.as_bytes(), 3);
        Message { topic: self.service.commands(), partition, key: subject.as_bytes().to_vec(), headers: envelope.headers(), value: Some(body) }
    }

    /// An event of the other service.
    pub fn event(&self, id: &str, subject: &str, version: u64, more: u32) -> Message {
        let (kind, body) = Tally::encode_event(&Event::Counted { more, at: NEVER });
        let mut envelope = Envelope::new(id, "/other/tally", kind, subject);
        envelope.version = Some(version);
        let partition = partition_of(subject.as_bytes(), 3);
        Message { topic: topic(Stream::Events("other")), partition, key: subject.as_bytes().to_vec(), headers: envelope.headers(), value: Some(body) }
    }

    /// An event of the own service, as somebody wrote it.
    pub fn own_event(&self, subject: &str, version: u64, more: u32) -> Message {
        let mut message = self.event(&format!("own-{subject}-{version}"), subject, version, more);
        message.topic = self.service.events();
        message
    }

    /// Subjects of three partitions.
    pub fn subjects() -> [&'static str; 3] {
        let found = |number| {
            ["17", "18", "19", "20", "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "31", "32", "33", "34"]
                .into_iter()
                .find(|subject| partition_of(subject.as_bytes(), 3) == Partition(number))
        };
        [0, 1, 2].map(|number| found(number).unwrap())
    }

    /// The key of a saved head, and a row for it.
    pub fn head_row(&self, subject: &str) -> Vec<u8> {
        [b"h".as_slice(), &partition_of(subject.as_bytes(), 3).0.to_be_bytes(), b"tally\0", subject.as_bytes()].concat()
    }
    pub fn saved(&self, version: u64, count: u32) -> Vec<u8> {
        schemas::codec::save(Tally::STATE_VERSION, &(version, Tally { count, since: Some(Timestamp(NEVER)) })).unwrap()
    }

    /// Reason and headers of each dead letter.
    pub fn letters(&self) -> Vec<(String, Arc<Record>)> {
        let letters = self.all(&self.service.dead_letters());
        letters.into_iter().map(|letter| (letter.headers.text(schemas::envelope::DLT_REASON).unwrap().to_owned(), letter)).collect()
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
        let fresh = Arc::new(Rows::open(&self.dir.path().join("fresh"), &eventstore::heads::shape(&self.service), &Memory::default()).unwrap());
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
    Service::new("tally").owns::<Tally, _>()
}
