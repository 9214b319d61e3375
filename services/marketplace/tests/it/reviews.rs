//! Reviews: a service that lives in PostgreSQL, among services that do not.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, Row};
use tempfile::TempDir;

use crate::broker::Broker;
use crate::identity::people;
use crate::postgres::Database;
use crate::process::{Caller, KEY, PATIENCE, Server, binary, daybook};

/// A pool that sees the service's tables.
fn tables(url: &str) -> PgPool {
    let options: PgConnectOptions = url.parse().unwrap();
    PgPoolOptions::new().max_connections(2).connect_lazy_with(options.options([("search_path", "reviews")]))
}

fn told(mut server: Server, database: &Database) -> Server {
    server = server.under("DAYBOOK_POSTGRES", database.url());
    server.start();
    server
}

/// Products of seller 42 that are sold, and as many pieces as anybody wants.
async fn offered(caller: &Caller, products: u64) {
    for product in 1..=products {
        let lamp = json!({ "name": "Lantern", "price": "2.00", "freight_value": "0.10", "currency": "GBP" });
        caller.accepted(Method::PUT, &format!("/products/42-{product}"), &format!("offer {product}"), lamp).await;
        let receipt = json!({ "quantity": 1_000_000, "reference": "r" });
        caller.accepted(Method::POST, &format!("/stock/42-{product}/receipts"), &format!("stock {product}"), receipt).await;
    }
}

/// A customer buys products of seller 42.
async fn bought(caller: &Caller, customer: u64, products: &[u64]) {
    for product in products {
        let item =
            json!({ "items": [{ "product": format!("42-{product}"), "quantity": 1, "unit_price": "2.00", "freight_value": "0.10", "currency": "GBP" }] });
        caller.accepted(Method::POST, &format!("/carts/{customer}/items"), &format!("item {customer} {product}"), item).await;
    }
    caller.accepted(Method::POST, &format!("/carts/{customer}/checkout"), &format!("out {customer}"), json!({ "payment_type": "BOLETO" })).await;
    caller.until(&format!("/customers/{customer}/reviews"), |page| page["items"].as_array().map(Vec::len) == Some(products.len())).await;
}

fn opinion(stars: u64) -> Value {
    json!({ "stars": stars, "title": "Bright", "text": "It shines." })
}

fn code((status, answer): (StatusCode, Value)) -> (u16, String) {
    (status.as_u16(), answer["code"].as_str().unwrap_or("accepted").to_owned())
}

/// Product, reviews, average: as SQL has it.
async fn sql(pool: &PgPool) -> Vec<Value> {
    let rows = sqlx::query("SELECT product, reviews, average::text FROM ratings ORDER BY product").fetch_all(pool).await.unwrap();
    rows.iter().map(|row| json!([row.get::<String, _>(0), row.get::<i64, _>(1), row.get::<String, _>(2)])).collect()
}

/// The same as the catalog has it, once it has heard of it.
async fn rated(caller: &Caller, wanted: &[Value]) {
    let rows = |page: &Value| -> Vec<Value> {
        let items = page["items"].as_array().into_iter().flatten();
        items.filter(|row| row["reviews"] != 0).map(|row| json!([row["id"], row["reviews"], row["average"]])).collect()
    };
    caller.until("/ratings?limit=1000", |page| rows(page) == wanted).await;
}

