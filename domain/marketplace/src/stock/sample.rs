//! Samples of stock items.

use super::{Command, Event, OrderLine, Shortage};
use crate::cart;

/// The first line of customer 17's first order.
pub fn of() -> OrderLine {
    OrderLine { order: cart::sample::order(), line: 0 }
}

/// An item bound to version 1 with 10 pieces.
pub fn in_stock() -> Vec<Event> {
    vec![Event::Bound { version: "1".into() }, Event::Received { quantity: 10, reference: "delivery 1".into() }]
}

/// One event of each kind.
pub fn events() -> Vec<Event> {
    let of = of();
    let mut events = in_stock();
    events.extend([
        Event::Reserved { of, quantity: 3 },
        Event::Short { of, quantity: 30, why: Shortage::OutOfStock },
        Event::Confirmed { of, quantity: 3 },
        Event::Released { of, quantity: 3 },
        Event::Returned { of, refund: 1, quantity: 2 },
        Event::Brought { of, quantity: 3 },
        Event::TakenBack { of, quantity: 3 },
        Event::Withdrawn,
    ]);
    events
}

/// One command of each kind.
pub fn commands() -> Vec<Command> {
    let of = of();
    vec![
        Command::Bind { version: "1".into() },
        Command::Receive { quantity: 10, reference: "delivery 1".into() },
        Command::Reserve { of, quantity: 3, version: Some("1".into()), brought: false },
        Command::Confirm { of },
        Command::Release { of },
        Command::Return { of, refund: 1, quantity: 2 },
        Command::Withdraw,
    ]
}
