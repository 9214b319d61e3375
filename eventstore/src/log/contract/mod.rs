//! The contract: what every body of the log promises, as checks that any body can be put through. Answers with what
//! went wrong instead of panicking, so that seeded bugs can be counted. Knows no body.

mod groups;
mod records;
mod trim;
mod world;

pub use world::{Body, Promise};

/// All promises.
pub const PROMISES: &[&[Promise]] = &[records::PROMISES, groups::PROMISES, trim::PROMISES];
