//! Samples of replicas.

use super::{Command, Event, Offer, ProductCopy};
use crate::product;
use kernel::{Currency, Money};

/// What the lamp of the product samples costs.
pub fn offer() -> Offer {
    let details = product::sample::details();
    Offer { name: details.name, price: details.price, freight: details.freight, version: details.version }
}

/// A replica that shows it.
pub fn shown() -> ProductCopy {
    ProductCopy { offer: Some(offer()), withdrawn: false }
}

/// One event of each kind.
pub fn events() -> Vec<Event> {
    vec![Event::Copied(offer()), Event::PriceCopied(Money::new(339, Currency::GBP)), Event::WithdrawalCopied]
}

/// One command of each kind.
pub fn commands() -> Vec<Command> {
    vec![Command::Copy(offer()), Command::CopyPrice(Money::new(339, Currency::GBP)), Command::CopyWithdrawal]
}
