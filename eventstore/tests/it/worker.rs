//! The worker on a real embedded log: repeats, dead letters, deadlines, stopped partitions, and heads that equal a fold from zero.

use std::sync::Arc;
use std::time::{Duration, Instant};

use eventstore::control::{Control, Ruling, Settled};

use eventstore::kafka::{self, Kafka};
use eventstore::log::{Stuck, TopicSpec};
use eventstore::observer::Observer;
use eventstore::router::Router;
use eventstore::worker::{Progress, Worker};
use eventstore::{Limits, Message};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use schemas::envelope::{DLT_REASON, Kind};
use schemas::{Envelope, Headers, Partition, Stream, partition_of, topic};

use crate::broker::Broker;
use crate::flaky::Flaky;
use crate::tally::{Across, Bench, Echo, REMEMBERED, alone, settle};

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
    for (wait, version) in [(0, 1), (REMEMBERED - 10, 1), (20, 3)] {
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
    let bench = Bench::of(alone().follows::<Echo, _>("other"), 5);
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

/// What others write between a running worker's own events is met at once, and not by the fold of its next start alone.
fn meets_what_others_write(bench: &Bench) {
    let subjects = Bench::subjects();
    bench.log.provision(&[Control::spec()]).unwrap();
    let (heard, control) = (Arc::new(Heard::default()), Control::open(Arc::clone(&bench.log)).unwrap());
    let observer = Arc::clone(&heard) as Arc<dyn Observer>;
    let mut worker = Worker::join(Arc::clone(&bench.service), Arc::clone(&bench.log), Arc::clone(&bench.rows), "worker", Limits::default(), observer)
        .unwrap()
        .under(&control);
    let mut until = |what: &str, is: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !is() {
            assert!(began.elapsed() < Duration::from_secs(60), "{what}: {:?}, {:?}", subjects.map(|subject| bench.count(subject)), heard.0.lock());
            let _tried_again = worker.turn(Duration::from_millis(20));
        }
    };
    let count = |subject: usize| bench.count(subjects[subject]).0;
    bench.send(bench.command("a", subjects[0], 1));
    until("the first", &|| count(0) == 1);
    let garbage = Message { value: Some(b"garbage".to_vec()), headers: Headers::default(), ..bench.own_event(subjects[0], 2, 1) };
    let offset = bench.log.append(vec![garbage]).unwrap()[0];
    for subject in subjects {
        bench.send(bench.command("b", subject, 1));
    }
    until("others go on, and one stands still", &|| (count(1), count(2), heard.0.lock().len()) == (1, 1, 1));
    let place = format!("tally.events/0 offset {offset}");
    assert!(heard.0.lock()[0].1.contains(&place) && count(0) == 1, "{:?}", heard.0.lock());
    let (topic, readers) = (bench.service.events(), ["worker:tally".to_owned()].into());
    control.settle(&Settled::Skip(Ruling { readers, topic, partition: Partition(0), offset, reason: "garbage".into(), actor: None })).unwrap();
    bench.send(bench.command("c", subjects[0], 1));
    until("it goes on", &|| count(0) == 3);
    assert_eq!(bench.count(subjects[0]), (3, 3));
    worker.leave().unwrap();
}

/// An event that its key does not lead to, or whose subject is another key's, is nobody's: folded, it would make rows that
/// depend on which partition is read first.
#[test]
fn an_event_where_its_key_does_not_lead_stops_its_partition() {
    let subjects = Bench::subjects();
    let misplaced = |bench: &Bench| Message { partition: Partition(1), ..bench.own_event(subjects[0], 1, 1) };
    let other_key = |bench: &Bench| Message { key: subjects[1].as_bytes().to_vec(), partition: Partition(1), ..bench.own_event(subjects[0], 1, 1) };
    for wrong in [&misplaced as &dyn Fn(&Bench) -> Message, &other_key] {
        let bench = Bench::of(alone(), 9);
        bench.log.provision(&[Control::spec()]).unwrap();
        let (heard, control) = (Arc::new(Heard::default()), Control::open(Arc::clone(&bench.log)).unwrap());
        bench.send(wrong(&bench));
        subjects.iter().for_each(|subject| bench.send(bench.command("a", subject, 1)));
        let observer = Arc::clone(&heard) as Arc<dyn Observer>;
        let (service, log, rows) = (Arc::clone(&bench.service), Arc::clone(&bench.log), Arc::clone(&bench.rows));
        let mut worker = Worker::join(service, log, rows, "worker", Limits::default(), observer).unwrap().under(&control);
        settle(&mut worker);
        let stopped = heard.0.lock().clone();
        assert!(matches!(&stopped[..], [(Partition(1), why)] if why.contains("misrouted")), "{stopped:?}");
        assert_eq!(subjects.map(|subject| bench.count(subject).0), [1, 0, 1]);
    }
}

