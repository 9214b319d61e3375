//! Samples of shipments.

use super::{Command, Event};
use crate::cart;

/// One event of each kind.
pub fn events() -> Vec<Event> {
    let product = cart::sample::product();
    vec![Event::Created { lines: vec![(0, product), (2, product)] }, Event::Delivered { line: 0, product }, Event::Cancelled { line: 2, product }]
}

/// One command of each kind.
pub fn commands() -> Vec<Command> {
    vec![Command::Create { lines: vec![(0, cart::sample::product())] }, Command::Deliver { lines: vec![0, 2] }, Command::Cancel { lines: vec![2] }]
}
