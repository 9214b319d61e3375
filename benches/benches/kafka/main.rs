//! The log on a real Kafka broker, started here: commands through the worker, append and replay, each beside its limit
//! in the same run, and what each part of the commit path is worth. Ratios count; the broker shares the cores.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a bench stops at the first failure and prints its result")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bare::{Bare, Shape};
use benches::{Paired, percentiles};
use broker::Broker;
use domain::stock::{Command, StockItem};
use eventstore::control::Control;
use eventstore::kafka::{Kafka, Settings};
use eventstore::log::TopicSpec;
use eventstore::memory::Memory;
use eventstore::rows::Rows;
use eventstore::service::Service;
use eventstore::worker::Worker;
use eventstore::{Fault, Limits, Log, Message, Offset};
use rdkafka::Message as _;
use rdkafka::consumer::BaseConsumer;
use schemas::{Codec, Envelope, Partition, Stream, Topic, partition_of, topic};
use tempfile::TempDir;
use views::replays;

mod bare;
#[path = "../../../eventstore/tests/it/broker.rs"]
mod broker;
#[path = "../replay/views.rs"]
mod views;

const PARTITIONS: u16 = 8;
const BATCH: usize = 1_000;

/// A log of its own on the shared broker, with the topics of one service.
struct Place {
    settings: Settings,
    log: Arc<Kafka>,
    service: Arc<Service>,
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let settings = Settings { namespace: Broker::namespace(), ..Settings::new(Broker::shared().address()) };
        let log = Arc::new(Kafka::open(settings.clone()).unwrap());
        let service = Arc::new(Service::new("stock").owns::<StockItem, shapes::Marketplace>());
        let topics = [service.commands(), service.events(), service.dead_letters(), topic(Stream::Replies)];
        log.provision(&topics.map(|topic| TopicSpec { topic, retention: None })).unwrap();
        log.provision(&[Control::spec()]).unwrap();
        Self { settings, log, service, dir: TempDir::new().unwrap() }
    }

    fn name(&self, topic: &Topic) -> String {
        format!("{}{topic}", self.settings.namespace)
    }

    /// Turns a worker until told to stop.
    fn worker(&self, stop: &AtomicBool) {
        let log: Arc<dyn Log> = Arc::<Kafka>::clone(&self.log);
        let rows = Arc::new(Rows::open(&self.dir.path().join("heads"), &eventstore::heads::shape(&self.service), &Memory::default()).unwrap());
        let mut worker = Worker::join(Arc::clone(&self.service), log, rows, "worker", Limits { records: BATCH, ..Limits::default() }, Arc::new(())).unwrap();
        while !stop.load(Ordering::Relaxed) {
            match worker.turn(Duration::from_millis(100)) {
                Err(Fault::Retry(why)) => println!("tried again: {why}"), // as a service does
                turned => drop(turned.unwrap()),
            }
        }
        worker.leave().unwrap();
    }

    /// A command that is answered: one event and one reply.
    fn command(&self, n: u64) -> Message {
        let subject = format!("{}-{}", n % 64, n % 1_999);
        let (kind, body) = StockItem::encode_command(&Command::Receive { quantity: 1, reference: format!("delivery {n}") });
        let mut envelope = Envelope::new(n.to_string(), "/bench", kind, &subject);
        envelope.reply_to = Some("bench@0".to_owned()); // an instance listens on one partition
        let key = subject.split('-').next().unwrap_or_default().as_bytes().to_vec();
        Message { topic: self.service.commands(), partition: partition_of(&key, PARTITIONS), key, headers: envelope.headers(), value: Some(body) }
    }

    /// What an event and a reply weigh, headers included, as the worker has written them.
    fn bytes(&self) -> [usize; 2] {
        [self.service.events(), topic(Stream::Replies)].map(|topic| {
            let mut records = (0..PARTITIONS).flat_map(|partition| self.log.read(&topic, Partition(partition), Offset(0), Limits::test_min()).unwrap().records);
            records.next().unwrap().bytes()
        })
    }

    fn send(&self, from: u64, count: u64) {
        let all: Vec<u64> = (from..from + count).collect();
        for some in all.chunks(5_000) {
            all_sent(self.log.send(some.iter().map(|n| self.command(*n)).collect()));
        }
    }

    /// A reader of committed records, from the ends on.
    fn reader(&self, of: &Topic) -> BaseConsumer {
        bare::reader(&self.settings.brokers, &self.name(of), |partition| i64::try_from(self.log.end(of, Partition(partition)).unwrap().0).unwrap())
    }
}

