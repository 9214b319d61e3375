//! The integration tests of `eventstore`, one binary.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail by panicking, and their tables are read by people"
)]

extern crate daybook_eventstore as eventstore;

mod broker;
mod bugs;
mod contract;
mod control;
mod damage;
mod flaky;
mod hostile;
mod kafka;
mod keys;
mod letters;
mod nodes;
mod panics;
mod powercut;
mod proxy;
mod refusals;
mod repeats;
mod rolling;
mod rules;
mod takeover;
mod tally;
mod time;
mod timers;
mod unsure;
mod worker;
