//! Product reviews: who bought a product may say once what they make of it, edit that and take it back; its seller answers.
//!
//! [`review`] and [`views`] are a plain application of cqrs-es with postgres-es: they know nothing of a log. [`hosted`] is what it
//! costs to be a service of the marketplace that lives in PostgreSQL: it follows `ordering.events` (who bought what), and the
//! catalog follows `reviews.events` (what a product's rating is).
//!
//! A file uses what stands below its room, or beside it there; no two files use each other. A test holds it.
//! Low to high: `review`, `views`, `hosted`, `policies`, `rows`, `routes`, `service`.

pub mod hosted;
pub mod policies;
pub mod review;
mod routes;
pub mod rows;
mod service;
pub mod views;

pub use service::{SERVICE, capability, migrations, store};
