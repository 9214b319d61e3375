//! The alert drill: a real Prometheus with the rules as they are, fifteen times faster, over real processes and a real broker.
//! What breaks is broken on purpose: the right alert fires, no other does, and it clears when that is mended.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use eventstore::kafka::{self, Kafka};
use eventstore::{Log, Message};
use reqwest::Method;
use schemas::{Headers, Partition, Stream, topic};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::broker::Broker;
use crate::operate::run;
use crate::process::{ALONE, Caller, Server, binary, free};

/// How much faster: 15 s between two scrapes are one, and so is everything that a rule waits for.
const FASTER: u64 = 15;
/// Longest that an alert may take to fire or to clear.
const PATIENCE: Duration = Duration::from_secs(150);
const SAGAS: &str = "DaybookSagasOverdue";

/// A Prometheus that is gone with the test.
pub struct Prometheus {
    child: Child,
    pub url: String,
    client: reqwest::Client,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The durations of a rule file, so much shorter. Names and texts have none that stands alone.
fn faster(rules: &str) -> String {
    let mut made = String::new();
    for line in rules.lines() {
        let said = ["summary:", "description:", "runbook_url:", "- alert:", "- record:", "#"].iter().any(|text| line.trim_start().starts_with(text));
        made.push_str(&if said { line.to_owned() } else { shortened(line) });
        made.push('\n');
    }
    made
}

/// Durations stand in brackets, or behind `for:` and `offset`.
fn shortened(line: &str) -> String {
    let (mut made, mut rest) = (String::new(), line);
    while let Some(at) = rest.find(|char: char| char.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        let digits = from.find(|char: char| !char.is_ascii_digit()).unwrap_or(from.len());
        let (number, after) = from.split_at(digits);
        let seconds = match after.chars().next() {
            Some('s') => Some(1),
            Some('m') => Some(60),
            Some('h') => Some(3_600),
            _ => None,
        };
        let alone = before.ends_with(['[', ' ', ':']) && after.chars().nth(1).is_none_or(|next| !next.is_ascii_alphanumeric());
        made.push_str(before);
        match seconds.filter(|_| alone) {
            Some(seconds) => {
                made.push_str(&format!("{}ms", number.parse::<u64>().unwrap() * seconds * 1_000 / FASTER));
                rest = &after[1..];
            }
            None => {
                made.push_str(number);
                rest = after;
            }
        }
    }
    made + rest
}

impl Prometheus {
    /// With the rules as they are, faster.
    pub async fn start(dir: &Path, targets: &[&str]) -> Self {
        let rules = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/prometheus/rules.yaml")).unwrap();
        std::fs::write(dir.join("rules.yaml"), faster(&rules)).unwrap();
        let targets: Vec<String> = targets.iter().map(|url| url.replace("http://", "")).collect();
        let each = 15_000 / FASTER;
        let config = json!({
            "global": { "scrape_interval": format!("{each}ms"), "evaluation_interval": format!("{each}ms"), "scrape_timeout": format!("{each}ms") },
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{ "job_name": "daybook", "static_configs": [{ "targets": targets }] }],
        });
        std::fs::write(dir.join("prometheus.yaml"), config.to_string()).unwrap();
        let (port, log) = (free(), std::fs::File::create(dir.join("prometheus.log")).unwrap());
        let child = Command::new("prometheus")
            .args([format!("--config.file={}", dir.join("prometheus.yaml").display()), format!("--storage.tsdb.path={}", dir.join("tsdb").display())])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus, which infra/setup --tests installs");
        let started = Self { child, url: format!("http://127.0.0.1:{port}"), client: crate::process::http().build().unwrap() };
        let began = Instant::now();
        while !started.client.get(format!("{}/-/ready", started.url)).send().await.is_ok_and(|answer| answer.status().is_success()) {
            let said = || std::fs::read_to_string(dir.join("prometheus.log")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(60), "prometheus does not start: {}", said());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        started
    }

    /// The alerts that fire now.
    async fn firing(&self) -> BTreeSet<String> {
        let answer: Value = self.client.get(format!("{}/api/v1/alerts", self.url)).send().await.unwrap().json().await.unwrap();
        let firing = answer["data"]["alerts"].as_array().unwrap().iter().filter(|alert| alert["state"] == "firing");
        firing.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }
}

/// What a drill saw.
struct Drill<'p> {
    prometheus: &'p Prometheus,
    /// a saga is becoming late meanwhile, and may be by now
    saga: bool,
    table: Vec<(String, String, f64, f64)>,
}

