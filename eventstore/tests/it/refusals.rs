//! Topics that could forget, reorder or lose: refused at the start by name, with the way to mend them. Made with Kafka's
//! own tools, as somebody else would have made them.

use std::path::Path;
use std::process::Command;

use eventstore::kafka::{Kafka, Settings};
use eventstore::log::TopicSpec;
use eventstore::{Log, Message};
use schemas::{Headers, Partition, Topic};

use crate::broker::Broker;

fn tool(class: &str, arguments: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/kafka/kafka");
    let done = Command::new(script).args(["tool", class, "--bootstrap-server", &Broker::shared().address()]).args(arguments).output().unwrap();
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
}

fn make(name: &str, partitions: &str, settings: &[&str]) {
    let mut arguments = vec!["--create", "--topic", name, "--partitions", partitions, "--replication-factor", "1"];
    settings.iter().for_each(|setting| arguments.extend(["--config", setting]));
    tool("org.apache.kafka.tools.TopicCommand", &arguments);
}

/// What is wrong by now; a cluster that is still busy with new topics is asked again.
fn reviewed(log: &Kafka, specs: &[TopicSpec]) -> Vec<String> {
    let began = std::time::Instant::now();
    loop {
        match log.review(specs) {
            Err(eventstore::Fault::Retry(_)) if began.elapsed() < std::time::Duration::from_secs(30) => {}
            other => return other.unwrap(),
        }
    }
}

#[test]
fn topics_that_could_lose_records_are_refused_by_name_with_the_fix() {
    const GOOD: [&str; 4] = ["retention.ms=-1", "message.timestamp.type=LogAppendTime", "cleanup.policy=delete", "unclean.leader.election.enable=false"];
    let namespace = Broker::namespace();
    let log = Kafka::open(Settings { namespace: namespace.clone(), ..Settings::new(Broker::shared().address()) }).unwrap();
    let with = |place: usize, other: &'static str| {
        let mut settings = GOOD.to_vec();
        settings[place] = other;
        settings
    };
    let cases = [
        ("few", "3", GOOD.to_vec(), vec!["3 partitions and must have 8"]),
        ("forgets", "8", with(0, "retention.ms=3600000"), vec!["retention.ms=3600000 and must have -1", "kafka-configs --alter"]),
        ("compacts", "8", with(2, "cleanup.policy=compact"), vec!["cleanup.policy=compact and must have delete"]),
        ("dates", "8", with(1, "message.timestamp.type=CreateTime"), vec!["message.timestamp.type=CreateTime and must have LogAppendTime"]),
        ("elects", "8", with(3, "unclean.leader.election.enable=true"), vec!["unclean.leader.election.enable=true and must have false"]),
        ("small", "8", [GOOD.as_slice(), &["max.message.bytes=600000"]].concat(), vec!["max.message.bytes=600000 and must have 1048588"]),
        // What a broker makes by itself for a client that asks.
        ("auto", "8", vec![], vec!["auto-creation"]),
        ("auto-few", "1", vec![], vec!["1 partitions and must have 8", "auto-creation"]),
    ];
    for (name, partitions, settings, said) in cases {
        make(&format!("{namespace}{name}"), partitions, &settings);
        let refused = log.provision(&[TopicSpec { topic: Topic::named(name), retention: None }]).unwrap_err().to_string();
        println!("{refused}");
        assert!(refused.contains(&format!("{namespace}{name}")), "{refused}");
        said.iter().for_each(|part| assert!(refused.contains(part), "{refused}"));
    }
    make(&format!("{namespace}good"), "8", &GOOD);
    log.provision(&[TopicSpec { topic: Topic::named("good"), retention: None }]).unwrap();

    let other =
        Kafka::open(Settings { namespace: namespace.clone(), partitions: Some(3), ..Settings::new(Broker::shared().address()) }).err().unwrap().to_string();
    assert!(other.contains("8 partitions") && other.contains("not 3"), "{other}");
    let copies = Kafka::open(Settings { namespace, replication: Some(3), ..Settings::new(Broker::shared().address()) }).err().unwrap().to_string();
    assert!(copies.contains("3 copies") && copies.contains("1 brokers"), "{copies}");
}

