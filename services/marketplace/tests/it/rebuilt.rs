//! Views and heads that are folded anew beside those that are served, while the system is used and its process is killed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use eventstore::memory::Memory;
use eventstore::rows::{Changes, Rows};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::{JoinHandle, block_in_place};

use crate::broker::Broker;
use crate::kill::environment;
use crate::load::{told, words};
use crate::operate::{json_of, run};
use crate::process::{ALL, ALONE, Caller, PATIENCE, Server, binary};
use crate::projections::{described, ended, there};

/// Everything that uses a system all the while, and who knows when it is not there.
#[derive(Clone)]
struct Users {
    url: String,
    stop: Arc<AtomicBool>,
    away: Arc<AtomicBool>,
    reads: Arc<AtomicU64>,
}

impl Users {
    /// A load after the other, one who reads this, and one who receives stock.
    fn begin(caller: &Caller, path: &str) -> (Self, [JoinHandle<()>; 3]) {
        let users = Self { url: caller.url().to_owned(), stop: Arc::default(), away: Arc::default(), reads: Arc::default() };
        let tasks =
            [tokio::spawn(users.clone().load()), tokio::spawn(users.clone().read(path.to_owned())), tokio::spawn(users.clone().receive(caller.clone()))];
        (users, tasks)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    async fn load(self) {
        for seed in 50.. {
            let arguments = format!("load --url {} --clients 3 --sellers 3 --customers 20 --duration 5s --seed {seed} -o json", self.url);
            let (code, report) = told(words(&arguments)).await;
            assert!(code == 0 && report["holds"] == true, "{report:#}");
            if self.is_stopped() {
                return;
            }
        }
    }

    /// Never an answer but 200, and never less than before: what was seen is asked for by its position.
    async fn read(self, path: String) {
        let client = crate::process::http().timeout(PATIENCE).build().unwrap();
        let (mut seen, mut position) = (0, None::<String>);
        while !self.is_stopped() {
            let was_away = self.away.load(Ordering::SeqCst);
            let is_away = || was_away || self.away.load(Ordering::SeqCst);
            let asked = client.get(format!("{}{path}", self.url));
            let asked = position.iter().fold(asked, |asked, position| asked.header("daybook-position", position));
            let Ok(answer) = asked.send().await else {
                assert!(is_away(), "{path} was not answered");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let (status, token) = (answer.status(), answer.headers().get("daybook-position").map(|token| token.to_str().unwrap().to_owned()));
            let text = answer.text().await.unwrap_or_default();
            if is_away() {
                continue; // a process that starts says so until its views have caught up
            }
            assert_eq!(status, StatusCode::OK, "{path} at {position:?}: {text}");
            let revision = serde_json::from_str::<Value>(&text).unwrap()["revision"].as_u64().unwrap();
            assert!(revision >= seen, "{path} went back from {seen} to {revision}");
            (seen, position) = (revision, token);
            assert!(position.is_some(), "{path} has no position");
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until it was read so often again.
    async fn read_more(&self, times: u64) {
        let (began, from) = (Instant::now(), self.reads.load(Ordering::Relaxed));
        while self.reads.load(Ordering::Relaxed) < from + times {
            assert!(began.elapsed() < PATIENCE, "nobody reads");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn receive(self, caller: Caller) {
        for number in 1.. {
            if self.is_stopped() {
                return;
            }
            let body = json!({ "quantity": 1, "reference": format!("r{number}") });
            caller.accepted(Method::POST, "/stock/1-1/receipts", &format!("receipt {number}"), body).await;
        }
    }

    fn kill(&self, server: &mut Server) {
        self.away.store(true, Ordering::SeqCst);
        server.kill();
    }

    fn start(&self, server: &mut Server) {
        block_in_place(|| server.start());
        self.away.store(false, Ordering::SeqCst);
    }

    /// How often it was read.
    async fn end(self, tasks: [JoinHandle<()>; 3]) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.unwrap();
        }
        self.reads.load(Ordering::Relaxed)
    }
}

/// Starts it, and lets it be used for five seconds.
async fn used(server: &mut Server) -> Caller {
    block_in_place(|| server.start());
    let load = format!("load --url {} --clients 3 --sellers 3 --customers 20 --duration 5s --seed 8 -o json", server.url);
    assert_eq!(told(words(&load)).await.0, 0);
    Caller::new(&server.url)
}

/// `REBUILD_KILLS` sets how many kills there are.
async fn rebuilt_under_load(mut server: Server) {
    let kills = environment("REBUILD_KILLS", 3);
    let url = server.url.clone();
    block_in_place(|| server.start());
    let caller = Caller::new(&url);
    caller.accepted(Method::POST, "/stock/1-1/receipts", "receipt 0", json!({ "quantity": 1, "reference": "r" })).await;
    there(&caller, "/stock/1-1").await;
    let (users, tasks) = Users::begin(&caller, "/stock/1-1");
    let views = ["stock-items", "orders", "products", "carts"];
    for kill in 0..=kills {
        for (number, view) in views.into_iter().enumerate() {
            // Slow ones are killed while they fold, fast ones while they are compared or swapped.
            let rate = [None, Some(2_000), Some(10_000), None][(number + kill as usize) % 4];
            let asked = caller.client.post(format!("{url}/projections/{view}/rebuild")).json(&json!({ "rate": rate })).send().await.unwrap();
            assert!([StatusCode::OK, StatusCode::CONFLICT].contains(&asked.status()), "{}", asked.text().await.unwrap());
        }
        if kill < kills {
            tokio::time::sleep(Duration::from_millis(300 + 700 * kill)).await;
            users.kill(&mut server);
            users.start(&mut server);
        }
    }
    for view in views {
        let found = ended(&url, view).await;
        assert!(found["ended"].as_str().is_some_and(|ended| ended.contains("is served since")), "{found:#}");
    }
    let reads = users.end(tasks).await;
    println!("{kills} kills, {} views swapped, {reads} reads, none refused and none that went back", views.len());
    assert!(server.verify()["matches"] == true && server.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_views_are_rebuilt_and_processes_die() {
    let dir = TempDir::new().unwrap();
    rebuilt_under_load(Server::new(binary(), &dir.path().join("data"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_views_are_rebuilt_on_kafka() {
    let _alone = ALONE.lock().await;
    let (dir, broker) = (TempDir::new().unwrap(), block_in_place(Broker::start));
    rebuilt_under_load(Server::on_kafka(binary(), &dir.path().join("data"), &broker, &Broker::namespace(), &ALL)).await;
}

/// The list of the orders' generations, as it lies on the disk.
fn generations(data: &Path) -> (PathBuf, Value) {
    let file = data.join("views/orders.generations");
    let list = std::fs::read(&file).map(|bytes| serde_json::from_slice(&bytes).unwrap());
    (file, list.unwrap_or_else(|_| json!({ "serving": 0, "shapes": { "0": "orders 3" } })))
}

fn served(data: &Path) -> PathBuf {
    match generations(data).1["serving"].as_u64().unwrap() {
        0 => data.join("views/orders"),
        number => data.join(format!("views/orders.{number}")),
    }
}

/// An order: the key of its row, and its id.
fn an_order(data: &Path) -> (String, String) {
    let rows = Rows::open(&served(data), "orders 3", &Memory::default()).unwrap();
    let (key, row) = rows.scan(b"o/", None, 1).unwrap().remove(0);
    let row: Value = serde_json::from_slice(&row).unwrap();
    (String::from_utf8(key.to_vec()).unwrap(), row["id"].as_str().unwrap().to_owned())
}

/// As a program of before left it: orders of an earlier shape, one of them not as today's fold makes it.
fn as_of_before(data: &Path, key: &str) {
    let rows = Rows::open(&served(data), "orders 3", &Memory::default()).unwrap();
    let row = String::from_utf8(rows.get(key.as_bytes()).unwrap().unwrap()).unwrap();
    let mut changes = Changes::default();
    changes.note("shape", b"orders 2");
    changes.put(key.as_bytes(), row.replace("\"status\":\"", "\"status\":\"once ").as_bytes());
    rows.write(changes).unwrap();
    rows.flush().unwrap();
    let (file, mut list) = generations(data);
    let serving = list["serving"].to_string();
    if serving == "0" {
        let _never_made = std::fs::remove_file(file);
    } else {
        list["shapes"][&serving] = json!("orders 2");
        std::fs::write(file, list.to_string()).unwrap();
    }
}

/// What is folded beside folds so many records in a second at most.
fn paced(data: &Path, rate: Option<u64>) {
    let (file, mut list) = generations(data);
    list["beside"]["rate"] = json!(rate);
    std::fs::write(file, list.to_string()).unwrap();
}

fn is_folded_beside(data: &Path) -> bool {
    generations(data).1["beside"].is_object()
}

/// Waits until it is settled that it is folded beside, or is no more.
async fn becomes(folded_beside: bool, data: &Path) {
    let began = Instant::now();
    while is_folded_beside(data) != folded_beside {
        assert!(began.elapsed() < PATIENCE, "it never becomes {folded_beside}");
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

/// Killed when it has just been settled that the view is folded anew, in the middle of that, and around its end; `UPGRADES`
/// sets how often all of that happens.
async fn upgraded_under_load(mut server: Server, data: &Path, upgrades: u64) {
    let upgrades = environment("UPGRADES", upgrades);
    let (caller, url) = (used(&mut server).await, server.url.clone());
    assert!(server.stop());
    let (key, order) = an_order(data);
    as_of_before(data, &key);
    server.start();
    ended(&url, "orders").await;
    let (users, tasks) = Users::begin(&caller, &format!("/orders/{order}"));
    let mut at_the_end = [0, 0];
    for upgrade in 0..upgrades {
        users.kill(&mut server);
        as_of_before(data, &key);
        server.spawn();
        becomes(true, data).await;
        server.kill();
        assert!(is_folded_beside(data), "it was too late");
        paced(data, Some(1)); // so that it is not over before a process on Kafka is ready
        users.start(&mut server);
        let began = Instant::now();
        let seen = loop {
            let seen = described(&url, "orders");
            if seen["beside"]["offsets"].as_u64() > Some(0) {
                break seen;
            }
            assert!(began.elapsed() < PATIENCE, "{seen:#}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!((&seen["serving"]["shape"], &seen["beside"]["phase"]), (&json!("orders 2"), &json!("folding")), "{seen:#}");
        assert!(caller.get(&format!("/orders/{order}")).await["status"].as_str().unwrap().starts_with("once "), "it is served meanwhile");
        users.read_more(50).await;
        users.kill(&mut server);
        assert!(is_folded_beside(data), "{seen:#}");
        paced(data, None);
        server.spawn();
        if upgrade % 2 == 0 {
            becomes(false, data).await; // killed when that is settled, and nothing else
        } else {
            tokio::time::sleep(Duration::from_millis(137 * upgrade)).await;
        }
        server.kill();
        at_the_end[usize::from(is_folded_beside(data))] += 1;
        users.start(&mut server);
        let found = ended(&url, "orders").await;
        assert_eq!((&found["serving"]["shape"], &found["previous"]["shape"]), (&json!("orders 3"), &json!("orders 2")), "{found:#}");
        assert!(!caller.get(&format!("/orders/{order}")).await["status"].as_str().unwrap().starts_with("once "));
    }
    let reads = users.end(tasks).await;
    let [after, before] = at_the_end;
    println!("{upgrades} upgrades killed thrice each ({before} the last time before the swap, {after} after it), {reads} reads, none refused");
    assert!(server.verify()["matches"] == true && server.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_a_shape_is_upgraded_and_processes_die() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    upgraded_under_load(Server::new(binary(), &data), &data, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_a_shape_is_upgraded_on_kafka() {
    let _alone = ALONE.lock().await;
    let (dir, broker) = (TempDir::new().unwrap(), block_in_place(Broker::start));
    let data = dir.path().join("data");
    upgraded_under_load(Server::on_kafka(binary(), &data, &broker, &Broker::namespace(), &ALL), &data, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_serves_what_was_there_until_it_is_folded_anew() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::new(binary(), &data);
    let caller = used(&mut server).await;
    caller.accepted(Method::POST, "/stock/1-1/receipts", "receipt", json!({ "quantity": 1, "reference": "r" })).await;
    assert!(server.stop());
    let (key, _) = an_order(&data);
    as_of_before(&data, &key);
    server.start();
    let of_before = caller.client.get(format!("{}/projections/orders", server.url)).send().await.unwrap().json::<Value>().await.unwrap();
    let found = ended(&server.url, "orders").await;
    assert!(of_before["state"] != "catching-up" && found["serving"] == json!({ "generation": 1, "shape": "orders 3" }), "{of_before:#} {found:#}");
    assert_eq!((&found["previous"]["shape"], &found["behind"]), (&json!("orders 2"), &json!(0)));
    assert!(server.verify()["matches"] == true);

    // A fold that makes something else of an event is found before it is served: the key, and both rows.
    assert!(server.stop());
    let serving = data.join("views/orders.1");
    let rows = Rows::open(&serving, "orders 3", &Memory::default()).unwrap();
    let row = String::from_utf8(rows.get(key.as_bytes()).unwrap().unwrap()).unwrap();
    let mut changes = Changes::default();
    changes.put(key.as_bytes(), row.replace("\"status\":\"", "\"status\":\"another ").as_bytes());
    rows.write(changes).unwrap();
    drop(rows);
    server.start();
    let (code, out, err) = run(&server.url, &["projections", "rebuild", "orders", "--yes"]);
    assert!(code == 3 && out.contains(&key) && out.contains("another ") && out.contains("--accept-differences"), "{code} {out}{err}");
    let (code, out, err) = run(&server.url, &["projections", "swap", "orders", "--accept-differences", "--yes"]);
    assert!(code == 0 && out.contains("is served since"), "{code} {out}{err}");
    let trail = json_of(&server.url, &["audit-log", "--last", "100"]).to_string();
    assert!(trail.contains("1 or more rows differ, which was accepted"), "{trail}");
    assert!(server.verify()["matches"] == true && server.stop());
}

/// A program whose states have another shape makes heads beside those that are there, and keeps these for the program before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_of_another_shape_are_made_beside_the_old_ones_while_reads_are_answered() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::new(binary(), &data);
    let caller = used(&mut server).await;
    let receipt = |number: u32| (format!("receipt {number}"), json!({ "quantity": 1, "reference": format!("r{number}") }));
    let (id, body) = receipt(1);
    let first = caller.command(Method::POST, "/stock/1-1/receipts", &id, body.clone()).await;
    assert!(server.stop());
    let (stock, shape) = (data.join("heads/stock"), "tables.0 of another program");
    {
        let now = Rows::shape_in(&stock, &Memory::default()).unwrap().unwrap();
        let rows = Rows::open(&stock, &now, &Memory::default()).unwrap();
        let mut changes = Changes::default();
        changes.note("shape", shape.as_bytes());
        rows.write(changes).unwrap();
        rows.flush().unwrap();
        std::fs::remove_file(data.join("heads/stock.generations")).unwrap(); // says what this program has made
    }
    let reading = {
        let (url, client) = (server.url.clone(), caller.client.clone());
        tokio::spawn(async move {
            // From the first answer on, rows are shown; being ready for commands comes later.
            let (began, mut shown) = (Instant::now(), 0);
            loop {
                assert!(began.elapsed() < PATIENCE);
                if let Ok(answer) = client.get(format!("{url}/stock/1-1")).send().await {
                    assert!(answer.status() == StatusCode::OK || shown == 0, "{}", answer.status());
                    shown += u64::from(answer.status() == StatusCode::OK);
                    if shown > 50 {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    tokio::task::block_in_place(|| server.start());
    reading.await.unwrap();
    assert!(data.join("heads/stock.1/CURRENT").exists());
    // A repeat is known for one, and the next version follows.
    assert_eq!(caller.command(Method::POST, "/stock/1-1/receipts", &id, body).await, first);
    let (id, body) = receipt(2);
    let next = caller.command(Method::POST, "/stock/1-1/receipts", &id, body).await;
    assert!(first.0.is_success() && next.0.is_success(), "{first:?} {next:?}");
    assert_eq!(next.1["version"].as_u64(), first.1["version"].as_u64().map(|version| version + 1), "{next:?}");
    assert!(server.verify()["matches"] == true && server.stop());
    assert_eq!(Rows::shape_in(&stock, &Memory::default()).unwrap().as_deref(), Some(shape), "kept as they were");
}
