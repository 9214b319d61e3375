//! Where it is kept: the log, the worker that turns commands into events, folds and their rows.
//!
//! ```
//! # #[cfg(feature = "embedded")] {
//! # use schemas as daybook_schemas;
//! use daybook_eventstore::embedded::{Embedded, Settings};
//! use daybook_eventstore::log::TopicSpec;
//! use daybook_eventstore::{Limits, Log, Message};
//! use daybook_schemas::{Headers, Stream, topic};
//!
//! let dir = tempfile::tempdir().unwrap();
//! let log = Embedded::open(&dir.path().join("log"), Settings::default()).unwrap();
//! let events = topic(Stream::Events("bells"));
//! log.provision(&[TopicSpec { topic: events.clone(), retention: None }]).unwrap();
//! let partition = log.partition_of("7-1"); // by what stands before the dash
//! let rung = Message { topic: events.clone(), partition, key: b"7".to_vec(), headers: Headers::default(), value: Some(b"{}".to_vec()) };
//! let offsets = log.append(vec![rung]).unwrap(); // durable
//! let page = log.read(&events, partition, offsets[0], Limits::default()).unwrap();
//! assert_eq!(page.records[0].body(), b"{}");
//! # }
//! ```
//!
//! A file uses what stands below its room, or beside it there; no two files use each other. A test holds it.
//! Low to high: `actor`, `bounds`, `caught`, `directory`, `fingerprint`, `inside`, `memory`, `outcome`, `show`, `log`, `control`,
//! `dead_letters`, `observer`, `rows`, `service`, `stop`, `fold`, `reactions`, `replies`, `keystore`, `sealing`, `heads`, `inspect`, `turn`, `worker`,
//! `router`.

pub mod actor;
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
pub mod keystore;
pub mod log;
pub mod memory;
pub mod observer;
pub mod outcome;
pub mod reactions;
pub mod replies;
pub mod router;
pub mod rows;
pub mod sealing;
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
