//! Where it is kept: the log, the worker that turns commands into events, folds and their rows.
//!
//! A file uses what stands below its room, or beside it there; no two files use each other. A test holds it.
//! Low to high: `bounds`, `caught`, `directory`, `fingerprint`, `inside`, `memory`, `outcome`, `show`, `log`, `control`,
//! `dead_letters`, `observer`, `rows`, `service`, `stop`, `fold`, `reactions`, `replies`, `heads`, `inspect`, `turn`, `worker`,
//! `router`.

pub mod bounds;
pub mod caught;
pub mod control;
pub mod dead_letters;
pub mod directory;
pub mod fingerprint;
pub mod fold;
pub mod heads;
pub mod inside;
pub mod inspect;
pub mod log;
pub mod memory;
pub mod observer;
pub mod outcome;
pub mod reactions;
pub mod replies;
pub mod router;
pub mod rows;
pub mod service;
pub mod show;
pub mod stop;
pub mod turn;
pub mod worker;

pub use log::clock;
#[cfg(feature = "contract")]
pub use log::contract;
#[cfg(feature = "embedded")]
pub use log::embedded;
#[cfg(feature = "kafka")]
pub use log::kafka;
pub use log::{Assignment, Batch, Begin, Commit, Fault, Group, Input, Limits, Log, Member, Message, Offset, Page, Polled, Positions, Record};
