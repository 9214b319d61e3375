//! Commits whose end nobody can be sure of: an answer that is wrong, late, or lost on its way, on a real broker behind a
//! proxy. Nothing may be lost or doubled by it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use eventstore::kafka::{Kafka, Settings};
use eventstore::log::TopicSpec;
use eventstore::memory::Memory;
use eventstore::rows::Rows;
use eventstore::service::Service;
use eventstore::worker::{Progress, Worker};
use eventstore::{Batch, Commit, Fault, Group, Limits, Log, Member, Message, Offset, Polled, Record};
use schemas::{Codec, Envelope, Headers, Partition, Stream, Topic, partition_of, topic};
use tempfile::TempDir;

use crate::broker::Broker;
use crate::proxy::{Fate, Proxy};
use crate::tally::{Echo, Event, Tally};

/// A broker of its own behind a proxy: others must not be disturbed.
struct Between {
    proxy: Proxy,
    broker: Broker,
}

impl Between {
    fn start() -> Self {
        let mut proxy = None;
        let broker = Broker::behind(|port| Some(proxy.insert(Proxy::before(port)).port()));
        Self { proxy: proxy.unwrap(), broker }
    }

    fn log(&self, namespace: &str) -> Kafka {
        self.held(namespace, None)
    }

    fn held(&self, namespace: &str, held: Option<Duration>) -> Kafka {
        let log = Kafka::open(Settings { namespace: namespace.to_owned(), held, ..Settings::new(self.broker.address()) }).unwrap();
        log.provision(&["in", "out"].map(|name| TopicSpec { topic: Topic::named(name), retention: None })).unwrap();
        log
    }
}

fn message(topic: &str, key: &str) -> Message {
    Message { topic: Topic::named(topic), partition: Partition(0), key: key.as_bytes().to_vec(), headers: Headers::default(), value: Some(vec![7]) }
}

fn join(log: &Kafka) -> Box<dyn Member> {
    log.join(Group { name: "group".into(), commands: Topic::named("in"), inputs: vec![Topic::named("in").into()], member: "one".into() }).unwrap()
}

fn batch(member: &mut dyn Member) -> Batch {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(Instant::now() < deadline, "nothing was polled");
        if let Ok(Polled::Batch(batch)) = member.poll(Limits::default(), Duration::from_millis(100))
            && !batch.records.is_empty()
        {
            return batch;
        }
    }
}

fn all(log: &dyn Log, topic: &Topic, partition: Partition) -> Vec<Arc<Record>> {
    let (mut from, end, mut records) = (Offset(0), log.end(topic, partition).unwrap(), vec![]);
    while from < end {
        let page = log.read(topic, partition, from, Limits::default()).unwrap();
        records.extend(page.records);
        from = page.next;
    }
    records
}

fn keys(log: &Kafka, name: &str) -> Vec<String> {
    all(log, &Topic::named(name), Partition(0)).iter().map(|record| String::from_utf8_lossy(&record.key).into_owned()).collect()
}

fn recycled(log: &Kafka) -> u64 {
    log.counts().into_iter().find(|(name, _)| *name == "producers_recycled").unwrap().1
}

/// A commit that the broker had ends unknown, and a deadline is due: the turn after it must not commit the position that was
/// known before.
#[test]
fn a_commit_of_nothing_after_an_unknown_one_moves_nothing_back() {
    let between = Between::start();
    let log = between.log("a.");
    log.append(vec![message("in", "x")]).unwrap();
    let mut member = join(&log);
    for round in 0..5 {
        let polled = batch(member.as_mut());
        let next = polled.positions[0].2;
        between.proxy.plan("group", [Fate::Turned], 0);
        let ended = member.commit(vec![message("out", "x")], &polled.positions, &polled.assignment).unwrap();
        assert_eq!((ended, between.proxy.done()), (Commit::Unknown, vec![Fate::Turned]));
        let began = Instant::now();
        let (mut timers, mut refused) = (0, 0);
        while timers < 2 {
            assert!(began.elapsed() < Duration::from_secs(30), "no turn could commit");
            // As the worker does: a timer's outputs, and nothing consumed.
            let Polled::Batch(turn) = member.poll(Limits::default(), Duration::ZERO).unwrap() else { continue };
            assert!(turn.records.is_empty(), "round {round}: {:?} was polled again", turn.records);
            let ended = member.commit(vec![message("out", "timer")], &vec![], &turn.assignment).unwrap();
            if turn.assignment.partitions.is_empty() {
                assert_eq!(ended, Commit::Lost, "a commit without an assignment");
                refused += 1;
                continue;
            }
            timers += usize::from(matches!(ended, Commit::Committed(_)));
            let stands = log.committed("group").unwrap().into_iter().find(|(of, at, _)| of.as_str() == "in" && at.0 == 0).unwrap().2;
            assert!(stands >= next, "round {round}: a timer's commit moved the position from {next} back to {stands}");
        }
        println!("unknown, then two timers: position {next} stands; {refused} turns found nothing to commit for");
        log.append(vec![message("in", "x")]).unwrap();
    }
    assert_eq!(keys(&log, "out").iter().filter(|key| *key == "x").count(), 5);
}

