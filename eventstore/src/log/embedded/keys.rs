//! Keys of what the embedded log records about itself, in the default column family.

use std::time::Duration;

use schemas::{Partition, Topic};

use super::state::{Extent, Known, TopicPartition};
use crate::log::{Offset, TopicSpec};

/// Partitions of every topic.
pub const PARTITIONS: &[u8] = b"partitions";
/// Log time of the newest record.
pub const CLOCK: &[u8] = b"clock";

/// A topic's number and retention.
pub fn topic(topic: &Topic) -> Vec<u8> {
    [b"topic/", topic.as_str().as_bytes()].concat()
}

/// A trimmed partition's start, and the end it had then.
pub fn start(place: TopicPartition) -> Vec<u8> {
    [b"start/", &place_bytes(place)[..]].concat()
}

/// A group's ownership epoch.
pub fn epoch(group: &str) -> Vec<u8> {
    [b"epoch/", group.as_bytes()].concat()
}

/// A group's position in a partition.
pub fn position(group: &str, place: TopicPartition) -> Vec<u8> {
    [b"position/", group.as_bytes(), b"/", &place_bytes(place)].concat()
}

/// What is recorded.
pub enum Meta {
    /// see [`topic`]
    Topic(Known),
    /// see [`start`]
    Start(TopicPartition, Extent),
    /// see [`epoch`]
    Epoch(String, u64),
    /// see [`position`]
    Position(String, TopicPartition, Offset),
}

/// A record of the log about itself; none if it is another thing.
pub fn read(key: &[u8], value: &[u8]) -> Option<Meta> {
    if let Some(name) = key.strip_prefix(b"topic/") {
        let number = u16::from_be_bytes(value.get(..2)?.try_into().ok()?);
        let kept_ms = read_u64(value.get(2..)?)?;
        let retention = (kept_ms > 0).then(|| Duration::from_millis(kept_ms));
        return Some(Meta::Topic(Known { number, spec: TopicSpec { topic: Topic::named(std::str::from_utf8(name).ok()?), retention } }));
    }
    if let Some(place) = key.strip_prefix(b"start/") {
        let extent = Extent { start: Offset(read_u64(value.get(..8)?)?), end: Offset(read_u64(value.get(8..)?)?) };
        return Some(Meta::Start(read_place(place)?, extent));
    }
    if let Some(group) = key.strip_prefix(b"epoch/") {
        return Some(Meta::Epoch(std::str::from_utf8(group).ok()?.to_owned(), read_u64(value)?));
    }
    let rest = key.strip_prefix(b"position/")?;
    let (group, place) = rest.split_at_checked(rest.len().checked_sub(5)?)?;
    Some(Meta::Position(std::str::from_utf8(group).ok()?.to_owned(), read_place(place.get(1..)?)?, Offset(read_u64(value)?)))
}

fn place_bytes((topic, partition): TopicPartition) -> [u8; 4] {
    let ([a, b], [c, d]) = (topic.to_be_bytes(), partition.0.to_be_bytes());
    [a, b, c, d]
}

fn read_place(bytes: &[u8]) -> Option<TopicPartition> {
    Some((u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?), Partition(u16::from_be_bytes(bytes.get(2..)?.try_into().ok()?))))
}

fn read_u64(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}
