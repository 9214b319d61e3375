//! Reviews as an application of cqrs-es, and what they write.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking, and say what they measured")]

mod plain;
#[path = "../../../../eventstore/tests/it/postgres.rs"]
mod postgres;
mod records;