fn all_sent(sent: Vec<Result<Offset, Fault>>) {
    assert!(sent.iter().all(Result::is_ok), "{:?}", sent.iter().find(|sent| sent.is_err()));
}

/// Commands at full speed, from the log through the worker to what others can read.
fn full_speed(count: u64) {
    let place = Place::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| place.worker(&stop));
        let replies = place.reader(&topic(Stream::Replies));
        // Warmed, and weighed: the bare loop writes as many bytes.
        place.send(1_000_000_000, 1_000);
        (0..1_000).for_each(|_| drop(replies.poll(Duration::from_secs(60)).expect("a reply").unwrap()));
        let bytes = place.bytes();
        println!("an event has {} bytes and a reply {}, headers included", bytes[0], bytes[1]);
        let (mut sent, mut answered) = (0, 0);
        // The worker starts on what waits for it, as after a pause; the bare loop does the same with the same records.
        let ours = || {
            place.send(sent, count);
            sent += count;
            while answered < sent {
                if let Some(reply) = replies.poll(Duration::from_secs(30)) {
                    reply.unwrap();
                    answered += 1;
                }
            }
            count
        };
        let bare_place = Place::new();
        let mut bare = Bare::new(&bare_place.settings.brokers, &bare_place.settings.namespace, Shape { bytes, ..Shape::default() });
        let bare_replies = bare_place.reader(&topic(Stream::Replies));
        let (mut bare_sent, mut bare_answered) = (0, 0);
        let limit = || {
            bare_place.send(bare_sent, count);
            bare_sent += count;
            let mut done = 0;
            while done < count {
                done += bare.turn(BATCH);
            }
            while bare_answered < bare_sent {
                bare_replies.poll(Duration::from_secs(30)).unwrap().unwrap();
                bare_answered += 1;
            }
            count
        };
        println!(
            "{}",
            Paired::run(5, ours, limit).report(
                &format!("commands at full speed, sent and answered, {count} at a time"),
                "worker",
                "bare transaction loop",
                Some(0.7)
            )
        );
        stop.store(true, Ordering::Relaxed);
    });
}

/// Single commands in open loop at `rate` a second: from the intended start until the reply can be read.
fn open_loop(rate: u64, seconds: u64) {
    let place = Place::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| place.worker(&stop));
        place.send(1_000_000_000, 200); // the worker has its partitions, and is warm
        let replies = place.reader(&topic(Stream::Replies));
        std::thread::sleep(Duration::from_secs(8));
        let (began, pause) = (Instant::now() + Duration::from_millis(100), Duration::from_secs(1) / u32::try_from(rate).unwrap());
        let due = move |n: u64| began + pause * u32::try_from(n).unwrap();
        let total = rate * seconds;
        let producer = bare::sender(&place.settings.brokers);
        scope.spawn({
            let place = &place;
            move || {
                for n in 0..total {
                    std::thread::sleep(due(n).saturating_duration_since(Instant::now()));
                    bare::fire(&producer, &place.settings.namespace, &place.command(n));
                }
                std::thread::sleep(Duration::from_secs(2));
            }
        });
        let mut took = vec![];
        while took.len() < usize::try_from(total).unwrap() {
            let reply = replies.poll(Duration::from_secs(30)).expect("a reply").unwrap();
            let body: serde_json::Value = serde_json::from_slice(reply.payload().unwrap()).unwrap();
            let n: u64 = body["command_id"].as_str().unwrap().parse().unwrap();
            if n < total {
                took.push(Instant::now().saturating_duration_since(due(n)));
            }
        }
        stop.store(true, Ordering::Relaxed);
        let ours = percentiles(&mut took);
        // The limit: one command's transaction after the other, in the same minute.
        let bare_place = Place::new();
        let mut bare = Bare::new(&bare_place.settings.brokers, &bare_place.settings.namespace, Shape::default());
        bare_place.send(0, 1_200);
        let mut transactions: Vec<Duration> = std::iter::repeat_with(|| bare.transaction(1)).take(1_200).skip(200).collect();
        let bare = percentiles(&mut transactions);
        let ratio = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
        println!(
            "single commands, open loop, {rate}/s for {seconds} s, intended start to read_committed reply: p50 {:.1?} p99 {:.1?} max {:.1?}; bare transaction p50 {:.1?} p99 {:.1?}; ratio p50 {:.2} (aim 2.5) p99 {:.2} (aim 4)",
            ours.0,
            ours.1,
            ours.2,
            bare.0,
            bare.1,
            ratio(ours.0, bare.0),
            ratio(ours.1, bare.1)
        );
    });
}