#[test]
fn what_others_write_among_the_own_events_is_met_while_it_runs() {
    meets_what_others_write(&Bench::of(alone(), 8));
}

#[test]
fn on_kafka_what_others_write_among_the_own_events_is_met_while_it_runs() {
    let settings = kafka::Settings { namespace: Broker::namespace(), partitions: Some(3), ..kafka::Settings::new(Broker::shared().address()) };
    let mut bench = Bench::of(alone(), 8);
    bench.log = Arc::new(Kafka::open(settings).unwrap());
    let topics = [topic(Stream::Replies), bench.service.commands(), bench.service.events(), bench.service.dead_letters()];
    bench.log.provision(&topics.map(|topic| TopicSpec { topic, retention: None })).unwrap();
    meets_what_others_write(&bench);
}

/// Hears of stopped partitions.
#[derive(Default)]
struct Heard(Mutex<Vec<(Partition, String)>>);
impl Observer for Heard {
    fn stopped(&self, _: &str, stuck: &Stuck) {
        self.0.lock().push((stuck.partition, stuck.to_string()));
    }
}

/// Hears what is owned.
#[derive(Default)]
struct Owned(Mutex<Vec<Option<usize>>>);
impl Observer for Owned {
    fn owns(&self, _: &'static str, _: bool, partitions: Option<&[Partition]>) {
        self.0.lock().push(partitions.map(<[Partition]>::len));
    }
}

/// The first fold after a take-over fails; a later one does not, and then what is owned is told.
#[test]
fn a_take_over_whose_fold_failed_once_is_told_when_it_succeeds() {
    let mut failed = 0;
    for seed in 0..20 {
        let mut bench = Bench::of(alone(), seed);
        ["17", "18", "19", "20"].into_iter().for_each(|subject| bench.send(bench.own_event(subject, 1, 1)));
        bench.log = Arc::new(Flaky::over(Arc::clone(&bench.log), seed));
        let heard = Arc::new(Owned::default());
        let (service, log) = (Arc::clone(&bench.service), Arc::clone(&bench.log));
        let mut worker = Worker::join(service, log, Arc::clone(&bench.rows), "worker", Limits::default(), Arc::clone(&heard) as Arc<dyn Observer>).unwrap();
        failed += u32::from(worker.turn(Duration::ZERO).is_err());
        let mut turns = (0..50).filter(|_| worker.turn(Duration::ZERO).is_ok());
        assert!(turns.next().is_some());
        assert_eq!(heard.0.lock().last(), Some(&Some(3)), "SEED={seed}");
    }
    assert!(failed > 3, "the fold failed only {failed} times");
}

/// What a client asks for later: what became of a command that was put aside.
#[test]
fn a_clients_dead_letter_leaves_a_word_of_it_for_whoever_asks() {
    let bench = Bench::of(alone().follows::<Echo, _>("other"), 7);
    let mut worker = bench.worker();
    bench.send(bench.command("done", "17", 1));
    bench.send(bench.command("boom", "17", 666));
    bench.send(Message { value: Some(b"no json".to_vec()), ..bench.command("done", "17", 1) });
    bench.send(bench.event("e", "17", 1, 13)); // an inner command's refusal is for operators
    settle(&mut worker);
    let events = bench.all(&bench.service.events());
    let words: Vec<Envelope> = events.iter().map(|record| Envelope::read(&record.headers).unwrap()).filter(|envelope| envelope.dead_letter.is_some()).collect();
    let [word] = &words[..] else { panic!("{words:?}") };
    let said = (word.causation.as_deref(), word.dead_letter.as_deref(), word.subject.as_str(), word.kind.name.as_ref(), &word.body_hash);
    assert_eq!(said, (Some("boom"), Some("panicked"), "17", "command-refused", &None));
    assert_eq!(bench.letters().len(), 3);
    bench.assert_equals_a_fold_from_zero();
}

#[test]
fn a_router_carries_each_event_across_once() {
    for seed in 0..5 {
        let bench = Bench::of(alone().follows_across::<Across, _>("other"), seed);
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
                2 if n % 7 == 0 => bench.clock.by(REMEMBERED / 3),
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
        let mut bench = Bench::of(alone().follows::<Echo, _>("other").follows_across::<Across, _>("other"), seed);
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
