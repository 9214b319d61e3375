//! Whatever a stranger sends: no decision panics, no event breaks a state, stock is never oversold.

use domain::cart::{Cart, CheckedOut, PricedLine};
use domain::order::{self, Order, Reply};
use domain::payment::{self, Demand, Payment};
use domain::stock::{self, OrderLine, Shortage, StockItem};
use domain::{Aggregate, Currency, Money, OrderId, ProductRef, Timestamp};
use proptest::prelude::*;

use crate::when;

fn money() -> impl Strategy<Value = Money> {
    (prop_oneof![any::<i64>(), 0_i64..1_000], prop_oneof![Just(Currency::GBP), Just(Currency::USD)]).prop_map(|(minor, currency)| Money::new(minor, currency))
}

fn of() -> impl Strategy<Value = OrderLine> {
    (0_u64..3, 0_u32..3).prop_map(|(number, line)| OrderLine { order: OrderId { number, ..OrderId::default() }, line })
}

fn stock_command() -> impl Strategy<Value = stock::Command> {
    let version = || "[12]".prop_map(String::from);
    prop_oneof![
        version().prop_map(|version| stock::Command::Bind { version }),
        Just(stock::Command::Withdraw),
        (prop_oneof![0_u64..30, any::<u64>()], "[ab]?").prop_map(|(quantity, reference)| stock::Command::Receive { quantity, reference }),
        (of(), prop_oneof![0_u32..9, any::<u32>()], prop::option::of(version()), any::<bool>())
            .prop_map(|(of, quantity, version, brought)| { stock::Command::Reserve { of, quantity, version, brought } }),
        of().prop_map(|of| stock::Command::Confirm { of }),
        of().prop_map(|of| stock::Command::Release { of }),
    ]
}

fn order_command() -> impl Strategy<Value = order::Command> {
    let line = (any::<u32>(), money(), money(), money()).prop_map(|(quantity, unit_price, freight, voucher)| PricedLine {
        product: ProductRef::default(),
        version: None,
        name: "x".into(),
        quantity,
        unit_price,
        freight,
        voucher,
        seen_price: None,
    });
    let sane = (1_u32..9, 0_i64..900).prop_map(|(quantity, minor)| PricedLine {
        quantity,
        unit_price: Money::new(minor, Currency::GBP),
        ..domain::cart::sample::priced()
    });
    let reply = prop_oneof![Just(Reply::Awaited), Just(Reply::Reserved), Just(Reply::Short(Shortage::OutOfStock))];
    prop_oneof![
        prop::collection::vec(line, 0..3).prop_map(|lines| order::Command::Place(CheckedOut { lines, ..domain::cart::sample::checked_out() })),
        prop::collection::vec(sane, 1..4).prop_map(|lines| order::Command::Place(CheckedOut { lines, ..domain::cart::sample::checked_out() })),
        (prop_oneof![0_u32..4, any::<u32>()], reply).prop_map(|(line, reply)| order::Command::RecordReply { line, reply }),
        Just(order::Command::RecordCapture),
        Just(order::Command::RecordDecline { why: payment::Decline::Limit }),
        Just(order::Command::RecordCancellation),
        Just(order::Command::Expire),
    ]
}

fn cart_command() -> impl Strategy<Value = domain::cart::Command> {
    let line = (any::<u32>(), money(), money(), money(), "x{0,3}").prop_map(|(quantity, unit_price, freight, voucher, name)| domain::cart::Line {
        quantity: quantity % 200_000,
        unit_price,
        freight,
        voucher,
        name,
        ..domain::cart::sample::agreed()
    });
    prop_oneof![
        prop::collection::vec(line, 0..4).prop_map(|lines| domain::cart::Command::Add { lines, reference: None }),
        Just(domain::cart::Command::Add { lines: vec![domain::cart::sample::agreed()], reference: None }),
        Just(domain::cart::Command::CheckOut(domain::cart::sample::checkout())),
        Just(domain::cart::Command::Record { lines: vec![domain::cart::sample::agreed()], checkout: domain::cart::sample::checkout() }),
        Just(domain::cart::Command::Empty),
        Just(domain::cart::Command::Reopen { order: domain::cart::sample::order() }),
    ]
}

/// Runs commands; `holds` is asked after each.
fn run<A: Aggregate>(subject: &str, commands: Vec<A::Command>, holds: impl Fn(&A, &A) -> bool) -> Result<(), TestCaseError> {
    let mut state = A::default();
    for (at, command) in (0..).zip(commands) {
        let before = state.clone();
        for event in when(&state, subject, command.clone(), Timestamp(at * 60_000_000)).unwrap_or_default() {
            state.evolve(&event);
        }
        prop_assert!(holds(&before, &state), "after {command:?}: {before:?} -> {state:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn stock_is_never_oversold(commands in prop::collection::vec(stock_command(), 0..60)) {
        run::<StockItem>("1-2", commands, |_, item| {
            let promised: u64 = item.reservations.values().map(|quantity| u64::from(*quantity)).sum();
            item.reserved + item.sold <= item.received && promised == item.reserved && item.received >= item.receipts.values().sum::<u64>() && item.brought.iter().all(|of| item.reservations.contains_key(of))
        })?;
    }

    #[test]
    fn an_orders_status_never_goes_back(commands in prop::collection::vec(order_command(), 0..40)) {
        run::<Order>("17-1", commands, |before, order| order.status >= before.status && (before.invoice.is_none() || before.invoice == order.invoice))?;
    }

    #[test]
    fn a_payment_is_decided_once(commands in prop::collection::vec(prop_oneof![Just(payment::Command::Cancel), money().prop_map(|amount| payment::Command::Capture(Demand { amount, ..payment::sample::demand() }))], 0..10)) {
        run::<Payment>("17-1", commands, |before, payment| before.status == payment::Status::New || before == payment)?;
    }

    #[test]
    fn a_cart_numbers_its_orders_without_gaps(commands in prop::collection::vec(cart_command(), 0..40)) {
        run::<Cart>("17", commands, |before, cart| (cart.orders == before.orders || (cart.orders == before.orders + 1 && ((cart.lines.is_empty() && before.sent.is_none()) || (cart.lines == before.lines && cart.sent == before.sent)))) && cart.lines.len() <= domain::cart::LINES_MAX)?;
    }
}
