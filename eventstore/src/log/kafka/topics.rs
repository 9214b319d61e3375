//! Topics: made from one declaration, and checked against it at each start. A topic that could forget, reorder or lose
//! is refused by name, with the command that mends it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::topic_partition_list::Offset as At;
use schemas::{Partition, Topic, commands_of};

use super::access::refused;
use super::config::{Settings, assignments};
use super::fault::{fault, is_refusal};
use super::logged::Logged;
use super::probe::Probe;
use super::reader::add;
use crate::log::{Fault, Offset, Rules, TopicSpec};

const WAIT: Duration = Duration::from_secs(30);
/// How long for somebody who asks again in a minute.
const REVIEW: Duration = Duration::from_secs(10);

/// What the cluster must hold.
struct Wanted {
    partitions: u16,
    settings: BTreeMap<&'static str, String>,
}

fn wanted(spec: &TopicSpec, partitions: u16, replication: u16, message_bytes: usize) -> Wanted {
    let compacted = spec.topic == assignments();
    let retention = spec.retention.map_or("-1".to_owned(), |kept| kept.as_millis().to_string());
    let settings = [
        ("cleanup.policy", if compacted { "compact" } else { "delete" }.to_owned()),
        ("retention.ms", retention),
        ("retention.bytes", "-1".to_owned()),
        // Whatever the cluster's default is, what we write fits: a record, and what its format adds to it.
        ("max.message.bytes", message_bytes.to_string()),
        // Log time is the broker's: no client can set it back, or forward.
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("unclean.leader.election.enable", "false".to_owned()),
        ("min.insync.replicas", if replication >= 3 { "2" } else { "1" }.to_owned()),
    ];
    Wanted { partitions, settings: settings.into() }
}

/// What a log's topics are declared with, for whoever makes them by other means; with the log's own.
pub fn declared(specs: &[TopicSpec], replication: u16, rules: Rules) -> Vec<(Topic, BTreeMap<&'static str, String>)> {
    let bytes = Settings { rules, ..Settings::new("") }.message_bytes();
    let claims = TopicSpec { topic: assignments(), retention: None };
    specs.iter().chain([&claims]).map(|spec| (spec.topic.clone(), wanted(spec, 1, replication, bytes).settings)).collect()
}

fn brokers(metadata: &Metadata) -> u16 {
    u16::try_from(metadata.brokers().len()).unwrap_or(1).max(1)
}

/// Makes what is missing and checks the rest.
pub fn provision(settings: &Settings, metadata: &Metadata, specs: &[TopicSpec], partitions: u16) -> Result<(), Fault> {
    let brokers = brokers(metadata);
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
    // What somebody else made since the metadata was read is looked at like all that was there.
    let since = make(settings, &admin, &missing, partitions, replication)?;
    let newer = appear(&admin, &since.iter().map(|spec| settings.named(&spec.topic)).collect::<Vec<_>>(), None)?;
    let there: BTreeMap<&str, &MetadataTopic> = there.into_iter().chain(newer.topics().iter().map(|topic| (topic.name(), topic))).collect();
    let existing: Vec<&TopicSpec> = existing.into_iter().chain(since).collect();
    for spec in &existing {
        let name = settings.named(&spec.topic);
        let wrong = there.get(name.as_str()).and_then(|found| shape(&name, found, partitions, settings.replication.unwrap_or(1)));
        refuse(wrong)?;
    }
    refuse(unsettled(settings, &admin, &existing, (partitions, replication), WAIT)?.into_iter().next())
}

fn refuse(wrong: Option<String>) -> Result<(), Fault> {
    wrong.map_or(Ok(()), |wrong| Err(Fault::Fatal(wrong)))
}

