//! A clock that is wrong, as a user sees it: the binary under a library that shifts its wall clock.

use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Caller, Server, binary};

const DAY: i64 = 86_400;

fn library(dir: &Path) -> PathBuf {
    let (library, source) = (dir.join("clock.so"), Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clock.c"));
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").status().expect("a C compiler");
    assert!(built.success());
    library
}

/// A process whose wall clock is wrong by so many seconds.
fn shifted(library: &Path, data: &Path, seconds: i64) -> Server {
    let mut server = Server::new(binary(), data).under("LD_PRELOAD", library.to_str().unwrap()).under("CLOCK_SHIFT", &seconds.to_string());
    server.start();
    server
}

async fn order(caller: &Caller, id: &str) -> Value {
    let items = json!({ "items": [{ "product": "1-1", "quantity": 1, "unit_price": "2.55" }] });
    for attempt in 0.. {
        let (status, answer) = caller.command(Method::POST, "/carts/7/items", &format!("add-{id}-{attempt}"), items.clone()).await;
        if status == StatusCode::OK {
            break;
        }
        assert!(answer["code"] == "unknown-product" && attempt < 200, "{answer}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let (status, answer) = caller.command(Method::POST, "/carts/7/checkout", &format!("out-{id}"), json!({ "payment_type": "BOLETO" })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    // The cart answers; the view of orders follows.
    caller.until(&format!("/orders/{}", answer["id"].as_str().unwrap()), |order| order["status"] == "paid").await
}

async fn stock(caller: &Caller) {
    for (method, path, body) in [
        (Method::PUT, "/products/1-1", json!({ "name": "lamp", "price": "2.55" })),
        (Method::POST, "/stock/1-1/receipts", json!({ "quantity": 100, "reference": "first" })),
    ] {
        let (status, answer) = caller.command(method, path, path, body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_one_start_with_a_clock_ahead_orders_have_rising_times_and_it_is_said() {
    let dir = TempDir::new().unwrap();
    let (library, data) = (library(dir.path()), dir.path().join("data"));
    let mut server = shifted(&library, &data, 30 * DAY);
    let caller = Caller::new(&server.url);
    stock(&caller).await;
    let mut placed = vec![order(&caller, "ahead").await];
    assert!(server.stop());

    let mut server = shifted(&library, &data, 0);
    let caller = Caller::new(&server.url);
    for n in 0..4 {
        placed.push(order(&caller, &format!("right{n}")).await);
    }
    let times: Vec<domain::Timestamp> = placed.iter().map(|order| order["placed_at"].as_str().unwrap().parse().unwrap()).collect();
    assert!(times.is_sorted_by(|one, other| one < other), "times do not rise: {times:?}");
    // What was recorded within one answer rises as well.
    let history = caller.all("/orders/7-5/history").await;
    let ats: Vec<&str> = history.iter().map(|step| step["at"].as_str().unwrap()).collect();
    assert!(!ats.is_empty() && ats.is_sorted(), "{ats:?}");
    let text = |path: &'static str| {
        let asking = caller.client.get(format!("{}{path}", server.url));
        async move { asking.send().await.unwrap().text().await.unwrap() }
    };
    let ready = text("/readyz?verbose").await;
    assert!(ready.contains("[i] log time is 2591") && ready.ends_with("ready\n"), "{ready}");
    let metrics = text("/metrics").await;
    let ahead: f64 = metrics.lines().find_map(|line| line.strip_prefix("daybook_log_time_ahead_seconds ")?.parse().ok()).unwrap();
    assert!((ahead - 30.0 * DAY as f64).abs() < 60.0, "{ahead}");
    assert!(server.stop());
    let log = std::fs::read_to_string(data.with_extension("log")).unwrap();
    assert!(log.contains("s ahead of this machine's clock"), "{log}");
}

/// No answer and no record could be dated: it says so at once, instead of panicking at each request.
#[test]
fn a_clock_that_cannot_be_is_refused_with_what_to_do() {
    let dir = TempDir::new().unwrap();
    for (years, stands) in [(-70, "19"), (1_000, "3026"), (7_972, "9999"), (9_000, "+1102")] {
        let done = Command::new(binary())
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(dir.path().join("data"))
            .env("LD_PRELOAD", library(dir.path()))
            .env("CLOCK_SHIFT", (years * 365 * DAY + years * DAY / 4).to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(1) && said.contains(&format!("this machine's clock stands at {stands}")) && !said.contains("panicked"), "{said}");
    }
}
