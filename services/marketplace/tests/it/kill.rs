//! The kill test: checkouts of several customers at once, SIGKILL at random moments, and an audit of every penny.
//!
//! Reproduce a run with `KILL_SEED=<seed> cargo test --release -p marketplace kill`; `KILLS=<n>` sets how many,
//! `KAFKA_KILLS=<n>` how many on a broker, where each takes a session time-out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::audit::{Acknowledged, audit, settle};
use crate::broker::Broker;
use crate::process::{ALL, ALONE, Caller, Server, binary};

const SELLERS: u64 = 2;
const PRODUCTS: u64 = 4;
const CUSTOMERS: u64 = 8;
/// So few that some checkouts go short.
const RECEIVED: u64 = 1_200;

pub fn environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a whole number")))
}

async fn set_up(caller: &Caller) {
    for seller in 1..=SELLERS {
        for product in 1..=PRODUCTS {
            let id = format!("{seller}-{product}");
            let body = json!({ "name": format!("thing {id}"), "price": format!("{}.{product}5", 3 * product), "freight_value": "0.50", "currency": "GBP" });
            assert_eq!(caller.command(Method::PUT, &format!("/products/{id}"), &format!("product {id}"), body).await.0, StatusCode::OK);
            let body = json!({ "quantity": RECEIVED, "reference": "first" });
            assert_eq!(caller.command(Method::POST, &format!("/stock/{id}/receipts"), &format!("stock {id}"), body).await.0, StatusCode::OK);
        }
    }
}

