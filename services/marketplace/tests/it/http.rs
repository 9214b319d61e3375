//! What HTTP promises: answers once, says how fresh it is, names what is wrong, lets no card number through.

use std::collections::BTreeSet;
use std::path::Path;

use domain::stock::{Command, StockItem};
use eventstore::embedded::{Embedded, Settings};
use eventstore::{Log, Message};
use reqwest::{Method, Response, StatusCode};
use schemas::{Codec, Envelope, Partition, Stream, partition_of, topic};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Caller, Server, binary, daybook};

pub struct Shop {
    pub dir: TempDir,
    pub server: Server,
    pub caller: Caller,
}

impl Shop {
    /// Open, with product 1-1 for 2.55 and ten pieces of it.
    pub async fn open() -> Self {
        let dir = TempDir::new().unwrap();
        let server = Server::started(binary(), &dir.path().join("data"));
        let shop = Self { caller: Caller::new(&server.url), dir, server };
        for (path, body) in
            [("/products/1-1", json!({ "name": "lamp", "price": "2.55" })), ("/stock/1-1/receipts", json!({ "quantity": 10, "reference": "first" }))]
        {
            let method = if path.starts_with("/products") { Method::PUT } else { Method::POST };
            assert_eq!(shop.caller.command(method, path, path, body).await.0, StatusCode::OK);
        }
        shop.fill(99, "until-heard").await;
        shop
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Value) -> Response {
        let request = headers
            .iter()
            .fold(self.caller.client.request(method, format!("{}{path}", self.server.url)), |request, (name, value)| request.header(*name, *value));
        request.json(&body).send().await.unwrap()
    }