async fn whole_story(server: Server, database: &Database) {
    let mut server = told(server, database);
    let (caller, pool) = (Caller::new(&server.url), tables(database.url()));
    offered(&caller, 2).await;
    assert_eq!(code(caller.command(Method::POST, "/reviews/17-42-1", "early", opinion(5)).await), (409, "not-bought".into()));
    bought(&caller, 17, &[1, 2]).await;
    bought(&caller, 18, &[1]).await;
    let page = caller.get("/customers/17/reviews").await;
    assert_eq!((&page["items"][0]["id"], &page["items"][0]["order"], &page["items"][0]["review"]), (&json!("17-42-1"), &json!("17-1"), &json!("awaited")));
    assert_eq!(caller.get("/products/42-1/reviews").await["items"], json!([]), "what was bought is nobody's to see");
    caller.accepted(Method::POST, "/reviews/17-42-1", "write", opinion(5)).await;
    caller.accepted(Method::POST, "/reviews/17-42-1", "write", opinion(5)).await; // a repeat
    caller.accepted(Method::POST, "/reviews/18-42-1", "write", opinion(2)).await;
    for (method, path, id, body, wanted) in [
        (Method::POST, "/reviews/17-42-1", "again", opinion(1), (409, "already-reviewed")),
        (Method::POST, "/reviews/17-42-2", "none", opinion(0), (422, "stars-out-of-range")),
        (Method::POST, "/reviews/17-42-2", "many", opinion(6), (422, "stars-out-of-range")),
        (Method::POST, "/reviews/17-42-2", "more", opinion(300), (400, "bad-request")),
        (Method::POST, "/reviews/17-42-2", "long", json!({ "stars": 1, "text": "x".repeat(4_001) }), (422, "text-out-of-range")),
        (Method::POST, "/reviews/17-42-2", "odd", json!({ "stars": 1, "RecordPurchase": {} }), (400, "bad-request")),
        (Method::POST, "/reviews/17-042-2", "spelt", opinion(1), (400, "bad-request")),
        (Method::PUT, "/reviews/17-42-2", "edit", opinion(1), (404, "unknown-review")),
        (Method::PUT, "/reviews/17-42-7", "edit", opinion(1), (404, "unknown-review")),
        (Method::POST, "/sellers/42/reviews/17-42-2/answer", "answer", json!({ "text": "Thanks" }), (404, "unknown-review")),
        (Method::POST, "/sellers/43/reviews/17-42-1/answer", "answer", json!({ "text": "Thanks" }), (400, "bad-request")),
    ] {
        assert_eq!(code(caller.command(method, path, id, body).await), (wanted.0, wanted.1.to_owned()), "{path} {id}");
    }
    rated(&caller, &[json!(["42-1", 2, "3.50"])]).await;
    caller.accepted(Method::PUT, "/reviews/18-42-1", "edit", opinion(3)).await;
    caller.accepted(Method::POST, "/sellers/42/reviews/18-42-1/answer", "answer", json!({ "text": "Thank you." })).await;
    caller.accepted(Method::POST, "/reviews/17-42-2", "write", opinion(1)).await;
    rated(&caller, &[json!(["42-1", 2, "4.00"]), json!(["42-2", 1, "1.00"])]).await;
    let page = caller.until("/products/42-1/reviews", |page| page["items"][1]["answer"] == "Thank you.").await;
    assert_eq!((&page["items"][0]["id"], &page["items"][1]["stars"], &page["items"][1]["title"]), (&json!("17-42-1"), &json!(3), &json!("Bright")));
    caller.accepted(Method::DELETE, "/reviews/17-42-2", "away", Value::Null).await;
    assert_eq!(code(caller.command(Method::POST, "/reviews/17-42-2", "anew", opinion(5)).await), (409, "already-reviewed".into()));
    assert_eq!(code(caller.command(Method::PUT, "/reviews/17-42-2", "anew", opinion(5)).await), (409, "review-withdrawn".into()));
    rated(&caller, &[json!(["42-1", 2, "4.00"])]).await;
    assert_eq!(sql(&pool).await, [json!(["42-1", 2, "4.00"])]);
    let rating = caller.get("/products/42-2/rating").await;
    assert_eq!((&rating["reviews"], &rating["average"]), (&json!(0), &Value::Null));
    // What services ask of each other is no client's to ask.
    let log = daybook(&binary(), &["tail", "reviews.events", "--from", "0", "--url", &server.url, "-o", "json"]);
    let log = String::from_utf8(log.stdout).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("dev.daybook.review.Bought.v1")).count(), 3, "{log}");
    server.verify();
    assert!(server.stop());
    server.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_bought_may_review_and_the_catalog_hears_of_it() {
    let (dir, database) = (TempDir::new().unwrap(), Database::start());
    whole_story(Server::new(binary(), &dir.path().join("data")), &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_on_kafka() {
    let (dir, database) = (TempDir::new().unwrap(), Database::start());
    whole_story(Server::on_kafka(binary(), &dir.path().join("data"), Broker::shared(), &Broker::namespace(), &[]), &database).await;
}

/// Who signs in does their own: customers review, sellers answer, and neither for another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_does_their_own() {
    let (dir, database) = (TempDir::new().unwrap(), Database::start());
    let data = dir.path().join("data");
    let server = people::told(&data, &["--postgres", database.url()]);
    let mut persons = vec![];
    for role in ["customer=17", "customer=18", "seller=42", "seller=43", "operator"] {
        let email = format!("{}@example.com", role.replace('=', ""));
        people::create(&server, &data, &email, &[role]);
        persons.push(people::Person::sign_in(&server.url, &email, people::PASSWORD).await);
    }
    let [anna, bert, rose, otto, olga] = persons.try_into().ok().unwrap();
    let caller = Caller::new(&server.url).with(olga.client.clone());
    offered(&caller, 1).await;
    bought(&caller, 17, &[1]).await;
    let thanks = json!({ "text": "Thank you." });
    for (person, method, path, body, wanted) in [
        (&bert, Method::POST, "/reviews/17-42-1", opinion(1), 403),
        (&rose, Method::POST, "/reviews/17-42-1", opinion(5), 403),
        (&anna, Method::POST, "/reviews/17-42-1", opinion(4), 200),
        (&bert, Method::PUT, "/reviews/17-42-1", opinion(1), 403),
        (&bert, Method::DELETE, "/reviews/17-42-1", Value::Null, 403),
        (&bert, Method::GET, "/customers/17/reviews", Value::Null, 403),
        (&bert, Method::GET, "/reviews/17-42-1/events", Value::Null, 403),
        (&anna, Method::POST, "/reviews/17-42-1/events", json!({ "expected": 2, "events": [] }), 403),
        (&anna, Method::POST, "/sellers/42/reviews/17-42-1/answer", thanks.clone(), 403),
        (&otto, Method::POST, "/sellers/42/reviews/17-42-1/answer", thanks.clone(), 403),
        (&otto, Method::POST, "/sellers/43/reviews/17-42-1/answer", thanks.clone(), 400),
        (&rose, Method::POST, "/sellers/42/reviews/17-42-1/answer", thanks, 200),
        (&bert, Method::GET, "/products/42-1/reviews", Value::Null, 200),
        (&olga, Method::PUT, "/reviews/17-42-1", opinion(3), 200),
        // As it was, it is shown to whom it is shown now.
        (&bert, Method::GET, "/reviews/17-42-1?version=2", Value::Null, 200),
        (&anna, Method::GET, "/orders/17-1?version=1", Value::Null, 200),
        (&bert, Method::GET, "/orders/17-1?version=1", Value::Null, 403),
        (&bert, Method::GET, "/orders/17-1?at=2000-01-01T00:00:00Z", Value::Null, 403),
        (&rose, Method::GET, "/carts/17?version=1", Value::Null, 403),
        (&anna, Method::GET, "/inspect/order/17-1?version=1", Value::Null, 403),
    ] {
        let body = Some(&body).filter(|body| !body.is_null());
        let (status, answer) = person.ask(method.clone(), path, body).await;
        assert_eq!(status.as_u16(), wanted, "{method} {path}: {answer}");
    }
    rated(&caller, &[json!(["42-1", 1, "3.00"])]).await;
    // What was taken back is hidden from whoever reads reviews, as it was, too.
    caller.accepted(Method::DELETE, "/reviews/17-42-1", "back", Value::Null).await;
    for (person, wanted) in [(&bert, 404), (&anna, 404), (&olga, 200)] {
        let (status, answer) = person.ask(Method::GET, "/reviews/17-42-1?version=2", None).await;
        assert_eq!(status.as_u16(), wanted, "{answer}");
    }
}

/// Everything but reviews runs, and it is said; nothing is taken that nobody decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgres_there_are_no_reviews_and_all_else() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::started(binary(), &dir.path().join("data"));
    assert!(server.log().contains("reviews does not run here: it lives in a store that is not named, with --postgres"), "{}", server.log());
    let caller = Caller::new(&server.url);
    offered(&caller, 1).await;
    for (method, path) in [(Method::POST, "/reviews/17-42-1"), (Method::GET, "/products/42-1/reviews"), (Method::GET, "/reviews/17-42-1/events")] {
        let answer = caller.client.request(method, format!("{}{path}", server.url)).json(&opinion(5)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let said = answer.text().await.unwrap();
        assert!(said.contains("reviews does not run") && said.contains("--postgres"), "{path}: {said}");
    }
    let orders = [("17", "one"), ("18", "two")];
    for (customer, id) in orders {
        let item = json!({ "items": [{ "product": "42-1", "quantity": 1, "unit_price": "2.00", "freight_value": "0.10", "currency": "GBP" }] });
        caller.accepted(Method::POST, &format!("/carts/{customer}/items"), id, item).await;
        caller.accepted(Method::POST, &format!("/carts/{customer}/checkout"), id, json!({ "payment_type": "BOLETO" })).await;
    }
    caller.until("/orders/17-1", |order| order["status"] == "paid").await;
    server.verify();
    assert!(server.stop());
    // Whoever bought before there were reviews may review: orders are read from their beginning.
    let database = Database::start();
    let mut server = told(Server::new(binary(), &dir.path().join("data")), &database);
    let caller = Caller::new(&server.url);
    caller.until("/customers/17/reviews", |page| page["items"][0]["id"] == "17-42-1").await;
    caller.accepted(Method::POST, "/reviews/17-42-1", "write", opinion(4)).await;
    rated(&caller, &[json!(["42-1", 1, "4.00"])]).await;
    server.verify();
    assert!(server.stop());
}

#[test]
fn an_address_that_cannot_be_right_is_named_without_its_password() {
    let dir = TempDir::new().unwrap();
    for (arguments, wanted) in [
        (vec!["up", "--postgres", "mysql://anna:hush@db/shop"], "postgres: PostgreSQL's address begins with postgres://"),
        (vec!["up", "--postgres", "postgres://anna:hush@db:port/shop"], "postgres: PostgreSQL's address cannot be read"),
        (vec!["up", "--postgres-timeout", "0"], "--postgres-timeout"),
        (vec!["serve", "reviews", "--brokers", "127.0.0.1:1"], "reviews lives in a store that is not named: add --postgres"),
    ] {
        let said = daybook(&binary(), &[arguments.clone(), vec!["--data", dir.path().join("data").to_str().unwrap()]].concat());
        let words = String::from_utf8(said.stderr).unwrap();
        assert_eq!(said.status.code(), Some(2), "{arguments:?}: {words}");
        assert!(words.contains(wanted) && !words.contains("hush"), "{arguments:?}: {words}");
    }
    let file = dir.path().join("settings.toml");
    std::fs::write(&file, "partitions = 3\npostgres = \"postgres://anna:hush\n").unwrap();
    let broken = String::from_utf8(daybook(&binary(), &["config", "--config", file.to_str().unwrap()]).stderr).unwrap();
    assert!(broken.contains("line 2: ") && !broken.contains("hush"), "{broken}");
    let shown = daybook(&binary(), &["config", "--postgres", "postgres://anna:hush@db/shop"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("# postgres = \"(redacted)\"") && !shown.contains("hush"), "{shown}");
}

/// Processes and databases are killed, frozen and away while customers review; then all accounts of it agree.
async fn under_kills(mut servers: Vec<Server>, mut database: Database, seed: u64, kills: u32) {
    const CUSTOMERS: u64 = 6;
    const PRODUCTS: u64 = 4;
    println!("SEED={seed} KILLS={kills}");
    let mut random = StdRng::seed_from_u64(seed);
    servers.iter_mut().for_each(|server| {
        server.start();
    });
    let caller = Caller::of(servers.iter().map(|server| server.url.clone()).collect());
    offered(&caller, PRODUCTS).await;
    for customer in 1..=CUSTOMERS {
        bought(&caller, customer, &(1..=PRODUCTS).collect::<Vec<_>>()).await;
    }
    let until = Instant::now() + Duration::from_millis(1_500) * kills;
    let customers: Vec<_> = (1..=CUSTOMERS)
        .map(|customer| {
            let (caller, mut random) = (caller.clone(), StdRng::seed_from_u64(seed ^ customer));
            tokio::spawn(async move {
                let (mut stands, mut number) = (vec![0_u64; usize::try_from(PRODUCTS).unwrap()], 0_u64);
                while Instant::now() < until || stands.contains(&0) {
                    let at = stands.iter().position(|stars| *stars == 0).unwrap_or_else(|| random.random_range(0..stands.len()));
                    let method = if stands[at] == 0 { Method::POST } else { Method::PUT };
                    number += 1;
                    stands[at] = random.random_range(1..=5_u64);
                    caller.accepted(method, &format!("/reviews/{customer}-42-{}", at + 1), &format!("{customer} {number}"), opinion(stands[at])).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                stands
            })
        })
        .collect();
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(random.random_range(200..1_200))).await;
        let at = random.random_range(0..servers.len());
        match random.random_range(0..3_u8) {
            0 => tokio::task::block_in_place(|| (database.kill(), database.go())).1,
            1 => tokio::task::block_in_place(|| {
                servers[at].kill();
                servers[at].start();
            }),
            _ => tokio::task::block_in_place(|| {
                database.kill();
                servers[at].kill();
                servers[at].start();
                database.go();
            }),
        }
        println!("kill {}", kill + 1);
    }
    let mut stands: Vec<Vec<u64>> = vec![];
    for customer in customers {
        stands.push(customer.await.unwrap());
    }
    let wanted: Vec<Value> = (0..usize::try_from(PRODUCTS).unwrap())
        .map(|at| {
            let stars: u64 = stands.iter().map(|stands| stands[at]).sum();
            let hundredths = (stars * 100 + CUSTOMERS / 2) / CUSTOMERS;
            json!([format!("42-{}", at + 1), CUSTOMERS, format!("{}.{:0>2}", hundredths / 100, hundredths % 100)])
        })
        .collect();
    rated(&caller, &wanted).await;
    let pool = tables(database.url());
    assert_eq!(sql(&pool).await, wanted);
    // The log has what PostgreSQL has, in its order.
    let mut events = 0;
    for (customer, product) in (1..=CUSTOMERS).flat_map(|customer| (1..=PRODUCTS).map(move |product| (customer, product))) {
        let id = format!("{customer}-42-{product}");
        let query = sqlx::query("SELECT sequence, event_type, payload FROM events WHERE aggregate_id = $1 ORDER BY sequence").bind(&id);
        let kept: Vec<Value> =
            query.fetch_all(&pool).await.unwrap().iter().map(|row| json!([row.get::<i64, _>(0), row.get::<String, _>(1), row.get::<Value, _>(2)])).collect();
        let logged = |page: &Value| -> Vec<Value> {
            page["items"].as_array().into_iter().flatten().map(|row| json!([row["sequence"], row["type"], row["payload"]])).collect()
        };
        events += kept.len();
        caller.until(&format!("/reviews/{id}/events?limit=1000"), |page| logged(page) == kept).await;
    }
    println!("{kills} kills, {events} events: PostgreSQL, the log and the catalog agree");
    for server in &mut servers {
        server.verify();
        assert!(server.stop());
    }
}

fn hard() -> (u64, u32) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    (number("SEED").unwrap_or_else(rand::random), number("KILLS").and_then(|kills| kills.try_into().ok()).unwrap_or(4))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_review_is_lost_or_doubled_on_a_log_of_its_own() {
    let (dir, database, (seed, kills)) = (TempDir::new().unwrap(), Database::start(), hard());
    let server = Server::new(binary(), &dir.path().join("data")).under("DAYBOOK_POSTGRES", database.url());
    under_kills(vec![server], database, seed, kills).await;
}

/// Two instances over one database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_review_is_lost_or_doubled_on_kafka() {
    let _alone = crate::process::ALONE.lock().await;
    let (dir, database, (seed, kills), namespace) = (TempDir::new().unwrap(), Database::start(), hard(), Broker::namespace());
    let instance = |name: &str| {
        let server = Server::on_kafka(binary(), &dir.path().join(name), Broker::shared(), &namespace, &[]);
        server.under("DAYBOOK_POSTGRES", database.url())
    };
    under_kills(vec![instance("one"), instance("two")], database, seed, kills).await;
}

