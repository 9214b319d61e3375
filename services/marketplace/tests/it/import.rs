//! Import of a real shop's history: every line accounted for, every penny in its place, whoever is killed meanwhile.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

mod doors;
mod held;

use crate::audit::settle;
use crate::process::{Caller, Server, binary, daybook};

pub fn history() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/online-retail.csv")
}

pub fn import(file: &Path, url: &str, dir: &Path) -> Value {
    let (code, summary, said) = imported(file, url, dir, &[]);
    assert_eq!(code, 0, "{said}");
    summary
}

/// Its exit code, its summary and what it said besides.
fn imported(file: &Path, url: &str, dir: &Path, more: &[&str]) -> (i32, Value, String) {
    let report = dir.join("report.csv");
    let arguments = [&["import", file.to_str().unwrap(), "--url", url, "--report", report.to_str().unwrap(), "-o", "json"], more].concat();
    let done = daybook(&binary(), &arguments);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    (done.status.code().unwrap(), serde_json::from_slice(&done.stdout).unwrap_or_else(|why| panic!("{why}: {said}")), said)
}

/// Every line of the report: its number, and why it was refused.
fn fates(dir: &Path) -> Vec<(u64, String)> {
    let mut report = csv::Reader::from_path(dir.join("report.csv")).unwrap();
    report.records().map(|record| record.unwrap()).map(|record| (record[0].parse().unwrap(), record[4].to_owned())).collect()
}

