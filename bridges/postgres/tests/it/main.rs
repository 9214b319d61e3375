//! A service that lives in PostgreSQL: what PostgreSQL has and what the log has are the same, whatever dies.
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests fail by panicking, and say what they measured"
)]

#[path = "../../../cqrs-es/examples/account/account.rs"]
mod account;
#[path = "../../../../eventstore/tests/it/broker.rs"]
mod broker;
mod import;
mod kept;
mod killed;
mod odd;
mod order;
#[path = "../../../../eventstore/tests/it/postgres.rs"]
mod postgres;
mod stage;
#[path = "../../examples/account/statement.rs"]
mod statement;
