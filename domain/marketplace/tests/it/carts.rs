//! Carts, with the replicas they look at.

use std::any::Any;
use std::collections::BTreeMap;
use std::rc::Rc;

use domain::cart::sample::{agreed, checked_out, checkout, line, order, product};
use domain::cart::{Cart, CheckedOut, Command, Dropped, Event, LINES_MAX, Line, NAMES_BYTES_MAX, PricedLine, QUANTITY_MAX, Refusal};
use domain::replica::{ProductCopy, sample::shown};
use domain::{Aggregate, Context, Currency, Heads, Money, Origin, ProductId, ProductRef, SellerId, Timestamp};

use crate::given;

/// The replicas of a partition.
struct Replicas(BTreeMap<String, ProductCopy>);

impl Heads for Replicas {
    fn head(&self, aggregate: &'static str, id: &str) -> Option<Rc<dyn Any>> {
        assert_eq!(aggregate, ProductCopy::NAME);
        Some(Rc::new(self.0.get(id)?.clone()))
    }
}

fn decide(cart: &Cart, command: Command, replicas: &[(ProductRef, ProductCopy)]) -> Result<Vec<Event>, Refusal> {
    let heads = Replicas(replicas.iter().map(|(id, replica)| (id.to_string(), replica.clone())).collect());
    let origin = Origin { command_id: "c-1".into(), reply_to: Some("here@3".into()) };
    cart.decide(command, &Context::new("17", Timestamp(0), Timestamp(0), &origin, &heads))
}

fn known() -> Vec<(ProductRef, ProductCopy)> {
    vec![(product(), shown())]
}

fn add(lines: Vec<Line>) -> Command {
    Command::Add { lines, reference: None }
}

fn with(lines: Vec<Line>) -> Cart {
    given(&[Event::Added { lines, reference: Some("r".into()) }])
}

#[test]
fn lines_are_added_and_merged_by_product_and_price() {
    let cart = with(vec![line(), line(), agreed(), Line { unit_price: Money::new(300, Currency::GBP), ..line() }]);
    assert_eq!(
        cart.lines.iter().map(|line| (line.quantity, line.unit_price.minor, line.agreed)).collect::<Vec<_>>(),
        [(6, 255, false), (3, 200, true), (3, 300, false)]
    );
}

#[test]
fn an_addition_under_a_reference_counts_once() {
    let again = Command::Add { lines: vec![line()], reference: Some("r".into()) };
    assert_eq!(decide(&with(vec![line()]), again.clone(), &known()), Ok(vec![]));
    let other = given::<Cart>(&[Event::Added { lines: vec![line()], reference: Some("r".into()) }, Event::Emptied]);
    assert!(matches!(decide(&other, again, &known()).as_deref(), Ok([Event::Added { .. }])));
}

#[test]
fn only_products_the_cart_knows_unless_agreed() {
    assert_eq!(decide(&Cart::default(), add(vec![line()]), &[]), Err(Refusal::UnknownProduct { product: product() }));
    assert!(decide(&Cart::default(), add(vec![agreed()]), &[]).is_ok());
    let withdrawn = [(product(), ProductCopy { withdrawn: true, ..shown() })];
    for line in [line(), agreed()] {
        assert_eq!(decide(&Cart::default(), add(vec![line]), &withdrawn), Err(Refusal::Withdrawn { product: product() }));
    }
}

#[test]
fn a_line_without_a_name_takes_the_products() {
    let events = decide(&Cart::default(), add(vec![Line { name: String::new(), ..line() }]), &known()).unwrap();
    assert!(matches!(&events[0], Event::Added { lines, .. } if lines[0].name == "WHITE METAL LANTERN"));
}

#[test]
fn quantities_and_amounts_have_bounds() {
    let quantity = |quantity| decide(&Cart::default(), add(vec![Line { quantity, ..line() }]), &known());
    assert!(quantity(1).is_ok() && quantity(QUANTITY_MAX).is_ok());
    for wrong in [0, QUANTITY_MAX + 1, u32::MAX] {
        assert_eq!(quantity(wrong), Err(Refusal::Quantity { product: product(), quantity: wrong.into() }));
    }
    let full = with(vec![Line { quantity: QUANTITY_MAX, ..line() }]);
    assert_eq!(decide(&full, add(vec![line()]), &known()), Err(Refusal::Quantity { product: product(), quantity: u64::from(QUANTITY_MAX) + 3 }));
    for minor in [-1, i64::MAX, i64::MIN] {
        for broken in [
            Line { unit_price: Money::new(minor, Currency::GBP), ..line() },
            Line { freight: Money::new(minor, Currency::GBP), ..line() },
            Line { voucher: Money::new(minor, Currency::GBP), ..line() },
        ] {
            assert_eq!(decide(&Cart::default(), add(vec![broken]), &known()), Err(Refusal::Price { product: product() }));
        }
    }
    let dollars = Money::new(1, Currency::USD);
    let foreign = Line { unit_price: dollars, freight: dollars, voucher: dollars, ..line() };
    assert_eq!(decide(&with(vec![line()]), add(vec![foreign]), &known()), Err(Refusal::Price { product: product() }));
}

