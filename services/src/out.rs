//! What commands print. A reader that went away (`| head`) is no error.

use std::io::Write;

/// A line on standard output.
pub fn line(text: impl std::fmt::Display) {
    let _closed = writeln!(std::io::stdout().lock(), "{text}");
}

/// A line on standard error.
pub fn note(text: impl std::fmt::Display) {
    let _closed = writeln!(std::io::stderr().lock(), "{text}");
}
