//! What an instance answers while its broker is away.

use std::process::Stdio;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;

use crate::broker::Broker;
use crate::operate::{run, until};
use crate::process::{Caller, Server, binary};
use crate::projections::{described, there};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_there_while_the_broker_is_away() {
    let (dir, mut broker) = (TempDir::new().unwrap(), Broker::start());
    let mut server = Server::on_kafka(binary(), &dir.path().join("data"), &broker, &Broker::namespace(), &["catalog"]);
    server.start();
    let client = Caller::new(&server.url).client;
    let metrics = || async {
        let (client, began) = (client.clone(), Instant::now());
        let answer = client.get(format!("{}/metrics", server.url)).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap(), began.elapsed())
    };
    // Before anything has happened every counter is there.
    let (_, text, _) = metrics().await;
    for line in [
        "daybook_commands_total{outcome=\"refused\",service=\"catalog\",type=\"product.register\"} 0",
        "daybook_events_appended_total{service=\"catalog\",type=\"product.registered\"} 0",
        "daybook_dead_letters_total{reason=\"malformed\",service=\"catalog\"} 0",
        "daybook_batches_thrown_away_total{service=\"catalog\"} 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    tokio::time::sleep(Duration::from_secs(2)).await; // the tail has seen its partitions' ends
    broker.kill();
    let killed = Instant::now();
    while killed.elapsed() < Duration::from_secs(14) {
        let (status, text, took) = metrics().await;
        assert_eq!(status, StatusCode::OK, "{:?} after the broker went: {text}", killed.elapsed());
        assert!(took < Duration::from_secs(2), "the answer took {took:?}");
        assert_eq!(text.matches("\ndaybook_projection_lag_records{").count() % 8, 0, "{text}");
        assert!(text.contains("daybook_projection_lag_records{partition=\"7\",projection=\"products\"} 0"), "{text}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    broker.go();
}

/// What is folded anew while the broker is away says why it stands still, and goes on when the broker is there again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_says_that_it_waits_for_the_broker() {
    let (dir, mut broker) = (TempDir::new().unwrap(), Broker::start());
    let mut server = Server::on_kafka(binary(), &dir.path().join("data"), &broker, &Broker::namespace(), &["catalog"]);
    server.start();
    let (url, caller) = (server.url.clone(), Caller::new(&server.url));
    caller.accepted(Method::PUT, "/products/1-1", "one", json!({ "name": "lamp", "price": "2.55", "currency": "GBP" })).await;
    there(&caller, "/products/1-1").await;
    broker.kill();
    let rebuilding = std::process::Command::new(binary())
        .args(["projections", "rebuild", "products", "--yes", "--url", &url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let waits = until("it says why it waits", || Some(described(&url, "products")).filter(|found| found["beside"]["said"].is_string())).await;
    assert!(waits["beside"]["phase"] == "folding" && waits["beside"]["seconds_left"].is_null(), "{waits:#}");
    let (_, out, _) = run(&url, &["projections", "describe", "products"]);
    assert!(out.contains(waits["beside"]["said"].as_str().unwrap()), "{out}");
    tokio::time::sleep(Duration::from_secs(6)).await; // so that who watches has heard it
    assert_eq!(caller.get("/products/1-1").await["name"], "lamp", "what was served is served");
    broker.go();
    let done = rebuilding.wait_with_output().unwrap();
    let [out, err] = [done.stdout, done.stderr].map(|said| String::from_utf8(said).unwrap());
    assert!(done.status.success() && out.contains("is served since"), "{out}{err}");
    let waited: Vec<_> = err.lines().filter(|line| line.contains("(will be tried again)")).collect();
    assert!(!waited.is_empty() && !waited.iter().any(|line| line.contains("s left")), "{err}");
    assert!(server.stop());
}

/// A broker that stops answering in the middle of a start, as one does that is itself starting, is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_a_broker_that_falls_silent() {
    let (dir, mut broker) = (TempDir::new().unwrap(), Broker::start());
    let data = dir.path().join("data");
    let mut server = Server::on_kafka(binary(), &data, &broker, &Broker::namespace(), &["catalog", "stock"]);
    let process = broker.process().unwrap().to_string();
    let signal = |name: &str| assert!(std::process::Command::new("kill").args([name, &process]).status().unwrap().success());
    let took = std::thread::scope(|scope| {
        let starting = scope.spawn(|| server.start());
        let began = Instant::now();
        while !data.join("heads").exists() {
            assert!(began.elapsed() < Duration::from_secs(30), "it never opened its heads");
            std::thread::sleep(Duration::from_millis(1));
        }
        signal("-STOP");
        std::thread::sleep(Duration::from_secs(25)); // longer than any question to the broker waits
        signal("-CONT");
        starting.join().unwrap()
    });
    assert!(took > Duration::from_secs(25), "it was ready before the broker fell silent: {took:?}");
    assert!(server.log().contains("\"message\":\"starting\""), "{}", server.log());
    broker.kill();
}

/// Instances that are frozen take connections and never answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_passed_on_ends_in_time_whoever_is_silent() {
    let (dir, broker, namespace) = (TempDir::new().unwrap(), Broker::shared(), Broker::namespace());
    let start = |name: &str, service: &str| {
        let mut server = Server::on_kafka(binary(), &dir.path().join(name), broker, &namespace, &[service]);
        server.start();
        server
    };
    let (asked, mut others) = (start("asked", "catalog"), [start("one", "stock"), start("two", "stock")]);
    others.sort_by_key(|server| server.url.clone());
    let client = crate::process::http().build().unwrap();
    let get = |path: &'static str, wait: u64| {
        let asking = client.get(format!("{}{path}", asked.url)).header("prefer", format!("wait={wait}"));
        async move {
            let began = Instant::now();
            let answer = asking.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap(), began.elapsed())
        }
    };
    // Both own partitions: until then there is nobody to ask besides the first.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let silent = get("/stock?limit=1", 5).await;
        let owned = share_the_work(&client, &others).await;
        if silent.0 == 200 && owned {
            break;
        }
        assert!(Instant::now() < deadline, "{silent:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    others[0].freeze();
    let (status, text, took) = get("/stock?limit=1", 5).await;
    println!("with one of two frozen: {status} after {took:?}");
    assert_eq!(status, 200, "{text}");
    assert!(took < Duration::from_secs(4), "the second was asked only after {took:?}");
    others[1].freeze();
    let (status, text, took) = get("/stock?limit=1", 2).await;
    println!("with both frozen: {status} after {took:?}: {text}");
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("answers now") && text.contains("\"retryable\":true"), "{text}");
    assert!(took < Duration::from_secs(8), "the answer took {took:?}");
    // And a question to all of them ends as well, saying who was silent.
    let (status, text, took) = get("/sagas", 2).await;
    println!("sagas with both frozen: {status} after {took:?}");
    assert!(status == 200 && text.contains("\"silent\":[{"), "{text}");
    assert!(took < Duration::from_secs(12), "the answer took {took:?}");
}

/// Whether each of these instances owns a part of its service.
async fn share_the_work(client: &reqwest::Client, servers: &[Server]) -> bool {
    for server in servers {
        let text = client.get(format!("{}/metrics", server.url)).send().await.unwrap().text().await.unwrap();
        if !text.contains("daybook_partitions_owned{role=\"worker\",service=\"stock\"} 4") {
            return false;
        }
    }
    true
}
