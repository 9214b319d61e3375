//! The integration tests of `schemas`, one binary.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

mod documents;
mod envelope;
mod garbage;
mod golden;
mod sizes;
mod upcast;
