//! Samples of carts.

use super::{CheckedOut, Checkout, Command, Dropped, Event, Line, PricedLine};
use crate::{CustomerId, OrderId, ProductId, ProductRef, SellerId};
use crate::{customer, payment};
use kernel::{Currency, Money, Origin, Personal};

/// Product 2 of seller 1.
pub fn product() -> ProductRef {
    ProductRef { seller: SellerId(1), product: ProductId(2) }
}

/// Three lamps at the price last seen.
pub fn line() -> Line {
    let money = |minor| Money::new(minor, Currency::GBP);
    Line {
        product: product(),
        name: "WHITE METAL LANTERN".into(),
        quantity: 3,
        unit_price: money(255),
        freight: money(50),
        voucher: money(100),
        version: Some("1".into()),
        agreed: false,
    }
}

/// The same at an agreed price of 2.00.
pub fn agreed() -> Line {
    Line { unit_price: Money::new(200, Currency::GBP), agreed: true, ..line() }
}

/// A checkout with every field.
pub fn checkout() -> Checkout {
    Checkout { buyer: Personal::Clear(customer::sample::person()), means: payment::sample::means(), reference: Some("536365".into()) }
}

/// The line as it is sold, its price having risen from 2.50.
pub fn priced() -> PricedLine {
    let Line { product, name, quantity, unit_price, freight, voucher, version, .. } = line();
    PricedLine { product, version, name, quantity, unit_price, freight, voucher, seen_price: Some(Money::new(250, Currency::GBP)) }
}

/// The client command behind it all.
pub fn origin() -> Origin {
    Origin { command_id: "c-1".into(), reply_to: Some("here@3".into()) }
}

/// Customer 17's first order.
pub fn order() -> OrderId {
    OrderId { customer: CustomerId(17), number: 1 }
}

/// What that order begins with.
pub fn checked_out() -> CheckedOut {
    let dropped = ProductRef { seller: SellerId(1), product: ProductId(9) };
    CheckedOut { order: order(), lines: vec![priced()], dropped: vec![(dropped, Dropped::Withdrawn)], checkout: checkout(), origin: origin(), brought: false }
}

/// A sale that was made elsewhere.
pub fn recorded() -> CheckedOut {
    CheckedOut { brought: true, ..checked_out() }
}

/// One event of each kind.
pub fn events() -> Vec<Event> {
    vec![
        Event::Added { lines: vec![line(), agreed()], reference: Some("536365".into()) },
        Event::CheckedOut(checked_out()),
        Event::Recorded(recorded()),
        Event::Emptied,
        Event::Reopened { order: order() },
    ]
}

/// One command of each kind.
pub fn commands() -> Vec<Command> {
    vec![
        Command::Add { lines: vec![line(), agreed()], reference: Some("536365".into()) },
        Command::CheckOut(checkout()),
        Command::Record { lines: vec![agreed()], checkout: checkout() },
        Command::Empty,
        Command::Reopen { order: order() },
    ]
}
