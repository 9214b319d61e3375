//! cqrs-es on the log: rules, records, the whole against a real PostgreSQL, and both logs.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking, and say what they measured")]

#[path = "../../examples/account/account.rs"]
mod account;
#[path = "../../../../eventstore/tests/it/broker.rs"]
mod broker;
mod framework;
#[path = "../../examples/account/hosted.rs"]
mod hosted;
#[path = "../../../../eventstore/tests/it/postgres.rs"]
mod postgres;
mod records;
mod rules;
mod snapshots;
