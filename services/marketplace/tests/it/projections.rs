//! `daybook projections`: views folded anew beside what they serve, under load, through kills and over an upgrade; and every verb.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use eventstore::memory::Memory;
use eventstore::rows::{Changes, Rows};
use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::broker::Broker;
use crate::load::{told, words};
use crate::operate::{fails, json_of, run};
use crate::process::{ALL, ALONE, Caller, PATIENCE, Server, binary};

async fn products(caller: &Caller, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        let body = json!({ "name": format!("lamp {number}"), "price": "2.55", "currency": "GBP" });
        caller.accepted(Method::PUT, &format!("/products/1-{number}"), &format!("p{number}"), body).await;
    }
}

/// Waits until it is shown.
async fn there(caller: &Caller, path: &str) {
    let (url, began) = (caller.url(), Instant::now());
    while caller.client.get(format!("{url}{path}")).send().await.unwrap().status() != StatusCode::OK {
        assert!(began.elapsed() < PATIENCE, "{path} is never there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn described(url: &str, name: &str) -> Value {
    json_of(url, &["projections", "describe", name])
}

/// Waits until nothing is folded beside it any more.
async fn ended(url: &str, name: &str) -> Value {
    let began = Instant::now();
    loop {
        let found = described(url, name);
        if found["beside"].is_null() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{found:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_does_what_it_says() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::started(binary(), &dir.path().join("data"));
    let (url, caller) = (server.url.clone(), Caller::new(&server.url));
    products(&caller, 1..=20).await;
    let then = jiff_now(&caller).await;
    products(&caller, 21..=40).await;
    let did = |arguments: &[&str]| {
        let (code, out, err) = run(&url, &[&["projections"], arguments].concat());
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out
    };
    let listed = json_of(&url, &["projections", "list"]);
    let product = listed["items"].as_array().unwrap().iter().find(|item| item["name"] == "products").unwrap().clone();
    assert!(
        product["state"] == "live" && product["serving"] == json!({ "generation": 0, "shape": "products 1" }) && product["rows"].as_u64() >= Some(40),
        "{product}"
    );
    assert!(did(&["list"]).contains("stock-items"));

    // A plan first, and nothing is done.
    let (code, out, err) = run(&url, &["projections", "rebuild", "products"]);
    assert!(
        code == 2 && out.contains("40 offsets of catalog.events") && err.contains("--yes") && described(&url, "products")["beside"].is_null(),
        "{out}{err}"
    );
    assert!(did(&["rebuild", "products", "--yes"]).contains("generation 1 is served"));
    let found = described(&url, "products");
    assert_eq!((&found["serving"]["generation"], &found["previous"]["generation"], &found["digest"]), (&json!(1), &json!(0), &product["digest"]));
    assert_eq!(caller.get("/products/1-7").await["name"], "lamp 7");

    // As far as it is told; the interrupted one waits, and goes on.
    assert!(did(&["rebuild", "products", "--until", &then, "--yes"]).contains("resume"));
    fails(&url, &["projections", "swap", "products", "--yes"], 1, "see less than before");
    fails(&url, &["projections", "rebuild", "products", "--yes"], 1, "is being folded beside already");
    assert!(did(&["rollback", "products", "--yes"]).contains("was given up"));
    let slow = Command::new(binary())
        .args(["projections", "rebuild", "products", "--rate", "5", "--no-swap", "--yes", "--url", &url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while described(&url, "products")["beside"]["offsets"].as_u64().unwrap_or_default() == 0 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    kill_process(Pid::from_child(&slow), Signal::INT).unwrap();
    let interrupted = slow.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&interrupted.stderr).into_owned();
    assert!(
        interrupted.status.code() == Some(130) && said.contains("waits where it stands") && said.contains("5 records/s") | said.contains("folding"),
        "{said}"
    );
    let paused = described(&url, "products");
    assert_eq!(paused["beside"]["phase"], "paused", "{paused:#}");
    server.kill(); // and goes on where it stood
    server.start();
    let again = described(&url, "products");
    assert!(again["beside"]["phase"] == "paused" && again["beside"]["offsets"].as_u64() >= paused["beside"]["offsets"].as_u64(), "{again:#}");
    did(&["resume", "products", "--beside"]);
    let began = Instant::now();
    while described(&url, "products")["beside"]["phase"] != "held" {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(did(&["describe", "products"]).contains("swap does it"));
    let (code, out, err) = run(&url, &["projections", "swap", "products"]);
    assert!(code == 2 && out.contains("served instead of") && err.contains("--yes"), "{out}{err}");
    assert!(did(&["swap", "products", "--yes"]).contains("is served since"));
    assert!(did(&["rollback", "products", "--yes"]).contains("is served since"));
    assert!(!did(&["swap", "products", "--keep", "none", "--yes"]).is_empty() && described(&url, "products")["previous"].is_null());

    // What it is and was.
    assert!(did(&["diff", "products"]).contains("the same"));
    let (code, out, _) = run(&url, &["projections", "diff", "products", "--at", &then]);
    assert!(code == 0 && out.contains("(no such row)") && out.contains("lamp"), "{out}");
    let diff = json_of(&url, &["projections", "diff", "products", "--at", &then]);
    assert_eq!(diff["found"]["differences"].as_array().map(Vec::len), Some(10), "the first ten of twenty products");
    did(&["pause", "products"]);
    caller.accepted(Method::PUT, "/products/1-41", "p41", json!({ "name": "late", "price": "2.55", "currency": "GBP" })).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(caller.client.get(format!("{url}/products/1-41")).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert!(described(&url, "products")["state"] == "paused" && did(&["list"]).contains("paused"));
    // What is shown as of a version that the view has not come to says where its reader must stand.
    caller.accepted(Method::POST, "/products/1-7/price", "dearer", json!({ "price": "9.99", "currency": "GBP" })).await;
    let position = async |path: &str| {
        let answer = caller.client.get(format!("{url}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.headers()["daybook-position"].to_str().unwrap().to_owned()
    };
    let (now, ahead) = (position("/products/1-7").await, position("/products/1-7?version=2").await);
    assert!(now != ahead && position("/products/1-7?version=1").await == now, "{now} and {ahead}");
    did(&["resume", "products"]);
    there(&caller, "/products/1-41").await;

    for (arguments, saying) in [
        (&["describe", "nonsense"][..], "no projection 'nonsense'"),
        (&["describe", ".."], "list` shows them"),
        (&["rebuild", "products", "--until", "0:99999", "--yes"], "outside of catalog.events/0"),
        (&["rebuild", "products", "--until", "99:0", "--yes"], "no partition 99"),
        (&["rebuild", "products", "--until", "yesterday", "--yes"], "neither a time"),
        (&["rebuild", "products", "--until", "1999-01-01T00:00:00Z", "--yes"], "before the first event"),
        (&["rebuild", "products", "--rate", "0", "--yes"], "at least 1"),
        (&["swap", "products", "--yes"], "nothing is folded beside"),
        (&["swap", "products", "--keep", "none", "--yes"], "nothing is folded beside"),
        (&["rebuild", "products", "--until", "0:0,0:0", "--yes"], "named twice"),
        (&["rebuild", "products", "--until", "garbage"], "neither a time"),
        (&["rollback", "products", "--yes"], "nothing was served before"),
        (&["pause", "products", "--beside"], "nothing is folded beside"),
        (&["diff", "products", "--at", "1:x"], "neither a time"),
    ] {
        let (code, out, err) = run(&url, &[&["projections"], arguments].concat());
        assert!([1, 2].contains(&code) && err.contains(saying), "{arguments:?} ended {code}: {out}{err}");
    }
    // The trail says what was swapped, and that it was the same.
    let trail = json_of(&url, &["audit-log", "--last", "100"]).to_string();
    assert!(trail.contains("swap of projection products") && trail.contains("equal to what was served"), "{trail}");

    // What was proven is not folded from zero again, unless that is asked for.
    let folds = |arguments: &[&str]| {
        let proof = json_of(&url, &[&["verify"], arguments].concat());
        assert_eq!(proof["matches"], true);
        proof["folds"]
            .as_array()
            .unwrap()
            .iter()
            .find(|fold| fold["name"] == "view products")
            .map(|fold| (fold["full"].clone(), fold["records"].clone()))
            .unwrap()
    };
    assert_eq!(folds(&[]), (json!(true), json!(42)));
    products(&caller, 42..=43).await;
    there(&caller, "/products/1-43").await;
    assert_eq!(folds(&[]), (json!(false), json!(2)));
    assert_eq!(folds(&["--full"]), (json!(true), json!(44)));
    // What was proven and cannot be read is no verdict against what is served: all of it is folded again.
    server.kill();
    std::fs::write(dir.path().join("data/proven/products/CURRENT"), "no manifest").unwrap();
    server.start();
    assert_eq!(folds(&[]), (json!(true), json!(44)));
    assert_eq!(folds(&[]), (json!(false), json!(0)));
    assert!(server.stop());
}

/// A time after all that was answered.
async fn jiff_now(caller: &Caller) -> String {
    tokio::time::sleep(Duration::from_millis(20)).await;
    let newest = caller.get("/inspect/product/1-20").await["history"][0]["at"].as_str().unwrap().to_owned();
    tokio::time::sleep(Duration::from_millis(20)).await;
    newest
}

/// One who reads a listing all the while: never an answer but 200, and never less than before.
async fn reader(url: String, path: &'static str, stop: Arc<AtomicBool>, away: Arc<AtomicBool>, reads: Arc<AtomicU64>) {
    let client = crate::process::http().timeout(PATIENCE).build().unwrap();
    let mut seen = 0;
    while !stop.load(Ordering::Relaxed) {
        let was_away = away.load(Ordering::SeqCst);
        let Ok(answer) = client.get(format!("{url}{path}")).send().await else {
            assert!(was_away || away.load(Ordering::SeqCst), "{path} was not answered");
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
        if was_away || away.load(Ordering::SeqCst) {
            continue; // a process that starts says so until its views have caught up
        }
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        let revision = serde_json::from_str::<Value>(&text).unwrap()["revision"].as_u64().unwrap();
        assert!(revision >= seen, "{path} went back from {seen} to {revision}");
        seen = revision;
        reads.fetch_add(1, Ordering::Relaxed);
    }
}

/// `REBUILD_KILLS` sets how many kills there are.
async fn rebuilt_under_load(mut server: Server) {
    let kills = crate::kill::environment("REBUILD_KILLS", 3);
    let url = server.url.clone();
    tokio::task::block_in_place(|| server.start());
    let caller = Caller::new(&url);
    caller.accepted(Method::POST, "/stock/1-1/receipts", "receipt 0", json!({ "quantity": 1, "reference": "r" })).await;
    there(&caller, "/stock/1-1").await;
    let (stop, away, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let reading = tokio::spawn(reader(url.clone(), "/stock/1-1", Arc::clone(&stop), Arc::clone(&away), Arc::clone(&reads)));
    let seconds = 8 + 4 * kills;
    let load = tokio::spawn(told(words(&format!("load --url {url} --clients 3 --sellers 3 --customers 20 --duration {seconds}s --seed 5 -o json"))));
    let receiving = {
        let (caller, stop) = (caller.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            for number in 1.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let body = json!({ "quantity": 1, "reference": format!("r{number}") });
                caller.accepted(Method::POST, "/stock/1-1/receipts", &format!("receipt {number}"), body).await;
            }
        })
    };
    let views = ["stock-items", "orders", "products", "carts"];
    let mut swapped = 0;
    for kill in 0..=kills {
        for (number, view) in views.into_iter().enumerate() {
            // Slow ones are killed while they fold, fast ones while they are compared or swapped.
            let rate = [None, Some(400), Some(2_000), None][(number + kill as usize) % 4];
            let asked = caller.client.post(format!("{url}/projections/{view}/rebuild")).json(&json!({ "rate": rate })).send().await.unwrap();
            assert!([StatusCode::OK, StatusCode::CONFLICT].contains(&asked.status()), "{}", asked.text().await.unwrap());
        }
        if kill == kills {
            break;
        }
        tokio::time::sleep(Duration::from_millis(300 + 700 * kill)).await;
        away.store(true, Ordering::SeqCst);
        server.kill();
        tokio::task::block_in_place(|| server.start());
        away.store(false, Ordering::SeqCst);
    }
    for view in views {
        let found = ended(&url, view).await;
        assert!(found["ended"].as_str().is_some_and(|ended| ended.contains("is served since")), "{found:#}");
        swapped += 1;
    }
    let (code, report) = load.await.unwrap();
    assert!(code == 0 && report["holds"] == true, "{report:#}");
    stop.store(true, Ordering::Relaxed);
    reading.await.unwrap();
    receiving.await.unwrap();
    println!("{kills} kills, {swapped} swaps, {} reads, none refused and none that went back", reads.load(Ordering::Relaxed));
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
    let (dir, broker) = (TempDir::new().unwrap(), tokio::task::block_in_place(Broker::start));
    rebuilt_under_load(Server::on_kafka(binary(), &dir.path().join("data"), &broker, &Broker::namespace(), &ALL)).await;
}

/// As a program of before left it: rows of an earlier shape, one of them not as today's fold makes it.
fn as_of_before(data: &Path, view: &str, shape: &str, key: &str, change: impl FnOnce(String) -> String) {
    let dir = data.join("views").join(view);
    let now = Rows::shape_in(&dir, &Memory::default()).unwrap().unwrap();
    let rows = Rows::open(&dir, &now, &Memory::default()).unwrap();
    let mut changes = Changes::default();
    changes.note("shape", shape.as_bytes());
    changes.put(key.as_bytes(), change(String::from_utf8(rows.get(key.as_bytes()).unwrap().unwrap()).unwrap()).as_bytes());
    rows.write(changes).unwrap();
    rows.flush().unwrap();
    let _never_made = std::fs::remove_file(data.join("views").join(format!("{view}.generations")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_serves_what_was_there_until_it_is_folded_anew() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::started(binary(), &data);
    let load = |seed: u32| told(words(&format!("load --url {} --clients 3 --sellers 3 --customers 20 --duration 5s --seed {seed} -o json", server.url)));
    assert_eq!(load(8).await.0, 0);
    let caller = Caller::new(&server.url);
    caller.accepted(Method::POST, "/stock/1-1/receipts", "receipt", json!({ "quantity": 1, "reference": "r" })).await;
    assert!(server.stop());
    let key = {
        let rows = Rows::open(&data.join("views/orders"), "orders 3", &Memory::default()).unwrap();
        let all = rows.scan(b"o/", None, 1).unwrap();
        String::from_utf8(all[0].0.to_vec()).unwrap()
    };
    as_of_before(&data, "orders", "orders 2", &key, |row| row.replace("\"status\":\"", "\"status\":\"once "));
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
    let mut server = Server::started(binary(), &data);
    let load = |seed: u32| told(words(&format!("load --url {} --clients 3 --sellers 3 --customers 20 --duration 5s --seed {seed} -o json", server.url)));
    assert_eq!(load(8).await.0, 0);
    let caller = Caller::new(&server.url);
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
