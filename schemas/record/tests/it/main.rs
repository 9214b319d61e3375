//! The integration tests of `daybook-schemas`, one binary.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

extern crate daybook_schemas as schemas;

mod bare;
mod envelope;
mod garbage;
mod golden;
mod upcast;