/// Records that each stand for themselves, 1,000 at a time, until all are acknowledged.
fn append(times: u64) {
    let place = Place::new();
    let messages: Vec<Message> = (0..1_000).map(|n| place.command(n)).collect();
    let ours = || {
        (0..times).for_each(|_| all_sent(place.log.send(messages.clone())));
        times * 1_000
    };
    let producer = bare::sender(&place.settings.brokers);
    let limit = || {
        for _ in 0..times {
            messages.iter().for_each(|message| bare::fire(&producer, &place.settings.namespace, message));
            bare::settle(&producer);
        }
        times * 1_000
    };
    println!("{}", Paired::run(7, ours, limit).report("append, 1,000 records at a time, all acknowledged", "Daybook", "raw idempotent producer", Some(0.8)));
}

/// All events of a topic into rows of a view; the drain is librdkafka's alone.
fn replay(count: u64) {
    let place = Place::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| place.worker(&stop));
        let replies = place.reader(&topic(Stream::Replies));
        place.send(0, count);
        (0..count).for_each(|_| drop(replies.poll(Duration::from_secs(60)).expect("a reply").unwrap()));
        stop.store(true, Ordering::Relaxed);
    });
    let events = place.service.events();
    let limit = || {
        let reader = bare::reader(&place.settings.brokers, &place.name(&events), |_| 0);
        (0..count).for_each(|_| drop(reader.poll(Duration::from_secs(30)).expect("a record").unwrap()));
        count
    };
    let log: Arc<dyn Log> = Arc::<Kafka>::clone(&place.log);
    replays(&log, &events, &place.dir.path().join("views"), count, limit).iter().for_each(|line| println!("{line}"));
}

/// What each part of the commit path is worth: transactions of ten commands, one after the other.
fn ablation() {
    println!("\n{:<86} {:>9} {:>9}", "commit path, 10 commands each", "p50", "p99");
    let best = Shape::default();
    let shapes = [
        ("as ours: reports served, two producers, offsets, 8 partitions", best),
        ("one producer", Shape { producers: 1, ..best }),
        ("one producer, retry.backoff.ms=1", Shape { producers: 1, backoff_ms: 1, ..best }),
        ("without offsets", Shape { offsets: false, ..best }),
        ("2 partitions touched instead of 8", Shape { partitions: 2, ..best }),
        ("rdkafka's own commit, two producers", Shape { stock: true, ..best }),
        ("rdkafka's own commit, one producer: the stock loop", Shape { stock: true, producers: 1, ..best }),
    ];
    for (name, shape) in shapes {
        let place = Place::new();
        let count = if shape.stock || shape.producers == 1 { 40 } else { 300 };
        place.send(0, (count + 20) * 10);
        let mut bare = Bare::new(&place.settings.brokers, &place.settings.namespace, shape);
        let mut took: Vec<Duration> = std::iter::repeat_with(|| bare.transaction(10)).take(usize::try_from(count).unwrap() + 20).skip(20).collect();
        let (p50, p99, _) = percentiles(&mut took);
        println!("{name:<86} {:>9} {:>9}", format!("{p50:.1?}"), format!("{p99:.1?}"));
    }
}

/// All of them, or those that are named: `cargo bench --workspace --bench kafka -- replay`.
fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let benches: [(&str, fn()); 5] = [
        ("ablation", ablation),
        ("open-loop", || open_loop(500, 20)),
        ("full-speed", || full_speed(20_000)),
        ("append", || append(30)),
        ("replay", || replay(400_000)),
    ];
    benches.iter().filter(|(name, _)| named.is_empty() || named.iter().any(|wanted| wanted == name)).for_each(|(_, bench)| bench());
}
