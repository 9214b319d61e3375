//! Where it is kept: the log, the worker that turns commands into events, folds and their rows.
//! Knows no marketplace noun.

pub mod caught;
pub mod clock;
pub mod contract;
pub mod control;
pub mod dead_letters;
pub mod directory;
pub mod embedded;
pub mod fingerprint;
pub mod fold;
mod group;
pub mod heads;
pub mod inside;
pub mod inspect;
pub mod kafka;
pub mod log;
pub mod observer;
pub mod reactions;
pub mod replies;
mod ring;
pub mod router;
pub mod rows;
pub mod service;
pub mod show;
pub mod turn;
pub mod worker;

pub use log::{Batch, Begin, Claim, Commit, Fault, Group, Input, Limits, Log, Member, Message, Offset, Page, Polled, Positions, Record};
