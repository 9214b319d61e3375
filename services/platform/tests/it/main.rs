//! The integration tests of the platform, one binary.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod authority;
mod reload;
mod tls;
