//! Wire shapes, frozen per version, and the macros that make them. A released shape is never edited: a change is a new
//! version beside it, with an upcast, and golden records hold every one to its bytes.

#[macro_use]
mod table;
#[macro_use]
mod source;
mod markers;
mod personal;
mod shape;
mod shared;

pub use markers::{AcceptedV1, RefusedV1, ReplyV1, marker, shapes as own_shapes};
pub use personal::{PERSONAL, Personal, SealedForV1, SealedV1};
pub use shape::Shape;
pub use shared::{Code, Empty, Instant, List, MoneyV1, PairId, text};
