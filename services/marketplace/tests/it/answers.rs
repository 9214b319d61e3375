//! An answer belongs to its question, also when a question is asked twice, by two, across an upgrade, or late.

use std::collections::BTreeSet;

use domain::cart::{self, Cart, Line};
use domain::stock::{Command, Event, StockItem};
use domain::{Currency, Money};
use eventstore::embedded::{Embedded, Settings};
use eventstore::fingerprint;
use eventstore::inside::sign;
use eventstore::{Limits, Log, Message, Offset};
use reqwest::{Method, StatusCode};
use schemas::{Codec, Envelope, Partition, Stream, partition_of, topic};
use serde_json::{Value, json};

use crate::http::{Shop, problem};
use crate::process::PATIENCE;

const WAIT: (&str, &str) = ("prefer", "wait=20");

fn item(quantity: u32) -> Value {
    json!({ "items": [{ "product": "1-1", "quantity": quantity, "unit_price": "2.55" }] })
}

fn at_rest(shop: &Shop) -> Embedded {
    Embedded::open(&shop.dir.path().join("data/log"), Settings::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_for_forty_customers_is_forty_commands() {
    let shop = Shop::open().await;
    for step in [("items", item(1)), ("checkout", json!({ "payment_type": "BOLETO" }))] {
        let asked = (1..=40).map(|customer| {
            let (caller, step) = (shop.caller.clone(), step.clone());
            tokio::spawn(async move { (customer, caller.command(Method::POST, &format!("/carts/{customer}/{}", step.0), "monday", step.1).await) })
        });
        for asked in asked.collect::<Vec<_>>() {
            let (customer, (status, answer)) = asked.await.unwrap();
            let id = answer["id"].as_str().unwrap_or_default();
            let own = if step.0 == "items" { id == customer.to_string() } else { id == format!("{customer}-1") };
            assert!(own && (status == StatusCode::OK || answer["ended"].is_string()), "customer {customer}, {}: {status} {answer}", step.0);
        }
    }
    // One key, one resource, two routes and two methods.
    for (method, path, body) in [
        (Method::POST, "/carts/1/items", item(1)),
        (Method::DELETE, "/carts/1/items", Value::Null),
        (Method::POST, "/products/1-1/price", json!({ "price": "3.00" })),
        (Method::PUT, "/products/1-1", json!({ "name": "lamp", "price": "3.00" })),
    ] {
        let (status, answer) = shop.caller.command(method.clone(), path, "tuesday", body).await;
        assert!(status == StatusCode::OK || answer["code"] == "already-registered", "{method} {path}: {status} {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_bodies_at_once_one_is_told_that_the_name_is_anothers() {
    let shop = Shop::open().await;
    for round in 0..40 {
        let key = format!("round{round}");
        let headers = [("idempotency-key", key.as_str()), WAIT];
        let (one, other) =
            tokio::join!(shop.send(Method::POST, "/carts/5/items", &headers, item(1)), shop.send(Method::POST, "/carts/5/items", &headers, item(2)),);
        let statuses: BTreeSet<u16> = [one.status().as_u16(), other.status().as_u16()].into();
        assert_eq!(statuses, [200, 422].into(), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_body_is_told_so_to_whoever_does_not_wait_too() {
    let shop = Shop::open().await;
    let key = [("idempotency-key", "k")];
    let first = shop.send(Method::POST, "/carts/5/items", &key, item(1)).await;
    let place = first.headers()["location"].to_str().unwrap().to_owned();
    let again = shop.send(Method::POST, "/carts/5/items", &key, item(1)).await;
    assert_eq!((first.status(), again.status(), again.headers()["location"].to_str().unwrap()), (StatusCode::ACCEPTED, StatusCode::ACCEPTED, place.as_str()));
    let (status, other) = problem(shop.send(Method::POST, "/carts/5/items", &key, item(2)).await).await;
    assert_eq!((status, other["code"].as_str()), (422, Some("id-used")));
    // A place says which command is meant, should its name come to be another's; a name alone is understood as ever.
    assert_eq!(shop.send(Method::GET, &place, &[WAIT], Value::Null).await.status(), StatusCode::OK);
    let (name, _) = place.split_once('?').unwrap();
    assert_eq!(shop.send(Method::GET, name, &[WAIT], Value::Null).await.status(), StatusCode::OK);
    let (status, other) = problem(shop.send(Method::GET, &format!("{name}?of={}", "0".repeat(32)), &[WAIT], Value::Null).await).await;
    assert_eq!((status, other["code"].as_str()), (422, Some("id-used")));
    // A checkout's end is not waited for.
    let checkout = shop.send(Method::POST, "/carts/5/checkout", &key, json!({ "payment_type": "BOLETO" })).await;
    assert_eq!(checkout.status(), StatusCode::ACCEPTED);
    let place = checkout.headers()["location"].to_str().unwrap().to_owned();
    let ended = shop.send(Method::GET, &place, &[WAIT], Value::Null).await.json::<Value>().await.unwrap();
    assert!(ended["ended"] == "paid" && ended["id"] == "5-1", "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transactions_id_and_a_clients_key_cannot_meet() {
    let shop = Shop::open().await;
    let body = |price: f64, instance: Option<&str>| {
        let mut body = json!({ "seller_id": 1, "product_id": 1, "price": price, "version": "1" });
        instance.into_iter().for_each(|instance| body["instanceId"] = instance.into());
        body
    };
    let mut position = String::new();
    for (key, instance, price) in [(None, Some("77"), 3.0), (Some("change-price:77"), None, 4.0), (Some("77"), None, 5.0), (Some("77"), Some("78"), 6.0)] {
        let headers: Vec<(&str, &str)> = key.into_iter().map(|key| ("idempotency-key", key)).collect();
        let answer = shop.send(Method::PATCH, "/product", &headers, body(price, instance)).await;
        answer.headers()["daybook-position"].to_str().unwrap().clone_into(&mut position);
        assert_eq!(answer.status(), StatusCode::OK, "{key:?} {instance:?}: {}", answer.text().await.unwrap());
    }
    let product = shop.send(Method::GET, "/products/1-1", &[("daybook-position", &position)], Value::Null).await;
    assert_eq!(product.json::<Value>().await.unwrap()["revision"], 5);
    let again = shop.send(Method::PATCH, "/product", &[], body(9.0, Some("77"))).await;
    assert_eq!(again.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

/// What the version before wrote when a client's key was the command's id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_across_the_upgrade_gets_its_first_answer() {
    let mut shop = Shop::open().await;
    let version = shop.caller.get("/inspect/stock-item/1-1").await["version"].as_u64().unwrap() + 1;
    assert!(shop.server.stop());
    {
        let log = at_rest(&shop);
        let partition = partition_of(b"1", log.partitions());
        let (kind, body) = StockItem::encode_command(&Command::Receive { quantity: 5, reference: "old".into() });
        let command = Envelope::new("old key", "/stock/http", kind, "1-1");
        let (kind, event) = StockItem::encode_event(&Event::Received { quantity: 5, reference: "old".into() });
        let mut envelope = Envelope::new("an event", "/stock/stock", kind, "1-1");
        (envelope.version, envelope.time) = (Some(version), Some(log.now()));
        (envelope.causation, envelope.body_hash) = (Some("old key".into()), Some(fingerprint::sent(&command, &body)));
        let message = Message { topic: topic(Stream::Events("stock")), partition, key: b"1".to_vec(), headers: envelope.headers(), value: Some(event) };
        log.append(vec![message]).unwrap();
    }
    shop.server.start();
    let receipt = |quantity: u32| json!({ "quantity": quantity, "reference": "old" });
    let headers = [("idempotency-key", "old key"), WAIT];
    for _ in 0..2 {
        let answer = shop.send(Method::POST, "/stock/1-1/receipts", &headers, receipt(5)).await;
        let place = answer.headers()["location"].to_str().unwrap().to_owned();
        let (status, answer) = (answer.status(), answer.json::<Value>().await.unwrap());
        assert_eq!((status, answer["version"].as_u64()), (StatusCode::OK, Some(version)), "{answer}");
        let found = shop.send(Method::GET, &place, &[WAIT], Value::Null).await;
        assert_eq!(found.status(), StatusCode::OK, "{place}: {}", found.text().await.unwrap());
    }
    let partition = partition_of(b"1", 8).0;
    assert_eq!(shop.send(Method::GET, &format!("/commands/stock.{partition}.old%20key"), &[], Value::Null).await.status(), StatusCode::OK);
    let taken = shop.send(Method::POST, "/stock/1-1/receipts", &headers[..1], receipt(5)).await;
    let place = taken.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(shop.send(Method::GET, &place, &[WAIT], Value::Null).await.status(), StatusCode::OK, "{place}");
    let (status, other) = problem(shop.send(Method::POST, "/stock/1-1/receipts", &headers, receipt(6)).await).await;
    assert_eq!((status, other["code"].as_str()), (422, Some("id-used")));
    assert_eq!(shop.caller.get("/stock/1-1").await["received"], 15);
    shop.server.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commands_end_is_told_whatever_it_is() {
    let mut shop = Shop::open().await;
    assert!(shop.server.stop());
    let partition = partition_of(b"1", 8);
    let wrong = Partition((partition.0 + 1) % 8);
    {
        let log = at_rest(&shop);
        let (kind, body) = StockItem::encode_command(&Command::Receive { quantity: 5, reference: "stray".into() });
        let stray = Message {
            topic: topic(Stream::Commands("stock")),
            partition: wrong,
            key: b"1".to_vec(),
            headers: Envelope::new("stray", "/outside", kind, "1-1").headers(),
            value: Some(body),
        };
        let broken = Message {
            partition,
            headers: Envelope::new("broken", "/outside", Envelope::read(&stray.headers).unwrap().kind, "1-1").headers(),
            value: Some(b"{".to_vec()),
            ..stray.clone()
        };
        // As a version that left no word of it has left it.
        let letter = Message {
            topic: topic(Stream::DeadLetters("stock")),
            partition,
            headers: [("ce_id", "long ago"), ("dlt-reason", "panicked"), ("dlt-detail", "a broken rule")].into_iter().collect(),
            ..broken.clone()
        };
        log.append(vec![stray, broken, letter]).unwrap();
    }
    shop.server.start();
    let get = async |name: String| {
        let (status, answer) = problem(shop.send(Method::GET, &format!("/commands/{name}"), &[WAIT], Value::Null).await).await;
        (status, answer["code"].as_str().unwrap_or_default().to_owned(), answer["detail"].as_str().unwrap_or_default().to_owned())
    };
    let (status, code, detail) = get(format!("stock.{}.stray", wrong.0)).await;
    assert!(status == 422 && code == "misrouted" && detail.contains("key '1' belongs to partition"), "{status} {code} {detail}");
    let (status, code, _) = get(format!("stock.{}.broken", partition.0)).await;
    assert_eq!((status, code.as_str()), (422, "malformed"));
    let quick = async |name: String| shop.send(Method::GET, &format!("/commands/{name}"), &[], Value::Null).await.status().as_u16();
    assert_eq!(quick(format!("stock.{}.long%20ago", partition.0)).await, 422);
    for never in [format!("stock.{}.never", partition.0), "cart.3.never".to_owned(), "ordering.0.stray".to_owned()] {
        assert_eq!(quick(never.clone()).await, 404, "{never}");
    }
    for wrong in ["stock.8.never", "stock.-1.never", "nobody.0.never", "stock"] {
        assert_eq!(quick(wrong.to_owned()).await, 400, "{wrong}");
    }
    // Mended and sent again under its id it has another end.
    let retried = shop.send(Method::POST, &format!("/dead-letters/stock/{}/0/retry", wrong.0), &[], Value::Null).await;
    assert_eq!(retried.status(), StatusCode::OK, "{}", retried.text().await.unwrap());
    let found = shop.send(Method::GET, &format!("/commands/stock.{}.stray", partition.0), &[WAIT], Value::Null).await;
    assert_eq!(found.status(), StatusCode::OK);
    shop.server.verify();
}

/// A command made inside that went wrong, retried by two operators: twice the quantity would be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_twice_has_one_effect() {
    let mut shop = Shop::open().await;
    shop.fill(7, "known").await;
    assert!(shop.server.stop());
    let wrong = Partition((partition_of(b"7", 8).0 + 1) % 8);
    {
        let log = at_rest(&shop);
        let price = Money::parse("2.55", Currency::USD).unwrap();
        let free = Money::parse("0", Currency::USD).unwrap();
        let line = Line {
            product: "1-1".parse().unwrap(),
            name: "lamp".into(),
            quantity: 3,
            unit_price: price,
            freight: free,
            voucher: free,
            version: None,
            agreed: false,
        };
        let (kind, body) = Cart::encode_command(&cart::Command::Add { lines: vec![line], reference: None });
        let mut envelope = Envelope::new("derived", "/cart/some-policy", kind, "7");
        (envelope.causation, envelope.correlation) = (Some("an event".into()), Some("root".into()));
        let mut headers = envelope.headers();
        sign(&log.secret(), b"7", &mut headers, &body);
        log.append(vec![Message { topic: topic(Stream::Commands("cart")), partition: wrong, key: b"7".to_vec(), headers, value: Some(body) }]).unwrap();
    }
    shop.server.start();
    let deadline = std::time::Instant::now() + PATIENCE;
    while shop.caller.get("/dead-letters?service=cart").await["items"].as_array().unwrap().is_empty() {
        assert!(std::time::Instant::now() < deadline, "no dead letter");
    }
    for _ in 0..3 {
        let retried = shop.send(Method::POST, &format!("/dead-letters/cart/{}/0/retry", wrong.0), &[], Value::Null).await;
        assert_eq!(retried.status(), StatusCode::OK, "{}", retried.text().await.unwrap());
    }
    shop.fill(7, "after").await; // decided behind them
    let cart = shop.caller.get("/carts/7").await;
    assert_eq!(cart["items"][0]["quantity"], 2 + 3 + 2, "{cart}");
    shop.server.verify();
    assert!(shop.server.stop());
    let log = at_rest(&shop);
    let left = log.read(&topic(Stream::Commands("cart")), partition_of(b"7", 8), Offset(0), Limits::default()).unwrap().records;
    assert!(left.iter().filter(|record| record.headers.text("ce_id") == Some("derived")).count() == 3);
}