#[test]
fn a_cart_has_bounds() {
    let lines = |count: usize| {
        (0..count).map(|n| Line { product: ProductRef { seller: SellerId(1), product: ProductId(n as u64) }, name: "n".into(), ..agreed() }).collect::<Vec<_>>()
    };
    assert!(decide(&Cart::default(), add(lines(LINES_MAX)), &[]).is_ok());
    assert_eq!(decide(&Cart::default(), add(lines(LINES_MAX + 1)), &[]), Err(Refusal::Full));
    assert_eq!(decide(&Cart::default(), add(vec![Line { name: "n".repeat(NAMES_BYTES_MAX), ..agreed() }]), &[]), Err(Refusal::Full));
}

fn sent(cart: &Cart, replicas: &[(ProductRef, ProductCopy)]) -> CheckedOut {
    match decide(cart, Command::CheckOut(checkout()), replicas).unwrap().remove(0) {
        Event::CheckedOut(sent) => sent,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_customer_pays_the_price_that_holds() {
    let mut dearer = shown();
    dearer.offer.as_mut().unwrap().price = Money::new(400, Currency::GBP);
    dearer.offer.as_mut().unwrap().version = "2".into();
    let sent = sent(&with(vec![line(), agreed()]), &[(product(), dearer)]);
    let PricedLine { unit_price, seen_price, version, .. } = &sent.lines[0];
    assert_eq!((unit_price.minor, seen_price.map(|seen| seen.minor), version.as_deref()), (400, Some(255), Some("2")));
    assert_eq!((sent.lines[1].unit_price.minor, sent.lines[1].seen_price), (200, None));
    assert_eq!((sent.order, sent.origin.command_id.as_str()), (order(), "c-1"));
}

#[test]
fn what_is_withdrawn_stays_behind() {
    let other = ProductRef { product: ProductId(9), ..product() };
    let cart = with(vec![line(), Line { product: other, ..line() }]);
    let sent = sent(&cart, &[(product(), shown()), (other, ProductCopy { withdrawn: true, ..shown() })]);
    assert_eq!((sent.lines.len(), sent.dropped), (1, vec![(other, Dropped::Withdrawn)]));
    assert_eq!(
        decide(&with(vec![line()]), Command::CheckOut(checkout()), &[(product(), ProductCopy { withdrawn: true, ..shown() })]),
        Err(Refusal::NothingLeft { lines: 1 })
    );
}

#[test]
fn a_cart_is_sent_once_and_open_again_after_its_order() {
    assert_eq!(decide(&Cart::default(), Command::CheckOut(checkout()), &[]), Err(Refusal::Empty));
    let sent = given::<Cart>(&[Event::CheckedOut(checked_out())]);
    assert_eq!(decide(&sent, Command::CheckOut(checkout()), &[]), Err(Refusal::Sent { order: order() }));
    assert!(decide(&sent, add(vec![line()]), &known()).is_ok(), "the next cart may be filled meanwhile");
    assert_eq!(decide(&sent, Command::Reopen { order: order() }, &[]), Ok(vec![Event::Reopened { order: order() }]));
    let open = given::<Cart>(&[Event::CheckedOut(checked_out()), Event::Reopened { order: order() }]);
    assert_eq!(decide(&open, Command::Reopen { order: order() }, &[]), Ok(vec![]));
    assert_eq!(decide(&open, Command::CheckOut(checkout()), &[]), Err(Refusal::Empty));
    assert_eq!(open.orders, 1);
}

#[test]
fn emptied_is_empty() {
    assert_eq!(decide(&Cart::default(), Command::Empty, &[]), Ok(vec![]));
    assert_eq!(decide(&with(vec![line()]), Command::Empty, &[]), Ok(vec![Event::Emptied]));
}

#[test]
fn a_sale_made_elsewhere_leaves_the_cart_as_it_is() {
    let record = |lines: Vec<Line>| Command::Record { lines, checkout: checkout() };
    let live = given::<Cart>(&[
        Event::Added { lines: vec![Line { unit_price: Money::new(1, Currency::USD), ..agreed() }], reference: None },
        Event::CheckedOut(checked_out()),
        Event::Added { lines: vec![Line { unit_price: Money::new(1, Currency::USD), ..agreed() }], reference: None },
    ]);
    let Ok([Event::Recorded(sale)]) =
        decide(&live, record(vec![agreed(), agreed()]), &known()).as_deref().map(|events| <[Event; 1]>::try_from(events.to_vec()).unwrap())
    else {
        panic!("a sale that was made elsewhere waits for no checkout")
    };
    assert_eq!((sale.order.number, sale.lines.len(), sale.lines[0].quantity, sale.lines[0].unit_price.minor, sale.brought), (2, 1, 6, 200, true));
    let mut after = live.clone();
    after.evolve(&Event::Recorded(sale));
    assert_eq!((&after.lines, after.sent, after.orders), (&live.lines, live.sent, 2));
    // Its price is the agreed one, and it has a cart's bounds.
    assert_eq!(decide(&live, record(vec![line()]), &known()), Err(Refusal::NotAgreed { product: product() }));
    assert_eq!(decide(&live, record(vec![]), &known()), Err(Refusal::Empty));
    let many =
        |count: u64| (0..count).map(|number| Line { product: ProductRef { product: ProductId(number), ..product() }, name: "x".into(), ..agreed() }).collect();
    assert_eq!(decide(&live, record(many(LINES_MAX as u64 + 1)), &known()), Err(Refusal::Full));
    // What is no longer sold stays behind, as it does at a checkout.
    let withdrawn = [(product(), ProductCopy { withdrawn: true, ..shown() })];
    assert_eq!(decide(&live, record(vec![agreed()]), &withdrawn), Err(Refusal::NothingLeft { lines: 1 }));
}
