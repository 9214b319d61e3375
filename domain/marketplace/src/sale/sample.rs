//! Samples of sales.

use super::{Command, Event, Line};
use crate::cart;

/// The seller's line of customer 17's first order.
pub fn line() -> Line {
    Line::of(0, &cart::sample::priced())
}

/// One event of each kind.
pub fn events() -> Vec<Event> {
    let lines = vec![line()];
    vec![
        Event::Opened { lines: lines.clone() },
        Event::Paid { lines },
        Event::Shipped,
        Event::Delivered { line: 0 },
        Event::Returned { line: 0, kept: 1, settled: None },
        Event::Closed,
    ]
}

/// One command of each kind.
pub fn commands() -> Vec<Command> {
    vec![
        Command::Open { lines: vec![line()] },
        Command::Pay { lines: vec![0] },
        Command::Ship,
        Command::Deliver { line: 0 },
        Command::Return { line: 0, kept: 1, settled: None },
        Command::Close,
    ]
}