/// What is wrong by now with topics that were right once, each with what mends it.
pub fn review(settings: &Settings, probe: &Probe, specs: &[TopicSpec], partitions: u16) -> Result<Vec<String>, Fault> {
    let metadata = probe.metadata()?;
    let there: BTreeMap<&str, &MetadataTopic> = metadata.topics().iter().map(|topic| (topic.name(), topic)).collect();
    let (existing, missing): (Vec<_>, Vec<_>) = specs.iter().partition(|spec| there.contains_key(settings.named(&spec.topic).as_str()));
    let mut wrong: Vec<String> = missing
        .iter()
        .map(|spec| {
            format!(
                "topic {} is gone: it was deleted, and what was in it with it. Stop the services, bring it back from a copy (or begin a new namespace); at their \
                 next start they would make an empty one",
                settings.named(&spec.topic)
            )
        })
        .collect();
    for spec in &existing {
        let name = settings.named(&spec.topic);
        wrong.extend(there.get(name.as_str()).and_then(|found| shape(&name, found, partitions, settings.replication.unwrap_or(1))));
    }
    let replication = settings.replication.unwrap_or_else(|| brokers(&metadata).min(3));
    wrong.extend(unsettled(settings, &administration(settings)?, &existing, (partitions, replication), REVIEW)?);
    // Commands are trimmed once they are decided, replies expire, assignments are compacted; of the rest nothing ever goes.
    let forever = existing.iter().filter(|spec| spec.retention.is_none() && commands_of(&spec.topic).is_none() && spec.topic != assignments());
    let places = forever.flat_map(|spec| (0..partitions).map(|partition| (spec.topic.clone(), Partition(partition))));
    for (topic, partition, start) in probe.starts(places)?.into_iter().filter(|(_, _, start)| start.0 > 0) {
        wrong.push(format!(
            "topic {} begins at offset {start} in partition {partition}: records were deleted that must be kept for ever, by its retention or by hand \
             (kafka-delete-records). See to its settings first (kafka-configs --describe --topic {0}), then bring it back from a copy",
            settings.named(&topic)
        ));
    }
    Ok(wrong)
}

fn administration(settings: &Settings) -> Result<AdminClient<Logged>, Fault> {
    rdkafka::config::FromClientConfigAndContext::from_config_and_context(&settings.probe(), Logged::default()).map_err(|why| fault("administration", why))
}

/// Deletes a partition's records before `before`; answers where it begins now.
pub fn trim(settings: &Settings, topic: &Topic, partition: Partition, before: Offset) -> Result<Offset, Fault> {
    let failed = |why: KafkaError| fault(&format!("trimming {topic}/{partition}"), why);
    let (admin, mut places) = (administration(settings)?, TopicPartitionList::new());
    add(&mut places, settings, topic, partition, before).map_err(failed)?;
    let options = AdminOptions::new().operation_timeout(Some(WAIT)).request_timeout(Some(WAIT));
    let trimmed = pollster::block_on(admin.delete_records(&places, &options)).map_err(failed)?;
    for element in trimmed.elements() {
        element.error().map_err(|why| match why.rdkafka_error_code() {
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => refused("Delete", &format!("topic {}", settings.named(topic))),
            _ => failed(why),
        })?;
        if let At::Offset(start) = element.offset() {
            return Ok(Offset(u64::try_from(start).unwrap_or_default()));
        }
    }
    Err(Fault::Retry(format!("trimming {topic}/{partition}: the broker does not say where it begins now")))
}

/// Makes topics; gives back those that were there already.
fn make<'s>(
    settings: &Settings,
    admin: &AdminClient<Logged>,
    missing: &[&'s TopicSpec],
    partitions: u16,
    replication: u16,
) -> Result<Vec<&'s TopicSpec>, Fault> {
    if missing.is_empty() {
        return Ok(vec![]);
    }
    let named: Vec<(String, Wanted)> =
        missing.iter().map(|spec| (settings.named(&spec.topic), wanted(spec, partitions, replication, settings.message_bytes()))).collect();
    let new = named.iter().map(|(name, wanted)| {
        let topic = NewTopic::new(name, i32::from(wanted.partitions), TopicReplication::Fixed(i32::from(replication)));
        wanted.settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
    });
    let options = AdminOptions::new().operation_timeout(Some(WAIT)).request_timeout(Some(WAIT));
    let made = pollster::block_on(admin.create_topics(&new.collect::<Vec<_>>(), &options)).map_err(|why| fault("making topics", why))?;
    let mut there = vec![];
    for result in made {
        match result {
            Ok(_) => {}
            Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => there.push(name),
            // One that is there is not shown either to whoever may not describe it.
            Err((name, why)) if is_refusal(why) => return Err(refused("Describe, or Create if it is not there,", &format!("topic {name}"))),
            Err((name, why)) => return Err(Fault::Fatal(format!("topic {name} cannot be made: {why}"))),
        }
    }
    let (there, new): (Vec<&TopicSpec>, Vec<_>) = missing.iter().copied().partition(|spec| there.contains(&settings.named(&spec.topic)));
    appear(admin, &new.iter().map(|spec| settings.named(&spec.topic)).collect::<Vec<_>>(), Some(partitions))?;
    Ok(there)
}

