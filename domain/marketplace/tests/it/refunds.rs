//! What comes back of a paid order: pieces, and their money.

use domain::order::sample::{ending, invoice, placed, returned};
use domain::order::{Command, Event, Order, Refusal, Returned, Settled, Status};
use domain::payment::{self, Payment};
use domain::stock::{self, StockItem};
use domain::{Aggregate, Charge, Currency, Money, Timestamp};
use proptest::prelude::*;

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

/// So many pieces come back for so much; freight and discount are what is left on the kept ones.
fn asked(refund: u32, reference: &str, quantity: u32, kept: u32, amount: i64, freight: i64, discount: i64) -> Event {
    let settled = Some(Settled { amount, freight, discount });
    Event::RefundAsked { refund, reference: reference.into(), lines: vec![Returned { quantity, kept, settled, ..returned() }], amount: money(amount) }
}

/// The line is 3 x 2.55 + 0.50 - 1.00 = 7.15: each piece comes back for its third of that, the last with the odd penny.
#[test]
fn pieces_come_back_for_their_share_of_what_was_paid() {
    order(&paid(), refund("r", &[(0, 1)]), Ok(vec![asked(1, "r", 1, 2, 238, 34, 67)]));
    order(&paid(), refund("r", &[(0, 3)]), Ok(vec![asked(1, "r", 3, 0, 715, 0, 0)]));
    let one = [paid(), vec![asked(1, "r", 1, 2, 238, 34, 67)]].concat();
    order(&one, refund("s", &[(0, 1)]), Ok(vec![asked(2, "s", 1, 1, 238, 17, 33)]));
    order(&one, refund("s", &[(0, 2)]), Ok(vec![asked(2, "s", 2, 0, 477, 0, 0)])); // 715 in all: no penny more than was paid
    let two = [one.clone(), vec![asked(2, "s", 1, 1, 238, 17, 33)]].concat();
    order(&two, refund("t", &[(0, 1)]), Ok(vec![asked(3, "t", 1, 0, 239, 0, 0)]));
    order(&one, refund("s", &[(0, 3)]), Err(Refusal::OverReturned { line: 0, kept: 2, asked: 3 }));
    order(&one, refund("r", &[(0, 1)]), Ok(vec![]));
    order(&one, refund("r", &[(0, 2)]), Err(Refusal::ReferenceUsed { reference: "r".into() }));
}

/// A piece that an older rule gave back for its price alone: freight and discount were left on the others, which share them.
#[test]
fn what_an_older_rule_gave_back_stands() {
    let before = Event::RefundAsked { refund: 1, reference: "r".into(), lines: vec![returned()], amount: money(255) };
    let one = [paid(), vec![before]].concat();
    order(&one, refund("s", &[(0, 1)]), Ok(vec![asked(2, "s", 1, 1, 230, 25, 50)]));
    order(&one, refund("s", &[(0, 2)]), Ok(vec![asked(2, "s", 2, 0, 460, 0, 0)]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// In whichever parts and order pieces come back: each part is at least nothing and within a penny of its share, and
    /// all of them are what was paid.
    #[test]
    fn all_parts_are_the_whole(
        lines in prop::collection::vec((1_u32..40, 0_i64..2_000, 0_i64..500, 0_i64..90_000), 1..4),
        picks in prop::collection::vec((0_usize..4, 1_u32..40), 0..40),
    ) {
        let lines: Vec<_> = lines.into_iter().map(|(quantity, price, freight, voucher)| domain::cart::PricedLine {
            quantity, unit_price: money(price), freight: money(freight), voucher: money(voucher), ..domain::cart::sample::priced()
        }).collect();
        let checkout = domain::cart::CheckedOut { lines: lines.clone(), ..domain::cart::sample::checked_out() };
        let mut events = vec![Event::Placed { checkout, placed_at: Timestamp(0), deadline: Timestamp(0) }];
        events.extend((0..lines.len()).map(|line| Event::LineReserved { line: line as u32 }));
        let mut order: Order = crate::given(&[events, vec![Event::Paid(ending())]].concat());
        let whole: i64 = lines.iter().map(|line| line.charge().unwrap().total().unwrap().minor).sum();
        // What is picked comes back, then line by line all that is left.
        let rest = (0..lines.len()).map(|line| (line, u32::MAX));
        let (mut back, mut number) = (0, 0);
        for (line, quantity) in picks.into_iter().chain(rest) {
            let line = line % lines.len();
            let quantity = quantity.min(order.lines[line].kept());
            if quantity == 0 { continue }
            number += 1;
            let decided = crate::when(&order, "17-1", refund(&number.to_string(), &[(line as u32, quantity)]), Timestamp(0)).unwrap();
            let [Event::RefundAsked { amount, lines: returned, .. }] = decided.as_slice() else { panic!("{decided:?}") };
            prop_assert!(amount.minor >= 0, "{amount} for {quantity} pieces");
            let (paid, settled) = (lines[line].charge().unwrap().total().unwrap().minor, returned[0].settled.unwrap());
            let share = paid * i64::from(quantity) / i64::from(lines[line].quantity);
            prop_assert!((share..=share + 1).contains(&amount.minor), "{} for {quantity} of {} pieces of {paid}", amount.minor, lines[line].quantity);
            let items = lines[line].unit_price.minor * i64::from(returned[0].kept);
            prop_assert!(settled.freight >= 0 && (0..=items).contains(&settled.discount), "{settled:?}");
            back += amount.minor;
            order.evolve(&decided[0]);
        }
        prop_assert_eq!(back, whole);
    }

    /// At the bounds nothing is too large, and nothing is lost.
    #[test]
    fn shares_add_up_at_the_bounds(
        pieces in prop_oneof![1_u32..10, Just(domain::cart::QUANTITY_MAX), 1..=domain::cart::QUANTITY_MAX],
        amounts in prop::array::uniform3(prop_oneof![Just(domain::product::PRICE_MINOR_MAX), 0..=domain::product::PRICE_MINOR_MAX]),
        kept in any::<u32>(),
    ) {
        let [price, freight, voucher] = amounts.map(money);
        let charge = Charge::of(pieces, price, freight, voucher).unwrap();
        let left = charge.kept(kept % (pieces + 1)).unwrap();
        prop_assert!(left.total().unwrap().minor >= 0 && left.total().unwrap().minor <= charge.total().unwrap().minor);
        prop_assert!(left.discount.minor >= 0 && left.discount.minor <= left.items.minor && left.freight.minor >= 0);
        prop_assert_eq!(charge.kept(pieces), Ok(charge));
        prop_assert_eq!(charge.kept(0).unwrap().total().unwrap().minor, 0);
        prop_assert!(charge.kept(pieces + 1).is_err());
    }
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
    let one = [paid(), vec![asked(1, "r", 1, 2, 238, 34, 67)]].concat();
    let settled = Some(Settled { amount: 238, freight: 34, discount: 67 });
    let done = Event::Refunded { refund: 1, lines: vec![Returned { settled, ..returned() }], amount: money(238) };
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
