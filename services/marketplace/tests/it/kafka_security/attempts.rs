//! What a user's clients are let do by a broker: each operation attempted, none believed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(30);

/// What became of each topic's record.
#[derive(Default)]
struct Told(Mutex<BTreeMap<String, bool>>);
impl ClientContext for Told {}
impl ProducerContext for Told {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let (topic, written) = match result {
            Ok(message) => (message.topic(), true),
            Err((error, message)) => {
                let refused = [Code::TopicAuthorizationFailed, Code::UnknownTopic, Code::UnknownTopicOrPartition].map(Some);
                assert!(refused.contains(&error.rdkafka_error_code()), "{}: {error}", message.topic());
                (message.topic(), false)
            }
        };
        self.0.lock().insert(topic.to_owned(), written);
    }
}

/// One user, as clients of a broker.
pub struct User {
    settings: ClientConfig,
}

impl User {
    /// Who signs in as this file says.
    pub fn of(brokers: &str, file: &Path) -> Self {
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", brokers).set("log_level", "0").set("allow.auto.create.topics", "false");
        let text = std::fs::read_to_string(file).unwrap();
        settings.extend(text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())));
        Self { settings }
    }

    fn consumer(&self, group: &str) -> BaseConsumer {
        let mut settings = self.settings.clone();
        settings.set("group.id", group).set("enable.auto.commit", "false").set("enable.partition.eof", "true").set("auto.offset.reset", "earliest");
        settings.set("fetch.wait.max.ms", "10").create().unwrap()
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.settings.create().unwrap()
    }

    /// The topics it is shown; none if it is not let in.
    pub fn describes(&self) -> Result<BTreeSet<String>, KafkaError> {
        let metadata = self.consumer("probe").fetch_metadata(None, Duration::from_secs(5))?;
        Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    pub fn reads(&self, topic: &str, consumer: &BaseConsumer) -> bool {
        let (mut place, began, mut said) = (TopicPartitionList::new(), Instant::now(), None);
        let shown = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
        if shown.topics()[0].error().is_some() {
            return false; // nobody says who has it
        }
        place.add_partition_offset(topic, 0, Offset::Offset(0)).unwrap();
        consumer.assign(&place).unwrap();
        loop {
            assert!(began.elapsed() < PATIENCE, "reading {topic}: no answer, {said:?}");
            match consumer.poll(Duration::from_millis(20)) {
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return true,
                Some(Err(error)) => match error.rdkafka_error_code() {
                    Some(Code::TopicAuthorizationFailed | Code::UnknownTopicOrPartition | Code::UnknownTopic) => return false,
                    Some(Code::GroupAuthorizationFailed) => {} // not what is asked here
                    _ => said = Some(error),                   // a connection that is begun anew
                },
                None => {}
            }
        }
    }

    /// Of each topic, whether a record can be written to it.
    pub fn writes(&self, topics: &[String]) -> BTreeMap<String, bool> {
        let mut settings = self.settings.clone();
        settings.set("message.timeout.ms", "10000").set("topic.metadata.propagation.max.ms", "500");
        let producer: ThreadedProducer<Told> = settings.create_with_context(Told::default()).unwrap();
        for topic in topics {
            if let Err((error, _)) = producer.send(BaseRecord::<[u8], [u8]>::to(topic).partition(0).key(b"1").payload(b"x")) {
                assert!(matches!(error.rdkafka_error_code(), Some(Code::TopicAuthorizationFailed | Code::UnknownTopic)), "{topic}: {error}");
                producer.context().0.lock().insert(topic.clone(), false);
            }
        }
        producer.flush(PATIENCE).unwrap();
        let told = producer.context().0.lock().clone();
        assert_eq!(told.len(), topics.len(), "not every record was told of");
        told
    }

    /// Of each topic, whether its settings are shown.
    pub fn describes_configs(&self, topics: &[String]) -> BTreeMap<String, bool> {
        let asked: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
        let shown = pollster::block_on(self.admin().describe_configs(&asked, &options())).unwrap();
        topics.iter().cloned().zip(shown.into_iter().map(|shown| shown.is_ok_and(|shown| !shown.entries.is_empty()))).collect()
    }

    /// Of each topic, whether records can be deleted; none is.
    pub fn deletes(&self, topics: &[String]) -> BTreeMap<String, bool> {
        let mut places = TopicPartitionList::new();
        topics.iter().for_each(|topic| places.add_partition_offset(topic, 0, Offset::Offset(0)).unwrap());
        let deleted = match pollster::block_on(self.admin().delete_records(&places, &options())) {
            Ok(deleted) => deleted,
            // One who is shown none of them is told so of all.
            Err(KafkaError::AdminOp(Code::TopicAuthorizationFailed | Code::UnknownTopicOrPartition | Code::NoEnt)) => {
                return topics.iter().map(|topic| (topic.clone(), false)).collect();
            }
            Err(error) => panic!("deleting: {error}"),
        };
        deleted.elements().iter().map(|element| (element.topic().to_owned(), element.error().is_ok())).collect()
    }

    /// Of each topic, whether partitions can be added.
    pub fn alters(&self, topics: &[String]) -> BTreeMap<String, bool> {
        let more: Vec<_> = topics.iter().map(|topic| NewPartitions { topic_name: topic, new_partition_count: 99, assignment: None }).collect();
        let altered = pollster::block_on(self.admin().create_partitions(&more, &options())).unwrap();
        topics.iter().cloned().zip(altered.iter().map(Result::is_ok)).collect()
    }

    /// Whether a topic can be made.
    pub fn creates(&self, topic: &str) -> bool {
        let made = pollster::block_on(self.admin().create_topics(&[NewTopic::new(topic, 1, TopicReplication::Fixed(1))], &options())).unwrap();
        made[0].is_ok()
    }

    /// A consumer that reads by assignment.
    pub fn scan(&self, namespace: &str) -> BaseConsumer {
        self.consumer(&format!("{namespace}scan"))
    }

    /// The groups it is shown.
    pub fn describes_groups(&self) -> BTreeSet<String> {
        let groups = self.consumer("probe").fetch_group_list(None, PATIENCE).unwrap();
        groups.groups().iter().map(|group| group.name().to_owned()).collect()
    }

    /// Whether it may commit a position for a group, which takes what joining it does; `at` is a topic that it may read.
    pub fn reads_as(&self, group: &str, at: &str) -> bool {
        let (consumer, mut place, began) = (self.consumer(group), TopicPartitionList::new(), Instant::now());
        place.add_partition_offset(at, 0, Offset::Beginning).unwrap();
        consumer.assign(&place).unwrap();
        place.set_partition_offset(at, 0, Offset::Offset(0)).unwrap();
        let (mut read, mut said) = (false, None);
        loop {
            assert!(began.elapsed() < PATIENCE, "group {group}: no answer, {said:?}");
            match consumer.poll(Duration::from_millis(20)) {
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => read = true,
                Some(Err(error)) => match error.rdkafka_error_code() {
                    Some(Code::GroupAuthorizationFailed | Code::TopicAuthorizationFailed) => return false,
                    _ => said = Some(error),
                },
                None if read => match consumer.commit(&place, CommitMode::Sync) {
                    Ok(()) => return true,
                    Err(error) if error.rdkafka_error_code() == Some(Code::GroupAuthorizationFailed) => return false,
                    Err(error) => said = Some(error), // who is in charge of the group is not known yet
                },
                None => {}
            }
        }
    }

    /// Whether it may begin transactions under an id, which ends those of whoever had it.
    pub fn begins(&self, id: &str) -> bool {
        let mut settings = self.settings.clone();
        settings.set("transactional.id", id);
        let producer: ThreadedProducer<Told> = settings.create_with_context(Told::default()).unwrap();
        match producer.init_transactions(PATIENCE) {
            Ok(()) => true,
            Err(error) if error.rdkafka_error_code() == Some(Code::TransactionalIdAuthorizationFailed) => false,
            Err(error) => panic!("transactional id {id}: {error}"),
        }
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}
