//! Samples of payments.

use super::{Command, Decline, Demand, Event, Means, Method};
use crate::customer;
use kernel::{Currency, Money};

/// By a card that is taken.
pub fn means() -> Means {
    Means { method: Method::CreditCard, card: Some(customer::sample::card()), installments: 3 }
}

/// 7.65 and a voucher of 1.00.
pub fn demand() -> Demand {
    Demand { amount: Money::new(765, Currency::GBP), means: means(), vouchers: vec![Money::new(100, Currency::GBP)] }
}

/// One event of each kind.
pub fn events() -> Vec<Event> {
    vec![
        Event::Captured(demand()),
        Event::Refused { why: Decline::Card, amount: Money::new(765, Currency::GBP) },
        Event::Cancelled,
        Event::Refunded { refund: 1, amount: Money::new(255, Currency::GBP) },
    ]
}

/// One command of each kind.
pub fn commands() -> Vec<Command> {
    vec![Command::Capture(demand()), Command::Cancel, Command::Refund { refund: 1, amount: Money::new(255, Currency::GBP) }]
}
