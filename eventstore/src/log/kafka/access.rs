//! What a broker's access control refuses, said in one way: the operation and the thing, for whoever gives the rights. Changes
//! nothing, and knows no rights of its own.

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::Offset as At;
use schemas::Topic;

use super::config::Settings;
use super::fault::{Trouble, fault, is_stranger};
use super::logged::Logged;
use crate::log::Fault;

/// The groups of clients that join none: a broker asks who is in charge of them, and nothing else.
pub const READERS: [&str; 3] = ["probe", "scan", "tail"];
/// What the transactional ids begin with of whoever appends outside a service.
pub const APPENDS: &str = "append.";
/// How long a topic has to say whether it may be read.
const SAID: Duration = Duration::from_secs(2);

/// This user may not do `operation` on `thing`, as on `topic stock.events`. No try again helps.
pub fn refused(operation: &str, thing: &str) -> Fault {
    Fault::Fatal(format!(
        "Kafka's ACLs refuse this user the operation {operation} on {thing}: kafka-acls prints what each service needs, and topics are made by provision"
    ))
}

/// What an error comes to that a client tells when it is polled, which reads `topics` as one of `group`. Who is refused the
/// sign-in stays where the password is looked at: the next one may be there at any moment, and the client tries again.
pub fn polled(settings: &Settings, what: &str, group: &str, topics: &[Topic], error: KafkaError) -> Fault {
    let trouble = Trouble::from(error);
    match trouble.code {
        Code::GroupAuthorizationFailed => {
            refused(if READERS.contains(&group) { "Describe" } else { "Read" }, &format!("group {}", settings.named_group(group)))
        }
        Code::TopicAuthorizationFailed => unread(settings, topics),
        code if is_stranger(code) && settings.credentials.file().is_none() => {
            Fault::Fatal(format!("{what}: Kafka refuses the sign-in ({trouble}): start with what holds now"))
        }
        _ => fault(what, trouble),
    }
}

/// This user may not read some of these.
pub fn unread(settings: &Settings, topics: &[Topic]) -> Fault {
    let names: Vec<String> = unreadable(settings, topics).iter().map(|topic| settings.named(topic)).collect();
    refused("Read", &format!("topic {}", names.join(", ")))
}

/// Which of these this user may not read: a client says that it may not, and not what. All of them, where none says so now.
fn unreadable(settings: &Settings, topics: &[Topic]) -> Vec<Topic> {
    let refuses = |topic: &&Topic| {
        let Ok(consumer) = settings.reader("scan").create_with_context::<_, BaseConsumer<Logged>>(Logged::default()) else { return false };
        let (mut place, deadline) = (TopicPartitionList::new(), Instant::now() + SAID);
        if place.add_partition_offset(&settings.named(topic), 0, At::End).is_err() || consumer.assign(&place).is_err() {
            return false;
        }
        while Instant::now() < deadline {
            match consumer.poll(Duration::from_millis(20)) {
                Some(Err(error)) if error.rdkafka_error_code() == Some(Code::TopicAuthorizationFailed) => return true,
                Some(Err(KafkaError::PartitionEOF(_)) | Ok(_)) => return false,
                _ => {}
            }
        }
        false
    };
    if topics.len() == 1 {
        return topics.to_vec();
    }
    let found: Vec<Topic> = topics.iter().filter(refuses).cloned().collect();
    if found.is_empty() { topics.to_vec() } else { found }
}
