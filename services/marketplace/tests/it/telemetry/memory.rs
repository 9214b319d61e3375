//! The memory of a process is one figure: it stays within it under load, says how it divides it, and takes no figure that is none.

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
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0;
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