    /// Two lamps in a customer's cart, as soon as carts have heard of lamps.
    pub async fn fill(&self, customer: u64, id: &str) {
        let body = json!({ "items": [{ "product": "1-1", "quantity": 2, "unit_price": "2.55" }] });
        for attempt in 0..200 {
            let (status, answer) = self.caller.command(Method::POST, &format!("/carts/{customer}/items"), &format!("{id}{attempt}"), body.clone()).await;
            if status == StatusCode::OK {
                return;
            }
            assert_eq!(answer["code"], "unknown-product", "{answer}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("carts never heard of the product");
    }
}

pub async fn problem(answer: Response) -> (u16, Value) {
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_answered_once() {
    let shop = Shop::open().await;
    let pay = json!({ "payment_type": "BOLETO", "reference": "R" });
    shop.fill(1, "a").await;
    // Eight at the same time, under one id: one order, one answer.
    let sends = (0..8).map(|_| {
        let (caller, pay) = (shop.caller.clone(), pay.clone());
        tokio::spawn(async move { caller.command(Method::POST, "/carts/1/checkout", "same", pay).await })
    });
    let mut answers = BTreeSet::new();
    for send in sends.collect::<Vec<_>>() {
        let (status, answer) = send.await.unwrap();
        answers.insert(format!("{status} {answer}"));
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers.first().unwrap().contains("\"paid\"") && answers.first().unwrap().contains("1-1"));
    let (status, other) =
        problem(shop.send(Method::POST, "/carts/1/checkout", &[("idempotency-key", "same"), ("prefer", "wait=10")], json!({ "payment_type": "BOLETO" })).await)
            .await;
    assert_eq!((status, other["code"].as_str()), (422, Some("id-used")));
    // A refusal is remembered as well.
    for _ in 0..2 {
        let (status, refused) =
            problem(shop.send(Method::POST, "/carts/1/checkout", &[("idempotency-key", "none"), ("prefer", "wait=10")], pay.clone()).await).await;
        assert_eq!((status, refused["code"].as_str()), (409, Some("empty-cart")));
    }
    // Without a wait: where the outcome will be, also under a name that a path must not hold as it is.
    let unanswered = shop.send(Method::POST, "/carts/2/checkout", &[("idempotency-key", "later / 100%?")], pay).await;
    assert_eq!(unanswered.status(), StatusCode::ACCEPTED);
    let place = unanswered.headers()["location"].to_str().unwrap().to_owned();
    let (status, refused) = problem(shop.send(Method::GET, &place, &[("prefer", "wait=10")], Value::Null).await).await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("empty-cart")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_is_as_fresh_as_asked_and_says_so() {
    let shop = Shop::open().await;
    for price in 1..30 {
        let written = shop.send(Method::POST, "/products/1-1/price", &[("prefer", "wait=10")], json!({ "price": format!("{price}.00") })).await;
        assert_eq!(written.status(), StatusCode::OK);
        let position = written.headers()["daybook-position"].to_str().unwrap().to_owned();
        let read = shop.send(Method::GET, "/products/1-1", &[("daybook-position", &position)], Value::Null).await;
        assert!(read.headers().contains_key("daybook-position"));
        assert_eq!(read.json::<Value>().await.unwrap()["price"], format!("{price}.00"), "a read behind what was written");
    }
    // What a token says of other topics concerns other views, and is carried on to them.
    let received = shop.send(Method::POST, "/stock/1-1/receipts", &[("prefer", "wait=10")], json!({ "quantity": 1, "reference": "second" })).await;
    let elsewhere = received.headers()["daybook-position"].to_str().unwrap().to_owned();
    let read = shop.send(Method::GET, "/products/1-1", &[("daybook-position", &elsewhere)], Value::Null).await;
    assert_eq!(read.status(), StatusCode::OK, "a token of another topic");
    let carried = read.headers()["daybook-position"].to_str().unwrap().to_owned();
    assert!(carried.contains(&elsewhere) && carried.contains("catalog.events:0:"), "{carried}");
    let read = shop.send(Method::GET, "/stock/1-1", &[("daybook-position", &carried)], Value::Null).await;
    assert_eq!(read.json::<Value>().await.unwrap()["received"], 11);
    let began = std::time::Instant::now();
    for (made_up, said) in [
        ("catalog.events:0:999999", "lies beyond"),
        ("stock.events:0:999999", "lies beyond"),
        ("catalog.events:99:1", "no partition 99"),
        ("parrots.events:0:1", "parrots"),
        ("catalog.events:0:-1", "next offset"),
    ] {
        let (status, text) = problem(shop.send(Method::GET, "/products/1-1", &[("daybook-position", made_up), ("prefer", "wait=20")], Value::Null).await).await;
        assert!(status == 400 && text["detail"].as_str().unwrap().contains(said), "{made_up}: {status} {text}");
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "it waited for {:?}", began.elapsed());
    let read = shop.send(Method::GET, "/products/1-1", &[], Value::Null).await;
    let etag = read.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(shop.send(Method::GET, "/products/1-1", &[("if-none-match", &etag)], Value::Null).await.status(), StatusCode::NOT_MODIFIED);
    let stale = shop.send(Method::POST, "/products/1-1/price", &[("prefer", "wait=10"), ("if-match", "\"1\"")], json!({ "price": "9.00" })).await;
    assert_eq!(stale.status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(
        shop.send(Method::POST, "/products/1-1/price", &[("prefer", "wait=10"), ("if-match", &etag)], json!({ "price": "9.00" })).await.status(),
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_named() {
    let shop = Shop::open().await;
    let wait = [("prefer", "wait=10")];
    for (method, path, body, status, part) in [
        (Method::PUT, "/products/1-2", json!({ "name": "x", "price": "1.234" }), 400, "/price"),
        (Method::PUT, "/products/1-2", json!({ "price": "1.00" }), 400, "name"),
        (Method::PUT, "/products/01-2", json!({ "name": "x", "price": "1.00" }), 400, "01-2"),
        (Method::PUT, "/products/1-2", json!({ "name": "", "price": "1.00" }), 422, "text-out-of-range"),
        (Method::POST, "/carts/1/items", json!({ "items": [{ "product": "1-1", "quantity": 0, "unit_price": "1" }] }), 422, "1 to 100000"),
        (Method::POST, "/carts/1/items", json!({ "items": [{ "product": "1-77", "quantity": 1, "unit_price": "1" }] }), 404, "unknown-product"),
        (Method::POST, "/carts/1/items", json!({ "itms": [] }), 400, "itms"),
        (Method::POST, "/carts/1/checkout", json!({ "payment_type": "SHELLS" }), 400, "SHELLS"),
        (Method::POST, "/stock/1-1/receipts", json!({ "quantity": 11, "reference": "first" }), 409, "10 pieces"),
        (Method::GET, "/orders/1-1", Value::Null, 404, "orders"),
        (Method::GET, "/nowhere", Value::Null, 404, "route"),
        (Method::DELETE, "/orders", Value::Null, 405, "methods"),
        (Method::GET, "/commands/nobody.0.x", Value::Null, 400, "Location"),
    ] {
        let (found, text) = problem(shop.send(method.clone(), path, &wait, body).await).await;
        assert!(found == status && text.to_string().contains(part), "{method} {path}: {found} {text}");
    }
    let long = "k".repeat(201);
    let (status, _) = problem(shop.send(Method::PUT, "/products/1-2", &[("idempotency-key", &long)], json!({ "name": "x", "price": "1" })).await).await;
    assert_eq!(status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_benchmarks_driver_is_understood() {
    let mut shop = Shop::open().await;
    for (method, path, body, status) in [
        (
            Method::POST,
            "/customer",
            json!({ "id": 5, "first_name": "Ada", "CARD_NUMBER": "4111111111111111", "card_security_number": "987", "card_type": "visa" }),
            201,
        ),
        (
            Method::POST,
            "/product",
            json!({ "seller_id": 3, "product_id": 4, "name": "pen", "sku": "p", "category": "c", "description": "d", "price": 12.5, "freight_value": 0.75, "status": "approved", "version": "0" }),
            201,
        ),
        (
            Method::POST,
            "/stock",
            json!({ "seller_id": 3, "product_id": 4, "qty_available": 10, "qty_reserved": 0, "order_count": 0, "ytd": 0, "data": "", "version": "0" }),
            201,
        ),
        (Method::PATCH, "/product", json!({ "sellerId": 3, "productId": 4, "price": 13.25, "version": "0", "instanceId": "77" }), 200),
        (Method::PATCH, "/product", json!({ "SELLERID": 3, "productid": 4, "Price": 13.25, "Version": "0", "InstanceId": 77 }), 200),
        (
            Method::PUT,
            "/cart/5/add",
            json!({ "SellerId": 1, "ProductId": 1, "ProductName": "lamp", "UnitPrice": 2.55, "FreightValue": 0.0, "Quantity": 2, "Voucher": 1.0, "Version": "1" }),
            200,
        ),
    ] {
        let answer = shop.send(method.clone(), path, &[], body).await;
        assert_eq!(answer.status().as_u16(), status, "{method} {path}: {}", answer.text().await.unwrap());
    }
    let checkout = json!({ "CustomerId": 5, "FirstName": "Ada", "LastName": "L", "Street": "s", "Complement": "", "City": "c", "State": "st", "ZipCode": "z", "PaymentType": "CREDIT_CARD",
        "CardNumber": "4111-1111-1111-1111", "CardHolderName": "ADA L", "CardExpiration": "1130", "CardSecurityNumber": "987", "CardBrand": "visa", "Installments": 2, "instanceId": "t9" });
    let mut answers = vec![];
    for _ in 0..2 {
        let answer = shop.send(Method::POST, "/cart/5/checkout", &[], checkout.clone()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answers.push(answer.json::<Value>().await.unwrap());
    }
    assert!(answers[0] == answers[1] && answers[0]["ended"] == "paid", "{answers:?}");
    let order = shop.caller.get("/orders/5-1").await;
    assert_eq!((order["total"].as_str(), order["discount_total"].as_str()), (Some("4.10"), Some("1.00")));
    assert_eq!(shop.send(Method::PATCH, "/cart/5/seal", &[], Value::Null).await.status(), StatusCode::OK);
    // Nothing of the card but brand, last digits and token is anywhere on the disk.
    assert!(shop.server.stop());
    let mut searched = 0;
    for secret in ["4111111111111111", "4111-1111", "987", "ADA L"] {
        searched += absent(&shop.dir.path().join("data/log"), if secret == "987" { "\"987\"" } else { secret });
    }
    assert!(searched > 4);
}

/// Fails if a file below holds the text; says how many were looked at.
fn absent(dir: &Path, text: &str) -> usize {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    files
        .map(|path| {
            std::fs::read(&path)
                .unwrap()
                .windows(text.len())
                .any(|window| window == text.as_bytes())
                .then(|| panic!("{text} is in {}", path.display()))
                .map_or(1, |()| 1)
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_shown_and_retried() {
    let mut shop = Shop::open().await;
    assert!(shop.server.stop());
    // What an outside producer gets wrong: the partition.
    {
        let log = Embedded::open(&shop.dir.path().join("data/log"), Settings::default()).unwrap();
        let (kind, body) = StockItem::encode_command(&Command::Receive { quantity: 5, reference: "stray".into() });
        let partition = Partition((partition_of(b"1", log.partitions()).0 + 1) % log.partitions());
        let headers = Envelope::new("doomed", "/outside", kind, "1-1").headers();
        log.append(vec![Message { topic: topic(Stream::Commands("stock")), partition, key: b"1".to_vec(), headers, value: Some(body) }]).unwrap();
    }
    shop.server.start();
    let run = |arguments: &[&str]| {
        let done = daybook(&binary(), &[&["dead-letters"], arguments, &["--url", &shop.server.url, "-o", "json"]].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice::<Value>(&done.stdout).unwrap()
    };
    let deadline = std::time::Instant::now() + crate::process::PATIENCE;
    let listed = loop {
        let listed = run(&["list", "--service", "stock"]);
        if !listed["items"].as_array().unwrap().is_empty() {
            break listed;
        }
        assert!(std::time::Instant::now() < deadline, "no dead letter");
    };
    let letter = &listed["items"][0];
    assert_eq!(
        (letter["reason"].as_str(), letter["command"].as_str(), letter["detail"].as_str().unwrap().contains("key '1' belongs to partition")),
        (Some("misrouted"), Some("doomed"), true)
    );
    let id = letter["id"].as_str().unwrap();
    assert_eq!(run(&["show", id])["body"]["quantity"], 5);
    // Written once more it goes where its key leads, and is executed.
    assert_eq!(shop.caller.get("/stock/1-1").await["received"], 10);
    run(&["retry", id]);
    let (status, answer) = shop.caller.command(Method::POST, "/stock/1-1/receipts", "doomed", json!({ "quantity": 5, "reference": "stray" })).await;
    assert_eq!((status, answer["version"].as_u64()), (StatusCode::OK, Some(3)), "{answer}");
    let metrics = shop.caller.client.get(format!("{}/metrics", shop.server.url)).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains(r#"daybook_dead_letters_total{reason="misrouted",service="stock"} 1"#), "{metrics}");
}

/// Anybody who may write to their topics can write letters: large ones, many, and such as name no record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_page_by_page_whoever_wrote_them() {
    let mut shop = Shop::open().await;
    assert!(shop.server.stop());
    {
        let log = Embedded::open(&shop.dir.path().join("data/log"), Settings::default()).unwrap();
        let letter = |service: &'static str, partition: u16, bytes: usize| {
            let headers = [("dlt-reason", "malformed"), ("dlt-original-topic", "nosuch"), ("dlt-original-partition", "0"), ("dlt-original-offset", "0")];
            let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect();
            Message { topic: topic(Stream::DeadLetters(service)), partition: Partition(partition), key: vec![], headers, value: Some(vec![b'x'; bytes]) }
        };
        let large = ["cart", "stock"].into_iter().flat_map(|service| (0..4).map(move |partition| (service, partition)));
        // Nor does it discard one who is not an operator.
        let mut discards = letter("cart", 0, 10);
        discards.headers.push("dlt-discards", "0");
        large.for_each(|(service, partition)| drop(log.append(vec![letter(service, partition, 400_000), letter(service, partition, 10)]).unwrap()));
        log.append(vec![discards]).unwrap();
    }
    shop.server.start();
    for limit in [1, 3, 1000] {
        let (mut found, mut cursor) = (vec![], String::new());
        loop {
            let page = shop.caller.get(&format!("/dead-letters?limit={limit}{cursor}")).await;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit.min(6), "{page}");
            found.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let distinct: std::collections::BTreeSet<&String> = found.iter().collect();
        assert_eq!((found.len(), distinct.len()), (17, 17), "by {limit}: {found:?}");
    }
    let listed = |arguments: &[&str]| {
        let done = daybook(&binary(), &[&["dead-letters", "list", "--url", &shop.server.url], arguments].concat());
        (done.status.code(), String::from_utf8(done.stdout).unwrap())
    };
    assert!(listed(&[]).1.matches("malformed").count() == 17);
    let (code, out) = listed(&["--limit", "5"]);
    assert!(code == Some(0) && out.matches("malformed").count() == 5 && out.contains("more than these 5"), "{out}");
    for wrong in ["x", "cart/0", "parrots/0/0"] {
        let (status, _) = problem(shop.send(Method::GET, &format!("/dead-letters?cursor={wrong}"), &[], Value::Null).await).await;
        assert_eq!(status, 400, "{wrong}");
    }
    let (status, told) = problem(shop.send(Method::POST, "/dead-letters/cart/0/0/retry", &[], Value::Null).await).await;
    assert_eq!((status, told["code"].as_str()), (409, Some("not-a-command")), "{told}");
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let dir = TempDir::new().unwrap();
    let refused = |arguments: &[&str], environment: &[(&str, &str)], part: &str| {
        let done = std::process::Command::new(binary()).args(arguments).envs(environment.iter().copied()).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && said.contains(part), "{arguments:?}: {said}");
    };
    refused(&["up", "--listen", "0.0.0.0:0"], &[], "--behind-proxy");
    refused(&["up", "--lissten", "x"], &[], "--lissten");
    refused(&["up"], &[("DAYBOOK_LISTN", "x")], "DAYBOOK_LISTN");
    let file = dir.path().join("daybook.toml");
    std::fs::write(&file, "lisen = \"127.0.0.1:1\"\n").unwrap();
    refused(&["up", "--config", file.to_str().unwrap()], &[], "lisen");
    refused(&["verify", "--data", dir.path().to_str().unwrap()], &[], "no Daybook data");
    std::fs::write(&file, "listen = \"127.0.0.1:1\"\npartitions = 3\ncard_key = \"11\"\n").unwrap();
    refused(&["config", "--config", file.to_str().unwrap()], &[], "64 hex digits");
    let key = "a1".repeat(32);
    let shown = std::process::Command::new(binary())
        .args(["config", "--listen", "127.0.0.1:3", "--config", file.to_str().unwrap()])
        .envs([("DAYBOOK_LISTEN", "127.0.0.1:2"), ("DAYBOOK_PARTITIONS", "5"), ("DAYBOOK_CARD_KEY", &key)])
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("127.0.0.1:3") && shown.contains('5') && shown.contains("redacted") && !shown.contains(&key), "{shown}");
}

#[test]
fn a_second_process_on_a_directory_is_refused() {
    let dir = TempDir::new().unwrap();
    let mut first = Server::new(binary(), &dir.path().join("data"));
    let took = first.start();
    println!("ready on an empty directory in {took:?}");
    let second = daybook(&binary(), &["up", "--listen", "127.0.0.1:0", "--data", dir.path().join("data").to_str().unwrap()]);
    assert!(
        !second.status.success() && String::from_utf8_lossy(&second.stderr).contains("open in another process"),
        "{}",
        String::from_utf8_lossy(&second.stderr)
    );
    assert!(first.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_and_preferences_follow_their_rules() {
    let shop = Shop::open().await;
    let price = |text: &str| json!({ "price": text });
    let status = |method: Method, path: &'static str, headers: Vec<(&'static str, &'static str)>, body: Value| {
        let shop = &shop;
        async move { shop.send(method, path, &headers, body).await.status().as_u16() }
    };
    let wait = ("prefer", "wait=10");
    assert_eq!(status(Method::POST, "/products/1-1/price", vec![wait, ("if-match", "*")], price("3.00")).await, 200); // version 2
    assert_eq!(status(Method::POST, "/products/1-1/price", vec![wait, ("if-match", "\"7\", \"2\"")], price("4.00")).await, 200);
    assert_eq!(status(Method::POST, "/products/1-1/price", vec![wait, ("if-match", "\"1\", \"2\"")], price("5.00")).await, 412);
    assert_eq!(status(Method::POST, "/products/1-1/price", vec![wait, ("if-match", "W/\"3\"")], price("5.00")).await, 412);
    assert_eq!(status(Method::POST, "/products/1-1/price", vec![wait, ("if-match", "3")], price("5.00")).await, 400);
    assert_eq!(status(Method::POST, "/products/1-9/price", vec![wait, ("if-match", "*")], price("5.00")).await, 412);
    let product = json!({ "name": "pen", "price": "1.00" });
    assert_eq!(status(Method::PUT, "/products/1-1", vec![wait, ("if-none-match", "*")], product.clone()).await, 412);
    assert_eq!(status(Method::PUT, "/products/1-2", vec![wait, ("if-none-match", "*")], product.clone()).await, 200);
    for (name, value, expected) in [
        ("if-none-match", "\"3\"", 304),
        ("if-none-match", "W/\"3\", \"9\"", 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"2\"", 200),
        ("if-match", "\"2\", \"3\"", 200),
        ("if-match", "W/\"3\"", 412),
        ("if-match", "\"2\"", 412),
    ] {
        let read = shop.send(Method::GET, "/products/1-1", &[(name, value)], Value::Null).await;
        assert_eq!(read.status().as_u16(), expected, "{name}: {value}");
        assert!(expected != 304 || (read.headers()["etag"] == "\"3\"" && read.headers().contains_key("daybook-position")));
    }
    for (given, applied, expected) in [
        (Some("wait=10"), Some("wait=10"), 200),
        (Some("return=minimal; a=\"x,wait=1\", WAIT = \"20\""), Some("wait=20"), 200),
        (Some("wait=900"), Some("wait=60"), 200),
        (Some("wait=soon"), None, 202),
        (Some("respond-async"), Some("respond-async"), 202),
        (None, None, 202),
    ] {
        let headers: Vec<(&str, &str)> = given.iter().map(|given| ("prefer", *given)).collect();
        let written = shop.send(Method::POST, "/stock/1-1/receipts", &headers, json!({ "quantity": 1, "reference": format!("{given:?}") })).await;
        let told = written.headers().get("preference-applied").map(|told| told.to_str().unwrap().to_owned());
        assert_eq!((written.status().as_u16(), told.as_deref()), (expected, applied), "{given:?}");
    }
    let read = shop.send(Method::GET, "/products/1-1", &[("prefer", "wait=3")], Value::Null).await;
    assert_eq!(read.headers()["preference-applied"], "wait=3");
}
