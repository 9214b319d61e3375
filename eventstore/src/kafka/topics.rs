//! Topics: made from one declaration, and checked against it at each start. A topic that could forget, reorder or lose
//! is refused by name, with the command that mends it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::topic_partition_list::Offset as At;
use schemas::{Partition, Topic};

use super::Logged;
use super::claims::claims;
use super::config::Settings;
use super::fault::fault;
use super::reader::add;
use crate::log::{Fault, Offset, RECORD_BYTES_MAX, TopicSpec};

const WAIT: Duration = Duration::from_secs(30);
/// Largest batch that a topic takes: Kafka's own default, so that no topic of an earlier version is refused.
const MESSAGE_BYTES_MAX: usize = 1_048_588;
const _: () = assert!(MESSAGE_BYTES_MAX >= 2 * RECORD_BYTES_MAX);

/// What the cluster must hold.
struct Wanted {
    partitions: u16,
    settings: BTreeMap<&'static str, String>,
}

fn wanted(spec: &TopicSpec, partitions: u16, replication: u16) -> Wanted {
    let compacted = spec.topic == claims();
    let retention = spec.retention.map_or("-1".to_owned(), |kept| kept.as_millis().to_string());
    let settings = [
        ("cleanup.policy", if compacted { "compact" } else { "delete" }.to_owned()),
        ("retention.ms", retention),
        ("retention.bytes", "-1".to_owned()),
        // Whatever the cluster's default is, what we write fits: a record, and what its format adds to it.
        ("max.message.bytes", MESSAGE_BYTES_MAX.to_string()),
        // Log time is the broker's: no client can set it back, or forward.
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("unclean.leader.election.enable", "false".to_owned()),
        ("min.insync.replicas", if replication >= 3 { "2" } else { "1" }.to_owned()),
    ];
    Wanted { partitions, settings: settings.into() }
}

/// Makes what is missing and checks the rest.
pub fn provision(settings: &Settings, metadata: &Metadata, specs: &[TopicSpec], partitions: u16) -> Result<(), Fault> {
    let brokers = u16::try_from(metadata.brokers().len()).unwrap_or(1).max(1);
    let replication = settings.replication.unwrap_or_else(|| brokers.min(3));
    if replication > brokers {
        return Err(Fault::Fatal(format!(
            "{replication} copies of each topic are asked for, and {} has {brokers} brokers: ask for fewer, or add brokers",
            settings.brokers
        )));
    }
    let admin = administration(settings)?;
    let there: BTreeMap<&str, &MetadataTopic> = metadata.topics().iter().map(|topic| (topic.name(), topic)).collect();
    let (existing, missing): (Vec<_>, Vec<_>) = specs.iter().partition(|spec| there.contains_key(settings.named(&spec.topic).as_str()));
    make(settings, &admin, &missing, partitions, replication)?;
    for spec in &existing {
        let name = settings.named(&spec.topic);
        if let Some(found) = there.get(name.as_str()) {
            shape(&name, found, partitions, settings.replication.unwrap_or(1))?;
        }
    }
    settled(settings, &admin, &existing, partitions, replication)
}

fn administration(settings: &Settings) -> Result<AdminClient<Logged>, Fault> {
    rdkafka::config::FromClientConfigAndContext::from_config_and_context(&settings.probe(), Logged).map_err(|why| fault("administration", why))
}

/// Deletes a partition's records before `before`; answers where it begins now.
pub fn trim(settings: &Settings, topic: &Topic, partition: Partition, before: Offset) -> Result<Offset, Fault> {
    let failed = |why: KafkaError| fault(&format!("trimming {topic}/{partition}"), why);
    let (admin, mut places) = (administration(settings)?, TopicPartitionList::new());
    add(&mut places, settings, topic, partition, before).map_err(failed)?;
    let options = AdminOptions::new().operation_timeout(Some(WAIT)).request_timeout(Some(WAIT));
    let trimmed = pollster::block_on(admin.delete_records(&places, &options)).map_err(failed)?;
    for element in trimmed.elements() {
        element.error().map_err(failed)?;
        if let At::Offset(start) = element.offset() {
            return Ok(Offset(u64::try_from(start).unwrap_or_default()));
        }
    }
    Err(Fault::Retry(format!("trimming {topic}/{partition}: the broker does not say where it begins now")))
}

