//! Orders and payments.

use domain::cart::sample::{checked_out, priced};
use domain::cart::{CheckedOut, LINES_MAX, PricedLine};
use domain::order::sample::{ending, invoice, placed, placed_at};
use domain::order::{CHECKOUT_SECONDS_MAX, Command, Ending, Event, Order, Refusal, Reply, Status};
use domain::payment::{self, Decline, Demand, Means, Method, Payment, REFUSED_TOKEN};
use domain::stock::Shortage;
use domain::{Aggregate, Currency, Money, Timestamp};

use crate::{check, given, when};

fn order(given: &[Event], command: Command, then: Result<Vec<Event>, Refusal>) {
    check::<Order>("17-1", given, command, then);
}

fn invoiced() -> Vec<Event> {
    vec![placed(), Event::LineReserved { line: 0 }, Event::Invoiced { invoice: invoice(), means: payment::sample::means() }]
}

fn reply(line: u32, reply: Reply) -> Command {
    Command::RecordReply { line, reply }
}

fn with_lines(lines: Vec<PricedLine>) -> CheckedOut {
    CheckedOut { lines, ..checked_out() }
}

#[test]
fn an_order_begins_with_a_checkout() {
    let at_zero = Event::Placed { checkout: checked_out(), placed_at: placed_at(), deadline: Timestamp(0).plus_seconds(CHECKOUT_SECONDS_MAX) };
    order(&[], Command::Place(checked_out()), Ok(vec![at_zero]));
    order(&[placed()], Command::Place(checked_out()), Ok(vec![]));
    order(&[placed()], Command::Place(with_lines(vec![])), Err(Refusal::Placed));
    order(&[], reply(0, Reply::Reserved), Err(Refusal::Unknown));
    for lines in [
        vec![],
        vec![priced(); LINES_MAX + 1],
        vec![PricedLine { quantity: u32::MAX, ..priced() }],
        vec![priced(), PricedLine { unit_price: Money::new(1, Currency::USD), ..priced() }],
    ] {
        order(&[], Command::Place(with_lines(lines)), Err(Refusal::Amounts));
    }
}

#[test]
fn it_is_priced_when_stock_has_answered_for_every_line() {
    order(&[placed()], reply(0, Reply::Reserved), Ok(invoiced()[1..].to_vec()));
    order(&[placed()], reply(0, Reply::Awaited), Ok(vec![]));
    order(&[placed()], reply(7, Reply::Reserved), Err(Refusal::Line { line: 7, lines: 1 }));
    let refused = Event::Refused(Ending { lines: vec![], ..ending() });
    let short = Event::LineShort { line: 0, why: Shortage::OutOfStock };
    let decided = when(&given::<Order>(&[placed()]), "17-1", reply(0, Reply::Short(Shortage::OutOfStock)), Timestamp(0));
    // The line that went short is not held: its end names none, whatever the state said before.
    assert!(matches!(decided.as_deref(), Ok([first, Event::Refused(_)]) if *first == short), "{decided:?} {refused:?}");
}

#[test]
fn only_what_could_be_reserved_is_invoiced() {
    let cheap = PricedLine {
        unit_price: Money::new(30, Currency::GBP),
        quantity: 1,
        voucher: Money::new(100, Currency::GBP),
        freight: Money::new(5, Currency::GBP),
        ..priced()
    };
    let begun = Event::Placed { checkout: with_lines(vec![priced(), cheap.clone(), priced()]), placed_at: placed_at(), deadline: placed_at() };
    let two = [begun, Event::LineReserved { line: 1 }, Event::LineShort { line: 2, why: Shortage::OutOfStock }];
    let Ok(events) = when(&given::<Order>(&two), "17-1", reply(0, Reply::Reserved), Timestamp(0)) else { panic!() };
    let Event::Invoiced { invoice, .. } = &events[1] else { panic!("{events:?}") };
    // 3 × 2.55 + 0.30 items, 0.50 + 0.05 freight, 1.00 + 0.30 (never more than the line's price) off.
    assert_eq!((invoice.items.minor, invoice.freight.minor, invoice.total.minor), (795, 55, 720));
    assert_eq!(invoice.discounts.iter().map(|discount| discount.minor).collect::<Vec<_>>(), [100, 30]);
    assert_eq!(invoice.number, "17-20101201-1");
}

#[test]
fn payment_ends_it() {
    order(&invoiced(), Command::RecordCapture, Ok(vec![Event::Paid(ending())]));
    order(&invoiced(), Command::RecordDecline { why: Decline::Card }, Ok(vec![Event::PaymentFailed { why: Decline::Card, ending: ending() }]));
    order(&[placed()], Command::RecordCapture, Err(Refusal::NotAwaited { status: Status::Reserving }));
    for end in [Event::Paid(ending()), Event::Refused(ending()), Event::Expired(ending())] {
        let ended = [invoiced(), vec![end]].concat();
        for late in
            [Command::RecordCapture, Command::RecordCancellation, Command::RecordDecline { why: Decline::Card }, Command::Expire, reply(0, Reply::Reserved)]
        {
            order(&ended, late, Ok(vec![]));
        }
    }
}