/// An error after EndTxn says nothing about the end: `append` looks.
#[test]
fn an_append_of_unknown_end_is_settled_from_the_log() {
    let between = Between::start();
    let log = between.log("a.");
    let mut offsets = vec![];
    let fates = [Fate::Turned, Fate::Cut, Fate::Late(Duration::from_secs(3)), Fate::Late(Duration::from_secs(11)), Fate::Denied, Fate::Turned];
    for (round, fate) in fates.into_iter().enumerate() {
        between.proxy.plan("append", [fate], 0);
        let (began, before) = (Instant::now(), recycled(&log));
        let ended = log.append(vec![message("in", &format!("{round}")), message("in", &format!("{round}+"))]);
        println!("{fate:?}: {ended:?} after {:?}", began.elapsed());
        assert_eq!(between.proxy.done(), [fate]);
        assert!(began.elapsed() < Duration::from_secs(40));
        match (fate, ended) {
            (Fate::Denied, Err(Fault::Abort(why))) => assert!(why.contains("were not written"), "{why}"),
            (Fate::Denied, ended) => panic!("never committed, and {ended:?}"),
            (_, ended) => offsets.extend(ended.unwrap()),
        }
        log.append(vec![message("out", "next"), message("out", "next")]).unwrap(); // with the other producer
        log.append(vec![message("out", "next"), message("out", "next")]).unwrap(); // with the one it was
        assert!(recycled(&log) > before, "after {fate:?} the producer went on");
    }
    let found = all(&log, &Topic::named("in"), Partition(0));
    assert_eq!(found.iter().map(|record| record.offset).collect::<Vec<_>>(), offsets);
    assert_eq!(keys(&log, "in"), ["0", "0+", "1", "1+", "2", "2+", "3", "3+", "5", "5+"]);
}

/// An EndTxn that went astray is repeated by librdkafka, and arrives while the same producer has another transaction open.
#[test]
fn an_end_that_went_astray_ends_no_later_transaction() {
    let between = Between::start();
    let log = between.held("a.", Some(Duration::from_secs(2)));
    log.append(vec![message("in", "x")]).unwrap();
    let mut member = join(&log);
    let polled = batch(member.as_mut());
    between.proxy.plan("group", [Fate::Astray], 0);
    let ended = member.commit(vec![message("out", "first")], &polled.positions, &polled.assignment).unwrap();
    assert!(matches!(ended, Commit::Committed(_)), "it is repeated on a new connection: {ended:?}");
    assert_eq!(between.proxy.done(), [Fate::Astray]);
    let ended = member.commit(vec![message("out", "other")], &vec![], &polled.assignment).unwrap();
    assert!(matches!(ended, Commit::Committed(_)), "{ended:?}");
    std::thread::scope(|scope| {
        let (log, proxy) = (&log, &between.proxy);
        let committing = scope.spawn(|| member.commit(vec![message("out", "open")], &vec![], &polled.assignment).unwrap());
        // It is held open for two seconds, its records at the broker.
        std::thread::sleep(Duration::from_millis(1_200));
        let answers = proxy.deliver();
        std::thread::sleep(Duration::from_millis(300));
        // A read waits for what is open: what it sees before the commit has ended was ended by something else.
        let seen = keys(log, "out");
        let early = !committing.is_finished() && seen.contains(&"open".to_owned());
        let ended = committing.join().unwrap();
        println!("the end that went astray was answered {answers:?}; the open transaction could be read before its end: {early}; it ended {ended:?}");
        assert!(!early && answers != [0], "a transaction was ended by the end of another");
        assert!(matches!(ended, Commit::Committed(_)), "{ended:?}");
    });
    assert_eq!(keys(&log, "out"), ["first", "other", "open"]);
}

