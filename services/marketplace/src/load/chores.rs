//! The sellers' transactions: dashboards, changes of prices, replacements of products; and updates of deliveries.

use daybook::client::connection::Method;
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::caller::CommandEnd;
use super::goods::{CURRENCY, FREIGHT, PRICES};
use super::state::{LoadState, Product, amount};
use super::tally::{Measure, UNANSWERED};
use super::watch;
use crate::audit::rows::Dashboard;

/// How often another product is chosen instead of one that is being replaced.
const TRIES: usize = 10;

/// A seller looks at what is in progress. What it shows is checked, and the time is only its own.
pub async fn dashboard(state: &LoadState, random: &mut StdRng, intended: Instant) {
    let seller = state.plan.seller(state.plan.pick_seller(random));
    let ended = state.read(Measure::Dashboard, &format!("/sellers/{seller}/dashboard"), None).await;
    state.tally.took(Measure::Dashboard, intended.elapsed());
    match ended {
        CommandEnd::Accepted(answer, _) => match serde_json::from_value::<Dashboard>(answer) {
            Ok(dashboard) => watch::dashboard(state, &dashboard).await,
            Err(_) => state.tally.error(Measure::Dashboard, "unreadable"),
        },
        CommandEnd::Refused(kind) | CommandEnd::Broken(kind) => state.tally.error(Measure::Dashboard, &kind),
        CommandEnd::Unanswered => state.tally.error(Measure::Dashboard, UNANSWERED),
    }
}

/// A seller changes a price.
pub async fn price(state: &LoadState, random: &mut StdRng, intended: Instant, id: &str) {
    let product = &state.products[state.plan.pick_product(random)];
    let price = random.random_range(PRICES);
    let body = json!({ "price": amount(price), "currency": CURRENCY });
    let ended = state.command(Measure::Price, Method::POST, &format!("/products/{}/price", product.id), id, &body).await;
    state.tally.took(Measure::Price, intended.elapsed());
    if written(state, product, &ended) {
        *product.price.lock() = price;
    }
}

/// A seller replaces a product by its next version.
pub async fn replacement(state: &LoadState, random: &mut StdRng, intended: Instant, id: &str) {
    let mut product = &state.products[state.plan.pick_product(random)];
    for _ in 0..TRIES {
        if product.version.try_lock().is_ok() {
            break;
        }
        product = &state.products[state.plan.pick_product(random)];
    }
    let mut version = product.version.lock().await;
    let (next, price) = (*version + 1, random.random_range(PRICES));
    let body = json!({
        "name": format!("thing {} {next}", product.id), "price": amount(price), "freight_value": FREIGHT, "currency": CURRENCY, "version": next.to_string(),
    });
    let ended = state.command(Measure::Replacement, Method::POST, &format!("/products/{}/replacement", product.id), id, &body).await;
    state.tally.took(Measure::Replacement, intended.elapsed());
    // Without an answer it may stand as well: the next one must be newer either way.
    *version = next;
    if written(state, product, &ended) {
        (*product.price.lock(), *product.known.lock()) = (price, next);
    }
}

/// Notes what became of a write to a product; says whether it was accepted.
fn written(state: &LoadState, product: &Product, ended: &CommandEnd) -> bool {
    state.tally.acknowledged(|told| {
        let writes = told.products.entry(product.id.clone()).or_default();
        match ended {
            CommandEnd::Accepted(answer, _) => writes.revisions.extend(answer.get("version").and_then(Value::as_u64)),
            CommandEnd::Refused(_) => {}
            CommandEnd::Broken(_) | CommandEnd::Unanswered => writes.in_doubt += 1,
        }
    });
    matches!(ended, CommandEnd::Accepted(..))
}

/// The oldest packages of ten sellers are delivered.
pub async fn delivery(state: &LoadState, intended: Instant, id: &str) {
    let ended = state.command(Measure::Delivery, Method::POST, &format!("/deliveries/{id}"), id, &json!({})).await;
    state.tally.took(Measure::Delivery, intended.elapsed());
    if let CommandEnd::Accepted(..) = ended {
        state.tally.acknowledged(|told| told.deliveries.push(id.to_owned()));
    }
}
