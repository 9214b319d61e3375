//! Records of outsiders who know no limits: whatever they hold, they are put aside, and everything else goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use eventstore::heads::Heads;
use eventstore::kafka::{Kafka, Settings};
use eventstore::log::{RECORD_BYTES_MAX, TopicSpec};
use eventstore::memory::Memory;
use eventstore::rows::Rows;
use eventstore::turn::Turn;
use eventstore::worker::Worker;
use eventstore::{Limits, Log, Message, Offset, Record};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use schemas::envelope::{DLT_CUT, DLT_REASON};
use schemas::{Headers, Partition, Stream, partition_of, topic};
use tempfile::TempDir;

use crate::broker::Broker;
use crate::tally::{Across, Bench, Echo, alone, settle};

/// A record that as a whole fits, and whose letter would not.
fn full_of_headers(bench: &Bench, subject: &str) -> Message {
    let mut message = bench.command("hostile", subject, 1);
    message.headers.push("x-junk", vec![b'j'; RECORD_BYTES_MAX - message.bytes() - 6]);
    message.value = Some(b"nothing that can be read".to_vec());
    let over = message.bytes().saturating_sub(RECORD_BYTES_MAX);
    let junk = message.headers.get("x-junk").unwrap()[over..].to_vec();
    message.headers = message.headers.iter().filter(|(name, _)| *name != "x-junk").map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    message.headers.push("x-junk", junk);
    assert_eq!(message.bytes(), RECORD_BYTES_MAX);
    message
}

#[test]
fn a_record_full_of_headers_is_put_aside_and_all_partitions_go_on() {
    let bench = Bench::of(alone(), 21);
    let subjects = Bench::subjects();
    bench.send(full_of_headers(&bench, subjects[0]));
    for (n, subject) in subjects.iter().enumerate() {
        bench.send(bench.command(&format!("c{n}"), subject, 1));
    }
    settle(&mut bench.worker());
    assert_eq!(subjects.map(|subject| bench.count(subject)), [(1, 1); 3]);
    let letters = bench.letters();
    let [(reason, letter)] = &letters[..] else { panic!("{} letters", letters.len()) };
    assert_eq!((reason.as_str(), letter.headers.text(DLT_CUT), letter.headers.text("ce_id")), ("malformed", Some("headers"), Some("hostile")));
    assert!(letter.bytes() <= RECORD_BYTES_MAX && letter.value.is_some(), "what fits is kept");
}

#[test]
fn on_kafka_a_record_with_700_kb_of_headers_is_put_aside_and_all_partitions_go_on() {
    let settings = Settings { namespace: Broker::namespace(), partitions: Some(3), ..Settings::new(Broker::shared().address()) };
    let named = format!("{}tally.commands", settings.namespace);
    let log: Arc<dyn Log> = Arc::new(Kafka::open(settings).unwrap());
    let (bench, dir) = (Bench::of(alone(), 22), TempDir::new().unwrap());
    let topics = [topic(Stream::Replies), bench.service.commands(), bench.service.events(), bench.service.dead_letters()];
    log.provision(&topics.map(|topic| TopicSpec { topic, retention: None })).unwrap();
    let subjects = Bench::subjects();
    let outsider: BaseProducer = ClientConfig::new().set("bootstrap.servers", Broker::shared().address()).create().unwrap();
    let junk = "j".repeat(100_000);
    let headers = (0..7).fold(OwnedHeaders::new(), |headers, _| headers.insert(Header { key: "x-junk", value: Some(&junk) }));
    let key = vec![b'k'; 150_000];
    for headers in [headers.clone().insert(Header { key: "ce_id", value: Some("hostile") }), headers] {
        outsider.send(BaseRecord::to(&named).partition(0).key(&key).payload("{}").headers(headers)).unwrap();
    }
    outsider.flush(Duration::from_secs(30)).unwrap();
    for (n, subject) in subjects.iter().enumerate() {
        log.append(vec![bench.command(&format!("c{n}"), subject, 1)]).unwrap();
    }
    let rows = Arc::new(Rows::open(dir.path(), &eventstore::heads::shape(&bench.service), &Memory::default()).unwrap());
    let mut worker = Worker::join(Arc::clone(&bench.service), Arc::clone(&log), rows, "worker", Limits::default(), Arc::new(())).unwrap();
    let read = |topic, partition| log.read(&topic, Partition(partition), Offset(0), Limits::default()).unwrap().records;
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut letters, mut events) = (vec![], 0);
    while (letters.len(), events) != (2, 4) {
        assert!(Instant::now() < deadline, "{} letters, {events} events and markers", letters.len());
        let _tried_again = worker.turn(Duration::from_millis(100));
        letters = read(bench.service.dead_letters(), 0);
        events = (0..3).map(|partition| read(bench.service.events(), partition).len()).sum();
    }
    for letter in letters {
        assert_eq!((letter.headers.text(DLT_REASON), letter.headers.text(DLT_CUT)), (Some("malformed"), Some("key,headers")));
        assert!(letter.bytes() <= RECORD_BYTES_MAX);
    }
    worker.leave().unwrap();
}

