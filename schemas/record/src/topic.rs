//! Topic names, partitions and the keys that choose them. The only place where a topic name is spelled.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A topic's name. Made only by [`topic`], or read back from a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Topic(Arc<str>);

impl Topic {
    /// A name as a log or a token shows it; nothing is checked.
    pub fn named(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// One of a topic's partitions, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub u16);

impl fmt::Display for Partition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// What a topic of a service holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream<'a> {
    /// `<service>.commands`
    Commands(&'a str),
    /// `<service>.events`
    Events(&'a str),
    /// `<service>.commands.dlt`: what the service could not process, with the reason.
    DeadLetters(&'a str),
    /// `daybook.replies`: answers to waiting callers, kept for a day.
    Replies,
    /// `daybook.claims`: who owns which partitions, on logs that many processes share.
    Claims,
    /// `daybook.control`: the log's identity, and the records that readers pass over by an operator's decision.
    Control,
}

/// The name of a stream's topic.
pub fn topic(stream: Stream<'_>) -> Topic {
    Topic::named(&match stream {
        Stream::Commands(service) => format!("{service}.commands"),
        Stream::Events(service) => format!("{service}.events"),
        Stream::DeadLetters(service) => format!("{service}.commands.dlt"),
        Stream::Replies => "daybook.replies".to_owned(),
        Stream::Claims => "daybook.claims".to_owned(),
        Stream::Control => "daybook.control".to_owned(),
    })
}

/// The service whose command topic this is; none for every other topic.
pub fn commands_of(topic: &Topic) -> Option<&str> {
    topic.as_str().strip_suffix(".commands").filter(|service| !service.is_empty())
}

/// The partition of a routing key: Kafka's murmur2 of its bytes, sign bit cleared, modulo `partitions`
/// (`org.apache.kafka.clients.producer.internals.BuiltInPartitioner.partitionForKey`).
pub fn partition_of(key: &[u8], partitions: u16) -> Partition {
    let hash = murmur2::murmur2(key, murmur2::KAFKA_SEED) & 0x7fff_ffff;
    // The remainder is below `partitions`, so it fits.
    Partition(u16::try_from(hash % u32::from(partitions)).unwrap_or(0))
}

/// The anchor key of a partition: `~n` with the smallest n that hashes there. A broadcast uses it to reach every partition.
pub fn anchor_key(partition: Partition, partitions: u16) -> String {
    let mut n = 0_u32;
    loop {
        let key = format!("~{n}");
        if partition_of(key.as_bytes(), partitions) == partition {
            return key;
        }
        n += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_is_kafkas() {
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2::murmur2(key.as_bytes(), murmur2::KAFKA_SEED) as i32, hash, "{key}");
        }
    }

    #[test]
    fn every_partition_has_an_anchor() {
        for partitions in [1, 2, 8, 64] {
            for partition in (0..partitions).map(Partition) {
                assert_eq!(partition_of(anchor_key(partition, partitions).as_bytes(), partitions), partition);
            }
        }
    }
}
