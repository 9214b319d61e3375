//! Every query of every panel of the dashboards, asked of a real Prometheus that watches an instance on each log under load.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::drill::Prometheus;
use crate::broker::Broker;
use crate::process::{ALONE, Server, binary, daybook};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_panel_shows_something_under_load() {
    let _alone = ALONE.lock().await;
    let dir = TempDir::new().unwrap();
    let mut here = Server::new(binary(), &dir.path().join("here"));
    let mut on_kafka = Server::on_kafka(binary(), &dir.path().join("kafka"), Broker::shared(), &Broker::namespace(), &[]);
    for server in [&mut here, &mut on_kafka] {
        tokio::task::block_in_place(|| server.start());
    }
    let prometheus = Prometheus::start(dir.path(), &[&here.url, &on_kafka.url]).await;
    for url in [&here.url, &on_kafka.url] {
        let load = ["load", "--url", url, "--clients", "2", "--sellers", "2", "--customers", "20", "--duration", "12s", "--no-audit"];
        let done = tokio::task::block_in_place(|| daybook(&binary(), &load));
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let infra = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra");
    let mut panels = Command::new(infra.join("grafana/panels"));
    panels.args(["--prometheus", &prometheus.url, "--minutes", "1", "--rate-interval", "5s"]);
    let shown = tokio::task::block_in_place(|| panels.output().unwrap());
    println!("{}", String::from_utf8_lossy(&shown.stdout));
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    // No rule, panel or page names a metric that is not there.
    let mut check = Command::new(infra.join("prometheus/check"));
    check.arg("--binary").arg(binary()).args(["--metrics", &format!("{}/metrics", here.url), "--metrics", &format!("{}/metrics", on_kafka.url), "--strict"]);
    let checked = tokio::task::block_in_place(|| check.output().unwrap());
    assert!(checked.status.success(), "{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    for server in [&mut here, &mut on_kafka] {
        assert!(tokio::task::block_in_place(|| server.stop()));
    }
}
