//! The integration tests of `marketplace-schemas`, one binary.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

extern crate marketplace_schemas as shapes;

mod documents;
mod garbage;
mod golden;
mod sizes;
