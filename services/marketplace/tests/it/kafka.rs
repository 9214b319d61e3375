//! The marketplace as several processes on a real broker: the same totals as on one log in one process, whoever dies,
//! and answers from whichever instance is asked.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::audit::settle;
use crate::broker::Broker;
use crate::import::{history, import, is_whole};
use crate::kill::environment;
use crate::process::{ALL, ALONE, Caller, Server, binary};

fn fleet(dir: &Path, broker: &Broker, namespace: &str, services: &[&[&str]]) -> Vec<Server> {
    let instance = |(number, services): (usize, &&[&str])| Server::on_kafka(binary(), &dir.join(format!("data{number}")), broker, namespace, services);
    let mut fleet: Vec<Server> = services.iter().enumerate().map(instance).collect();
    for server in &mut fleet {
        server.start();
    }
    fleet
}

/// View -> digest of what its rows say of the business.
fn business(verified: &Value) -> BTreeMap<String, String> {
    let folds = verified["folds"].as_array().unwrap().iter();
    let digest = |fold: &Value| (fold["name"].as_str().unwrap().to_owned(), fold["business"].as_str().unwrap().to_owned());
    folds.map(digest).filter(|(name, _)| name.starts_with("view ")).collect()
}

/// What the broker says of its transactions, by Kafka's own tool.
fn open_transactions(broker: &Broker) -> Vec<String> {
    let listed = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/kafka/kafka"))
        .args(["tool", "org.apache.kafka.tools.TransactionsCommand", "--bootstrap-server", &broker.address(), "list"])
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(text.contains("TransactionalId"), "{text}");
    text.lines().filter(|line| ["Ongoing", "Prepare"].iter().any(|state| line.contains(state))).map(str::to_owned).collect()
}

