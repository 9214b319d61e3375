//! What commands print. Whoever asked must not be told that all is well when they were told nothing: what cannot be
//! printed is remembered, and becomes the exit code. A reader that went away (`| head`) is no reason to complain.

use std::io::{self, Write};
use std::sync::OnceLock;

use comfy_table::{Table, presets};

/// Why standard output takes no more, once it does not.
static BROKEN: OnceLock<io::Error> = OnceLock::new();

/// A line on standard output; none any more once one could not be written.
pub fn line(text: impl std::fmt::Display) {
    if BROKEN.get().is_none()
        && let Err(why) = written(text)
    {
        let _first = BROKEN.set(why);
    }
}

/// The same for what nobody waits for: that it could not be written is only noted.
pub fn greeting(text: impl std::fmt::Display) {
    if let Err(why) = written(text) {
        note(format_args!("standard output: {why}"));
    }
}

fn written(text: impl std::fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", plain(&text.to_string()))?;
    out.flush()
}

/// Why standard output takes no more, if it does not.
pub fn broken() -> Option<&'static io::Error> {
    BROKEN.get()
}

/// A line on standard error.
pub fn note(text: impl std::fmt::Display) {
    let _closed = writeln!(io::stderr().lock(), "{}", plain(&text.to_string()));
}

/// A text as a terminal may show it: what others wrote may hold signs that command it.
fn plain(text: &str) -> String {
    let commands = |sign: char| sign.is_control() && !['\n', '\t'].contains(&sign);
    text.chars().map(|sign| if commands(sign) { '\u{fffd}' } else { sign }).collect()
}

/// A table of these columns, a line for each row.
pub fn table<const N: usize>(columns: [impl Into<comfy_table::Cell>; N]) -> Table {
    let mut table = bare();
    table.set_header(columns);
    table
}

/// A table whose columns need no names.
pub fn bare() -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_FULL_CONDENSED);
    table
}
