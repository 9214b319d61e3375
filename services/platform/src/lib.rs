//! Event-sourced services on a message log: an application declares its services, and the platform runs them, serves them
//! over HTTP, proves them, and gives operators their tools.
//!
//! ```no_run
//! use daybook::web::{Example, Routes};
//! use daybook::{Application, Capability, Rules, Service};
//!
//! fn capabilities() -> Vec<Capability> {
//!     vec![Capability::of(Service::new("bells"))] // .owns::<Bell, _>(), its views and routes
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     daybook::cli::run(&Application {
//!         name: "bells",
//!         version: "1.0.0",
//!         title: "Bells",
//!         rules: Rules::DEFAULT,
//!         roles: &[],
//!         capabilities,
//!         routes: Routes::default,
//!         example: Example { service: "bells", aggregate: "bell", id: "7", command: "bells.0.nobodys" },
//!         try_next: &["curl {url}/docs"],
//!     })
//! }
//! ```
//!
//! A file uses what stands below its room, or beside it there; no two files use each other. A test holds it.
//! Low to high: `cpu`, `fresh`, `misuse`, `out`, `args`, `budget`, `uri`, `tls`, `client`, `patience`, `keys`, `sealing`, `following`, `hex`, `reservation`, `identity`, `prover`, `telemetry`, `gateway`, `http`,
//! `capability`, `accounts`, `erasure`, `application`, `location`, `config`, `documents`, `runtime`, `up`, `verify`, `replay`, `kafka`, `people`, `cli`, `testing`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking"))]

#[cfg(not(any(feature = "embedded", feature = "kafka")))]
compile_error!("a log is needed: one of the features embedded and kafka, or both");

pub mod accounts;
pub mod application;
pub mod args;
pub mod budget;
pub mod capability;
pub mod cli;
pub mod client;
pub mod config;
pub mod cpu;
pub mod documents;
pub mod erasure;
pub mod following;
mod fresh;
pub mod gateway;
pub mod hex;
pub mod http;
pub mod identity;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod keys;
pub mod location;
pub mod misuse;
pub mod out;
mod patience;
pub mod people;
pub mod prover;
pub mod replay;
pub mod reservation;
pub mod runtime;
pub mod sealing;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tls;
pub mod up;
pub mod uri;
pub mod verify;

pub use application::Application;
pub use capability::Capability;
pub use eventstore::log::Rules;
pub use eventstore::service::Service;
pub use identity::Role;
pub use kernel::{Aggregate, Context, Currency, Heads, Money, Number, Origin, Pair, Policy, Routing, Source, Timestamp};
pub use projections::{FoldError, Overlay, Seen, StateRow, View, states};
pub use reservation::{Reservation, Unique};
pub use schemas::serde;
pub use schemas::{cases, codec, golden, shape, source};
pub use {eventstore, kernel, projections, schemars, schemas};

/// What routes are made of.
pub mod web {
    pub use axum::extract::State;
    pub use axum::http::{HeaderMap, Method};
    pub use axum::response::Response;

    pub use crate::http::app::App;
    pub use crate::http::as_of::{AsOf, row_of};
    pub use crate::http::body::{Amount, AnyBody, Body};
    pub use crate::http::command::CommandRequest;
    pub use crate::http::extract::{Path, Query};
    pub use crate::http::failure::Failure;
    pub use crate::http::read::{Listing, Under, list, row};
    pub use crate::http::route::{Example, Operation, Routes};
    pub use crate::identity::access::{Access, OPERATORS};
}
