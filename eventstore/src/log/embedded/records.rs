//! Records of the embedded log as bytes. Frozen: what is on disk is read for ever; a new layout gets a new first byte.

use kernel::Timestamp;
use schemas::{Headers, Partition, Topic};

use crate::log::{Message, Offset, Record};

/// First byte of every record.
const FORMAT: u8 = 1;
/// Header names that are written as one byte. Only ever appended to.
const NAMES: [&str; 17] = [
    "content-type",
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_subject",
    "ce_time",
    "ce_occurredat",
    "ce_sequence",
    "ce_expectedversion",
    "ce_causationid",
    "ce_correlationid",
    "ce_actor",
    "ce_answers",
    "ce_bodyhash",
    "reply-to",
    "traceparent",
];
/// Stands for a name that is written out.
const OTHER: u8 = u8::MAX;

/// The key of a record: topic number, partition, offset, so that a partition's records lie together, in order.
pub fn key(topic: u16, partition: Partition, offset: Offset) -> [u8; 12] {
    let mut key = [0; 12];
    key[..2].copy_from_slice(&topic.to_be_bytes());
    key[2..4].copy_from_slice(&partition.0.to_be_bytes());
    key[4..].copy_from_slice(&offset.0.to_be_bytes());
    key
}

/// The offset in a record's key.
pub fn offset_of(key: &[u8]) -> Option<Offset> {
    Some(Offset(u64::from_be_bytes(key.get(4..12)?.try_into().ok()?)))
}

/// A message as it is kept, but for the time it is recorded at: see [`stamp`].
pub fn encode(message: &Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.bytes() + 64);
    out.push(FORMAT);
    out.extend([0; 8]);
    sized(&mut out, &message.key);
    // Sizes fit: a message is at most RECORD_BYTES_MAX.
    out.extend((message.headers.len() as u32).to_be_bytes());
    for (name, value) in message.headers.iter() {
        match NAMES.iter().position(|known| *known == name) {
            Some(number) => out.push(number as u8),
            None => {
                out.push(OTHER);
                sized(&mut out, name.as_bytes());
            }
        }
        sized(&mut out, value);
    }
    match &message.value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            out.extend_from_slice(value);
        }
    }
    out
}

/// Says when a kept message is recorded.
pub fn stamp(kept: &mut [u8], recorded_at: Timestamp) {
    if let Some(time) = kept.get_mut(1..9) {
        time.copy_from_slice(&recorded_at.0.to_be_bytes());
    }
}

/// When a kept message was recorded, without reading the rest of it.
pub fn stamped(kept: &[u8]) -> Option<Timestamp> {
    Some(Timestamp(i64::from_be_bytes(kept.get(1..9)?.try_into().ok()?)))
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A record from its bytes; none if they are not what [`encode`] writes.
pub fn decode(topic: &Topic, partition: Partition, offset: Offset, bytes: &[u8]) -> Option<Record> {
    let mut rest = Reader(bytes.strip_prefix(&[FORMAT])?);
    let recorded_at = Timestamp(i64::from_be_bytes(rest.take(8)?.try_into().ok()?));
    let key = rest.sized()?.to_vec();
    let count = rest.number()?;
    let mut headers = Headers::with_capacity(usize::try_from(count).ok()?.min(32), rest.0.len());
    for _ in 0..count {
        let name = match rest.take(1)?[0] {
            OTHER => std::str::from_utf8(rest.sized()?).ok()?,
            known => NAMES.get(usize::from(known))?,
        };
        headers.push(name, rest.sized()?);
    }
    let value = match rest.take(1)?[0] {
        0 if rest.0.is_empty() => None,
        1 => Some(rest.0.to_vec()),
        _ => return None,
    };
    Some(Record::of(Message { topic: topic.clone(), partition, key, headers, value }, offset, recorded_at))
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }
    fn sized(&mut self) -> Option<&'b [u8]> {
        let size = usize::try_from(self.number()?).ok()?;
        self.take(size)
    }
}
