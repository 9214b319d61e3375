//! The sellers' transactions: dashboards, changes of prices, replacements of products; and updates of deliveries.

use daybook::client::connection::Method;
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::caller::Ended;
use super::goods::{CURRENCY, FREIGHT, PRICES};
use super::state::{LoadState, Product, amount};
use super::tally::{Measure, UNANSWERED};
use super::watch;
use crate::audit::rows::Dashboard;

/// How often another product is chosen instead of one that is being replaced.
const TRIES: usize = 10;

/// A seller looks at what is in progress. What it shows is checked, and the time is only its own.
pub async fn dashboard(game: &LoadState, random: &mut StdRng, intended: Instant) {
    let seller = game.plan.seller(game.plan.pick_seller(random));
    let ended = game.read(Measure::Dashboard, &format!("/sellers/{seller}/dashboard"), None).await;
    game.tally.took(Measure::Dashboard, intended.elapsed());
    match ended {
        Ended::Accepted(answer, _) => match serde_json::from_value::<Dashboard>(answer) {
            Ok(dashboard) => watch::dashboard(game, &dashboard).await,
            Err(_) => game.tally.error(Measure::Dashboard, "unreadable"),
        },
        Ended::Refused(kind) | Ended::Broken(kind) => game.tally.error(Measure::Dashboard, &kind),
        Ended::Unanswered => game.tally.error(Measure::Dashboard, UNANSWERED),
    }
}

/// A seller changes a price.
pub async fn price(game: &LoadState, random: &mut StdRng, intended: Instant, id: &str) {
    let product = &game.products[game.plan.pick_product(random)];
    let price = random.random_range(PRICES);
    let body = json!({ "price": amount(price), "currency": CURRENCY });
    let ended = game.command(Measure::Price, Method::POST, &format!("/products/{}/price", product.id), id, &body).await;
    game.tally.took(Measure::Price, intended.elapsed());
    if written(game, product, &ended) {
        *product.price.lock() = price;
    }
}

/// A seller replaces a product by its next version.
pub async fn replacement(game: &LoadState, random: &mut StdRng, intended: Instant, id: &str) {
    let mut product = &game.products[game.plan.pick_product(random)];
    for _ in 0..TRIES {
        if product.version.try_lock().is_ok() {
            break;
        }
        product = &game.products[game.plan.pick_product(random)];
    }
    let mut version = product.version.lock().await;
    let (next, price) = (*version + 1, random.random_range(PRICES));
    let body = json!({
        "name": format!("thing {} {next}", product.id), "price": amount(price), "freight_value": FREIGHT, "currency": CURRENCY, "version": next.to_string(),
    });
    let ended = game.command(Measure::Replacement, Method::POST, &format!("/products/{}/replacement", product.id), id, &body).await;
    game.tally.took(Measure::Replacement, intended.elapsed());
    // Without an answer it may stand as well: the next one must be newer either way.
    *version = next;
    if written(game, product, &ended) {
        (*product.price.lock(), *product.known.lock()) = (price, next);
    }
}

/// Notes what became of a write to a product; says whether it was accepted.
fn written(game: &LoadState, product: &Product, ended: &Ended) -> bool {
    game.tally.acknowledged(|told| {
        let writes = told.products.entry(product.id.clone()).or_default();
        match ended {
            Ended::Accepted(answer, _) => writes.revisions.extend(answer.get("version").and_then(Value::as_u64)),
            Ended::Refused(_) => {}
            Ended::Broken(_) | Ended::Unanswered => writes.in_doubt += 1,
        }
    });
    matches!(ended, Ended::Accepted(..))
}

/// The oldest packages of ten sellers are delivered.
pub async fn delivery(game: &LoadState, intended: Instant, id: &str) {
    let ended = game.command(Measure::Delivery, Method::POST, &format!("/deliveries/{id}"), id, &json!({})).await;
    game.tally.took(Measure::Delivery, intended.elapsed());
    if let Ended::Accepted(..) = ended {
        game.tally.acknowledged(|told| told.deliveries.push(id.to_owned()));
    }
}