/// The same on a running log, before a restart would refuse them.
#[test]
fn topics_that_are_changed_while_the_log_runs_are_named_with_the_fix() {
    let namespace = Broker::namespace();
    let log = Kafka::open(Settings { namespace: namespace.clone(), ..Settings::new(Broker::shared().address()) }).unwrap();
    let names = ["one.events", "two.events", "three.events", "four.events", "five.events", "five.commands", "six.events"];
    let specs = names.map(|name| TopicSpec { topic: Topic::named(name), retention: None });
    log.provision(&specs).unwrap();
    let message = |name: &str| Message { topic: Topic::named(name), partition: Partition(3), key: vec![], headers: Headers::default(), value: None };
    log.append(["five.events", "five.commands", "five.events"].map(message).into()).unwrap();
    assert_eq!(reviewed(&log, &specs), Vec::<String>::new());
    let topic = |name: &str| format!("{namespace}{name}");
    let set = |name: &str, setting: &str| {
        tool("kafka.admin.ConfigCommand", &["--alter", "--entity-type", "topics", "--entity-name", &topic(name), "--add-config", setting]);
    };
    set("one.events", "retention.ms=604800000");
    set("two.events", "cleanup.policy=compact");
    tool("org.apache.kafka.tools.TopicCommand", &["--alter", "--topic", &topic("three.events"), "--partitions", "12"]);
    tool("org.apache.kafka.tools.TopicCommand", &["--delete", "--topic", &topic("four.events")]);
    let deleted = ["five.events", "five.commands"].map(|name| format!("{{\"topic\":\"{}\",\"partition\":3,\"offset\":1}}", topic(name))).join(",");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{{\"version\":1,\"partitions\":[{deleted}]}}")).unwrap();
    tool("org.apache.kafka.tools.DeleteRecordsCommand", &["--offset-json-file", file.path().to_str().unwrap()]);
    let began = std::time::Instant::now();
    let said = reviewed(&log, &specs);
    println!("in {:?}: {said:#?}", began.elapsed());
    let expected = [
        ("one.events", "retention.ms=604800000 and must have -1", "kafka-configs --alter"),
        ("two.events", "cleanup.policy=compact and must have delete", "kafka-configs --alter"),
        ("three.events", "12 partitions and must have 8", "kafka-topics"),
        ("four.events", "is gone", "from a copy"),
        ("five.events", "begins at offset 1 in partition 3", "kafka-configs --describe"),
    ];
    for (name, what, fix) in expected {
        let named = said.iter().filter(|said| said.contains(&topic(name)) && said.contains(what) && said.contains(fix)).count();
        assert_eq!(named, 1, "{name}: {said:#?}");
    }
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    set("one.events", "retention.ms=-1");
    set("two.events", "cleanup.policy=delete");
    assert_eq!(reviewed(&log, &specs).len(), 3, "what was mended is not named any more");
}

#[test]
fn a_group_whose_positions_the_broker_forgot_stops_and_says_so() {
    use std::time::{Duration, Instant};

    use eventstore::{Fault, Group, Limits, Polled};
    let namespace = Broker::namespace();
    let log = Kafka::open(Settings { namespace: namespace.clone(), ..Settings::new(Broker::shared().address()) }).unwrap();
    log.provision(&[TopicSpec { topic: Topic::named("in"), retention: None }]).unwrap();
    let join =
        || log.join(Group { name: "group".into(), commands: Topic::named("in"), inputs: vec![Topic::named("in").into()], member: "one".into() }).unwrap();
    let mut member = join();
    while !matches!(member.poll(Limits::default(), Duration::from_secs(1)).unwrap(), Polled::Assigned(_)) {}
    member.leave().unwrap();
    tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &["--delete", "--group", &format!("{namespace}group")]);
    let (mut member, began) = (join(), Instant::now());
    let why = loop {
        assert!(began.elapsed() < Duration::from_secs(30), "it went on from the start");
        match member.poll(Limits::default(), Duration::from_millis(200)) {
            Err(Fault::Fatal(why)) => break why,
            other => assert!(!matches!(other, Ok(Polled::Assigned(_))), "it went on from the start"),
        }
    };
    assert!(why.contains("has forgotten it") && why.contains("kafka-consumer-groups --reset-offsets"), "{why}");
}

#[test]
fn no_broker_is_said_with_the_way_to_one() {
    let why = Kafka::open(Settings::new("127.0.0.1:1")).err().unwrap().to_string();
    assert!(why.contains("127.0.0.1:1") && why.contains("infra/kafka/kafka start") && why.contains("--brokers"), "{why}");
}
