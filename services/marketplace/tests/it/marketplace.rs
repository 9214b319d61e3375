//! The marketplace past its payments, over HTTP: shipments, deliveries, refunds, the seller's view; and a directory that
//! was written before any of them was known.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Caller, PATIENCE, Server, binary};

async fn done(caller: &Caller, method: Method, path: &str, id: &str, body: Value) -> Value {
    let (status, answer) = caller.command(method, path, id, body).await;
    assert!(status.is_success(), "{path}: {status} {answer}");
    answer
}

/// Waits until its view has heard of it.
async fn until_known(caller: &Caller, path: &str) {
    let deadline = Instant::now() + PATIENCE;
    while caller.client.get(format!("{}{path}", caller.url())).send().await.unwrap().status() == StatusCode::NOT_FOUND {
        assert!(Instant::now() < deadline, "{path} is not known");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn events(history: &Value) -> Vec<&str> {
    let items = history["items"].as_array().unwrap();
    assert!(items.iter().zip(1..).all(|(step, version)| step["version"] == version), "{history}");
    items.iter().map(|step| step["event"].as_str().unwrap()).collect()
}

/// What the directory holds: three orders of three lanterns (seller 1) and two hooks (seller 2), the second not paid.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_from_before_shipments_opens_and_goes_on() {
    let dir = TempDir::new().unwrap();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/before-shipments.tar.gz");
    assert!(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(dir.path()).status().unwrap().success(), "tar unpacks it");
    let mut server = Server::started(binary(), &dir.path().join("before-shipments"));
    let caller = Caller::new(&server.url);
    // What was paid is sent now, and sellers see it; what was not is neither.
    for order in ["17-1", "19-1"] {
        caller.until(&format!("/orders/{order}"), |row| row["shipment"] == "approved" && row["total"] == "9.65").await;
        until_known(&caller, &format!("/shipments/{order}")).await;
        until_known(&caller, &format!("/payments/{order}")).await;
        let sent = caller.get(&format!("/shipments/{order}")).await;
        assert_eq!((sent["status"].as_str(), sent["packages"].as_array().unwrap().len()), (Some("approved"), 2), "{sent}");
        assert_eq!(caller.get(&format!("/payments/{order}")).await["captured"], "9.65");
    }
    assert_eq!(caller.get("/orders/18-1").await["shipment"], Value::Null);
    let dashboard = caller.until("/sellers/1/dashboard", |shown| shown["totals"][0]["orders"] == 2).await;
    assert_eq!((dashboard["totals"][0]["invoice"].as_str(), dashboard["lines"].as_array().unwrap().len()), (Some("16.30"), 2), "{dashboard}");
    caller.until("/customers/18/statistics", |row| row["payments_failed"] == 1).await;
    // And it goes on.
    let body = json!({ "items": [{ "product": "1-1", "quantity": 1, "unit_price": "2.55", "currency": "GBP" }] });
    done(&caller, Method::POST, "/carts/17/items", "more", body).await;
    let ended = done(&caller, Method::POST, "/carts/17/checkout", "out", json!({ "payment_type": "BOLETO", "city": "Oslo" })).await;
    assert_eq!((ended["id"].as_str(), ended["ended"].as_str()), (Some("17-2"), Some("paid")), "{ended}");
    server.verify();
    assert!(server.stop());
    server.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paid_orders_are_sent_delivered_and_refunded() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::started(binary(), &dir.path().join("data"));
    let caller = Caller::new(&server.url);
    for seller in [1, 2] {
        done(&caller, Method::PUT, &format!("/sellers/{seller}"), &format!("seller {seller}"), json!({ "name": "Ann", "company_name": "Ann's" })).await;
        let product = json!({ "name": "lamp", "price": "2.55", "freight_value": "0.50", "currency": "GBP" });
        done(&caller, Method::PUT, &format!("/products/{seller}-1"), &format!("product {seller}"), product).await;
        let delivery = json!({ "quantity": 10, "reference": "first" });
        done(&caller, Method::POST, &format!("/stock/{seller}-1/receipts"), &format!("stock {seller}"), delivery).await;
    }
    let line = |seller: u64| json!({ "product": format!("{seller}-1"), "quantity": 3, "unit_price": "2.55", "freight_value": "0.50", "voucher": "1.00", "currency": "GBP" });
    let items = json!({ "items": [line(1), line(2)] });
    for attempt in 0.. {
        let (status, answer) = caller.command(Method::POST, "/carts/17/items", &format!("items {attempt}"), items.clone()).await;
        if status == StatusCode::OK {
            break;
        }
        assert!(answer["code"] == "unknown-product" && attempt < 200, "{answer}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let card = json!({ "payment_type": "CREDIT_CARD", "card_number": "4111111111111111", "card_brand": "visa", "city": "Oslo" });
    done(&caller, Method::POST, "/carts/17/checkout", "out", card).await;
    // 2 x (3 x 2.55 + 0.50 - 1.00)
    caller.until("/orders/17-1", |row| row["shipment"] == "approved" && row["total"] == "14.30").await;
    let shown = caller.until("/sellers/1/dashboard", |shown| shown["lines"][0]["status"] == "shipped").await;
    assert_eq!((shown["totals"][0]["invoice"].as_str(), shown["left_off"].as_i64()), (Some("7.15"), Some(0)), "{shown}");

    // One piece of seller 1's line comes back, then the rest: its package is called back. Not a penny more than was paid.
    let refund = |reference: &str, line: u64, quantity: u64| json!({ "reference": reference, "lines": [{ "line": line, "quantity": quantity }] });
    done(&caller, Method::POST, "/orders/17-1/refunds", "one", refund("one", 0, 1)).await;
    // 7.15 / 3: a third comes back, freight and discount with it; what is left is what the seller sees.
    let left = caller.until("/sellers/1/dashboard", |shown| shown["lines"][0]["quantity"] == 2).await;
    let amounts = ["unit_price", "freight_value", "discount", "invoice"].map(|amount| left["lines"][0][amount].as_str().unwrap().to_owned());
    assert_eq!((amounts, left["totals"][0]["invoice"].as_str()), (["2.55", "0.34", "0.67", "4.77"].map(str::to_owned), Some("4.77")), "{left}");
    caller.until("/orders/17-1", |row| row["refunded"] == "2.38" && row["lines"][0]["refunded"] == "2.38").await;
    done(&caller, Method::POST, "/orders/17-1/refunds", "one again", refund("one", 0, 1)).await; // the reference knows itself
    done(&caller, Method::POST, "/orders/17-1/refunds", "two", refund("two", 0, 2)).await;
    let (status, answer) = caller.command(Method::POST, "/orders/17-1/refunds", "three", refund("three", 0, 1)).await;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::CONFLICT, Some("over-returned")), "{answer}");
    caller.until("/orders/17-1", |row| row["refunded"] == "7.15" && row["refunding"] == "0.00").await;
    caller.until("/payments/17-1", |row| row["refunded"] == "7.15").await;
    caller.until("/stock/1-1", |item| item["available"] == 10 && item["returned"] == 3 && item["sold"] == 0).await;
    caller.until("/sellers/1/dashboard", |shown| shown["totals"] == json!([]) && shown["lines"] == json!([])).await;
    caller.until("/shipments/17-1", |sent| sent["packages"][0]["status"] == "cancelled").await;

    let made = caller.get("/orders/17-1/refunds").await;
    let told = |refund: &Value| (refund["reference"].clone(), refund["lines"].clone(), refund["amount"].clone(), refund["done"].clone());
    let expected = [("one", 1, "2.38"), ("two", 2, "4.77")]
        .map(|(reference, quantity, amount)| (json!(reference), json!([{ "line": 0, "quantity": quantity }]), json!(amount), json!(true)));
    assert_eq!(made["items"].as_array().unwrap().iter().map(told).collect::<Vec<_>>(), expected);

    // A run delivers what is on its way, once, under its transaction id, on either route.
    done(&caller, Method::POST, "/deliveries/t_1", "run", json!({})).await;
    until_known(&caller, "/deliveries/t_1").await;
    assert_eq!(caller.get("/deliveries/t_1").await["packages"], json!([{ "order": "17-1", "seller": 2, "lines": [1] }]));
    let again = caller.client.patch(format!("{}/shipment/t_1", server.url)).send().await.unwrap();
    assert_eq!((again.status(), caller.get("/deliveries/t_1").await["revision"].as_u64()), (StatusCode::OK, Some(1)));
    caller.until("/orders/17-1", |row| row["shipment"] == "concluded" && row["lines"][1]["delivered"] == true).await;
    caller.until("/shipments/17-1", |sent| sent["status"] == "concluded").await;
    caller.until("/sellers/2/dashboard", |shown| shown["lines"] == json!([])).await;
    let statistics = caller.until("/customers/17/statistics", |row| row["deliveries"] == 1).await;
    assert_eq!(["orders", "payments_succeeded", "payments_failed", "refunds"].map(|count| statistics[count].as_u64()), [Some(1), Some(1), Some(0), Some(2)]);

    let (order, payment, shipment) =
        (caller.get("/orders/17-1/history").await, caller.get("/payments/17-1/history").await, caller.get("/shipments/17-1/history").await);
    assert_eq!(events(&payment), ["captured", "refunded", "refunded"]);
    assert_eq!(events(&shipment), ["created", "cancelled", "delivered"]);
    let order = events(&order);
    let place = |event: &str| order.iter().position(|step| *step == event).unwrap();
    assert!(place("paid") < place("shipped") && place("shipped") < place("line-delivered"), "{order:?}");
    server.verify();
    assert!(server.stop());
}

/// The benchmark's driver: its names in any letter case, and its view's two parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_benchmarks_seller_and_dashboard() {
    let dir = TempDir::new().unwrap();
    let server = Server::started(binary(), &dir.path().join("data"));
    let caller = Caller::new(&server.url);
    let post = async |path: &str, body: Value| {
        let answer = caller.client.post(format!("{}{path}", server.url)).json(&body).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    let seller = json!({ "Id": 3, "Name": "Ann", "CompanyName": "Ann's", "ZipCode": "0150", "CPF": "1" });
    assert_eq!(post("/seller", seller.clone()).await.0, StatusCode::CREATED);
    assert_eq!(post("/seller", seller).await.0, StatusCode::CREATED, "the same again");
    until_known(&caller, "/sellers/3").await;
    let known = caller.get("/sellers/3").await;
    assert_eq!(["name", "company_name", "zip_code", "cpf"].map(|field| known[field].as_str().unwrap()), ["Ann", "Ann's", "0150", "1"]);
    let product = json!({ "Seller_Id": 3, "ProductId": 1, "name": "lamp", "price": 2.55, "freight_value": 0.5, "version": "1" });
    assert_eq!(post("/product", product).await.0, StatusCode::CREATED);
    assert_eq!(post("/stock", json!({ "SellerId": 3, "ProductId": 1, "QtyAvailable": 10 })).await.0, StatusCode::CREATED);
    let item =
        json!({ "SellerId": 3, "ProductId": 1, "ProductName": "lamp", "UnitPrice": 2.55, "FreightValue": 0.5, "Quantity": 2, "Voucher": 0, "Version": "1" });
    for attempt in 0.. {
        let answer = caller.client.patch(format!("{}/cart/9/add", server.url)).json(&item).send().await.unwrap();
        if answer.status().is_success() {
            break;
        }
        assert!(attempt < 200, "{}", answer.text().await.unwrap());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let checkout =
        json!({ "CustomerId": 9, "FirstName": "A", "LastName": "B", "City": "Oslo", "PaymentType": "BOLETO", "Installments": 1, "instanceId": "44" });
    assert!(post("/cart/9/checkout", checkout).await.0.is_success());
    let shown = caller.until("/seller/dashboard/3", |shown| shown["sellerView"]["count_orders"] == 1).await;
    assert_eq!((shown["sellerView"]["total_invoice"].as_f64(), shown["orderEntries"][0]["total_invoice"].as_f64()), (Some(5.6), Some(5.6)), "{shown}");
}