/// Names, sizes and places that a hostile record may have.
fn hostile(bench: &Bench, random: &mut StdRng) -> Record {
    let subjects = Bench::subjects();
    let base = match random.random_range(0..4) {
        0 => bench.event("e", subjects[random.random_range(0..3)], 1, [1, 13, 666, 669, 670][random.random_range(0..5)]),
        _ => bench.command("c", subjects[random.random_range(0..3)], [1, 13, 666, 667, 0][random.random_range(0..5)]),
    };
    let names = [
        "ce_id",
        "ce_subject",
        "ce_type",
        "ce_source",
        "ce_actor",
        "ce_causationid",
        "ce_correlationid",
        "traceparent",
        "ce_traceparent",
        "reply-to",
        "ce_time",
        "ce_sequence",
        "ce_expectedversion",
        "dlt-cut",
        "daybook-inside",
        "daybook-again",
        "daybook-request",
        "daybook-unscoped-id",
        "ce_bodyhash",
        "content-type",
        "x",
    ];
    let mut left: usize = [100, 2_000, 300_000, 1_000_000][random.random_range(0..4)];
    let mut text = |random: &mut StdRng| -> Vec<u8> {
        let most = [1, 60, 300, 5_000, 1_000_000][random.random_range(0..5)];
        let many = random.random_range(0..=left.min(most));
        left -= many;
        let alphabet: &[u8] = [b"a".as_slice(), b"4", b"\"\\", b"\x01", "é".as_bytes(), b"\xff"][random.random_range(0..6)];
        alphabet.iter().copied().cycle().take(many).collect()
    };
    let mut headers: Headers = base.headers.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    for _ in 0..[0, 1, 3, 20][random.random_range(0..4)] {
        let (name, value) = (names[random.random_range(0..names.len())], text(random));
        if random.random_bool(0.7) {
            headers = headers.iter().filter(|(known, _)| *known != name).map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
        }
        headers.push(name, value);
    }
    if random.random_bool(0.1) {
        (0..random.random_range(0..100_000)).for_each(|_| headers.push("a", ""));
    }
    let key = if random.random_bool(0.2) { text(random) } else { base.key };
    let value = if random.random_bool(0.2) { Some(text(random)) } else { base.value };
    let partition = if random.random_bool(0.5) { partition_of(&key, 3) } else { base.partition };
    Record::of(Message { topic: base.topic, partition, key, headers, value }, Offset(random.random()), bench.log.now())
}

#[test]
fn whatever_a_record_holds_every_output_of_its_turn_fits() {
    let bench = Bench::of(alone().follows::<Echo, _>("other").follows_across::<Across, _>("other"), 23);
    let anchors = eventstore::reactions::anchors(3);
    let mut reasons = std::collections::BTreeMap::<String, u32>::new();
    for seed in 0..1_500 {
        let mut random = StdRng::seed_from_u64(seed);
        let rows = Arc::clone(&bench.rows);
        let mut heads = Heads::new(Arc::clone(&bench.service), rows);
        let record = hostile(&bench, &mut random);
        let mut turn = Turn::new(&bench.service, &mut heads, bench.log.as_ref(), bench.log.now());
        let is_event = record.topic != bench.service.commands();
        // An event that cannot be read stops its partition: there is nothing to write then.
        let _stopped = if is_event { turn.take_event(&record) } else { turn.take_command(&record) };
        let mut outputs = turn.done().outputs;
        if is_event {
            let writer = eventstore::reactions::Writer::new(&bench.service, &anchors, bench.log.secret(), bench.log.rules());
            let reacted = eventstore::reactions::reactions_to(&bench.service.routed, &record, &mut vec![]);
            for reacted in reacted.ok().into_iter().flatten() {
                outputs.extend(writer.write(&record, reacted, &mut vec![]).unwrap());
            }
        }
        for output in outputs {
            assert!(output.bytes() <= RECORD_BYTES_MAX && output.headers.len() <= 300, "SEED={seed}: {} has {} bytes", output.topic, output.bytes());
            // In Kafka's format a header costs at most ten bytes more than it holds, a record a hundred: brokers take 1 MiB.
            assert!(output.bytes() + 10 * output.headers.len() + 100 < 1_000_000, "SEED={seed}");
            if let Some(reason) = output.headers.text(DLT_REASON) {
                *reasons.entry(reason.to_owned()).or_default() += 1;
            }
        }
    }
    println!("{reasons:?}");
    for reason in ["malformed", "misrouted", "panicked", "refused", "too-large"] {
        assert!(reasons.contains_key(reason), "never {reason}: {reasons:?}");
    }
}
