//! Where it is kept: the log, the worker that turns commands into events, folds and their rows.
//! Knows no marketplace noun.

pub mod clock;
pub mod contract;
pub mod embedded;
pub mod log;

pub use log::{Batch, Claim, Commit, Fault, Group, Limits, Log, Member, Message, Offset, Page, Polled, Positions, Record};
