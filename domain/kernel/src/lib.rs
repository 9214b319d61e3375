//! What every business is made of: aggregates that decide from their state alone and evolve by their events alone, policies
//! from events to commands, money and time. Nothing here performs IO, reads a clock or draws a random number.
//!
//! ```
//! use daybook_kernel::testing::given;
//! use daybook_kernel::{Aggregate, Context, Number};
//!
//! /// How often a bell was rung.
//! #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
//! struct Bell(u32);
//!
//! #[derive(Clone, Debug, PartialEq)]
//! struct Ring;
//! #[derive(Clone, Debug, PartialEq)]
//! struct Rung;
//!
//! impl Aggregate for Bell {
//!     const NAME: &'static str = "bell";
//!     const STATE_VERSION: u8 = 1;
//!     const REFUSALS: &'static [&'static str] = &["worn-out"];
//!     type Id = Number;
//!     type Command = Ring;
//!     type Event = Rung;
//!     type Refusal = &'static str;
//!     fn decide(&self, _: Ring, _: &Context<'_>) -> Result<Vec<Rung>, &'static str> {
//!         if self.0 < 2 { Ok(vec![Rung]) } else { Err("worn-out") }
//!     }
//!     fn evolve(&mut self, _: &Rung) {
//!         self.0 += 1;
//!     }
//!     fn refusal_code(refusal: &&'static str) -> &'static str {
//!         refusal
//!     }
//! }
//!
//! assert_eq!(given::<Bell>("7", [Rung]).when(Ring).then(&[Rung]), Bell(2));
//! given::<Bell>("7", [Rung, Rung]).when(Ring).refused("worn-out");
//! ```
//!
//! A file uses what stands below its room, or beside it there; no two files use each other. A test holds it.
//! Low to high: `time`, `money`, `ids`, `personal`, `aggregate`, `policy`, `testing`.

mod aggregate;
mod ids;
mod money;
mod personal;
mod policy;
pub mod testing;
mod time;

pub use aggregate::{Aggregate, Context, Heads, NoHeads, Origin, Routing, routing_key};
pub use ids::{Number, Pair};
pub use iso_currency::Currency;
pub use money::{Money, MoneyError};
pub use personal::{CLEAR_IN_ROWS, Personal, SEALED_IN_ROWS, Sealed, SealedFor};
pub use policy::{Policy, Source};
pub use time::Timestamp;
