//! The largest cart fits a record, in every event that carries its lines.

use domain::cart::{self, CheckedOut, Checkout, LINES_MAX, NAMES_BYTES_MAX, PricedLine, QUANTITY_MAX, REFERENCE_BYTES_MAX};
use domain::customer::{Card, PERSON_BYTES_MAX, Person};
use domain::order::{self, Order};
use domain::payment::Means;
use domain::product::PRICE_MINOR_MAX;
use domain::{Currency, CustomerId, Money, OrderId, Origin, ProductId, ProductRef, SellerId};
use schemas::Codec;
use schemas::kernel::Personal;

/// `eventstore::log::RECORD_BYTES_MAX`, less room for headers.
const BODY_BYTES_MAX: usize = 512 * 1024 - 4 * 1024;

/// The longest of everything that a cart lets through.
fn largest() -> CheckedOut {
    let most = Money::new(PRICE_MINOR_MAX, Currency::GBP);
    let line = |_| PricedLine {
        product: ProductRef { seller: SellerId(u64::MAX), product: ProductId(u64::MAX) },
        version: Some("1".into()),
        name: "N".repeat(NAMES_BYTES_MAX / LINES_MAX - 1),
        quantity: QUANTITY_MAX,
        unit_price: most,
        freight: most,
        voucher: most,
        seen_price: Some(most),
    };
    let text = || "\"".repeat(50);
    let buyer = Person { street: "\u{1}".repeat(PERSON_BYTES_MAX / 6), ..Person::default() };
    let means = Means { card: Some(Card { brand: text(), last4: text(), token: text() }), installments: u32::MAX, ..domain::payment::sample::means() };
    assert!(buyer.fits() && means.card.as_ref().unwrap().fits());
    CheckedOut {
        order: OrderId { customer: CustomerId(u64::MAX), number: u64::MAX },
        lines: (0..LINES_MAX).map(line).collect(),
        dropped: vec![],
        checkout: Checkout { buyer: Personal::Clear(buyer), means, reference: Some("r".repeat(REFERENCE_BYTES_MAX)) },
        origin: Origin { command_id: "c".repeat(200), reply_to: Some("h".repeat(110)) },
        brought: true,
    }
}

#[test]
fn two_thousand_lines_fit() {
    let checkout = largest();
    let placed = order::Event::Placed { checkout: checkout.clone(), placed_at: order::sample::placed_at(), deadline: order::sample::placed_at() };
    let ended = order::Event::Paid(order::Ending {
        lines: checkout.lines.iter().zip(0..).map(|(line, at)| (at, line.product)).collect(),
        origin: checkout.origin.clone(),
    });
    let back = |(line, at): (&PricedLine, u32)| order::Returned {
        line: at,
        product: line.product,
        quantity: QUANTITY_MAX - 1,
        kept: QUANTITY_MAX,
        settled: Some(order::Settled { amount: cart::ORDER_MINOR_MAX, freight: PRICE_MINOR_MAX, discount: PRICE_MINOR_MAX }),
    };
    let lines = checkout.lines.iter().zip(0..).map(back).collect();
    let reference = "r".repeat(REFERENCE_BYTES_MAX);
    let refund = order::Event::RefundAsked { refund: u32::MAX, reference, lines, amount: Money::new(cart::ORDER_MINOR_MAX, Currency::GBP) };
    let line = |line: &PricedLine| cart::Line {
        product: line.product,
        name: line.name.clone(),
        quantity: line.quantity,
        unit_price: line.unit_price,
        freight: line.freight,
        voucher: line.voucher,
        version: line.version.clone(),
        agreed: true,
    };
    let sale = cart::Command::Record { lines: checkout.lines.iter().map(line).collect(), checkout: checkout.checkout.clone() };
    let bodies = [
        cart::Cart::encode_command(&sale).1,
        cart::Cart::encode_event(&cart::Event::Recorded(checkout.clone())).1,
        cart::Cart::encode_event(&cart::Event::CheckedOut(checkout)).1,
        Order::encode_event(&placed).1,
        Order::encode_event(&ended).1,
        Order::encode_event(&refund).1,
    ];
    let sizes = bodies.map(|body| body.len());
    println!("the largest cart: {sizes:?} bytes of {BODY_BYTES_MAX}");
    // Sealed, the buyer is longer by a third, and says what it was sealed for.
    let sealed = PERSON_BYTES_MAX / 2 + 1_000;
    assert!(sizes.iter().all(|size| size + sealed <= BODY_BYTES_MAX), "{sizes:?}");
}
