//! Personal data, sealed under its subject's key: pieces of it, and bodies in which it stands.

pub mod bodies;
mod sealer;

pub use bodies::Body;
pub use sealer::{Error, Opened, STEP_BYTES, Sealer, read};
