//! Samples of products.

use super::{Command, Details, Event};
use kernel::{Currency, Money};

/// A lamp for 2.55.
pub fn details() -> Details {
    Details {
        name: "WHITE METAL LANTERN".into(),
        sku: "71053".into(),
        category: "light".into(),
        description: "A lantern of white metal".into(),
        price: Money::new(255, Currency::GBP),
        freight: Money::new(50, Currency::GBP),
        status: "approved".into(),
        version: "1".into(),
    }
}

/// The same as version 2, for 3.00.
pub fn replacement() -> Details {
    Details { version: "2".into(), price: Money::new(300, Currency::GBP), ..details() }
}

/// One event of each kind, a history in order.
pub fn events() -> Vec<Event> {
    vec![
        Event::Registered(details()),
        Event::PriceChanged { price: Money::new(339, Currency::GBP), version: "1".into() },
        Event::Replaced(replacement()),
        Event::Withdrawn { version: "2".into() },
    ]
}

/// One command of each kind.
pub fn commands() -> Vec<Command> {
    vec![
        Command::Register(details()),
        Command::ChangePrice { price: Money::new(339, Currency::GBP), version: Some("1".into()) },
        Command::Replace(replacement()),
        Command::Withdraw,
    ]
}
