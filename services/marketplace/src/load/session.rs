//! A customer's session: items go into the cart, one request each, and a checkout sends them.

use std::collections::BTreeMap;

use daybook::client::connection::Method;
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::caller::CommandEnd;
use super::goods::{CURRENCY, FREIGHT};
use super::state::{Customer, LoadState, amount};
use super::tally::{Measure, UNANSWERED};
use super::watch;
use crate::audit::acknowledged::Checkout;

/// Most items of a cart, and most pieces of an item.
const ITEMS_MAX: usize = 10;
const PIECES_MAX: i64 = 10;
/// How many items have a voucher, and how many checkouts are paid with a card that is refused.
const VOUCHERS: f64 = 0.05;
const REFUSED_CARDS: f64 = 0.02;
/// A test number that payments refuse, and one that they take.
const CARD_REFUSED: &str = "4000000000000002";
const CARD: &str = "4111111111111111";
/// How many orders are read back.
const SAMPLED: f64 = 0.25;

/// Plays one session; latencies count from when it was meant to begin. Says whether a customer could be had in time.
pub async fn play(state: &LoadState, random: &mut StdRng, intended: Instant) -> bool {
    let Some(mut customer) = state.customer(random).await else { return false };
    let late = intended.elapsed();
    customer.sessions += 1;
    let items = random.random_range(1..=ITEMS_MAX);
    let mut answered = true;
    for item in 0..items {
        answered = answered && add(state, &mut customer, item, random, late).await;
    }
    if !(answered && check_out(state, &mut customer, random, late).await) {
        state.tally.error(Measure::Session, UNANSWERED);
    }
    state.tally.took(Measure::Session, intended.elapsed());
    state.welcome(customer);
    true
}

/// Says whether it was answered: if not, the load is over.
async fn add(state: &LoadState, customer: &mut Customer, item: usize, random: &mut StdRng, late: Duration) -> bool {
    let product = &state.products[state.plan.pick_product(random)];
    let pieces = random.random_range(1..=PIECES_MAX);
    let voucher = if random.random_bool(VOUCHERS) { random.random_range(50..=500) } else { 0 };
    let (price, version) = (*product.price.lock(), *product.known.lock());
    let id = format!("{}-{}-{}-{item}", state.plan.run, customer.id, customer.sessions);
    let line = json!({
        "product": product.id, "quantity": pieces, "unit_price": amount(price), "freight_value": FREIGHT, "voucher": amount(voucher),
        "version": version.to_string(), "currency": CURRENCY,
    });
    let (path, body, began) = (format!("/carts/{}/items", customer.id), json!({ "items": [line], "reference": id }), Instant::now());
    let ended = state.command(Measure::Addition, Method::POST, &path, &id, &body).await;
    state.tally.took(Measure::Addition, late + began.elapsed());
    match ended {
        CommandEnd::Accepted(..) => {
            if let Some(cart) = &mut customer.cart {
                *cart.entry(product.id.clone()).or_default() += pieces;
            }
        }
        CommandEnd::Refused(_) => {}
        CommandEnd::Broken(_) => customer.cart = None,
        CommandEnd::Unanswered => {
            customer.cart = None;
            return false;
        }
    }
    true
}

/// Says whether it was answered.
async fn check_out(state: &LoadState, customer: &mut Customer, random: &mut StdRng, late: Duration) -> bool {
    let reference = format!("{}-{}-{}", state.plan.run, customer.id, customer.sessions);
    let method = ["CREDIT_CARD", "CREDIT_CARD", "DEBIT_CARD", "BOLETO"][random.random_range(0..4)];
    let card = if random.random_bool(REFUSED_CARDS) { CARD_REFUSED } else { CARD };
    let body = json!({
        "payment_type": method, "card_number": card, "card_brand": "visa", "installments": 1, "first_name": "Load", "last_name": state.plan.run,
        "city": "Oslo", "reference": reference,
    });
    let (path, began) = (format!("/carts/{}/checkout", customer.id), Instant::now());
    let ended = state.command(Measure::Checkout, Method::POST, &path, &format!("{reference}-checkout"), &body).await;
    state.tally.took(Measure::Checkout, late + began.elapsed());
    let answered = !matches!(ended, CommandEnd::Unanswered);
    match ended {
        CommandEnd::Accepted(answer, position) => {
            let pieces = customer.cart.replace(BTreeMap::new());
            let text = |field: &str| answer.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            let checkout = Checkout { reference, order: text("id"), ended: text("ended"), pieces };
            let order = checkout.order.clone();
            state.tally.acknowledged(|told| told.checkouts.push(checkout));
            if random.random_bool(SAMPLED) {
                watch::versions(state, customer, &order, position.as_deref()).await;
            }
        }
        CommandEnd::Refused(_) => {}
        CommandEnd::Broken(_) | CommandEnd::Unanswered => {
            customer.cart = None;
            state.tally.acknowledged(|told| told.checkouts_in_doubt.push(reference));
        }
    }
    answered
}