/// A real worker whose policy reacts to another service's events (nothing there has an id that would be known again), while
/// the ends of its transactions have every fate in turn.
#[test]
fn a_worker_loses_and_doubles_nothing_whatever_becomes_of_its_commits() {
    const EVENTS: usize = 120;
    let between = Between::start();
    let log: Arc<dyn Log> = Arc::new(between.log("a."));
    let service = Arc::new(Service::new("tally").owns::<Tally, _>().follows::<Echo, _>("other"));
    let (other, own) = (topic(Stream::Events("other")), service.events());
    let topics = [topic(Stream::Replies), other.clone(), service.commands(), own.clone(), service.dead_letters()];
    log.provision(&topics.map(|topic| TopicSpec { topic, retention: None })).unwrap();
    let event = |n: usize| {
        let (subject, (kind, body)) = (format!("{}", n % 10), Tally::encode_event(&Event::Counted { more: 1, at: 0 }));
        let envelope = Envelope::new(format!("event-{n}"), "/other/tally", kind, &subject);
        let partition = partition_of(subject.as_bytes(), log.partitions());
        Message { topic: other.clone(), partition, key: subject.into_bytes(), headers: envelope.headers(), value: Some(body) }
    };
    assert!(log.send((0..EVENTS).map(event).collect()).iter().all(Result::is_ok));
    let dir = TempDir::new().unwrap();
    let rows = Arc::new(Rows::open(dir.path(), &eventstore::heads::shape(&service), &Memory::default()).unwrap());
    let (short, long) = (Duration::from_secs(3), Duration::from_secs(11));
    let fates = [Fate::Turned, Fate::Cut, Fate::Denied, Fate::Astray, Fate::Late(short), Fate::Turned, Fate::Cut, Fate::Astray, Fate::Late(long)];
    let mut worker = Worker::join(Arc::clone(&service), Arc::clone(&log), rows, "worker", Limits { records: 3, ..Limits::test_min() }, Arc::new(())).unwrap();
    let causes = || {
        let mut causes = BTreeMap::<String, usize>::new();
        for partition in (0..log.partitions()).map(Partition) {
            for record in all(log.as_ref(), &own, partition) {
                *causes.entry(record.envelope().unwrap().causation.clone().unwrap_or_default()).or_default() += 1;
            }
        }
        causes
    };
    between.proxy.plan("tally.worker", fates, 2);
    let began = Instant::now();
    let (mut idle, stop) = (0, AtomicBool::new(false));
    let delivered = std::thread::scope(|scope| {
        let delivering = scope.spawn(|| {
            let mut delivered = vec![];
            while !stop.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(70)); // whatever is open then
                delivered.extend(between.proxy.deliver());
            }
            delivered
        });
        while idle < 30 && began.elapsed() < Duration::from_secs(120) {
            match worker.turn(Duration::from_millis(50)) {
                Ok(Progress::Idle) if between.proxy.done().len() == fates.len() => idle += 1,
                Ok(_) => idle = 0,
                Err(Fault::Fatal(why)) => panic!("{why}"),
                Err(_) => {}
            }
        }
        stop.store(true, Ordering::Release);
        delivering.join().unwrap()
    });
    assert_eq!(idle, 30, "of {EVENTS} events {} had an effect; {:?}", causes().len(), between.proxy.done());
    let causes = causes();
    println!(
        "{EVENTS} events, {} with an effect, {} effects, after {:?} and late ends answered {delivered:?}; {:?} in {:?}",
        causes.len(),
        causes.values().sum::<usize>(),
        between.proxy.done(),
        log.counts(),
        began.elapsed()
    );
    let doubled: Vec<_> = causes.iter().filter(|(_, count)| **count != 1).collect();
    assert!(causes.len() == EVENTS && doubled.is_empty(), "{} of {EVENTS} events had an effect, twice or more: {doubled:?}", causes.len());
}
