//! What an application settles for its log and its services: how ids are routed, how large a record may be, how long a
//! client's command is remembered.

use std::sync::Arc;

use eventstore::kafka::{Kafka, Settings as OnKafka};
use eventstore::log::{BATCH_BYTES_MAX, RECORD_BYTES_MAX, Rules, TopicSpec};
use eventstore::{Fault, Limits, Log, Message};
use schemas::{Headers, Partition, Stream, partition_of, topic};

use crate::broker::Broker;
use crate::tally::{Bench, REMEMBERED, alone, settle};

/// What stands behind the colon.
fn behind(id: &str) -> &str {
    id.rsplit(':').next().unwrap_or(id)
}

#[test]
fn ids_are_routed_as_the_application_says() {
    let bench = Bench::ruled(alone(), 51, Rules { routing_key: behind, ..Rules::default() });
    let (id, key) = ("tally:17", "17");
    assert_eq!(bench.log.partition_of(id), partition_of(key.as_bytes(), 3));
    let command = |id: &str, key: &str, subject: &str| {
        let partition = partition_of(key.as_bytes(), 3);
        Message { partition, key: key.as_bytes().to_vec(), ..bench.command(id, subject, 5) }
    };
    bench.send(command("c-1", key, id));
    bench.send(command("c-2", id, id));
    settle(&mut bench.worker());
    assert_eq!(bench.kinds(), ["counted", "command-refused"], "of the one whose key is the id's, and what is remembered of the other");
    let letters = bench.letters();
    assert!(letters.len() == 1 && letters[0].0 == "misrouted", "the other is put aside: {letters:?}");
}

#[test]
fn a_command_is_remembered_for_as_long_as_its_service_says() {
    for (service, day_and_a_half) in [(alone(), 1), (alone().remembers_days(1), 2)] {
        let bench = Bench::of(service, 52);
        let mut worker = bench.worker();
        for wait in [0, REMEMBERED * 3 / 14] {
            bench.clock.by(wait);
            bench.send(bench.command("c-1", "7", 5));
            settle(&mut worker);
        }
        let counted = bench.kinds().iter().filter(|kind| *kind == "counted").count();
        assert_eq!(counted, day_and_a_half);
    }
}

fn large(topic: &schemas::Topic, bytes: usize) -> Message {
    Message { topic: topic.clone(), partition: Partition(0), key: b"7".to_vec(), headers: Headers::default(), value: Some(vec![b'x'; bytes]) }
}

/// Both logs take a record of two megabytes where it is said, and none where it is not.
#[test]
fn a_record_is_as_large_as_the_application_says() {
    let rules = Rules { record_bytes: 3 * 1024 * 1024, ..Rules::default() };
    let (small, wide) = (Bench::of(alone(), 53), Bench::ruled(alone(), 53, rules));
    let broker = Broker::shared();
    let kafka = |rules| {
        let settings = OnKafka { namespace: Broker::namespace(), partitions: Some(1), rules, ..OnKafka::new(broker.address()) };
        let log = Kafka::open(settings).unwrap();
        log.provision(&[TopicSpec { topic: topic(Stream::Events("tally")), retention: None }]).unwrap();
        Arc::new(log) as Arc<dyn Log>
    };
    for (log, takes) in [(Arc::clone(&small.log), false), (Arc::clone(&wide.log), true), (kafka(Rules::default()), false), (kafka(rules), true)] {
        let events = topic(Stream::Events("tally"));
        let done = log.append(vec![large(&events, 2 * 1024 * 1024)]);
        assert_eq!(done.is_ok(), takes, "{done:?}");
        if takes {
            let page = log.read(&events, Partition(0), log.start(&events, Partition(0)).unwrap(), Limits::default()).unwrap();
            assert_eq!(page.records[0].body().len(), 2 * 1024 * 1024);
        }
    }
    for bytes in [RECORD_BYTES_MAX - 1, BATCH_BYTES_MAX + 1] {
        let why = Rules { record_bytes: bytes, ..Rules::default() }.check().unwrap_err();
        assert!(matches!(&why, Fault::Fatal(why) if why.contains("from 524288 to 4194304")), "{why}");
    }
}