impl Drill<'_> {
    /// Waits until exactly this alert fires, or none; whatever else fires is not to.
    async fn until(&self, wanted: Option<&str>, allowed: Option<&str>) -> f64 {
        let began = Instant::now();
        loop {
            let mut firing = self.prometheus.firing().await;
            firing.retain(|alert| !self.saga || alert != SAGAS);
            let strangers: Vec<_> = firing.iter().filter(|alert| Some(alert.as_str()) != wanted.or(allowed)).collect();
            assert!(strangers.is_empty(), "{strangers:?} fire where {wanted:?} should");
            if firing.iter().map(String::as_str).collect::<Vec<_>>() == wanted.into_iter().collect::<Vec<_>>() {
                return began.elapsed().as_secs_f64();
            }
            assert!(began.elapsed() < PATIENCE, "{wanted:?} is awaited, and {firing:?} fires");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn step(&mut self, broken: &str, alert: &str, breaks: impl FnOnce(), mends: impl FnOnce()) {
        tokio::task::block_in_place(breaks);
        let fired = self.until(Some(alert), None).await;
        tokio::task::block_in_place(mends);
        let cleared = self.until(None, Some(alert)).await;
        self.table.push((broken.to_owned(), alert.to_owned(), fired, cleared));
    }
}

/// A record that nobody can read, as something outside would write it.
fn garbage(broker: &Broker, namespace: &str, service: &'static str) -> String {
    let headers: Headers = [("ce_id", "garbage")].into_iter().collect();
    let log = Kafka::open(kafka::Settings { namespace: namespace.to_owned(), ..kafka::Settings::new(broker.address()) }).unwrap();
    let record = Message { topic: topic(Stream::Events(service)), partition: Partition(5), key: b"x".to_vec(), headers, value: Some(b"garbage".to_vec()) };
    format!("{service}.events/5/{}", log.append(vec![record]).unwrap()[0].0)
}

fn skip(url: &str, place: &str) {
    let (code, out, err) = run(url, &["partitions", "skip", place, "--reason", "written by the drill"]);
    assert_eq!(code, 0, "{out}{err}");
}

/// The binary on a small disk of its own: a file system in memory, in a namespace that nobody else sees. Each of its databases
/// takes the room of its next write-ahead file beforehand.
fn on_a_small_disk(dir: &Path) -> Server {
    let (disk, program) = (dir.join("disk"), dir.join("on-a-small-disk"));
    std::fs::create_dir_all(&disk).unwrap();
    let own = if rustix::process::geteuid().is_root() { "" } else { "-r" };
    let mounted = format!("mount -t tmpfs -o size=2g daybook {}", disk.display());
    let text = format!("#!/bin/sh\nexec unshare {own} -m sh -c '{mounted} && exec \"$0\" \"$@\"' {} \"$@\"\n", binary().display());
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    Server::new(program, &disk.join("data"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_alert_fires_and_clears_and_no_other() {
    let _alone = ALONE.lock().await;
    let (dir, namespace) = (TempDir::new().unwrap(), "drill");
    let mut broker = tokio::task::block_in_place(Broker::start);
    // What is watched runs all but some services, which the drill takes away at will.
    let watched = ["catalog", "customer", "cart", "stock", "ordering", "shipment", "seller", "audit", "erasure"];
    let mut server = Server::on_kafka(binary(), &dir.path().join("watched"), &broker, namespace, &watched);
    let mut others = Server::on_kafka(binary(), &dir.path().join("others"), &broker, namespace, &["payment", "identity", "credentials"]);
    let mut small = on_a_small_disk(dir.path());
    for started in [&mut server, &mut others, &mut small] {
        tokio::task::block_in_place(|| started.start());
    }
    let caller = Caller::new(&server.url);
    for (method, path, id, body) in [
        (Method::PUT, "/products/42-1", "product", json!({ "name": "Lantern", "price": "2.55", "currency": "GBP" })),
        (Method::POST, "/stock/42-1/receipts", "receipt", json!({ "quantity": 10, "reference": "delivery 1" })),
        (Method::POST, "/carts/17/items", "items", json!({ "items": [{ "product": "42-1", "quantity": 2, "unit_price": "2.55", "currency": "GBP" }] })),
        (Method::POST, "/carts/17/checkout", "checkout", json!({ "payment_type": "BOLETO" })),
    ] {
        caller.accepted(method, path, id, body).await;
    }
    caller.until("/orders/17-1", |row| row["status"] == "paid").await;
    let prometheus = Prometheus::start(dir.path(), &[&server.url, &small.url]).await;
    let mut drill = Drill { prometheus: &prometheus, saga: false, table: vec![] };
    tokio::time::sleep(Duration::from_secs(5)).await;
    drill.until(None, None).await;

    // A refund that nobody gives back, since payment is away: it takes its time to be late.
    assert!(tokio::task::block_in_place(|| others.stop()));
    let refund =
        caller.client.post(format!("{}/orders/17-1/refunds", server.url)).json(&json!({ "reference": "return 1", "lines": [{ "line": 0, "quantity": 1 }] }));
    assert!(refund.send().await.unwrap().status().is_success());
    let late = Instant::now();
    drill.saga = true;

    let (url, address) = (server.url.clone(), &broker);
    let place = std::cell::OnceCell::new();
    drill.step("a view", "DaybookViewStopped", || drop(place.set(garbage(address, namespace, "identity"))), || skip(&url, place.get().unwrap())).await;
    let place = std::cell::OnceCell::new();
    drill.step("a partition", "DaybookPartitionStopped", || drop(place.set(garbage(address, namespace, "catalog"))), || skip(&url, place.get().unwrap())).await;
    let fill = format!("/proc/{}/root{}/fill", small.process(), dir.path().join("disk").display());
    let fills = || {
        let file = std::fs::File::create(&fill).unwrap();
        let left = || rustix::fs::fstatvfs(&file).map(|disk| disk.f_bavail as f64 / disk.f_blocks as f64).unwrap();
        while left() > 0.07 {
            (&file).write_all(&vec![1; 8 * 1024 * 1024]).unwrap();
        }
    };
    drill.step("the disk", "DaybookDiskAlmostFull", fills, || std::fs::remove_file(&fill).unwrap()).await;

    drill.saga = false;
    drill.until(Some(SAGAS), None).await;
    let fired = late.elapsed().as_secs_f64();
    tokio::task::block_in_place(|| others.start());
    let cleared = drill.until(None, Some(SAGAS)).await;
    drill.table.push(("a saga".to_owned(), SAGAS.to_owned(), fired, cleared));

    let cell = std::cell::RefCell::new(&mut broker);
    drill.step("the broker", "DaybookLogUnreachable", || cell.borrow_mut().kill(), || cell.borrow_mut().go()).await;

    println!("{:<12} {:<26} {:>8} {:>9}", "broken", "alert", "fired s", "cleared s");
    for (broken, alert, fired, cleared) in &drill.table {
        println!("{broken:<12} {alert:<26} {fired:>8.1} {cleared:>9.1}");
    }
    let alerts: BTreeMap<&str, &str> = drill.table.iter().map(|(broken, alert, ..)| (broken.as_str(), alert.as_str())).collect();
    assert_eq!(alerts.len(), 5, "{alerts:?}");
    for started in [&mut server, &mut others, &mut small] {
        let ended = tokio::task::block_in_place(|| started.stop());
        assert!(ended, "it did not end well: {}", started.log());
    }
}

#[test]
fn only_durations_are_made_shorter() {
    for (line, made) in [
        ("        for: 5m", "        for: 20000ms"),
        (
            "        expr: sum by (job, le) (rate(daybook_x_bucket{route!~\"/(livez|v2m)\"}[5m])) > 10",
            "        expr: sum by (job, le) (rate(daybook_x_bucket{route!~\"/(livez|v2m)\"}[20000ms])) > 10",
        ),
        ("          job_service:daybook_commands:rate5m > 0.1", "          job_service:daybook_commands:rate5m > 0.1"),
        ("        expr: predict_linear(x[1h], 4 * 3600) < 0 offset 15s", "        expr: predict_linear(x[240000ms], 4 * 3600) < 0 offset 1000ms"),
    ] {
        assert_eq!(shortened(line), made);
    }
}
