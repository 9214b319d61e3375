//! As of then: what a route of one aggregate answers for a version or a time is what it answered at that time. Its plain answers are
//! written down while a story runs, by somebody who asks all the while, and held against all that is said of them afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daybook::http::route::{Kind, Routes};
use marketplace::APPLICATION;
use parking_lot::Mutex;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::broker::Broker;
use crate::identity::people::PASSWORD;
use crate::operate::{fails, json_of, run};
use crate::postgres::Database;
use crate::process::{Caller, PATIENCE, Server, binary, daybook, http};

/// Status, entity tag as a version, and body.
type Answer = (u16, Option<u64>, Value);

/// Routes' plain answers by path and version: the first of each.
type Told = Arc<Mutex<BTreeMap<(String, u64), Value>>>;

async fn ask(client: &Client, url: &str) -> Answer {
    let answer = client.get(url).send().await.unwrap();
    let tag = answer.headers().get("etag").map(|tag| tag.to_str().unwrap().trim_matches('"').parse().unwrap());
    let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    (status, tag, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Asks these again and again, and writes down what is new.
async fn listen(client: Client, url: String, paths: Vec<String>, told: Told) {
    loop {
        for path in &paths {
            if let (200, Some(version), body) = ask(&client, &format!("{url}{path}")).await {
                told.lock().entry((path.clone(), version)).or_insert(body);
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn lamp(name: &str, version: &str) -> Value {
    json!({ "name": name, "price": "2.00", "freight_value": "0.10", "currency": "GBP", "version": version })
}

fn opinion(stars: u64) -> Value {
    json!({ "stars": stars, "title": "Bright", "text": "It shines." })
}

fn within(path: &str, declared: &str) -> bool {
    let (path, declared): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), declared.split('/').collect());
    path.len() == declared.len() && path.iter().zip(declared).all(|(part, of)| of.starts_with('{') || *part == of)
}

/// Something of everything happens.
async fn story(caller: &Caller, url: &str, account: &str, told: &Told) {
    let done = async |method: Method, path: &str, id: &str, body: Value| caller.accepted(method, path, id, body).await;
    for (n, name) in ["Rose Lamps", "Rose and Daughters"].into_iter().enumerate() {
        done(Method::PUT, "/sellers/42", &format!("seller {n}"), json!({ "name": name, "email": "rose@example.com" })).await;
        done(Method::PUT, "/customers/17", &format!("anna {n}"), json!({ "first_name": "Anna", "last_name": name })).await;
        done(Method::PUT, "/customers/18", &format!("bert {n}"), json!({ "first_name": "Bert", "last_name": name })).await;
    }
    done(Method::PUT, "/products/42-1", "lamp", lamp("Lantern", "1")).await;
    done(Method::POST, "/stock/42-1/receipts", "receipt", json!({ "quantity": 10, "reference": "r" })).await;
    let item = json!({ "items": [{ "product": "42-1", "quantity": 3, "unit_price": "2.00", "freight_value": "0.10", "currency": "GBP" }] });
    done(Method::POST, "/carts/17/items", "item", item).await;
    let began = Instant::now();
    while !told.lock().contains_key(&("/carts/17".to_owned(), 1)) {
        assert!(began.elapsed() < PATIENCE, "the cart is never shown");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    done(Method::POST, "/products/42-1/price", "dearer", json!({ "price": "3.00", "currency": "GBP" })).await;
    caller.until("/carts/17", |cart| cart["items"][0]["unit_price"] == "3.00").await;
    done(Method::POST, "/carts/17/checkout", "out", json!({ "payment_type": "BOLETO", "first_name": "Anna" })).await;
    caller.until("/orders/17-1", |order| order["shipment"] == "approved").await;
    done(Method::POST, "/orders/17-1/refunds", "refund", json!({ "reference": "r1", "lines": [{ "line": 0, "quantity": 1 }] })).await;
    caller.until("/orders/17-1", |order| order["lines"][0]["returned"] == 1).await;
    done(Method::POST, "/deliveries/t1", "run", json!({})).await;
    caller.until("/orders/17-1", |order| order["shipment"] == "concluded").await;
    caller.until("/customers/17/reviews", |page| page["items"].as_array().map(Vec::len) == Some(1)).await;
    done(Method::POST, "/reviews/17-42-1", "write", opinion(5)).await;
    done(Method::PUT, "/reviews/17-42-1", "edit", opinion(3)).await;
    done(Method::POST, "/sellers/42/reviews/17-42-1/answer", "answer", json!({ "text": "Thank you." })).await;
    caller.until("/products/42-1/rating", |rating| rating["average"] == "3.00").await;
    // As it was written before there were titles.
    let payloads = [("Bought", json!({ "Bought": { "order": "19-1" } })), ("Written", json!({ "Written": { "stars": 4, "text": "It shines." } }))];
    let events: Vec<Value> = payloads.iter().map(|(of, payload)| json!({ "type": of, "version": "1.0", "payload": payload })).collect();
    done(Method::POST, "/reviews/19-42-1/events", "old", json!({ "expected": 0, "events": events })).await;
    done(Method::PUT, "/reviews/19-42-1", "edit old", opinion(2)).await;
    done(Method::POST, "/products/42-1/replacement", "anew", lamp("Lantern II", "2")).await;
    done(Method::DELETE, "/products/42-1", "gone", json!({})).await;
    caller.until("/stock/42-1", |stock| stock["withdrawn"] == true).await;
    done(Method::DELETE, "/reviews/17-42-1", "back", json!({})).await;
    done(Method::POST, &format!("/identity/accounts/{account}/disable"), "shut", json!({ "reason": "a test" })).await;
    done(Method::POST, &format!("/identity/accounts/{account}/enable"), "open", json!({})).await;
    let erased = tokio::task::block_in_place(|| daybook(&binary(), &["erase", "customer/18", "--reason", "a test", "--yes", "--url", url]));
    assert!(erased.status.success(), "{}", String::from_utf8_lossy(&erased.stderr));
}

/// Paths and their aggregates.
fn routes(account: &str) -> Vec<(String, String)> {
    let all = [
        ("/products/42-1", "product/42-1"),
        ("/products/42-1/rating", "rating/42-1"),
        ("/stock/42-1", "stock-item/42-1"),
        ("/sellers/42", "seller/42"),
        ("/customers/17", "customer/17"),
        ("/carts/17", "cart/17"),
        ("/orders/17-1", "order/17-1"),
        ("/payments/17-1", "payment/17-1"),
        ("/shipments/17-1", "shipment/17-1"),
        ("/deliveries/t1", "delivery/t1"),
        ("/reviews/17-42-1", "review/17-42-1"),
        ("/reviews/19-42-1", "review/19-42-1"),
        ("/erasures/customer/18", "erasure/customer%2F18"),
    ];
    let own = (format!("/identity/accounts/{account}"), format!("user-account/{account}"));
    all.into_iter().map(|(path, aggregate)| (path.to_owned(), aggregate.to_owned())).chain([own]).collect()
}

async fn what_was_is_found(server: &Server) {
    let (url, client) = (&server.url, http().build().unwrap());
    let caller = Caller::new(url);
    let signed_up = json!({ "email": "anna@example.com", "password": PASSWORD });
    let (status, answer) = caller.command(Method::POST, "/identity/accounts", "sign up", signed_up).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let account = answer["id"].as_str().unwrap();
    let (routes, told) = (routes(account), Told::default());
    let declared = APPLICATION.services().into_iter().fold(Routes::default(), |all, capability| all.merge(capability.routes));
    for route in declared.iter().filter(|route| route.operation.kind == Kind::Row && route.path != "/customers/{id}/statistics") {
        assert!(routes.iter().any(|(path, _)| within(path, route.path)), "{} is not asked as of then", route.path);
    }
    let paths = routes.iter().map(|(path, _)| path.clone()).collect();
    let listener = tokio::spawn(listen(client.clone(), url.clone(), paths, Arc::clone(&told)));
    story(&caller, url, account, &told).await;
    for (path, _) in &routes {
        if let (200, Some(version), body) = ask(&client, &format!("{url}{path}")).await {
            told.lock().entry((path.clone(), version)).or_insert(body);
        }
    }
    listener.abort();
    let told = told.lock().clone();

    let (mut versions, mut compared) = (0, 0);
    for (path, aggregate) in &routes {
        let inspected = caller.get(&format!("/inspect/{aggregate}?limit=1000")).await;
        let times: Vec<&str> = inspected["history"].as_array().unwrap().iter().map(|step| step["at"].as_str().unwrap()).collect();
        let newest = times.len() as u64;
        assert_eq!(inspected["version"], newest, "{inspected}");
        let now = ask(&client, &format!("{url}{path}")).await;
        for (version, at) in (1..).zip(&times) {
            let was = ask(&client, &format!("{url}{path}?version={version}")).await;
            versions += 1;
            match told.get(&(path.clone(), version)) {
                Some(plain) => {
                    assert_eq!((was.0, was.1, &was.2), (200, Some(version), plain), "{path} as of version {version}");
                    compared += 1;
                }
                None if was.0 == 404 => assert!(path.starts_with("/reviews/"), "{path} {version}: {}", was.2),
                None => assert_eq!((was.0, was.1), (200, Some(version)), "{path}: {}", was.2),
            }
            // What came to be at the same instant is found as it was after all of that.
            if times.get(version as usize).is_none_or(|next| next != at) {
                let then = ask(&client, &format!("{url}{path}?at={at}")).await;
                assert_eq!(then, was, "{path} as of {at}");
            }
        }
        if now.0 == 200 {
            for as_of in [format!("version={newest}"), "at=9999-12-31T23:59:59Z".to_owned()] {
                assert_eq!(ask(&client, &format!("{url}{path}?{as_of}")).await, now, "{path} {as_of}");
            }
            let known = client.get(format!("{url}{path}?version=1")).header("if-none-match", "\"1\"").send().await.unwrap();
            let not_modified = if path.starts_with("/carts/") { 200 } else { 304 };
            assert!(path.starts_with("/reviews/") || known.status().as_u16() == not_modified, "{path}: {}", known.status());
        }
        let before = ask(&client, &format!("{url}{path}?at=2000-01-01T00:00:00Z")).await;
        assert!(before.0 == 404 && before.2["detail"].as_str().unwrap().contains(times[0]), "{path}: {}", before.2);
    }
    println!("{versions} versions of {} routes, {compared} of them were seen while they were the newest", routes.len());
    assert!(compared * 3 > versions, "only {compared} of {versions} were seen");

    // A cart as of a version shows what its buyer saw; as of a time, what was charged then.
    let partition = caller.get("/inspect/cart/17").await["partition"].clone();
    let copies = caller.get(&format!("/inspect/replica/42-1?partition={partition}")).await;
    let dearer = copies["history"].as_array().unwrap().iter().find(|step| step["event"] == "price-copied").unwrap()["at"].as_str().unwrap();
    let price = async |as_of: &str| caller.get(&format!("/carts/17?{as_of}")).await["items"][0]["unit_price"].clone();
    assert_eq!([price("version=1").await, price(&format!("at={dearer}")).await], [json!("2.00"), json!("3.00")]);
    // What was erased is no more to be found then than now; what had no title has one as of then.
    let erased = caller.get("/customers/18?version=1").await;
    assert_eq!((&erased["person"]["erased"], &erased["revision"]), (&json!(true), &json!(1)), "{erased}");
    let old = caller.get("/reviews/19-42-1?version=2").await;
    assert_eq!((&old["title"], &old["stars"]), (&json!(""), &json!(4)));
    assert_eq!(ask(&client, &format!("{url}/reviews/17-42-1")).await.0, 404, "it was taken back");
}

async fn refusals(url: &str) {
    let client = http().build().unwrap();
    let first = json_of(url, &["inspect", "product/42-1"])["history"][0]["at"].as_str().unwrap().to_owned();
    for (asked, status, pointer, said) in [
        ("/products/42-1?version=0", 404, "/query/version", "product 42-1 has no version 0: its versions are 1 to 4"),
        ("/products/42-1?version=5", 404, "/query/version", "its versions are 1 to 4"),
        ("/products/42-1?version=-1", 400, "/query/version", "a whole number"),
        ("/products/42-1?version=x", 400, "/query/version", "a whole number"),
        ("/products/42-1?version=1&version=2", 400, "/query/version", "given twice"),
        ("/products/42-1?version=1&at=2026-07-01T09:30:00Z", 400, "/query/at", "give one of them"),
        ("/inspect/product/42-1?version=1&at=2026-07-01T09:30:00Z", 400, "/query/at", "give one of them"),
        ("/products/42-1?at=yesterday", 400, "/query/at", "'yesterday' is no time"),
        ("/inspect/product/42-1?at=yesterday", 400, "/query/at", "'yesterday' is no time"),
        ("/products/42-1?at=", 400, "/query/at", "'' is no time"),
        ("/carts/17?at=2026-07-01", 400, "/query/at", "is no time"),
        ("/products/42-1?at=2026-07-01T09:30:00+02:00", 400, "/query/at", "a + in a URL is written %2B"),
        ("/products/42-1?at=2000-01-01T00:00:00Z", 404, "/query/at", first.as_str()),
        ("/inspect/product/42-1?at=2000-01-01T00:00:00Z", 404, "/query/at", first.as_str()),
        ("/products/42-1?vresion=1", 400, "/query/vresion", "it has version, at"),
        ("/products/42-9?version=1", 404, "", "nothing under this id"),
        ("/customers/17/statistics?version=1", 400, "/query/version", "it has none"),
    ] {
        let (found, _, problem) = ask(&client, &format!("{url}{asked}")).await;
        let named = problem["errors"][0]["pointer"].as_str().unwrap_or_default();
        assert!(found == status && named == pointer && problem["detail"].as_str().unwrap().contains(said), "{asked}: {problem}");
    }

    let shown = json_of(url, &["inspect", "product/42-1", "--at", &first]);
    assert_eq!(
        (&shown["as_of"], &shown["version"], &shown["state"]),
        (&json!(1), &json!(4), &json_of(url, &["inspect", "product/42-1", "--version", "1"])["state"])
    );
    let second: daybook::Timestamp = json_of(url, &["inspect", "product/42-1"])["history"][1]["at"].as_str().unwrap().parse().unwrap();
    let just_before = daybook::Timestamp(second.0 - 1).to_string();
    assert_eq!(json_of(url, &["inspect", "product/42-1", "--at", &just_before])["as_of"], 1);
    assert_eq!(json_of(url, &["inspect", "product/42-1", "--at", &second.to_string()])["as_of"], 2);
    assert_eq!(json_of(url, &["inspect", "product/42-1", "--at", "9999-01-01T00:00:00+01:00"])["as_of"], 4);
    let (code, out, _) = run(url, &["inspect", "product/42-1", "--at", &first]);
    assert!(code == 0 && out.contains("as of version 1 of 4"), "{out}");
    fails(url, &["inspect", "product/42-1", "--at", "2000-01-01T00:00:00Z"], 1, &format!("its first event was at {first}"));
    fails(url, &["inspect", "product/42-1", "--at", "noon"], 2, "'noon' is no time as RFC 3339 has it");
    fails(url, &["inspect", "product/42-1", "--at", &first, "--version", "1"], 2, "cannot be used with");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_of_an_aggregate_shows_it_as_it_was() {
    let (dir, database) = (TempDir::new().unwrap(), Database::start());
    let mut server = Server::new(binary(), &dir.path().join("data")).under("DAYBOOK_POSTGRES", database.url());
    server.start();
    what_was_is_found(&server).await;
    refusals(&server.url).await;
    server.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_was_the_same_on_kafka() {
    let (dir, database) = (TempDir::new().unwrap(), Database::start());
    let server = Server::on_kafka(binary(), &dir.path().join("data"), Broker::shared(), &Broker::namespace(), &[]);
    let mut server = server.under("DAYBOOK_POSTGRES", database.url());
    server.start();
    what_was_is_found(&server).await;
}