pub fn is_whole(summary: &Value) {
    let counts = ["lines", "accepted", "refunded", "refused"].map(|count| summary[count].as_u64().unwrap());
    assert_eq!(counts, [25_208, 24_538, 100, 570], "{summary}");
    assert_eq!(summary["refunds_total"], "2263.35");
    for total in ["goods_total", "accepted_total", "orders_total"] {
        assert_eq!(summary[total], "465619.25", "{total}");
    }
    let reasons: u64 = summary["refused_by_reason"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(reasons, 570);
}

/// Positions of all views: a second import must not move those of the business.
async fn standing(caller: &Caller) -> Vec<String> {
    settle(caller).await;
    let (orders, stock) = (caller.all("/orders").await, caller.all("/stock").await);
    orders.iter().chain(&stock).map(|row| format!("{} {}", row["id"], row["revision"])).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_history_is_imported_once_and_to_the_penny() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::started(binary(), &dir.path().join("data"));
    let caller = Caller::new(&server.url);
    // Somebody whom the file knows as well, and less of.
    let (status, _) = caller.command(reqwest::Method::PUT, "/customers/12748", "ann", serde_json::json!({ "first_name": "Ann" })).await;
    assert_eq!(status, reqwest::StatusCode::OK);
    let summary = import(&history(), &server.url, dir.path());
    is_whole(&summary);
    assert_eq!(caller.get("/customers/12748").await["person"]["first_name"], "Ann", "a customer was replaced by what a file knows");
    println!("import: 24,538 of 25,208 lines, 465,619.25 in {:.1} s", summary["seconds"].as_f64().unwrap());

    // Every line of the file has its line in the report, under its number.
    let mut report = csv::Reader::from_path(dir.path().join("report.csv")).unwrap();
    let numbers: Vec<u64> = report.records().map(|record| record.unwrap()[0].parse().unwrap()).collect();
    assert_eq!(numbers, (2..=25_209).collect::<Vec<_>>());

    // The largest invoice is one order.
    let large = caller.get("/orders?reference=537434").await;
    assert_eq!(large["items"].as_array().unwrap().len(), 1);
    let order = caller.get(&format!("/orders/{}", large["items"][0]["id"].as_str().unwrap())).await;
    let pieces: u64 = order["lines"].as_array().unwrap().iter().map(|line| line["quantity"].as_u64().unwrap()).sum();
    assert!(
        order["lines"].as_array().unwrap().len() > 600 && pieces > 674 && order["placed_at"].as_str().unwrap().starts_with("2010-12-06"),
        "{}",
        order["placed_at"]
    );

    let before = standing(&caller).await;
    is_whole(&import(&history(), &server.url, dir.path()));
    assert_eq!(standing(&caller).await, before, "a second import changed something");
    let verified = daybook(&binary(), &["verify", "--url", &server.url]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    assert!(server.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_either_side_lose_and_double_nothing() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::started(binary(), &dir.path().join("data"));
    let start = |server: &Server| {
        Command::new(binary())
            .arg("import")
            .arg(history())
            .args(["--url", &server.url, "--report"])
            .arg(dir.path().join("cut.csv"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    // The importer is killed in the middle of its orders, the next one outlives two kills of the server.
    let caller = Caller::new(&server.url);
    let mut importer = start(&server);
    wait_for_orders(&caller, 50).await;
    importer.kill().unwrap();
    importer.wait().unwrap();
    let mut importer = start(&server);
    for orders in [200, 450] {
        wait_for_orders(&caller, orders).await;
        server.kill();
        server.start();
    }
    assert!(importer.wait().unwrap().success(), "the importer did not outlive the server's kills");
    is_whole(&import(&history(), &server.url, dir.path()));
    settle(&caller).await;
    let verified = daybook(&binary(), &["verify", "--url", &server.url]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    println!("import: the importer killed once, the server twice, 465,619.25 all the same");
}

async fn wait_for_orders(caller: &Caller, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while caller.all("/orders").await.len() < count {
        assert!(Instant::now() < deadline, "fewer than {count} orders");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dirt_is_refused_by_line_and_reason() {
    let dir = TempDir::new().unwrap();
    let server = Server::started(binary(), &dir.path().join("data"));
    let file = dir.path().join("dirty.csv");
    let lines = [
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country",
        "1,10001,LAMP,2,2010-12-01T08:26:00Z,2.50,7,Norway",
        "1,10001a,\"LAMP, \"\"RED\"\"\nLARGE\",1,2010-12-01T08:26:00Z,3,7,Norway",
        "C2,10001,LAMP,-1,2010-12-01T08:26:00Z,2.50,7,Norway",
        "3,POST,POSTAGE,1,2010-12-01T08:26:00Z,18.00,7,Norway",
        "4,10001,LAMP,0,2010-12-01T08:26:00Z,2.50,7,Norway",
        "5,10001,LAMP,1,2010-12-01T08:26:00Z,0,7,Norway",
        "6,10001,LAMP,1,2010-12-01T08:26:00Z,2.505,7,Norway",
        "7,10001,LAMP,1,yesterday,2.50,7,Norway",
        "8,10001,LAMP,1,2010-12-01T08:26:00Z,2.50",
        "1,10001,LAMP,1,2010-12-01T08:26:00Z,2.50,8,Norway",
        "9,10001,,4,2010-12-02T08:26:00Z,2.40,,Norway",
    ];
    std::fs::write(&file, lines.join("\n")).unwrap();
    let (code, summary, _) = imported(&file, &server.url, dir.path(), &[]);
    assert_eq!((code, summary["to_look_at"].as_u64()), (3, Some(4)), "{summary}");
    assert_eq!((summary["accepted"].as_u64(), summary["orders"].as_u64(), summary["orders_total"].as_str()), (Some(3), Some(2), Some("17.60")), "{summary}");
    assert_eq!((summary["refunded"].as_u64(), summary["refunds_total"].as_str()), (Some(1), Some("2.50")), "{summary}");
    let expected = [
        (2, ""),
        (3, ""),
        (5, ""),
        (6, "not_goods"),
        (7, "quantity_not_positive"),
        (8, "price_not_positive"),
        (9, "malformed_price"),
        (10, "malformed_date"),
        (11, "malformed_line"),
        (12, "invoice_of_another_customer"),
        (13, ""),
    ];
    assert_eq!(fates(dir.path()), expected.map(|(line, reason)| (line, reason.to_owned())));
    let nothing = daybook(&binary(), &["import", "no-such-file.csv", "--url", &server.url]);
    assert!(!nothing.status.success() && String::from_utf8_lossy(&nothing.stderr).contains("no-such-file.csv"));
}
