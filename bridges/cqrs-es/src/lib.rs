//! Aggregates written for [`cqrs_es`], unchanged, as aggregates of a Daybook service; and `CqrsFramework`, unchanged, over a
//! running system.
//!
//! - [`Hosted`] is what an aggregate says beside its own trait: its events and their versions, its refusals, what it decides with.
//! - [`OnLog`] is that aggregate as the platform has it: `Service::new("accounts").owns::<OnLog<BankAccount>, _>()`. Its commands
//!   come from topics and over HTTP, its events are written exactly once, its views are folded and rebuilt as any other's.
//! - [`Hosting`] has its views and its routes.
//! - [`LogStore`] is a [`cqrs_es::EventStore`]: what it commits is a command to the owner of the aggregate's partition, done only
//!   if the aggregate still stands where it was loaded.
//!
//! # What `handle` may do
//! It decides: from its state, its command, and what [`Hosted::services`] gives it, which is made of the decision's [`Context`]
//! (log time, who acts, ids derived from the command's). So it must be
//! - **deterministic**: it is run twice ([`Hosted::RUN_TWICE`]), and a decision that differs is a dead letter, as a panic is;
//! - **bounded**: its future must be ready when it is polled for the first time. One that waits, for a socket, a timer or
//!   another task, is a dead letter. A runtime is not there, so whoever asks for one panics;
//! - **without effects**: what it changes in itself and does not write as an event is forgotten. What is to happen outside
//!   follows from events, by a policy or by whoever reads the topic.
//!
//! # What differs from cqrs-es
//! Events are applied once, on every path: there are no snapshots of it to be wrong (cqrs-es 0.5.0 applies events twice to what it
//! saves as a snapshot; `tests/it/snapshots.rs` shows it). Upcasters see an event's type, version and payload, but neither its
//! aggregate's id nor its number nor its metadata.
//!
//! A file uses what stands below its room, or beside it there; no two files use each other. A test holds it.
//! Low to high: `hosted`, `deciding`, `on_log`, `records`, `hosting`, `store`.

mod deciding;
mod hosted;
mod hosting;
mod on_log;
mod records;
mod store;

pub use cqrs_es;
#[cfg(doc)]
use daybook::Context;
pub use hosted::{CONFLICT, Hosted};
pub use hosting::{EventRow, HostedStates, Hosting};
pub use on_log::{Command, OnLog, Recorded, Refused};
pub use records::StoredEvent;
pub use store::{Loaded, LogStore};