#[test]
fn at_its_deadline_it_asks_to_cancel_and_takes_either_answer() {
    let due = placed_at().plus_seconds(CHECKOUT_SECONDS_MAX);
    for begun in [vec![placed()], invoiced()] {
        let state = given::<Order>(&begun);
        assert_eq!(state.deadline(), Some((due, Command::Expire)));
        assert_eq!(when(&state, "17-1", Command::Expire, Timestamp(due.0 - 1)), Err(Refusal::NotDue { deadline: due }));
        assert_eq!(when(&state, "17-1", Command::Expire, due), Ok(vec![Event::CancellationAsked]));
        let asked = [begun, vec![Event::CancellationAsked]].concat();
        assert_eq!(given::<Order>(&asked).deadline(), None);
        order(&asked, Command::RecordCancellation, Ok(vec![Event::Expired(ending())]));
        order(&asked, Command::RecordCapture, Ok(vec![Event::Paid(ending())]));
        order(&asked, reply(0, Reply::Reserved), Ok(vec![]));
    }
}

#[test]
fn an_operator_ends_it_as_its_deadline_would() {
    assert_eq!(Order::abandon(), Some(Command::Abandon));
    order(&[], Command::Abandon, Err(Refusal::Unknown));
    for (begun, awaits) in [(vec![placed()], "stock's answer for line 0"), (invoiced(), "payment's answer")] {
        assert_eq!(given::<Order>(&begun).awaits().as_deref(), Some(awaits));
        order(&begun, Command::Abandon, Ok(vec![Event::CancellationAsked]));
        let asked = [begun, vec![Event::CancellationAsked]].concat();
        assert_eq!(given::<Order>(&asked).awaits().as_deref(), Some("payment's decision on cancelling"));
        order(&asked, Command::Abandon, Ok(vec![]));
        // Payment decides: what was captured by then stays paid.
        order(&asked, Command::RecordCapture, Ok(vec![Event::Paid(ending())]));
    }
    let paid = [invoiced(), vec![Event::Paid(ending())]].concat();
    assert_eq!(given::<Order>(&paid).awaits(), None);
    order(&paid, Command::Abandon, Err(Refusal::NotAwaited { status: Status::Paid }));
}

#[test]
fn its_end_answers_the_checkout() {
    for event in domain::order::sample::events() {
        let mut order = given::<Order>(&[placed()]);
        order.evolve(&event); // which need not come next
        assert_eq!(Order::answers(&event).is_some(), order.status.ended());
    }
}

#[test]
fn a_payment_is_decided_once_and_by_rule() {
    let pay = |given: &[payment::Event], demand: Demand, then| check::<Payment>("17-1", given, payment::Command::Capture(demand), then);
    let demand = payment::sample::demand;
    pay(&[], demand(), Ok(vec![payment::Event::Captured(demand())]));
    for decided in payment::sample::events().into_iter().filter(|event| !matches!(event, payment::Event::Refunded { .. })) {
        pay(std::slice::from_ref(&decided), demand(), Ok(vec![]));
        check::<Payment>("17-1", &[decided], payment::Command::Cancel, Ok(vec![]));
    }
    check::<Payment>("17-1", &[], payment::Command::Cancel, Ok(vec![payment::Event::Cancelled]));
    let refused = |demand: Demand, why| pay(&[], demand.clone(), Ok(vec![payment::Event::Refused { why, amount: demand.amount }]));
    let card =
        |token: &str| Means { card: Some(domain::customer::Card { token: token.into(), ..domain::customer::sample::card() }), ..payment::sample::means() };
    refused(Demand { means: card(REFUSED_TOKEN), ..demand() }, Decline::Card);
    refused(Demand { means: Means { card: None, ..payment::sample::means() }, ..demand() }, Decline::NoCard);
    for method in [Method::CreditCard, Method::DebitCard] {
        let amount = |minor| Demand { amount: Money::new(minor, Currency::GBP), means: Means { method, ..card("t") }, ..demand() };
        pay(&[], amount(method.minor_max()), Ok(vec![payment::Event::Captured(amount(method.minor_max()))]));
        refused(amount(method.minor_max() + 1), Decline::Limit);
    }
    let slip = Demand { means: Means { method: Method::Boleto, card: None, installments: 1 }, amount: Money::new(i64::MAX, Currency::GBP), ..demand() };
    pay(&[], slip.clone(), Ok(vec![payment::Event::Captured(slip)]));
    pay(&[], Demand { amount: Money::new(-1, Currency::GBP), ..demand() }, Err(payment::Refusal::Amount));
}