/// One customer: fills the cart, checks out, again and again; every command is repeated under its id until answered.
async fn customer(caller: Caller, number: u64, seed: u64, stop: Arc<AtomicBool>) -> Vec<Acknowledged> {
    let mut random = StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut acknowledged = vec![];
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut added = BTreeMap::new();
        for line in 0..random.random_range(1..=3) {
            let product = format!("{}-{}", random.random_range(1..=SELLERS), random.random_range(1..=PRODUCTS));
            let quantity = random.random_range(1..=4_u64);
            let voucher = if random.random_bool(0.1) { "1.00" } else { "0" };
            let body = json!({ "items": [{ "product": product, "quantity": quantity, "unit_price": "1.00", "freight_value": "0.50", "voucher": voucher, "currency": "GBP" }] });
            for attempt in 0.. {
                // The cart may not have heard of a new product: refused under this id for good, so asked again under another.
                let (status, answer) =
                    caller.command(Method::POST, &format!("/carts/{number}/items"), &format!("{number}.{round}.{line}.{attempt}"), body.clone()).await;
                if status == StatusCode::OK {
                    break;
                }
                assert!(answer["code"] == "unknown-product" && attempt < 100, "an addition was answered {status} {answer}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            *added.entry(product).or_default() += quantity;
        }
        let card = if random.random_bool(0.15) { "4000000000000002" } else { "4111111111111111" };
        let (_, answer) = check_out(&caller, number, round, card).await;
        acknowledged.push(Acknowledged {
            reference: format!("{number}.{round}"),
            order: answer["id"].as_str().unwrap().to_owned(),
            ended: answer["ended"].as_str().unwrap().to_owned(),
            added,
        });
    }
    acknowledged
}

async fn check_out(caller: &Caller, number: u64, round: u64, card: &str) -> (String, Value) {
    let body = json!({ "payment_type": "CREDIT_CARD", "card_number": card, "card_brand": "visa", "installments": 1, "city": "Oslo", "reference": format!("{number}.{round}") });
    for attempt in 0.. {
        let id = format!("{number}.{round}.checkout.{attempt}");
        let (status, answer) = caller.command(Method::POST, &format!("/carts/{number}/checkout"), &id, body.clone()).await;
        if status == StatusCode::OK {
            return (id, answer);
        }
        // The order before has ended, and the cart has not heard of it yet.
        assert!(answer["code"] == "checkout-sent" && attempt < 100, "a checkout was answered {status} {answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    unreachable!("the loop ends by itself")
}

/// Kills one instance or the other, `kills` times, while customers go on.
async fn run(mut fleet: Vec<Server>, kills: u64, also: impl AsyncFn(&Caller)) {
    let seed = environment("KILL_SEED", u64::from(std::process::id()) ^ std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs());
    println!("kill test: KILL_SEED={seed}, {kills} kills");
    let began = Instant::now();
    for server in &mut fleet {
        server.start();
    }
    let caller = Caller::of(fleet.iter().map(|server| server.url.clone()).collect());
    set_up(&caller).await;
    let stop = Arc::new(AtomicBool::new(false));
    let customers: Vec<_> = (1..=CUSTOMERS).map(|number| tokio::spawn(customer(caller.clone(), number, seed, Arc::clone(&stop)))).collect();
    let (mut random, mut slowest) = (StdRng::seed_from_u64(seed), Duration::ZERO);
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(random.random_range(30..700))).await;
        let server = random.random_range(0..fleet.len());
        fleet[server].kill();
        slowest = slowest.max(fleet[server].start());
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = vec![];
    for customer in customers {
        acknowledged.extend(customer.await.unwrap());
    }
    settle(&caller).await;
    let summary = audit(&caller, &acknowledged, RECEIVED).await;
    also(&caller).await;
    repeats(&caller, &acknowledged).await;
    fleet.iter().for_each(|server| drop(server.verify()));
    for server in &mut fleet {
        assert!(server.stop(), "a clean stop failed");
        server.verify();
    }
    println!(
        "kill test: KILL_SEED={seed}: {kills} kills, {} checkouts acknowledged, none lost, none doubled; {summary}; verify clean; slowest restart {slowest:?}; {:?}",
        acknowledged.len(),
        began.elapsed()
    );
    assert!(acknowledged.len() as u64 >= kills, "too little load to prove anything");
}

/// Every checkout once more under its first id: the first answer, and nothing new.
async fn repeats(caller: &Caller, acknowledged: &[Acknowledged]) {
    let before = caller.all("/orders").await.len();
    for checkout in acknowledged.iter().rev().take(40) {
        let order = caller.get(&format!("/orders/{}", checkout.order)).await;
        assert_eq!(order["status"], checkout.ended.as_str());
        let (number, round) = checkout.reference.split_once('.').unwrap();
        for card in ["4111111111111111", "4000000000000002"] {
            let body = json!({ "payment_type": "CREDIT_CARD", "card_number": card, "card_brand": "visa", "installments": 1, "city": "Oslo", "reference": checkout.reference });
            let (status, answer) = caller.command(Method::POST, &format!("/carts/{number}/checkout"), &format!("{number}.{round}.checkout.0"), body).await;
            // The card it was sent with gets the first answer; the other one is another command under a used id.
            let same = status == StatusCode::OK && answer["id"] == checkout.order.as_str() && answer["ended"] == checkout.ended.as_str();
            let refused = answer["code"] == "checkout-sent" || answer["code"] == "id-used";
            assert!(same || refused, "a repeat of {} was answered {status} {answer}", checkout.reference);
        }
    }
    assert_eq!(caller.all("/orders").await.len(), before, "a repeat made an order");
}

/// One process on a directory.
fn alone(binary: PathBuf, dir: &TempDir) -> Vec<Server> {
    vec![Server::new(binary, &dir.path().join("data"))]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_the_marketplace() {
    let dir = TempDir::new().unwrap();
    run(alone(binary(), &dir), environment("KILLS", 20), async |_| ()).await;
}

/// Three processes that share a broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_the_marketplace_on_kafka() {
    let _alone = ALONE.lock().await;
    let (dir, namespace) = (TempDir::new().unwrap(), Broker::namespace());
    let instance = |number: usize| Server::on_kafka(binary(), &dir.path().join(format!("data{number}")), Broker::shared(), &namespace, &ALL);
    run((0..3).map(instance).collect(), environment("KAFKA_KILLS", 3), async |_| ()).await;
}
