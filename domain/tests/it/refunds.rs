//! What comes back of a paid order: pieces, and their money.

use domain::order::sample::{ending, invoice, placed, returned};
use domain::order::{Command, Event, Order, Refusal, Returned, Status};
use domain::payment::{self, Payment};
use domain::stock::{self, StockItem};
use domain::{Currency, Money};

use crate::check;

fn money(minor: i64) -> Money {
    Money::new(minor, Currency::GBP)
}

fn paid() -> Vec<Event> {
    vec![placed(), Event::LineReserved { line: 0 }, Event::Invoiced { invoice: invoice(), means: payment::sample::means() }, Event::Paid(ending())]
}

fn order(given: &[Event], command: Command, then: Result<Vec<Event>, Refusal>) {
    check::<Order>("17-1", given, command, then);
}

fn refund(reference: &str, lines: &[(u32, u32)]) -> Command {
    Command::Refund { reference: reference.into(), lines: lines.to_vec() }
}

fn asked(refund: u32, reference: &str, quantity: u32, kept: u32, minor: i64) -> Event {
    Event::RefundAsked { refund, reference: reference.into(), lines: vec![Returned { quantity, kept, ..returned() }], amount: money(minor) }
}

/// The line is 3 x 2.55 + 0.50 - 1.00: a piece is 2.55, the last ones bring freight and discount with them.
#[test]
fn pieces_come_back_for_what_they_cost() {
    order(&paid(), refund("r", &[(0, 1)]), Ok(vec![asked(1, "r", 1, 2, 255)]));
    order(&paid(), refund("r", &[(0, 3)]), Ok(vec![asked(1, "r", 3, 0, 715)]));
    let one = [paid(), vec![asked(1, "r", 1, 2, 255)]].concat();
    order(&one, refund("s", &[(0, 2)]), Ok(vec![asked(2, "s", 2, 0, 460)])); // 715 in all: no penny more than was paid
    order(&one, refund("s", &[(0, 3)]), Err(Refusal::OverReturned { line: 0, kept: 2, asked: 3 }));
    order(&one, refund("r", &[(0, 1)]), Ok(vec![]));
    order(&one, refund("r", &[(0, 2)]), Err(Refusal::ReferenceUsed { reference: "r".into() }));
}

#[test]
fn only_what_was_paid_and_is_there_comes_back() {
    order(&paid()[..3], refund("r", &[(0, 1)]), Err(Refusal::NotPaid { status: Status::Invoiced }));
    order(&[], refund("r", &[(0, 1)]), Err(Refusal::Unknown));
    order(&paid(), refund("r", &[(1, 1)]), Err(Refusal::Line { line: 1, lines: 1 }));
    order(&paid(), refund("r", &[(0, 0)]), Err(Refusal::OverReturned { line: 0, kept: 3, asked: 0 }));
    let long = "x".repeat(2_000);
    for (reference, lines) in [("r", vec![]), ("r", vec![(0, 1), (0, 1)]), ("", vec![(0, 1)]), (long.as_str(), vec![(0, 1)])] {
        order(&paid(), refund(reference, &lines), Err(Refusal::Refund));
    }
}

#[test]
fn a_refund_is_recorded_once() {
    let one = [paid(), vec![asked(1, "r", 1, 2, 255)]].concat();
    let done = Event::Refunded { refund: 1, lines: vec![returned()], amount: money(255) };
    order(&one, Command::RecordRefund { refund: 1 }, Ok(vec![done.clone()]));
    order(&[one.clone(), vec![done]].concat(), Command::RecordRefund { refund: 1 }, Ok(vec![]));
    for refund in [0, 2] {
        order(&one, Command::RecordRefund { refund }, Err(Refusal::NotAwaited { status: Status::Paid }));
    }
}

#[test]
fn a_payment_gives_back_no_more_than_it_took() {
    let pay = |given: &[payment::Event], refund: u32, minor: i64, then| {
        check::<Payment>("17-1", given, payment::Command::Refund { refund, amount: money(minor) }, then);
    };
    let captured = vec![payment::Event::Captured(payment::sample::demand())]; // 7.65
    let back = |refund, minor| payment::Event::Refunded { refund, amount: money(minor) };
    pay(&captured, 1, 765, Ok(vec![back(1, 765)]));
    let some = [captured.clone(), vec![back(1, 255)]].concat();
    pay(&some, 1, 255, Ok(vec![])); // once
    pay(&some, 2, 510, Ok(vec![back(2, 510)]));
    pay(&some, 2, 511, Err(payment::Refusal::Over { left: 510, asked: 511 }));
    pay(&captured, 1, -1, Err(payment::Refusal::Over { left: 765, asked: -1 }));
    pay(&[payment::Event::Cancelled], 1, 0, Err(payment::Refusal::Over { left: 0, asked: 0 }));
}

#[test]
fn returned_pieces_can_be_sold_again_once() {
    let of = stock::sample::of();
    let sold = [stock::sample::in_stock(), vec![stock::Event::Reserved { of, quantity: 3 }, stock::Event::Confirmed { of, quantity: 3 }]].concat();
    let back = |quantity| stock::Command::Return { of, refund: 1, quantity };
    let item = |given: &[stock::Event], command, then| check::<StockItem>("1-2", given, command, then);
    item(&sold, back(2), Ok(vec![stock::Event::Returned { of, refund: 1, quantity: 2 }]));
    item(&[sold.clone(), vec![stock::Event::Returned { of, refund: 1, quantity: 2 }]].concat(), back(2), Ok(vec![]));
    item(&sold, back(4), Err(stock::Refusal::NotSold { sold: 3, quantity: 4 }));
    let after: StockItem = crate::given(&[sold, vec![stock::Event::Returned { of, refund: 1, quantity: 2 }]].concat());
    assert_eq!((after.available(), after.sold, after.returned), (9, 1, 2));
}
