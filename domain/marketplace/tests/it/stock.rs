//! Stock items.

use domain::stock::sample::{in_stock, of};
use domain::stock::{Command, Event, OrderLine, Pieces, RECEIVED_MAX, Refusal, Shortage, StockItem};

use crate::{check, given};

fn stock(given: &[Event], command: Command, then: Result<Vec<Event>, Refusal>) {
    check::<StockItem>("1-2", given, command, then);
}

fn and(events: &[Event]) -> Vec<Event> {
    [in_stock().as_slice(), events].concat()
}

fn reserve(quantity: u32, version: Option<&str>) -> Command {
    Command::Reserve { of: of(), quantity, version: version.map(str::to_owned), brought: false }
}

#[test]
fn pieces_are_reserved_while_there_are_any() {
    stock(&in_stock(), reserve(10, Some("1")), Ok(vec![Event::Reserved { of: of(), quantity: 10 }]));
    stock(&in_stock(), reserve(11, None), Ok(vec![Event::Short { of: of(), quantity: 11, why: Shortage::OutOfStock }]));
    let other = OrderLine { line: 1, ..of() };
    stock(&and(&[Event::Reserved { of: other, quantity: 8 }]), reserve(3, None), Ok(vec![Event::Short { of: of(), quantity: 3, why: Shortage::OutOfStock }]));
    stock(&and(&[Event::Reserved { of: of(), quantity: 8 }]), reserve(8, None), Ok(vec![]));
}

#[test]
fn only_of_versions_that_stand() {
    let short = |why| Ok(vec![Event::Short { of: of(), quantity: 1, why }]);
    stock(&in_stock()[1..], reserve(1, None), short(Shortage::UnknownProduct));
    stock(&and(&[Event::Bound { version: "2".into() }]), reserve(1, Some("1")), short(Shortage::VersionGone));
    stock(&and(&[Event::Bound { version: "2".into() }]), reserve(1, Some("2")), Ok(vec![Event::Reserved { of: of(), quantity: 1 }]));
    stock(&and(&[Event::Withdrawn]), reserve(1, Some("1")), short(Shortage::Withdrawn));
    stock(&and(&[Event::Bound { version: "2".into() }]), Command::Bind { version: "1".into() }, Ok(vec![]));
}

#[test]
fn what_is_reserved_is_confirmed_or_released_once() {
    let reserved = and(&[Event::Reserved { of: of(), quantity: 3 }]);
    stock(&reserved, Command::Confirm { of: of() }, Ok(vec![Event::Confirmed { of: of(), quantity: 3 }]));
    stock(&reserved, Command::Release { of: of() }, Ok(vec![Event::Released { of: of(), quantity: 3 }]));
    stock(&in_stock(), Command::Confirm { of: of() }, Ok(vec![]));
    stock(&in_stock(), Command::Release { of: of() }, Ok(vec![]));
    let item = given::<StockItem>(&[reserved, vec![Event::Confirmed { of: of(), quantity: 3 }]].concat());
    assert_eq!((item.available(), item.reserved, item.sold), (7, 0, 3));
}

#[test]
fn a_delivery_is_booked_once() {
    let receive = |quantity, reference: &str| Command::Receive { quantity, reference: reference.into() };
    stock(&in_stock(), receive(10, "delivery 1"), Ok(vec![]));
    stock(&in_stock(), receive(11, "delivery 1"), Err(Refusal::Booked { reference: "delivery 1".into(), booked: 10 }));
    stock(&in_stock(), receive(5, "delivery 2"), Ok(vec![Event::Received { quantity: 5, reference: "delivery 2".into() }]));
    for (quantity, reference) in [(RECEIVED_MAX, "more"), (u64::MAX, "more"), (1, "")] {
        stock(&in_stock(), receive(quantity, reference), Err(Refusal::Delivery));
    }
}

#[test]
fn pieces_that_come_in_with_an_order_are_its_own() {
    let (of, other) = (of(), OrderLine { line: 1, ..of() });
    let bring = |of, quantity| Command::Reserve { of, quantity, version: Some("1".into()), brought: true };
    let came = |of, quantity| vec![Event::Brought { of, quantity }, Event::Reserved { of, quantity }];
    stock(&in_stock(), bring(of, 30), Ok(came(of, 30)));
    stock(&in_stock()[..1], bring(of, 30), Ok(came(of, 30)));
    stock(&in_stock()[1..], bring(of, 1), Ok(vec![Event::Short { of, quantity: 1, why: Shortage::UnknownProduct }]));
    let brought = and(&came(of, 30));
    stock(&brought, bring(of, 30), Ok(vec![]));
    stock(&brought, reserve_of(other, 11), Ok(vec![Event::Short { of: other, quantity: 11, why: Shortage::OutOfStock }]));
    // The order ends without them: they go as they came. It takes them: nothing is kept of how they came.
    let left = [Event::Released { of, quantity: 30 }, Event::TakenBack { of, quantity: 30 }];
    stock(&brought, Command::Release { of }, Ok(left.to_vec()));
    let item = given::<StockItem>(&[brought.clone(), left.to_vec()].concat());
    assert_eq!((item.received, item.available(), item.brought.len()), (10, 10, 0));
    let item = given::<StockItem>(&[brought, vec![Event::Confirmed { of, quantity: 30 }]].concat());
    assert_eq!((item.received, item.available(), item.sold, item.brought.len(), item.receipts.len()), (40, 10, 30, 0, 1));
}

fn reserve_of(of: OrderLine, quantity: u32) -> Command {
    Command::Reserve { of, quantity, version: None, brought: false }
}

#[test]
fn pieces_that_cannot_be_are_not_counted() {
    let (of, some) = (of(), Pieces { received: 5, reserved: 2, sold: 1, returned: u64::MAX });
    for event in [
        Event::Received { quantity: u64::MAX, reference: "r".into() },
        Event::Reserved { of, quantity: 3 },
        Event::Released { of, quantity: 3 },
        Event::Confirmed { of, quantity: 3 },
        Event::TakenBack { of, quantity: 3 },
        Event::Returned { of, refund: 1, quantity: 1 },
    ] {
        assert_eq!(some.after(&event), None, "{event:?}");
    }
    assert_eq!(some.after(&Event::Brought { of, quantity: 3 }), Some(Pieces { received: 8, ..some }));
}
