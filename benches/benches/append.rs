//! Appends to the embedded log beside raw RocksDB batches of the same bytes: same sync policy, same number of writers
//! whose writes are grouped (by our appender here, by RocksDB's own group commit there).
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a bench stops at the first failure and prints its result")]

use std::sync::Arc;

use benches::Paired;
use eventstore::embedded::{Embedded, Settings, kept_as};
use eventstore::log::TopicSpec;
use eventstore::memory::Memory;
use eventstore::{Log, Message};
use rocksdb::{ColumnFamilyDescriptor, DB, Options, WriteBatch, WriteOptions};
use schemas::envelope::Kind;
use schemas::{Envelope, Partition, Topic};
use tempfile::TempDir;

const WRITERS: u16 = 4;
const ROUNDS: usize = 7;

fn message(writer: u16, n: usize) -> Message {
    let mut envelope = Envelope::new(format!("8046ea42-e743-570d-a7f8-{n:012}"), "/stock/stock-item", Kind::of("stock-item", "reserved", 1), "1-71053");
    (envelope.version, envelope.causation, envelope.correlation) = (Some(n as u64), Some(format!("{n:036}")), Some(format!("{n:036}")));
    Message {
        topic: Topic::named("bench.events"),
        partition: Partition(writer),
        key: b"1".to_vec(),
        headers: envelope.headers(),
        value: Some(format!("{{\"of\":{{\"order\":\"17850-1\",\"line\":{n}}},\"quantity\":6,\"pad\":\"{:0>150}\"}}", n).into_bytes()),
    }
}

/// Options like the embedded log's.
fn options() -> Options {
    let mut options = Memory::default().options();
    options.create_missing_column_families(true);
    options.set_write_buffer_size(32 * 1024 * 1024);
    options
}

fn compare(per_append: usize, appends: usize) {
    let (ours_dir, raw_dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let log = Arc::new(Embedded::open(ours_dir.path(), Settings::default()).unwrap());
    log.provision(&[TopicSpec { topic: Topic::named("bench.events"), retention: None }]).unwrap();
    let raw = Arc::new(DB::open_cf_descriptors(&options(), raw_dir.path(), [ColumnFamilyDescriptor::new("records", options())]).unwrap());
    let batches: Vec<Vec<Message>> = (0..WRITERS).map(|writer| (0..per_append).map(|n| message(writer, n)).collect()).collect();
    let bytes: Vec<Vec<u8>> = batches[0].iter().map(kept_as).collect();
    let done = u64::from(WRITERS) * (per_append * appends) as u64;
    let ours = || {
        std::thread::scope(|scope| {
            for batch in &batches {
                let log = Arc::clone(&log);
                scope.spawn(move || (0..appends).for_each(|_| drop(log.append(batch.clone()).unwrap())));
            }
        });
        done
    };
    let mut at = 0_u64;
    let limit = || {
        at += 1;
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (raw, bytes) = (Arc::clone(&raw), &bytes);
                scope.spawn(move || {
                    let mut sync = WriteOptions::default();
                    sync.set_sync(true);
                    let family = raw.cf_handle("records").unwrap();
                    for append in 0..appends {
                        let mut batch = WriteBatch::default();
                        for (n, value) in bytes.iter().enumerate() {
                            let offset = at * 1_000_000_000 + (append * per_append + n) as u64;
                            batch.put_cf(family, [&[0, 0][..], &writer.to_be_bytes(), &offset.to_be_bytes()].concat(), value);
                        }
                        raw.write_opt(batch, &sync).unwrap();
                    }
                });
            }
        });
        done
    };
    println!(
        "{}",
        Paired::run(ROUNDS, ours, limit).report(
            &format!("append, {WRITERS} writers, {per_append} records of {} bytes each time, synced", bytes[0].len()),
            "embedded",
            "raw RocksDB",
            Some(0.7)
        )
    );
}

fn main() {
    compare(1, 400);
    compare(100, 60);
}