fn make(settings: &Settings, admin: &AdminClient<Logged>, missing: &[&TopicSpec], partitions: u16, replication: u16) -> Result<(), Fault> {
    if missing.is_empty() {
        return Ok(());
    }
    let named: Vec<(String, Wanted)> = missing.iter().map(|spec| (settings.named(&spec.topic), wanted(spec, partitions, replication))).collect();
    let new = named.iter().map(|(name, wanted)| {
        let topic = NewTopic::new(name, i32::from(wanted.partitions), TopicReplication::Fixed(i32::from(replication)));
        wanted.settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
    });
    let options = AdminOptions::new().operation_timeout(Some(WAIT)).request_timeout(Some(WAIT));
    let made = pollster::block_on(admin.create_topics(&new.collect::<Vec<_>>(), &options)).map_err(|why| fault("making topics", why))?;
    for result in made {
        match result {
            // Another instance was faster; it made it from the same declaration.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, why)) => return Err(Fault::Fatal(format!("topic {name} cannot be made: {why}"))),
        }
    }
    appear(admin, &named)
}

/// Waits until the cluster shows topics that were just made: it answers before all of it has heard of them.
fn appear(admin: &AdminClient<Logged>, named: &[(String, Wanted)]) -> Result<(), Fault> {
    let deadline = Instant::now() + WAIT;
    loop {
        let metadata = admin.inner().fetch_metadata(None, WAIT).map_err(|why| fault("the cluster's topics", why))?;
        let led = |topic: &MetadataTopic| topic.partitions().iter().filter(|partition| partition.leader() >= 0).count();
        let shown =
            |(name, wanted): &&(String, Wanted)| metadata.topics().iter().any(|topic| topic.name() == name && led(topic) == usize::from(wanted.partitions));
        match named.iter().find(|made| !shown(made)) {
            None => return Ok(()),
            Some((name, _)) if Instant::now() > deadline => {
                return Err(Fault::Fatal(format!("topic {name} was made, and {WAIT:?} later the cluster does not show it: look at its controller's log")));
            }
            Some(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn shape(name: &str, found: &MetadataTopic, partitions: u16, replication: u16) -> Result<(), Fault> {
    let count = found.partitions().len();
    if count != usize::from(partitions) {
        return Err(Fault::Fatal(format!(
            "topic {name} has {count} partitions and must have {partitions}: an aggregate's records would be found in two places. It was changed, or made by \
             auto-creation; make an empty one anew (kafka-topics --delete --topic {name}), or copy it to a new namespace"
        )));
    }
    let copies = found.partitions().iter().map(|partition| partition.replicas().len()).min().unwrap_or_default();
    if copies < usize::from(replication) {
        return Err(Fault::Fatal(format!("topic {name} has {copies} copies and must have {replication}: kafka-reassign-partitions adds them")));
    }
    Ok(())
}

fn settled(settings: &Settings, admin: &AdminClient<Logged>, existing: &[&TopicSpec], partitions: u16, replication: u16) -> Result<(), Fault> {
    let names: Vec<String> = existing.iter().map(|spec| settings.named(&spec.topic)).collect();
    let asked: Vec<ResourceSpecifier<'_>> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let options = AdminOptions::new().request_timeout(Some(WAIT));
    let answers = pollster::block_on(admin.describe_configs(&asked, &options)).map_err(|why| fault("topic settings", why))?;
    for ((spec, name), answer) in existing.iter().zip(&names).zip(answers) {
        let answer = answer.map_err(|why| Fault::Fatal(format!("topic {name}: its settings cannot be read: {why}")))?;
        for (key, must) in wanted(spec, partitions, replication).settings {
            let found = answer.get(key).and_then(|entry| entry.value.clone()).unwrap_or_default();
            // More copies in sync, or larger records of others, than asked for are the operator's choice.
            let more = ["min.insync.replicas", "max.message.bytes"].contains(&key);
            let enough = more && found.parse::<u64>().ok() >= must.parse().ok();
            if found != must && !enough {
                return Err(Fault::Fatal(format!(
                    "topic {name} has {key}={found} and must have {must}: it was changed, or made by auto-creation; kafka-configs --alter --topic {name} --add-config {key}={must} mends it"
                )));
            }
        }
    }
    Ok(())
}
