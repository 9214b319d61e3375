//! For the take-over tests: a member that holds its transaction open, to be killed or frozen there. Arguments: brokers,
//! namespace, milliseconds to hold; says on standard output how its commit ended.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "only tests build it")]

use std::time::Duration;

use daybook_eventstore::kafka::{Kafka, Settings};
use daybook_eventstore::{Group, Limits, Log, Message, Polled};
use schemas::{Headers, Topic};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, namespace, held] = arguments.as_slice() else { panic!("held <brokers> <namespace> <ms>") };
    let settings = Settings { namespace: namespace.clone(), ..Settings::new(brokers) };
    // The assignments are written by a transaction too: only what comes after it is held.
    let log = Kafka::open(Settings { held: Some(Duration::from_millis(held.parse().unwrap())), ..settings }).unwrap();
    let mut member =
        log.join(Group { name: "group".into(), commands: Topic::named("in"), inputs: vec![Topic::named("in").into()], member: "held".into() }).unwrap();
    loop {
        if let Polled::Batch(batch) = member.poll(Limits::default(), Duration::from_secs(1)).unwrap()
            && !batch.records.is_empty()
        {
            let out = |partition| Message { topic: Topic::named("out"), partition, key: b"held".to_vec(), headers: Headers::default(), value: None };
            let outputs = (0..8).map(|partition| out(schemas::Partition(partition))).collect();
            println!("holding");
            println!("ended {:?}", member.commit(outputs, &batch.positions, &batch.assignment));
            return;
        }
    }
}
