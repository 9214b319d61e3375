//! Bounds that several of the shell's parts keep.

use std::time::Duration;

/// Largest request body.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Longest a caller may wait for a command's answer or for a view.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