/// Waits until the cluster shows topics that were just made: it answers before all of it has heard of them. With so many
/// partitions that have a leader, or with any.
fn appear(admin: &AdminClient<Logged>, named: &[String], partitions: Option<u16>) -> Result<Metadata, Fault> {
    let deadline = Instant::now() + WAIT;
    loop {
        let metadata = admin.inner().fetch_metadata(None, WAIT).map_err(|why| fault("the cluster's topics", why))?;
        let led = |topic: &MetadataTopic| topic.partitions().iter().filter(|partition| partition.leader() >= 0).count();
        let enough = |topic: &MetadataTopic| partitions.is_none_or(|partitions| led(topic) == usize::from(partitions));
        let shown = |name: &&String| metadata.topics().iter().any(|topic| topic.name() == name.as_str() && enough(topic));
        match named.iter().find(|made| !shown(made)) {
            None => return Ok(metadata),
            Some(name) if Instant::now() > deadline => {
                return Err(Fault::Fatal(format!("topic {name} was made, and {WAIT:?} later the cluster does not show it: look at its controller's log")));
            }
            Some(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn shape(name: &str, found: &MetadataTopic, partitions: u16, replication: u16) -> Option<String> {
    let count = found.partitions().len();
    if count != usize::from(partitions) {
        return Some(format!(
            "topic {name} has {count} partitions and must have {partitions}: an aggregate's records would be found in two places. It was changed, or made by \
             auto-creation; make an empty one anew (kafka-topics --delete --topic {name}), or copy it to a new namespace"
        ));
    }
    let copies = found.partitions().iter().map(|partition| partition.replicas().len()).min().unwrap_or_default();
    (copies < usize::from(replication))
        .then(|| format!("topic {name} has {copies} copies and must have {replication}: kafka-reassign-partitions adds them for topic {name}"))
}

/// Each setting that is not as it must be.
fn unsettled(
    settings: &Settings,
    admin: &AdminClient<Logged>,
    existing: &[&TopicSpec],
    (partitions, replication): (u16, u16),
    wait: Duration,
) -> Result<Vec<String>, Fault> {
    let names: Vec<String> = existing.iter().map(|spec| settings.named(&spec.topic)).collect();
    let asked: Vec<ResourceSpecifier<'_>> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let mut wrong = vec![];
    if asked.is_empty() {
        return Ok(wrong);
    }
    let options = AdminOptions::new().request_timeout(Some(wait));
    let answers = pollster::block_on(admin.describe_configs(&asked, &options)).map_err(|why| fault("topic settings", why))?;
    for ((spec, name), answer) in existing.iter().zip(&names).zip(answers) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => {
                wrong.push(format!("topic {name}: its settings cannot be read: {why}; kafka-configs --describe --topic {name} should show them"));
                continue;
            }
        };
        // Nothing at all is shown to whoever may not see it, and rdkafka keeps the reason to itself.
        if answer.entries.is_empty() {
            wrong.push(refused("DescribeConfigs", &format!("topic {name}")).to_string());
            continue;
        }
        for (key, must) in wanted(spec, partitions, replication, settings.message_bytes()).settings {
            let found = answer.get(key).and_then(|entry| entry.value.clone()).unwrap_or_default();
            // More copies in sync, or larger records of others, than asked for are the operator's choice.
            let more = ["min.insync.replicas", "max.message.bytes"].contains(&key);
            let enough = more && found.parse::<u64>().ok() >= must.parse().ok();
            if found != must && !enough {
                wrong.push(format!(
                    "topic {name} has {key}={found} and must have {must}: it was changed, or made by auto-creation; kafka-configs --alter --topic {name} --add-config {key}={must} mends it"
                ));
            }
        }
    }
    Ok(wrong)
}
