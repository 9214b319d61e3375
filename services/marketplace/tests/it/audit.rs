//! The audit: what must hold when all sagas have ended, by the public routes only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{Caller, PATIENCE};

/// A checkout that was acknowledged: its reference, what was added to the cart for it, and how it ended.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub reference: String,
    pub order: String,
    pub ended: String,
    /// product -> pieces
    pub added: BTreeMap<String, u64>,
}

pub fn cents(value: &Value) -> i64 {
    let text = value.as_str().unwrap_or("0.00");
    text.replace('.', "").parse().unwrap_or_else(|_| panic!("{text} is no amount"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// Waits until every order has ended and nothing is reserved, bounded.
pub async fn settle(caller: &Caller) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let open: Vec<String> = caller
            .all("/orders")
            .await
            .iter()
            .filter(|order| ["reserving", "invoiced", "cancelling"].contains(&order["status"].as_str().unwrap()))
            .map(|order| order["id"].to_string())
            .collect();
        let reserved: Vec<String> = caller.all("/stock").await.iter().filter(|item| number(&item["reserved"]) > 0).map(|item| item["id"].to_string()).collect();
        if open.is_empty() && reserved.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "orders not ended: {open:?}; stock still reserved: {reserved:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Every check; panics naming the entity. Says how much was checked.
pub async fn audit(caller: &Caller, acknowledged: &[Acknowledged], received: u64) -> String {
    let orders = caller.all("/orders").await;
    let references: Vec<&str> = orders.iter().filter_map(|order| order["reference"].as_str()).collect();
    let distinct: BTreeSet<&str> = references.iter().copied().collect();
    assert_eq!(references.len(), distinct.len(), "a checkout became two orders");
    let told: BTreeSet<&str> = acknowledged.iter().map(|checkout| checkout.reference.as_str()).collect();
    assert_eq!(distinct, told, "orders and acknowledged checkouts are not the same");
    let by_id: BTreeMap<&str, &Value> = orders.iter().map(|order| (order["id"].as_str().unwrap(), order)).collect();
    for checkout in acknowledged {
        let order = by_id[checkout.order.as_str()];
        assert_eq!(order["reference"], checkout.reference.as_str(), "order {} answers for another checkout", checkout.order);
        assert_eq!(order["status"], checkout.ended.as_str(), "order {} ended otherwise than acknowledged", checkout.order);
        let mut lines: BTreeMap<String, u64> = BTreeMap::new();
        for line in order["lines"].as_array().unwrap() {
            *lines.entry(line["product"].as_str().unwrap().to_owned()).or_default() += number(&line["quantity"]);
        }
        assert_eq!(lines, checkout.added, "order {}: an addition was lost or applied twice", checkout.order);
    }
    let (mut sold, mut invoiced): (BTreeMap<String, u64>, i64) = (BTreeMap::new(), 0);
    for order in &orders {
        let (mut items, mut freight, mut discount) = (0, 0, 0);
        for line in order["lines"].as_array().unwrap().iter().filter(|line| line["status"] == "reserved") {
            let (quantity, price) = (number(&line["quantity"]), cents(&line["unit_price"]));
            items += price * quantity as i64;
            freight += cents(&line["freight_value"]);
            discount += cents(&line["voucher"]).min(price * quantity as i64);
            if order["status"] == "paid" {
                *sold.entry(line["product"].as_str().unwrap().to_owned()).or_default() += quantity;
            }
        }
        if order["status"] == "paid" || order["status"] == "payment-failed" {
            let total = cents(&order["total"]);
            assert_eq!(total, items + freight - discount, "order {}'s total is not the sum of its lines", order["id"]);
            assert!(total >= 0, "order {} is negative", order["id"]);
            invoiced += if order["status"] == "paid" { total } else { 0 };
        }
    }
    let stock = caller.all("/stock").await;
    for item in &stock {
        let id = item["id"].as_str().unwrap();
        assert_eq!(number(&item["received"]), received, "item {id} received a delivery twice or not at all");
        assert_eq!(number(&item["sold"]), sold.get(id).copied().unwrap_or(0), "item {id}: sold is not what paid orders took");
        assert_eq!(number(&item["available"]) + number(&item["sold"]), received, "item {id}: pieces were lost or made");
    }
    let letters = caller.get("/dead-letters").await;
    assert_eq!(letters["items"].as_array().unwrap().len(), 0, "dead letters: {letters}");
    format!("{} orders, {} items, {}.{:02} paid", orders.len(), stock.len(), invoiced / 100, invoiced % 100)
}
