//! Samples of runs of "update delivery".

use super::{Chosen, Command, Event};
use crate::{SellerId, cart};

/// Two packages of one seller.
pub fn packages() -> Vec<Chosen> {
    vec![Chosen { seller: SellerId(1), order: cart::sample::order(), lines: vec![0, 2] }]
}

/// One event of each kind.
pub fn events() -> Vec<Event> {
    vec![Event::Chosen { packages: packages() }]
}

/// One command of each kind.
pub fn commands() -> Vec<Command> {
    vec![Command::Choose { packages: packages() }]
}
