//! Samples of orders.

use super::{Command, Ending, Event, Invoice, Reply, Returned};
use crate::payment::Decline;
use crate::stock::Shortage;
use crate::{cart, payment};
use kernel::{Currency, Money, Timestamp};

/// 2010-12-01T08:26:00Z.
pub fn placed_at() -> Timestamp {
    Timestamp(1_291_191_960_000_000)
}

/// An order's beginning with one line.
pub fn placed() -> Event {
    Event::Placed { checkout: cart::sample::checked_out(), placed_at: placed_at(), deadline: placed_at().plus_seconds(super::CHECKOUT_SECONDS_MAX) }
}

/// The invoice of that line: 3 × 2.55 + 0.50 - 1.00.
pub fn invoice() -> Invoice {
    let money = |minor| Money::new(minor, Currency::GBP);
    Invoice { number: "17-20101201-1".into(), items: money(765), freight: money(50), discounts: vec![money(100)], total: money(715) }
}

/// Its end, the line being held.
pub fn ending() -> Ending {
    Ending { lines: vec![(0, cart::sample::product())], origin: cart::sample::origin() }
}

/// One of the line's three pieces comes back.
pub fn returned() -> Returned {
    Returned { line: 0, product: cart::sample::product(), quantity: 1, kept: 2, settled: None }
}

/// One event of each kind.
pub fn events() -> Vec<Event> {
    vec![
        placed(),
        Event::LineReserved { line: 0 },
        Event::LineShort { line: 0, why: Shortage::OutOfStock },
        Event::Invoiced { invoice: invoice(), means: payment::sample::means() },
        Event::CancellationAsked,
        Event::Paid(ending()),
        Event::PaymentFailed { why: Decline::Card, ending: ending() },
        Event::Refused(Ending { lines: vec![], ..ending() }),
        Event::Expired(ending()),
        Event::RefundAsked { refund: 1, reference: "C536379".into(), lines: vec![returned()], amount: Money::new(255, Currency::GBP) },
        Event::Refunded { refund: 1, lines: vec![returned()], amount: Money::new(255, Currency::GBP) },
        Event::Shipped { lines: vec![(0, cart::sample::product())] },
        Event::LineDelivered { line: 0, product: cart::sample::product() },
    ]
}

/// One command of each kind.
pub fn commands() -> Vec<Command> {
    vec![
        Command::Place(cart::sample::checked_out()),
        Command::RecordReply { line: 0, reply: Reply::Short(Shortage::OutOfStock) },
        Command::RecordCapture,
        Command::RecordDecline { why: Decline::Card },
        Command::RecordCancellation,
        Command::Expire,
        Command::Refund { reference: "C536379".into(), lines: vec![(0, 1)] },
        Command::RecordRefund { refund: 1 },
        Command::RecordShipment,
        Command::RecordDelivery { line: 0 },
        Command::Abandon,
    ]
}
