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

/// Numbers at the ends of what may be given, and beyond them.
fn at_bounds<T: Copy + std::fmt::Debug + 'static>(most: T, beyond: T, least: T) -> impl Strategy<Value = T> {
    prop_oneof![4 => Just(most), 1 => Just(beyond), 2 => Just(least)]
}

fn bound_line() -> impl Strategy<Value = domain::cart::Line> {
    use domain::ID_MAX;
    use domain::cart::QUANTITY_MAX;
    use domain::product::PRICE_MINOR_MAX;
    let price = || prop_oneof![Just(PRICE_MINOR_MAX), 0..100_i64, Just(PRICE_MINOR_MAX + 1), Just(i64::MAX), Just(i64::MIN)];
    let ids = (at_bounds(ID_MAX, u64::MAX, 1), at_bounds(ID_MAX, ID_MAX + 1, 1));
    (ids, at_bounds(QUANTITY_MAX, u32::MAX, 1), price(), price(), price()).prop_map(|((seller, product), quantity, price, freight, voucher)| {
        domain::cart::Line {
            product: ProductRef { seller: domain::SellerId(seller), product: domain::ProductId(product) },
            quantity,
            unit_price: Money::new(price, Currency::GBP),
            freight: Money::new(freight, Currency::GBP),
            voucher: Money::new(voucher, Currency::GBP),
            ..domain::cart::sample::agreed()
        }
    })
}

/// Runs commands; `holds` is asked after each.
fn run<A: Aggregate>(subject: &str, commands: Vec<A::Command>, holds: impl Fn(&A, &A) -> bool) -> Result<(), TestCaseError> {
    let mut state = A::default();
    for (at, command) in (0..).zip(commands) {
        let before = state.clone();
        for event in when(&state, subject, command.clone(), Timestamp(at * 60_000_000)).unwrap_or_default() {
            state.evolve(&event);
            prop_assert_eq!(state.invariant(), Ok(()), "after {:?}", event);
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
    fn stock_holds_no_more_than_it_may(commands in prop::collection::vec(prop_oneof![
        (at_bounds(stock::RECEIVED_MAX, u64::MAX, 1), "[a-z]").prop_map(|(quantity, reference)| stock::Command::Receive { quantity, reference }),
        (of(), at_bounds(u32::MAX, u32::MAX, 1), any::<bool>()).prop_map(|(of, quantity, brought)| stock::Command::Reserve { of, quantity, version: None, brought }),
        of().prop_map(|of| stock::Command::Confirm { of }),
        of().prop_map(|of| stock::Command::Release { of }),
        (of(), any::<u32>(), at_bounds(u32::MAX, u32::MAX, 1)).prop_map(|(of, refund, quantity)| stock::Command::Return { of, refund, quantity }),
    ], 0..60)) {
        let commands = std::iter::once(stock::Command::Bind { version: "1".into() }).chain(commands).collect();
        run::<StockItem>("1-2", commands, |_, item| item.received <= stock::RECEIVED_MAX && item.reserved + item.sold <= item.received)?;
    }

    /// Whatever a cart lets through adds up: in its order's invoice, in each share that comes back, and ten million times over.
    #[test]
    fn what_a_cart_lets_through_adds_up(lines in prop::collection::vec(bound_line(), 1..6), elsewhere in any::<bool>()) {
        let mut cart = Cart::default();
        let checkout = domain::cart::sample::checkout();
        let commands = if elsewhere {
            vec![domain::cart::Command::Record { lines, checkout }]
        } else {
            lines.into_iter().map(|line| domain::cart::Command::Add { lines: vec![line], reference: None }).chain([domain::cart::Command::CheckOut(checkout)]).collect()
        };
        let mut sent = None;
        for command in commands {
            for event in when(&cart, "17", command, Timestamp(0)).unwrap_or_default() {
                cart.evolve(&event);
                if let domain::cart::Event::CheckedOut(sale) | domain::cart::Event::Recorded(sale) = event {
                    sent = Some(sale);
                }
            }
        }
        if let Some(sale) = sent {
            let count = u32::try_from(sale.lines.len()).unwrap();
            prop_assert!(sale.lines.iter().all(|line| line.product.is_in_range()));
            let mut order = Order::default();
            let replies = (0..count).map(|line| order::Command::RecordReply { line, reply: Reply::Reserved });
            for command in std::iter::once(order::Command::Place(sale)).chain(replies) {
                let events = when(&order, "17-1", command, Timestamp(0));
                prop_assert!(events.is_ok(), "{events:?}");
                events.unwrap().iter().for_each(|event| order.evolve(event));
            }
            let total = order.invoice.unwrap().total.minor;
            prop_assert!((0..=domain::cart::ORDER_MINOR_MAX).contains(&total) && total.checked_mul(10_000_000).is_some());
        }
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
