//! The integration tests of the marketplace, one binary: real processes, real HTTP, real kills.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail by panicking, and their summaries are read by people"
)]

mod answers;
mod as_of;
mod asyncapi;
mod audit;
#[path = "../../../../eventstore/tests/it/broker.rs"]
mod broker;
mod carts;
mod cli;
mod clock;
mod direction;
mod doors;
mod http;
mod identity;
mod import;
mod kafka;
mod kafka_security;
mod kill;
mod load;
mod marketplace;
mod openapi;
mod operate;
mod outage;
mod outside;
#[path = "../../../../eventstore/tests/it/postgres.rs"]
mod postgres;
mod process;
mod projections;
mod readme;
mod rebuilt;
mod replay;
mod reviews;
mod sagas;
mod seeded;
mod stopped;
mod telemetry;
mod verify;
mod wiring;