/// `IMPORT_KILLS` and `BROKER_KILLS` set how many; `KILL_SEED` which.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_is_imported_to_the_penny_while_instances_and_broker_die() {
    let _alone = ALONE.lock().await;
    let dir = TempDir::new().unwrap();
    let mut embedded = Server::started(binary(), &dir.path().join("embedded"));
    is_whole(&import(&history(), &embedded.url, dir.path()));
    settle(&Caller::new(&embedded.url)).await;
    let expected = business(&embedded.verify());
    assert!(embedded.stop());

    let (mut broker, namespace, seed) = (Broker::start(), Broker::namespace(), environment("KILL_SEED", u64::from(std::process::id())));
    let (mut kills, mut broker_kills) = (environment("IMPORT_KILLS", 2), environment("BROKER_KILLS", 1));
    let mut fleet = fleet(dir.path(), &broker, &namespace, &[&ALL, &ALL, &ALL]);
    let caller = Caller::of(fleet.iter().map(|server| server.url.clone()).collect());
    let mut random = StdRng::seed_from_u64(seed);
    let (began, mut imports) = (Instant::now(), 0);
    println!("import on Kafka: KILL_SEED={seed}, {kills} kills of instances, {broker_kills} of the broker");
    // The importer talks to one instance; should that die, it waits for it, as an operator would.
    let start = |url: &str| {
        let report = dir.path().join("report.csv");
        Command::new(binary())
            .arg("import")
            .arg(history())
            .args(["--url", url, "--report"])
            .arg(report)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut importer = start(&fleet[0].url);
    while kills + broker_kills > 0 {
        // A dead member holds its group up for a session time-out: killed faster than that, nothing would ever be served,
        // and orders would end at their deadline.
        tokio::time::sleep(Duration::from_millis(random.random_range(4_000..12_000))).await;
        if importer.try_wait().unwrap().is_some() {
            imports += 1; // once more over the same: it must change nothing
            importer = start(&fleet[0].url);
        }
        if random.random_range(0..kills + broker_kills) < broker_kills {
            broker.kill();
            tokio::time::sleep(Duration::from_millis(random.random_range(0..2_000))).await;
            broker.go();
            broker_kills -= 1;
        } else {
            let victim = random.random_range(0..fleet.len());
            fleet[victim].kill();
            fleet[victim].start();
            kills -= 1;
        }
    }
    let _ended = importer.wait().unwrap(); // it may have given up on an instance; the next goes on where it stopped
    is_whole(&import(&history(), &fleet[0].url, dir.path()));
    settle(&caller).await;
    for server in &fleet {
        let ours = business(&server.verify());
        let differ: Vec<_> = expected.iter().filter(|(view, digest)| ours.get(*view) != Some(digest)).map(|(view, _)| view).collect();
        assert_eq!((ours.len(), differ), (expected.len(), vec![]), "the business differs from the embedded log's");
    }
    for server in &mut fleet {
        assert!(server.stop());
    }
    assert_eq!(open_transactions(&broker), Vec::<String>::new());
    println!(
        "import on Kafka: KILL_SEED={seed}: 465,619.25, {} views as on the embedded log, {imports} repeats, verify clean, no transaction open; {:?}",
        expected.len(),
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_instance_answers_for_every_service() {
    let (dir, namespace) = (TempDir::new().unwrap(), Broker::namespace());
    let mut fleet =
        fleet(dir.path(), Broker::shared(), &namespace, &[&["cart", "ordering"], &["catalog", "customer", "stock", "payment", "shipment", "seller"]]);
    let client = crate::process::http().build().unwrap();
    // Every request goes to one instance and the next to the other; what one wrote the other's read must show.
    let command = async |at: usize, method: Method, path: &str, body: Value| {
        let answer = client.request(method, format!("{}{path}", fleet[at].url)).header("prefer", "wait=20").json(&body).send().await.unwrap();
        let position = answer.headers().get("daybook-position").map(|position| position.to_str().unwrap().to_owned());
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{path} at {at}: {text}");
        (serde_json::from_str::<Value>(&text).unwrap(), position.unwrap())
    };
    let read = async |at: usize, path: &str, position: &str| {
        let answer = client.get(format!("{}{path}", fleet[at].url)).header("daybook-position", position).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{path} at {at}: {text}");
        serde_json::from_str::<Value>(&text).unwrap()
    };
    for round in 1..=5_u64 {
        let (one, other) = ((round % 2) as usize, ((round + 1) % 2) as usize);
        let product = format!("{round}-1");
        let (_, position) = command(one, Method::PUT, &format!("/products/{product}"), json!({ "name": "lamp", "price": "2.55", "currency": "GBP" })).await;
        assert_eq!(read(other, &format!("/products/{product}"), &position).await["price"], "2.55");
        command(other, Method::POST, &format!("/stock/{product}/receipts"), json!({ "quantity": 9, "reference": "r" })).await;
        let items = json!({ "items": [{ "product": product, "quantity": 2, "unit_price": "2.55", "freight_value": "0", "currency": "GBP" }] });
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let added = client.post(format!("{}/carts/{round}/items", fleet[one].url)).header("prefer", "wait=20").json(&items).send().await.unwrap();
            if added.status() == StatusCode::OK {
                break;
            }
            assert!(Instant::now() < deadline, "{:?}", added.text().await); // the cart has not heard of the product yet
        }
        let pay = json!({ "payment_type": "CREDIT_CARD", "card_number": "4111111111111111", "card_brand": "visa", "city": "Oslo" });
        let (ended, position) = command(other, Method::POST, &format!("/carts/{round}/checkout"), pay).await;
        assert_eq!(ended["ended"], "paid", "{ended}");
        for at in [0, 1] {
            assert_eq!(read(at, &format!("/orders/{}", ended["id"].as_str().unwrap()), &position).await["status"], "paid");
            let outcome =
                client.get(format!("{}/commands/{}", fleet[at].url, ended["command"].as_str().unwrap())).header("prefer", "wait=20").send().await.unwrap();
            let outcome: Value = serde_json::from_str(&outcome.text().await.unwrap()).unwrap();
            assert_eq!(outcome["id"], ended["id"], "at {at}: {outcome}");
        }
    }
    // Nobody runs it: said so, at once, as something that passes.
    assert!(fleet[1].stop());
    let answer = client.get(format!("{}/products/1-1", fleet[0].url)).send().await.unwrap();
    assert_eq!((answer.status(), answer.headers().contains_key("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, true));
    assert!(fleet[0].stop());
}

/// Three instances are restarted one after the other while customers go on: nobody is told anything but 503, try again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_request() {
    let (dir, namespace) = (TempDir::new().unwrap(), Broker::namespace());
    let mut fleet = fleet(dir.path(), Broker::shared(), &namespace, &[&ALL, &ALL, &ALL]);
    let urls: Arc<Vec<String>> = Arc::new(fleet.iter().map(|server| server.url.clone()).collect());
    let (stop, retried, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let customer = |number: u64| {
        let (urls, stop, retried, done) = (Arc::clone(&urls), Arc::clone(&stop), Arc::clone(&retried), Arc::clone(&done));
        async move {
            let client = crate::process::http().pool_max_idle_per_host(0).timeout(Duration::from_secs(40)).build().unwrap();
            let mut slowest = Duration::ZERO;
            for round in 0_usize.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let (began, body) = (Instant::now(), json!({ "quantity": 1, "reference": format!("{number}.{round}") }));
                for attempt in round.. {
                    let asking = client.post(format!("{}/stock/{number}-1/receipts", urls[attempt % urls.len()]));
                    match asking.header("idempotency-key", format!("{number}.{round}")).header("prefer", "wait=30").json(&body).send().await {
                        Ok(answer) if answer.status() == StatusCode::OK => break,
                        Ok(answer) => assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text().await.unwrap()),
                        Err(why) => assert!(why.is_connect(), "a request was cut off: {why:?}"), // a balancer sends it elsewhere
                    }
                    retried.fetch_add(1, Ordering::Relaxed);
                    assert!(began.elapsed() < Duration::from_secs(60), "no answer");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                slowest = slowest.max(began.elapsed());
                done.fetch_add(1, Ordering::Relaxed);
            }
            (number, slowest)
        }
    };
    let customers: Vec<_> = (1..=8).map(|number| tokio::spawn(customer(number))).collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    for server in &mut fleet {
        assert!(server.stop(), "a clean stop failed");
        server.start();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut slowest = Duration::ZERO;
    for customer in customers {
        slowest = slowest.max(customer.await.unwrap().1);
    }
    let caller = Caller::of(urls.to_vec());
    let received: u64 = caller.all("/stock").await.iter().map(|item| item["received"].as_u64().unwrap()).sum();
    let done = done.load(Ordering::Relaxed);
    assert_eq!(received, done, "deliveries were lost or doubled");
    println!("rolling restart of three: {done} commands, {} tries again, slowest {slowest:?}", retried.load(Ordering::Relaxed));
    fleet.iter_mut().for_each(|server| assert!(server.stop()));
}
