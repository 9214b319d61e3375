//! A saga that waits: listed, given up by hand, and nothing left behind when those it waited for are back.

use crate::operate::{done, fails, fill, json_of, run, until};
use crate::process::{Caller, PATIENCE, Server, binary};
use daybook::http::gate::{Gate, Hosts};
use daybook::keys::KeyOrigin;
use daybook::location::LogLocation;
use daybook::runtime::{IdentityStart, Platform, Signals, Start};
use daybook::sealing::SealingStart;
use eventstore::embedded::{Embedded, Settings};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// A marketplace of which some services are away, in this process.
async fn half(data: &Path, runs: &[&str]) -> (Platform, tokio::task::JoinHandle<()>, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let runs: Vec<String> = runs.iter().map(|name| (*name).to_owned()).collect();
    let start = Start {
        data: data.to_path_buf(),
        log: LogLocation::here(None, false).unwrap(),
        rules: marketplace::APPLICATION.rules,
        homeless: vec![],
        runs: Some(runs),
        keys: vec![(marketplace::card::KEY, KeyOrigin::Kept)],
        capabilities: marketplace::APPLICATION.services(),
        sealing: SealingStart::off(data),
        identity: IdentityStart::of(&marketplace::APPLICATION),
        memory: daybook::budget::USUAL,
        version: marketplace::APPLICATION.version,
        spans: daybook::telemetry::Spans::default(),
    };
    let (platform, routes) = tokio::task::block_in_place(|| Platform::start(start, &Signals::default()).unwrap());
    while !platform.app.metrics.standing.ready() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let gate = Gate::new(Hosts::new(listener.local_addr().unwrap(), None, &[]));
    let router =
        daybook::http::router(platform.app.clone(), &daybook::documents::routes(&marketplace::APPLICATION, routes), gate, daybook::http::Whose::Everyone);
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (platform, server, url)
}

/// Waits until the last connection's task has let go of the log.
async fn platform_closed(data: &Path) {
    until("closed", || Embedded::open(&data.join("log"), Settings::default()).ok().map(|_| Value::Null)).await;
}

/// The order among the sagas that wait.
fn waiting(url: &str, filter: &[&str]) -> Option<Value> {
    let listed = json_of(url, &[&["sagas", "list"], filter].concat());
    listed["items"].as_array().unwrap().iter().find(|saga| saga["id"] == "order/1-1").cloned()
}

/// An order that stock does not answer is listed, ended by hand, and nothing is left behind when stock is back.
pub async fn given_up(url: &str, caller: &Caller) {
    done(caller, Method::PUT, "/products/1-1", "product", json!({ "name": "lamp", "price": "2.55" })).await;
    fill(caller, "").await;
    let sent = caller
        .client
        .post(format!("{url}/carts/1/checkout"))
        .header("idempotency-key", "checkout")
        .json(&json!({ "payment_type": "BOLETO" }))
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), StatusCode::ACCEPTED);
    let saga = until("listed", || waiting(url, &["--stuck", "0"])).await;
    let begun = caller.get(sent.headers()["location"].to_str().unwrap()).await;
    assert_eq!(begun["outcome"], "pending", "accepted, and its order has not ended: {begun}");
    assert_eq!((&saga["waits_for"], &saga["status"], &saga["overdue"]), (&json!("stock's answer for line 0"), &json!("Reserving"), &json!(false)));
    assert!(saga["since"].is_string() && saga["deadline"].is_string() && saga["service"] == "ordering", "{saga}");
    assert_eq!((waiting(url, &["--stuck"]), waiting(url, &["--stuck", "3600"])), (None, None), "it has not waited that long");
    let (code, out, _) = run(url, &["sagas", "list"]);
    assert!(code == 0 && out.contains("order/1-1") && out.contains("stock's answer"), "{out}");

    fails(url, &["sagas", "end", "order/1-1"], 2, "--refuse");
    fails(url, &["sagas", "end", "order/9-9", "--refuse"], 1, "no such order");
    fails(url, &["sagas", "end", "cart/1", "--refuse"], 1, "no saga that can be given up");
    fails(url, &["sagas", "end", "ordre/1-1", "--refuse"], 2, "no aggregate 'ordre'");
    let (code, out, err) = run(url, &["sagas", "end", "order/1-1", "--refuse", "--actor", "ada", "--reason", "stock is away"]);
    assert!(code == 0 && out.contains("order/1-1 gives up (version 2)"), "{out}{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saga_that_waits_is_listed_and_given_up() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    // Neither stock nor payment: it is reserving, and then cancelling, for as long as we look.
    let (platform, server, url) = half(&data, &["catalog", "cart", "ordering"]).await;
    given_up(&url, &Caller::new(&url)).await;
    let saga = until("cancelling", || waiting(&url, &[]).filter(|saga| saga["status"] == "Cancelling")).await;
    assert_eq!((&saga["waits_for"], &saga["deadline"], &saga["version"]), (&json!("payment's decision on cancelling"), &Value::Null, &json!(2)));
    let (_, out, _) = run(&url, &["sagas", "end", "order/1-1", "--refuse"]);
    assert!(out.contains("version 2"), "given up twice, it took another step: {out}");
    server.abort();
    tokio::task::block_in_place(|| platform.stop(PATIENCE)).unwrap();
    drop((server.await, platform_closed(&data).await));

    // The others come back, all in the real process.
    let mut server = Server::started(binary(), &data);
    is_given_up(&server.url, &Caller::new(&server.url), None).await;
    assert_eq!(server.verify()["matches"], true);
    assert!(server.stop());
}

/// The order has ended unpaid, its audit trail says who ended it, stock holds nothing for it, and the cart is open again.
pub async fn is_given_up(url: &str, caller: &Caller, stock: Option<&str>) {
    let ended = until("expired", || Some(json_of(url, &["inspect", "order/1-1"])).filter(|shown| shown["state"]["status"] == "Expired")).await;
    let asked = ended["history"].as_array().unwrap().iter().find(|step| step["event"] == "cancellation-asked").unwrap();
    assert_eq!(asked["actor"], "ada: stock is away");
    done(caller, Method::POST, "/stock/1-1/receipts", "receipt", json!({ "quantity": 10, "reference": "first" })).await;
    let item = until("released", || {
        let (code, out, _) = run(url, &["inspect", "stock-item/1-1", "-o", "json"]);
        let item: Value = if code == 0 { serde_json::from_str(&out).unwrap() } else { Value::Null };
        // Its first product has a version once stock has followed the catalog.
        let settled = !item["state"]["version"].is_null()
            && item["state"]["reserved"] == 0
            && item["state"]["received"] == 10
            && item["state"]["reservations"] == json!({});
        settled.then_some(item)
    })
    .await;
    assert_eq!((&item["owner"], &item["state"]["sold"]), (&json!(stock), &json!(0)));
    assert!(waiting(url, &[]).is_none());
    fails(url, &["sagas", "end", "order/1-1", "--refuse"], 1, "the order is Expired");
    fill(caller, "again").await;
    let paid = done(caller, Method::POST, "/carts/1/checkout", "again", json!({ "payment_type": "BOLETO" })).await;
    let history = json_of(url, &["inspect", "order/1-2"]);
    assert_eq!((&paid["ended"], &paid["id"]), (&json!("paid"), &json!("1-2")), "{history}");
}
