//! Panics as values. A rule of the domain that breaks is a bug of ours, met by one record: it must neither take the
//! process along nor pass unseen.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `work` gives; if it panics, what the panic said. What `work` was changing is then half changed: the caller drops it.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| said(panic.as_ref()).to_owned())
}

/// What a panic said.
pub fn said(panic: &dyn Any) -> &str {
    panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
