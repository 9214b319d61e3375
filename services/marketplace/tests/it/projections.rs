//! `daybook projections`: every verb does what it says.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::operate::{fails, json_of, run};
use crate::process::{Caller, PATIENCE, Server, binary};

async fn products(caller: &Caller, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        let body = json!({ "name": format!("lamp {number}"), "price": "2.55", "currency": "GBP" });
        caller.accepted(Method::PUT, &format!("/products/1-{number}"), &format!("p{number}"), body).await;
    }
}

/// Waits until it is shown.
pub async fn there(caller: &Caller, path: &str) {
    let (url, began) = (caller.url(), Instant::now());
    while caller.client.get(format!("{url}{path}")).send().await.unwrap().status() != StatusCode::OK {
        assert!(began.elapsed() < PATIENCE, "{path} is never there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn described(url: &str, name: &str) -> Value {
    json_of(url, &["projections", "describe", name])
}

/// Waits until nothing is folded beside it any more.
pub async fn ended(url: &str, name: &str) -> Value {
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
    let planned = |arguments: &[&str]| {
        let (code, out, err) = run(&url, &[&["projections", "rebuild", "products"], arguments, &["-o", "json"]].concat());
        let plan: Value = serde_json::from_str(&out).unwrap_or_else(|why| panic!("{why}: {out}{err}"));
        assert!(code == 2 && plan["projection"] == "products", "{plan}");
        plan["plan"].as_str().unwrap().to_owned()
    };
    assert!(planned(&["--no-swap"]).contains("40 offsets of catalog.events anew beside generation 0, and keeps it there"));
    // How many lie before a time is not known beforehand.
    assert_eq!(planned(&["--until", &then]), format!("folds catalog.events anew beside generation 0, only up to {then}"));
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
    there(&caller, "/products/1-7?version=2").await; // heads follow the log at their own pace
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
