//! An online marketplace on Daybook: its services and their routes, the benchmark's routes, and the tools that play, import
//! and audit it. What it decides is in `marketplace-domain`, what it writes in `marketplace-schemas`.
//!
//! ```
//! let services: Vec<&str> = marketplace::capabilities::all().iter().map(|capability| capability.service.name).collect();
//! assert!(services.contains(&"ordering") && services.len() == 9);
//! ```
//!
//! A file uses what stands below its room, or beside it there; no two files use each other. A test holds it.
//! Low to high: `money`, `recently`, `card`, `settings`, `capabilities`, `benchmark`, `audit`, `import`, `load`, `cli`.

pub mod audit;
pub mod benchmark;
pub mod capabilities;
pub mod card;
pub mod cli;
pub mod import;
pub mod load;
pub mod money;
pub mod recently;
pub mod settings;

pub use cli::{APPLICATION, main};
pub use shapes::Marketplace;
