//! `verify` on a directory whose rows were tampered with: it names the row, and says so by its exit code.

use eventstore::memory::Memory;
use eventstore::rows::{Changes, Rows};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;

use crate::process::{Caller, Server, binary, daybook};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_was_tampered_with_is_named() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::started(binary(), &data);
    let caller = Caller::new(&server.url);
    for product in 1..=3 {
        let (status, _) =
            caller.command(Method::PUT, &format!("/products/1-{product}"), &format!("p{product}"), json!({ "name": "lamp", "price": "2.55" })).await;
        assert_eq!(status, StatusCode::OK);
    }
    assert!(server.stop());
    let verify = || daybook(&binary(), &["verify", "--data", data.to_str().unwrap(), "-o", "json"]);
    assert!(verify().status.success());

    let rows = Rows::open(&data.join("views/products"), "products 1", &Memory::default()).unwrap();
    let (key, row) = rows.scan(b"", None, 10).unwrap().into_iter().find(|(_, row)| String::from_utf8_lossy(row).contains("1-2")).unwrap();
    let mut changes = Changes::default();
    changes.put(&key, String::from_utf8_lossy(&row).replace("2.55", "0.55").as_bytes());
    rows.write(changes).unwrap();
    drop(rows);

    let tampered = verify();
    assert_eq!(tampered.status.code(), Some(3));
    let result: serde_json::Value = serde_json::from_slice(&tampered.stdout).unwrap();
    let fold = result["folds"].as_array().unwrap().iter().find(|fold| fold["name"] == "view products").unwrap();
    assert_eq!(fold["differences"].as_array().unwrap().len(), 1);
    assert_eq!(fold["differences"][0]["key"], String::from_utf8_lossy(&key).as_ref());
    assert!(fold["differences"][0]["live"].as_str().unwrap().contains("0.55") && fold["differences"][0]["rebuilt"].as_str().unwrap().contains("2.55"));
    assert_eq!(result["folds"].as_array().unwrap().iter().filter(|fold| fold["live"] != fold["rebuilt"]).count(), 1);

    // What is folded can be thrown away: the next start folds it from zero, views and heads alike.
    for folded in ["views/products", "heads/catalog", "heads/cart"] {
        std::fs::remove_dir_all(data.join(folded)).unwrap();
    }
    server.start();
    assert_eq!(caller.get("/products/1-2").await["price"], "2.55");
    let (status, again) = caller.command(Method::PUT, "/products/1-2", "p2", json!({ "name": "lamp", "price": "2.55" })).await;
    assert!(status == StatusCode::OK && again["version"] == 1, "a rebuilt service forgot its clients' commands: {again}");
    assert!(server.stop() && verify().status.success());
}
