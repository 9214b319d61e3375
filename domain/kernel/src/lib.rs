//! What every business is made of: aggregates that decide from their state alone and evolve by their events alone, policies
//! from events to commands, money and time. Nothing here performs IO, reads a clock or draws a random number.
//!
//! A file uses what stands below its room, or beside it there; no two files use each other. A test holds it.
//! Low to high: `time`, `money`, `ids`, `aggregate`, `policy`, `testing`.

mod aggregate;
mod ids;
mod money;
mod policy;
pub mod testing;
mod time;

pub use aggregate::{Aggregate, Context, Heads, NoHeads, Origin, Routing, routing_key};
pub use ids::{Number, Pair};
pub use iso_currency::Currency;
pub use money::{Money, MoneyError};
pub use policy::{Policy, Source};
pub use time::Timestamp;
