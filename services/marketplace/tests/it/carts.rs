//! What a cart shows is what its checkout charges; totals and numbers have bounds, and no view dies of them.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Caller, PATIENCE, Server, binary};

async fn done(caller: &Caller, method: Method, path: &str, id: &str, body: Value) -> Value {
    let deadline = Instant::now() + PATIENCE;
    for attempt in 0.. {
        let (status, answer) = caller.command(method.clone(), path, &format!("{id} {attempt}"), body.clone()).await;
        if status.is_success() {
            return answer;
        }
        assert!(answer["code"] == "unknown-product" && Instant::now() < deadline, "{path}: {status} {answer}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cart_shows_what_will_be_charged() {
    let dir = TempDir::new().unwrap();
    let server = Server::started(binary(), &dir.path().join("data"));
    let caller = Caller::new(&server.url);
    let product = |price: &str, freight: &str, currency: &str, version: &str| json!({ "name": "lamp", "price": price, "freight_value": freight, "currency": currency, "version": version });
    for (id, body) in [
        ("1-1", product("2.00", "0.10", "GBP", "1")),
        ("1-2", product("3.00", "0.20", "EUR", "1")),
        ("1-3", product("4.00", "0.30", "GBP", "1")),
        ("1-4", product("5.00", "0.40", "GBP", "1")),
    ] {
        done(&caller, Method::PUT, &format!("/products/{id}"), id, body).await;
        done(&caller, Method::POST, &format!("/stock/{id}/receipts"), &format!("stock {id}"), json!({ "quantity": 100, "reference": "r" })).await;
    }
    let item = |product: &str, more: Value| {
        let mut item = json!({ "product": product, "quantity": 2, "unit_price": "2.00", "freight_value": "0.10", "voucher": "0.40", "currency": "GBP" });
        item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        item
    };
    // The same twice: its vouchers add up, its freight does not. Two versions: two lines. Seen in other money, withdrawn: left
    // behind. Dearer by now. A voucher of more than the price.
    let items = [
        item("1-1", json!({})),
        item("1-1", json!({ "freight_value": "9.00" })),
        item("1-1", json!({ "version": "1" })),
        item("1-1", json!({ "agreed_price": "2.00", "voucher": "900.00" })),
        item("1-2", json!({})),
        item("1-3", json!({})),
        item("1-4", json!({ "unit_price": "5.00" })),
    ];
    for (at, item) in items.into_iter().enumerate() {
        done(&caller, Method::POST, "/carts/7/items", &format!("item {at}"), json!({ "items": [item] })).await;
    }
    done(&caller, Method::DELETE, "/products/1-3", "gone", json!({})).await;
    done(&caller, Method::POST, "/products/1-4/price", "dearer", json!({ "price": "6.50", "currency": "GBP" })).await;
    let settled = |cart: &Value| {
        cart["dropped"].as_array().is_some_and(|dropped| dropped.len() == 2)
            && cart["items"].as_array().unwrap().iter().any(|item| item["unit_price"] == "6.50")
    };
    let cart = caller.until("/carts/7", settled).await;
    assert_eq!(cart["items"][0]["voucher"], "0.80", "{cart}");
    let sold = done(&caller, Method::POST, "/carts/7/checkout", "out", json!({ "payment_type": "BOLETO" })).await;
    let order = caller.get(&format!("/orders/{}", sold["id"].as_str().unwrap())).await;
    let fields = ["product", "version", "name", "quantity", "unit_price", "freight_value", "voucher"];
    let lines = |rows: &Value| -> Vec<Vec<Value>> { rows.as_array().unwrap().iter().map(|row| fields.map(|field| row[field].clone()).to_vec()).collect() };
    assert_eq!(lines(&cart["items"]), lines(&order["lines"]));
    for field in ["items_total", "freight_total", "discount_total", "total", "dropped"] {
        assert_eq!(cart[field], order[field], "{field}: {cart} {order}");
    }
    assert_eq!(caller.get("/carts/7").await["items"], json!([]));
    server.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_have_bounds_where_they_enter() {
    let dir = TempDir::new().unwrap();
    let server = Server::started(binary(), &dir.path().join("data"));
    let caller = Caller::new(&server.url);
    let lamp = json!({ "name": "lamp", "price": "100000000.00", "freight_value": "0.00", "currency": "GBP" });
    let most = u64::MAX;
    for (method, path, body) in [
        (Method::PUT, format!("/sellers/{most}"), json!({ "name": "Ann" })),
        (Method::PUT, format!("/customers/{most}"), json!({ "first_name": "Ann" })),
        (Method::PUT, format!("/products/{most}-1"), lamp.clone()),
        (Method::PUT, format!("/products/1-{most}"), lamp.clone()),
        (Method::POST, format!("/stock/{most}-1/receipts"), json!({ "quantity": 1, "reference": "r" })),
        (
            Method::POST,
            "/carts/7/items".to_owned(),
            json!({ "items": [{ "product": format!("{most}-1"), "quantity": 1, "agreed_price": "1", "currency": "GBP" }] }),
        ),
        (Method::POST, format!("/carts/{most}/items"), json!({ "items": [{ "product": "1-1", "quantity": 1, "agreed_price": "1", "currency": "GBP" }] })),
    ] {
        let (status, answer) = caller.command(method, &path, &path, body).await;
        assert_eq!((status, answer["code"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("id-out-of-range")), "{path}: {answer}");
    }
    // Highest numbers that may be, to the end of a delivery.
    let high = domain::ID_MAX;
    let product = format!("{high}-{high}");
    done(&caller, Method::PUT, &format!("/products/{product}"), "p", lamp).await;
    let items: Vec<Value> =
        (1..=90).map(|price| json!({ "product": product, "quantity": 100, "agreed_price": format!("{}.00", 1_000_000 - price), "currency": "GBP" })).collect();
    let sale = json!({ "items": items, "checkout": { "payment_type": "BOLETO", "reference": "high" } });
    caller.until("/stock?limit=10", |stock| stock["items"][0]["version"] == "1").await;
    for order in 0..5 {
        let ended = done(&caller, Method::POST, &format!("/carts/{high}/sales"), &format!("sale {order}"), sale.clone()).await;
        assert_eq!(ended["ended"], "paid");
    }
    let shown = caller.until(&format!("/sellers/{high}/dashboard"), |shown| shown["totals"][0]["orders"] == 5).await;
    assert_eq!(shown["totals"][0]["invoice"], "44997952500.00", "{}", shown["totals"]);
    done(&caller, Method::POST, "/deliveries/t1", "t1", json!({})).await;
    caller.until(&format!("/sellers/{high}/dashboard"), |shown| shown["totals"][0]["orders"] == 4).await;
    // One that would cost more is refused, whatever its lines are.
    let dear: Vec<Value> = (0..100)
        .map(|price| json!({ "product": product, "quantity": 100_000, "agreed_price": format!("{}.00", 99_999_999 - price), "currency": "GBP" }))
        .collect();
    for (path, body) in [
        (format!("/carts/{high}/sales"), json!({ "items": dear, "checkout": { "payment_type": "BOLETO" } })),
        (format!("/carts/{high}/items"), json!({ "items": dear })),
        (format!("/carts/{high}/checkout"), json!({ "payment_type": "BOLETO" })),
    ] {
        let (status, answer) = caller.command(Method::POST, &path, &format!("dear {path}"), body).await;
        let refused = (StatusCode::UNPROCESSABLE_ENTITY, Some("total-out-of-range"));
        assert!(path.ends_with("items") || (status, answer["code"].as_str()) == refused, "{path}: {answer}");
    }
    server.verify();
}
