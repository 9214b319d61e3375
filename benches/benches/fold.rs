//! Folding decoded events into rows beside one raw put for each event in arrival order, with the same WAL setting.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a bench stops at the first failure and prints its result")]

use std::collections::BTreeSet;
use std::sync::Arc;

use benches::Paired;
use eventstore::Offset;
use eventstore::memory::Memory;
use eventstore::rows::Rows;
use projections::{Digest, Overlay};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rocksdb::DB;
use schemas::{Partition, Topic};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

const EVENTS: usize = 100_000;
/// Records of a page when a view catches up.
const PAGE: usize = 5_000;
const ROUNDS: usize = 5;

#[derive(Default, Serialize, Deserialize)]
struct Row {
    sold: u64,
    revision: u64,
    name: String,
}

fn key(number: usize) -> String {
    format!("{:0>20}-{:0>20}", 1, number)
}

/// Numbers that follow Zipf's law with this exponent, by the inverse of its cumulative distribution.
fn zipf(keys: usize, exponent: f64, random: &mut StdRng) -> Vec<String> {
    let mut sums = vec![0.0];
    for rank in 1..=keys {
        sums.push(sums[rank - 1] + 1.0 / (rank as f64).powf(exponent));
    }
    let mut scattered: Vec<usize> = (0..keys).collect();
    scattered.shuffle(random);
    (0..EVENTS).map(|_| key(scattered[sums.partition_point(|sum| *sum <= random.random_range(0.0..sums[keys])).clamp(1, keys) - 1])).collect()
}

fn compare(name: &str, keys: &[String], aim: f64) {
    let topic = Topic::named("bench.events");
    let row = serde_json::to_vec(&Row { sold: 1_000, revision: 1_000, name: "WHITE METAL LANTERN".into() }).unwrap();
    // Each run on a database of its own: neither profits from what the other or an earlier run left.
    let ours = || {
        let dir = TempDir::new().unwrap();
        let rows = Arc::new(Rows::open(dir.path(), "bench 1", &Memory::default()).unwrap());
        let mut overlay = Overlay::over(Arc::clone(&rows));
        for (page, events) in keys.chunks(PAGE).enumerate() {
            for key in events {
                overlay
                    .update::<Row>(key, |row| {
                        row.sold += 1;
                        row.revision += 1;
                        if row.name.is_empty() {
                            row.name.push_str("WHITE METAL LANTERN");
                        }
                    })
                    .unwrap();
            }
            let mut changes = overlay.changes().unwrap();
            changes.position(&topic, Partition(0), Offset((page * PAGE) as u64));
            rows.write(changes).unwrap();
        }
        keys.len() as u64
    };
    let raw = || {
        let dir = TempDir::new().unwrap();
        let raw = DB::open(&Memory::default().options(), dir.path()).unwrap();
        keys.iter().for_each(|key| raw.put(key, &row).unwrap());
        keys.len() as u64
    };
    println!("{}", Paired::run(ROUNDS, ours, raw).report(name, "fold", "one raw put an event", Some(aim)));
    // What the fold does for its digest: each row that a page changes goes as it was and comes as it is.
    let pages: Vec<BTreeSet<&String>> = keys.chunks(PAGE).map(|page| page.iter().collect()).collect();
    let mut digest = Digest::default();
    let digests = || {
        for key in pages.iter().flatten() {
            digest.remove(key.as_bytes(), &row);
            digest.add(key.as_bytes(), &row);
        }
        keys.len() as u64
    };
    println!("{}", Paired::run(ROUNDS, ours, digests).report(&format!("{name}, of its time its digest"), "fold", "digest alone", None));
}

fn main() {
    let mut random = StdRng::seed_from_u64(1);
    let mut unique: Vec<String> = (0..EVENTS).map(key).collect();
    unique.shuffle(&mut random);
    compare("fold, unique keys in random order", &unique, 1.0);
    compare("fold, zipf 0.99 over 10,000 keys", &zipf(10_000, 0.99, &mut random), 4.0);
}
