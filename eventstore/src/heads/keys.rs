//! Keys of the tables that heads are saved in. Every key has its partition behind its table's letter, so that a
//! partition's rows lie together, in order.

use kernel::Timestamp;
use schemas::Partition;

/// The letters of all tables.
pub const TABLES_ALL: &[u8] = b"chmnstwx";

/// A row of one of the tables: its letter, the partition, and what tells rows apart.
pub fn key(table: u8, partition: Partition, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(3 + parts.iter().map(|part| part.len() + 1).sum::<usize>());
    key.push(table);
    key.extend(partition.0.to_be_bytes());
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// Table `c`: an aggregate that was closed.
pub fn closed_key(partition: Partition, aggregate: &str, id: &str) -> Vec<u8> {
    key(b'c', partition, &[aggregate.as_bytes(), &[0], id.as_bytes()])
}

/// Table `h`: an aggregate's state and version.
pub fn head_key(partition: Partition, aggregate: &str, id: &str) -> Vec<u8> {
    key(b'h', partition, &[aggregate.as_bytes(), &[0], id.as_bytes()])
}

/// Table `m`: what is remembered of a client's command.
pub fn mark_key(partition: Partition, command_id: &str) -> Vec<u8> {
    key(b'm', partition, &[command_id.as_bytes()])
}

/// Table `n`: the time of a partition's newest event.
pub fn newest_key(partition: Partition) -> Vec<u8> {
    key(b'n', partition, &[])
}

/// Table `s`: where an aggregate's version lies in the log.
pub fn stream_key(partition: Partition, aggregate: &str, id: &str, version: u64) -> Vec<u8> {
    key(b's', partition, &[aggregate.as_bytes(), &[0], id.as_bytes(), &[0], &version.to_be_bytes()])
}

/// Times as bytes that sort like the times.
pub fn sortable(at: Timestamp) -> [u8; 8] {
    (at.0.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// A time back from [`sortable`].
pub fn read_sortable(bytes: &[u8]) -> Option<Timestamp> {
    Some(Timestamp((u64::from_be_bytes(bytes.try_into().ok()?) ^ (1 << 63)).cast_signed()))
}

/// Before the keys of a partition's deadlines.
pub fn timer_prefix(partition: Partition) -> Vec<u8> {
    key(b't', partition, &[])
}

/// Table `t`: an aggregate under its deadline.
pub fn timer_key(partition: Partition, due: Timestamp, aggregate: &str, id: &str) -> Vec<u8> {
    key(b't', partition, &[&sortable(due), aggregate.as_bytes(), &[0], id.as_bytes()])
}

/// Aggregate, id and deadline of a [`timer_key`].
pub fn read_timer(key: &[u8]) -> Option<(String, String, Timestamp)> {
    let due = read_sortable(key.get(3..11)?)?;
    let (aggregate, id) = std::str::from_utf8(key.get(11..)?).ok()?.split_once('\0')?;
    Some((aggregate.to_owned(), id.to_owned(), due))
}

/// Table `w`: an aggregate that waits.
pub fn waiting_key(partition: Partition, aggregate: &str, id: &str) -> Vec<u8> {
    key(b'w', partition, &[aggregate.as_bytes(), &[0], id.as_bytes()])
}

/// Before the keys of a partition's marks by age.
pub fn expiry_prefix(partition: Partition) -> Vec<u8> {
    key(b'x', partition, &[])
}

/// Table `x`: a mark under its time.
pub fn expiry_key(partition: Partition, at: Timestamp, command_id: &str) -> Vec<u8> {
    key(b'x', partition, &[&sortable(at), command_id.as_bytes()])
}

/// Time and command id of an [`expiry_key`].
pub fn read_expiry(key: &[u8]) -> Option<(Timestamp, &str)> {
    Some((read_sortable(key.get(3..11)?)?, std::str::from_utf8(key.get(11..)?).ok()?))
}
