//! The marketplace as its users meet it: the real binary, on the embedded log and on a real broker, under `daybook load`
//! in both loops, audited after each; and five loads on one directory in a row, which show whether cost grows with age.
//! Throughput and latencies are of a machine that others use too; processor time of a transaction is what to compare.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a bench stops at the first failure and prints its result")]

use std::path::PathBuf;
use std::process::Command;

use broker::Broker;
use runs::{Run, median_of, table};
use server::Server;
use tempfile::TempDir;

#[path = "../../../eventstore/tests/it/broker.rs"]
mod broker;
mod runs;
mod server;

/// Of each figure the median of so many is told.
const ROUNDS: usize = 3;
/// Loads on one directory in a row.
const AGES: usize = 5;

/// Seconds of each load, unless the environment says otherwise.
fn seconds() -> u64 {
    std::env::var("SECONDS_OF_LOAD").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(15)
}

/// The product's binary, built as the bench was.
fn binary() -> PathBuf {
    let built = Command::new(env!("CARGO")).args(["build", "--release", "--quiet", "--package", "marketplace", "--bin", "daybook"]).status().unwrap();
    assert!(built.success(), "the product does not build");
    let bench = std::env::current_exe().unwrap();
    bench.parent().and_then(|deps| deps.parent()).unwrap().join("daybook")
}

fn main() {
    let binary = binary();
    let seconds = seconds();
    println!("{ROUNDS} rounds of {seconds} s each, a new directory for each round");
    let embedded = |_: usize| (Server::embedded(&binary), vec![]);
    on("embedded log", 32, seconds, &embedded);
    let broker = Broker::start();
    let on_kafka = |_: usize| (Server::on_kafka(&binary, &broker.address(), &Broker::namespace()), broker.process().into_iter().collect());
    on("Kafka, one instance beside its broker", 16, seconds, &on_kafka);
    drop(broker);
    ages(&binary, seconds);
}

/// Both loops, the open one at half of what the closed one reached.
fn on(name: &str, clients: usize, seconds: u64, start: &dyn Fn(usize) -> (Server, Vec<u32>)) {
    let (mut closed, mut open) = (vec![], vec![]);
    for round in 0..ROUNDS {
        let (server, others) = start(round);
        let loop_of = |how: &str| Run::of(&server, &format!("--duration {seconds}s {how}"), &others);
        let first = loop_of(&format!("--clients {clients}"));
        open.push(loop_of(&format!("--rate {:.0}", (first.per_second / 2.0).max(1.0))));
        closed.push(first);
        server.stop();
    }
    println!("\n{name}, medians of {ROUNDS}:");
    table(&[(format!("closed, {clients} clients"), median_of(&closed)), ("open, half of that".to_owned(), median_of(&open))]);
}

/// The same load on what the loads before it have left.
fn ages(binary: &std::path::Path, seconds: u64) {
    let dir = TempDir::new().unwrap();
    let mut all = vec![];
    for age in 1..=AGES {
        let server = Server::embedded_in(binary, dir.path());
        all.push((format!("load {age}"), Run::of(&server, &format!("--duration {seconds}s --rate 150"), &[])));
        server.stop();
    }
    println!("\n{AGES} loads of 150/s on one directory in a row, each after a start:");
    table(&all);
    let cost = |at: usize| all[at].1.services_ms.unwrap_or(f64::NAN);
    println!("the last one cost {:.2} times the processor time of the first", cost(AGES - 1) / cost(0));
}
