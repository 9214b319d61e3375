//! The largest cart fits a record, in every event that carries its lines.

use domain::cart::{self, CheckedOut, LINES_MAX, NAMES_BYTES_MAX};
use domain::order::{self, Order};
use domain::{ProductId, ProductRef, SellerId};
use schemas::Codec;

/// `eventstore::log::RECORD_BYTES_MAX`, less room for headers.
const BODY_BYTES_MAX: usize = 512 * 1024 - 4 * 1024;

#[test]
fn two_thousand_lines_fit() {
    let line = |at: usize| {
        let product = ProductRef { seller: SellerId(1_000_000), product: ProductId(90_000_000_000 + at as u64) };
        cart::PricedLine { product, name: "N".repeat(NAMES_BYTES_MAX / LINES_MAX - 1), ..cart::sample::priced() }
    };
    let checkout = CheckedOut { lines: (0..LINES_MAX).map(line).collect(), ..cart::sample::checked_out() };
    let placed = order::Event::Placed { checkout: checkout.clone(), placed_at: order::sample::placed_at(), deadline: order::sample::placed_at() };
    let ended = order::Event::Paid(order::Ending {
        lines: checkout.lines.iter().zip(0..).map(|(line, at)| (at, line.product)).collect(),
        origin: checkout.origin.clone(),
    });
    let bodies = [cart::Cart::encode_event(&cart::Event::CheckedOut(checkout)).1, Order::encode_event(&placed).1, Order::encode_event(&ended).1];
    let sizes = bodies.map(|body| body.len());
    println!("the largest cart: {sizes:?} bytes of {BODY_BYTES_MAX}");
    assert!(sizes.iter().all(|size| *size <= BODY_BYTES_MAX), "{sizes:?}");
}
