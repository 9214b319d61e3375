//! The worker on a real embedded log: repeats, dead letters, deadlines, stopped partitions, and heads that equal a fold from zero.

use std::sync::Arc;
use std::time::Duration;

use domain::{Aggregate, Context, Policy, Timestamp};
use eventstore::clock::Clock;
use eventstore::embedded::{Embedded, Settings};
use eventstore::fold::replay;
use eventstore::heads::{Heads, MARK_SECONDS};
use eventstore::log::TopicSpec;
use eventstore::observer::Observer;
use eventstore::router::Router;
use eventstore::rows::{Memory, Rows};
use eventstore::service::Service;
use eventstore::worker::{Progress, Worker};
use eventstore::{Limits, Log, Message, Record};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use schemas::envelope::{DLT_REASON, Kind};
use schemas::{Codec, Envelope, Partition, Stream, Topic, partition_of, topic};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::flaky::Flaky;

/// A tally that wants to be emptied a minute after its first count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Tally {
    count: u32,
    since: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
enum Command {
    Count { more: u32 },
    Empty,
}

#[derive(Clone, Debug, PartialEq)]
enum Event {
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
struct Echo;
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

struct Across;
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

/// A clock that the test moves.
#[derive(Default)]
pub struct Moved(Mutex<i64>);
/// What the log reads it by.
pub struct Hands(pub Arc<Moved>);
impl Clock for Hands {
    fn wall(&self) -> Timestamp {
        Timestamp(*self.0.0.lock())
    }
    fn monotonic(&self) -> Duration {
        Duration::from_micros(u64::try_from(*self.0.0.lock()).unwrap())
    }
}
impl Moved {
    pub fn by(&self, seconds: i64) {
        *self.0.lock() += seconds * 1_000_000;
    }
}

struct Bench {
    dir: TempDir,
    clock: Arc<Moved>,
    log: Arc<dyn Log>,
    service: Arc<Service>,
    rows: Arc<Rows>,
}

impl Bench {
    fn of(service: Service, seed: u64) -> Self {
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

    fn worker(&self) -> Worker {
        Worker::join(Arc::clone(&self.service), Arc::clone(&self.log), Arc::clone(&self.rows), "worker", Limits::test_min(), Arc::new(())).unwrap()
    }

    fn command(&self, id: &str, subject: &str, more: u32) -> Message {
        let (kind, body) = Tally::encode_command(&Command::Count { more });
        let envelope = Envelope::new(id, "/test", kind, subject);
        let partition = partition_of(subject.as_bytes(), 3);
        Message { topic: self.service.commands(), partition, key: subject.as_bytes().to_vec(), headers: envelope.headers(), value: Some(body) }
    }

    fn send(&self, message: Message) {
        self.log.append(vec![message]).unwrap();
    }

    fn all(&self, topic: &Topic) -> Vec<Arc<Record>> {
        let read =
            |partition| self.log.read(topic, Partition(partition), eventstore::Offset(0), Limits { records: 100_000, ..Limits::default() }).unwrap().records;
        (0..3).flat_map(read).collect()
    }

    fn kinds(&self) -> Vec<String> {
        self.all(&self.service.events()).iter().map(|record| Envelope::read(&record.headers).unwrap().kind.name.into_owned()).collect()
    }

    fn count(&self, subject: &str) -> (u64, u32) {
        let heads = Heads::new(Arc::clone(&self.service), Arc::clone(&self.rows));
        let handler = self.service.handler("tally").unwrap();
        let (version, state) = heads.head(partition_of(subject.as_bytes(), 3), handler, subject).unwrap();
        (version, state.downcast_ref::<Tally>().unwrap().count)
    }

    /// Every row of the live heads equals that of a fold from zero, byte for byte.
    fn assert_equals_a_fold_from_zero(&self) {
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

fn settle(worker: &mut Worker) {
    let mut idle = 0;
    while idle < 3 {
        idle = if worker.turn(Duration::ZERO).unwrap() == Progress::Idle { idle + 1 } else { 0 };
    }
}

fn alone() -> Service {
    Service::new("tally").owns::<Tally>()
}

#[test]
fn a_repeat_is_answered_and_decides_nothing() {
    let bench = Bench::of(alone(), 1);
    for (id, more) in [("a", 2), ("a", 2), ("a", 3), ("b", 13), ("b", 13), ("c", 0), ("c", 0)] {
        let mut message = bench.command(id, "17", more);
        message.headers.push("reply-to", "me@1");
        bench.send(message);
    }
    let mut worker = bench.worker();
    settle(&mut worker);
    assert_eq!((bench.kinds(), bench.count("17")), (vec!["counted".to_owned(), "command-refused".into(), "command-accepted".into()], (1, 2)));
    let outcomes: Vec<String> = bench
        .all(&topic(Stream::Replies))
        .iter()
        .map(|record| serde_json::from_slice::<serde_json::Value>(record.value.as_ref().unwrap()).unwrap()["outcome"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(outcomes, ["accepted", "accepted", "conflict", "refused", "refused", "accepted", "accepted"]);
    bench.assert_equals_a_fold_from_zero();
}

#[test]
fn ids_are_forgotten_after_their_time() {
    let bench = Bench::of(alone(), 2);
    let mut worker = bench.worker();
    for (wait, version) in [(0, 1), (MARK_SECONDS - 10, 1), (20, 3)] {
        bench.clock.by(wait);
        bench.send(bench.command("a", "17", 2));
        settle(&mut worker);
        // The deadline, a minute after the first count, has emptied the tally once by the third round.
        assert!(bench.count("17").0 >= version, "{:?}", bench.count("17"));
        bench.assert_equals_a_fold_from_zero();
    }
    assert_eq!(bench.kinds().iter().filter(|kind| *kind == "counted").count(), 2);
}

#[test]
fn what_cannot_be_processed_is_a_dead_letter_with_its_reason() {
    let bench = Bench::of(alone(), 3);
    let with = |name: &'static str, value: &str| {
        let mut message = bench.command("x", "17", 1);
        message.headers = message.headers.iter().filter(|(known, _)| *known != name).map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
        message.headers.push(name, value);
        message
    };
    let body = |text: &str| Message { value: Some(text.as_bytes().to_vec()), ..bench.command("x", "17", 1) };
    let elsewhere = Message { partition: Partition((partition_of(b"17", 3).0 + 1) % 3), ..bench.command("x", "17", 1) };
    let other_key = Message { key: b"18".to_vec(), partition: partition_of(b"18", 3), ..bench.command("x", "17", 1) };
    let cases = [
        (with("ce_type", "nonsense"), "malformed"),
        (with("ce_specversion", "0.3"), "malformed"),
        (with("ce_id", ""), "malformed"),
        (with("reply-to", "me@99"), "malformed"),
        (with("ce_type", "dev.daybook.parrot.count.v1"), "unknown-type"),
        (with("ce_type", "dev.daybook.tally.dance.v1"), "unknown-type"),
        (with("ce_type", "dev.daybook.tally.count.v2"), "newer-version"),
        (body("{\"more\":\"4111111111111111\"}"), "malformed"),
        (body("not json"), "malformed"),
        (elsewhere, "misrouted"),
        (other_key, "misrouted"),
        (bench.command("boom", "17", 666), "panicked"),
    ];
    for (at, (message, _)) in cases.iter().enumerate() {
        bench.send(message.clone());
        bench.send(bench.command(&format!("fine{at}"), "17", 1)); // its neighbours go through
    }
    let mut worker = bench.worker();
    settle(&mut worker);
    let letters = bench.all(&bench.service.dead_letters());
    let mut found: Vec<&str> = letters.iter().map(|letter| letter.headers.text(DLT_REASON).unwrap()).collect();
    let mut expected: Vec<&str> = cases.iter().map(|(_, reason)| *reason).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(bench.count("17"), (cases.len() as u64, cases.len() as u32));
    assert!(letters.iter().any(|letter| letter.value.as_deref() == Some(b"{\"more\":\"************1111\"}")), "a card number stands in a dead letter");
}

#[test]
fn a_deadline_wakes_its_aggregate_once_also_after_a_restart() {
    let bench = Bench::of(alone(), 4);
    let mut worker = bench.worker();
    bench.send(bench.command("a", "17", 5));
    settle(&mut worker);
    bench.clock.by(59);
    settle(&mut worker);
    assert_eq!(bench.count("17"), (1, 5));
    drop(worker);
    let mut worker = bench.worker();
    bench.clock.by(2);
    settle(&mut worker);
    assert_eq!((bench.count("17"), bench.kinds()), ((2, 0), vec!["counted".to_owned(), "emptied".into()]));
    bench.assert_equals_a_fold_from_zero();
}

#[test]
fn an_event_from_the_future_stops_its_partition_and_no_other() {
    let bench = Bench::of(alone().follows::<Echo>("other"), 5);
    let event = |subject: &str, version| {
        let mut envelope = Envelope::new("e", "/other/tally", Kind::of("tally", "counted", version), subject);
        envelope.version = Some(1);
        Message {
            topic: topic(Stream::Events("other")),
            partition: partition_of(subject.as_bytes(), 3),
            key: subject.as_bytes().to_vec(),
            headers: envelope.headers(),
            value: Some(b"{\"more\":1,\"at\":0}".to_vec()),
        }
    };
    let well = ["18", "19", "20", "21"].into_iter().find(|subject| partition_of(subject.as_bytes(), 3) != partition_of(b"17", 3)).unwrap();
    bench.send(event("17", 9));
    bench.send(event(well, 1));
    bench.send(bench.command("a", "17", 1));
    bench.send(bench.command("b", well, 1));
    let mut worker = bench.worker();
    settle(&mut worker);
    assert_eq!((bench.count("17"), bench.count(well)), ((0, 0), (2, 2)));
    let committed = bench.log.committed("tally").unwrap();
    assert!(committed.iter().all(|(_, partition, _)| *partition != partition_of(b"17", 3)), "a stopped partition moved on: {committed:?}");
}

#[test]
fn an_own_event_nobody_knows_stops_its_partition_and_no_other() {
    let bench = Bench::of(alone(), 6);
    let mut envelope = Envelope::new("e", "/tally/tally", Kind::of("tally", "sung", 1), "17");
    envelope.version = Some(1);
    bench.send(Message {
        topic: bench.service.events(),
        partition: partition_of(b"17", 3),
        key: b"17".to_vec(),
        headers: envelope.headers(),
        value: Some(b"{}".to_vec()),
    });
    let well = ["18", "19", "20", "21"].into_iter().find(|subject| partition_of(subject.as_bytes(), 3) != partition_of(b"17", 3)).unwrap();
    bench.send(bench.command("a", "17", 1));
    bench.send(bench.command("b", well, 1));
    let heard = Arc::new(Heard::default());
    let mut worker = Worker::join(
        Arc::clone(&bench.service),
        Arc::clone(&bench.log),
        Arc::clone(&bench.rows),
        "worker",
        Limits::test_min(),
        Arc::clone(&heard) as Arc<dyn Observer>,
    )
    .unwrap();
    settle(&mut worker);
    assert_eq!((bench.count("17"), bench.count(well)), ((0, 0), (1, 1)));
    let stopped = heard.0.lock().clone();
    assert!(
        matches!(&stopped[..], [(partition, why)] if *partition == partition_of(b"17", 3) && why.contains("tally.events") && why.contains("sung")),
        "{stopped:?}"
    );
}

/// Hears of stopped partitions.
#[derive(Default)]
struct Heard(Mutex<Vec<(Partition, String)>>);
impl Observer for Heard {
    fn stopped(&self, _: &'static str, partition: Partition, why: &str) {
        self.0.lock().push((partition, why.to_owned()));
    }
}

#[test]
fn a_router_carries_each_event_across_once() {
    for seed in 0..5 {
        let bench = Bench::of(alone().follows_across::<Across>("other"), seed);
        for n in 0..40 {
            let mut envelope = Envelope::new(format!("e{n}"), "/other/tally", Kind::of("tally", "counted", 1), "17");
            envelope.version = Some(n + 1);
            bench.send(Message {
                topic: topic(Stream::Events("other")),
                partition: Partition(n as u16 % 3),
                key: b"17".to_vec(),
                headers: envelope.headers(),
                value: Some(b"{\"more\":1,\"at\":0}".to_vec()),
            });
        }
        let mut random = StdRng::seed_from_u64(seed);
        let mut worker = bench.worker();
        for _ in 0..10 {
            // Routers come and go in the middle of their work.
            let mut router = Router::join(Arc::clone(&bench.service), bench.log.as_ref(), "router", Limits::test_min(), Arc::new(())).unwrap().unwrap();
            for _ in 0..random.random_range(1..12) {
                router.turn(Duration::ZERO).unwrap();
            }
        }
        let mut router = Router::join(Arc::clone(&bench.service), bench.log.as_ref(), "router", Limits::default(), Arc::new(())).unwrap().unwrap();
        assert!((0..20).any(|_| router.turn(Duration::ZERO).unwrap() == Progress::Idle));
        settle(&mut worker);
        assert_eq!(bench.count("all"), (40, 40), "SEED={seed}");
    }
}

#[test]
fn live_heads_equal_a_fold_from_zero_whatever_happens() {
    for seed in 0..12 {
        let bench = Bench::of(alone(), seed);
        let mut random = StdRng::seed_from_u64(seed);
        let mut worker = bench.worker();
        for n in 0..120 {
            let (id, subject) = (random.random_range(0..60), random.random_range(0..6));
            bench.send(bench.command(&format!("c{id}"), &format!("{subject}"), [0, 1, 2, 13][id % 4]));
            match random.random_range(0..10) {
                0 => worker = bench.worker(), // the old one is fenced by its name
                1 => bench.clock.by(random.random_range(1..100)),
                2 if n % 7 == 0 => bench.clock.by(MARK_SECONDS / 3),
                _ => drop(worker.turn(Duration::ZERO).unwrap()),
            }
        }
        settle(&mut worker);
        bench.assert_equals_a_fold_from_zero();
    }
}

#[test]
fn commits_that_end_badly_lose_and_double_nothing() {
    for seed in 0..20 {
        let mut bench = Bench::of(alone().follows::<Echo>("other").follows_across::<Across>("other"), seed);
        let sound = Arc::clone(&bench.log);
        bench.log = Arc::new(Flaky::over(Arc::clone(&sound), seed));
        let (mut worker, mut expected) = (bench.worker(), [0; 5]);
        let mut router = Router::join(Arc::clone(&bench.service), bench.log.as_ref(), "router", Limits::test_min(), Arc::new(())).unwrap().unwrap();
        for n in 0..60 {
            let subject = format!("{}", n % 4);
            bench.send(bench.command(&format!("c{}", n / 2 * 2), &subject, 1)); // every other id comes twice, for two subjects
            expected[n % 4] += 1;
            if n % 3 == 0 {
                let mut envelope = Envelope::new(format!("e{n}"), "/other/tally", Kind::of("tally", "counted", 1), &subject);
                envelope.version = Some(n as u64 + 1);
                let partition = partition_of(subject.as_bytes(), 3);
                bench.send(Message {
                    topic: topic(Stream::Events("other")),
                    partition,
                    key: subject.into_bytes(),
                    headers: envelope.headers(),
                    value: Some(b"{\"more\":1,\"at\":0}".to_vec()),
                });
                expected[n % 4] += 1; // by the policy on the same key
                expected[4] += 1; // by the one across keys
            }
            let _retried = (worker.turn(Duration::ZERO), router.turn(Duration::ZERO));
        }
        for _ in 0..400 {
            let _retried = (worker.turn(Duration::ZERO), router.turn(Duration::ZERO));
        }
        bench.log = sound;
        // Ids that came twice in one partition were decided once.
        let doubled: usize =
            (0..60).step_by(2).filter(|n| partition_of(format!("{}", n % 4).as_bytes(), 3) == partition_of(format!("{}", (n + 1) % 4).as_bytes(), 3)).count();
        let counts: Vec<u32> = ["0", "1", "2", "3", "all"].iter().map(|subject| bench.count(subject).1).collect();
        assert_eq!(counts.iter().sum::<u32>() + doubled as u32, expected.iter().sum::<u32>(), "SEED={seed}: {counts:?} of {expected:?}");
        assert_eq!(counts[4], expected[4], "SEED={seed}: across keys");
        bench.assert_equals_a_fold_from_zero();
    }
}
