//! How long what is copied from a command into all that it causes may be.

/// Longest part of an envelope that is copied into what its command causes.
pub const PART_BYTES_MAX: usize = 200;
/// Longest name of who acts, with why where that is said.
pub const ACTOR_BYTES_MAX: usize = 500;
