//! The memory of a process is one figure: it stays within it under load, says how it divides it, and takes no figure that is none.

use serde_json::json;
use tempfile::TempDir;

use super::{metrics, value};
use crate::process::{Server, binary, daybook};

const MIB: f64 = 1024.0 * 1024.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_stays_within_its_memory() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::new(binary(), &dir.path().join("data")).told(&["--memory", "320MiB"]);
    tokio::task::block_in_place(|| server.start());
    let load = ["load", "--url", &server.url, "--clients", "8", "--sellers", "4", "--customers", "500", "--duration", "12s", "--no-audit"];
    let done = tokio::task::block_in_place(|| daybook(&binary(), &load));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // Bodies of half a MiB, from more callers than there is room for: what comes of a body is several times as much.
    let lines: Vec<_> = (1..2300)
        .map(|line| json!({ "product": format!("1-{line}"), "quantity": 1, "unit_price": "2.55", "currency": "GBP", "name": "x".repeat(100) }))
        .collect();
    let body = json!({ "items": lines }).to_string();
    let (client, until) = (crate::process::http().build().unwrap(), std::time::Instant::now() + std::time::Duration::from_secs(6));
    let callers = (0..48).map(|caller| {
        let (client, body, url) = (client.clone(), body.clone(), server.url.clone());
        tokio::spawn(async move {
            let mut answered = 0;
            while std::time::Instant::now() < until {
                let asked =
                    client.post(format!("{url}/carts/{}/items", 900_000 + caller)).header("prefer", "wait=20").header("content-type", "application/json");
                let answer = asked.body(body.clone()).send().await.unwrap();
                match answer.status().as_u16() {
                    409 => answered += 1, // a cart holds 2000 lines
                    503 => {}             // there was no room for it in time
                    other => panic!("{other}"),
                }
            }
            answered
        })
    });
    let mut answered = 0;
    for caller in callers.collect::<Vec<_>>() {
        answered += caller.await.unwrap();
    }
    println!("{answered} bodies of {} bytes", body.len());
    assert!(answered >= 48);
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0;
    println!("{most} MiB at most");
    assert!(most < 320.0, "{most} MiB");
    let text = metrics(&server.url).await;
    assert!((value(&text, "daybook_memory_budget_bytes{") / MIB - 320.0).abs() < 0.1);
    assert!(value(&text, "daybook_rocksdb_block_cache_bytes") <= value(&text, "daybook_memory_budget_bytes{part=\"databases\"}"));
    assert!(server.log().contains("memory of 320 MiB: program 96"), "{}", server.log());
    assert!(server.stop());
    for (figure, saying) in [("100MiB", "320 MiB or more"), ("much", "no amount of memory"), ("-1GiB", "no amount of memory")] {
        let refused = daybook(&binary(), &["up", &format!("--memory={figure}"), "--data", dir.path().join("none").to_str().unwrap()]);
        assert!(refused.status.code() == Some(2) && String::from_utf8_lossy(&refused.stderr).contains(saying), "{figure}: {refused:?}");
    }
    assert!(!dir.path().join("none").exists());
}