/// PostgreSQL is away for a while: nobody else is stopped by it, and it is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_postgres_stops_nobody_else() {
    let away = Duration::from_secs(std::env::var("AWAY").ok().and_then(|text| text.parse().ok()).unwrap_or(14));
    let (dir, mut database) = (TempDir::new().unwrap(), Database::start());
    let mut server = told(Server::new(binary(), &dir.path().join("data")).told(&["--card-key", KEY]), &database);
    let caller = Caller::new(&server.url);
    offered(&caller, 1).await;
    bought(&caller, 1, &[1]).await;
    tokio::task::block_in_place(|| database.kill());
    let (began, waiting) = (Instant::now(), caller.clone());
    let review = tokio::spawn(async move { waiting.command(Method::POST, "/reviews/1-42-1", "write", opinion(4)).await });
    let (mut orders, mut said) = (0_u64, String::new());
    while began.elapsed() < away {
        orders += 1;
        let item = json!({ "items": [{ "product": "42-1", "quantity": 1, "unit_price": "2.00", "freight_value": "0.10", "currency": "GBP" }] });
        let customer = 100 + orders;
        caller.accepted(Method::POST, &format!("/carts/{customer}/items"), "item", item).await;
        caller.accepted(Method::POST, &format!("/carts/{customer}/checkout"), "out", json!({ "payment_type": "BOLETO" })).await;
        let ready = caller.client.get(format!("{}/readyz?verbose", server.url)).send().await.unwrap();
        assert_eq!(ready.status(), StatusCode::OK);
        said = ready.text().await.unwrap();
    }
    assert!(said.contains("[!] reviews worker") && said.contains("PostgreSQL at 127.0.0.1"), "{said}");
    tokio::task::block_in_place(|| database.go());
    assert_eq!(code(review.await.unwrap()).0, 200);
    println!("{orders} orders while PostgreSQL was away for {:?}", began.elapsed());
    assert!(orders > 5 && began.elapsed() < away + PATIENCE);
    caller.until(&format!("/customers/{}/reviews", 100 + orders), |page| page["items"].as_array().map(Vec::len) == Some(1)).await;
    rated(&caller, &[json!(["42-1", 1, "4.00"])]).await;
    server.verify();
    assert!(server.stop());
}
