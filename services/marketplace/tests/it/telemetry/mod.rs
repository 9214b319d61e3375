//! What operators see: metrics under their right names, traces that a collector gets, and the tree of one checkout that the
//! log itself gives.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::broker::Broker;
use crate::process::{ALONE, Caller, Server, binary, daybook};

mod collector;
mod drill;
mod memory;
mod panels;

use collector::{Collector, Span};

/// Whoever calls has a trace of its own.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A checkout of one lantern, under this `traceparent`; its command's name.
async fn checked_out(url: &str, flags: &str) -> String {
    let caller = Caller::new(url);
    for (method, path, id, body) in [
        (Method::PUT, "/products/42-1", "product", json!({ "name": "Lantern", "price": "2.55", "currency": "GBP" })),
        (Method::POST, "/stock/42-1/receipts", "receipt", json!({ "quantity": 10, "reference": "delivery 1" })),
        (Method::POST, "/carts/17/items", "items", json!({ "items": [{ "product": "42-1", "quantity": 2, "unit_price": "2.55", "currency": "GBP" }] })),
    ] {
        caller.accepted(method, path, id, body).await;
    }
    let checkout = caller.client.post(format!("{url}/carts/17/checkout")).json(&json!({ "payment_type": "BOLETO" })).header("prefer", "wait=20");
    let answer = checkout.header("idempotency-key", "checkout-1").header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-{flags}")).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    let row = caller.until("/orders/17-1", |row| row["status"] == "paid").await;
    assert_eq!(row["total"], "5.10", "{row}");
    let answer: Value = answer.json().await.unwrap();
    answer["command"].as_str().unwrap().to_owned()
}

/// The spans of the caller's trace, each below another of it.
fn of_trace(spans: &[Span]) -> Vec<&Span> {
    spans.iter().filter(|span| span.trace == TRACE).collect()
}

/// Whether every span of the trace but its first lies below another: processes send theirs each in its own time.
fn is_one_tree(spans: &[Span]) -> bool {
    let spans = of_trace(spans);
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    spans.iter().filter(|span| !ids.contains(span.parent.as_str())).count() == 1
}

/// That what one checkout does is all there, in one tree, each span within its process's time.
fn whole(spans: &[Span]) {
    let spans = of_trace(spans);
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    let twice = spans.iter().filter(|span| spans.iter().filter(|other| other.id == span.id).count() > 1).collect::<Vec<_>>();
    assert!(twice.is_empty(), "two spans have one id: {twice:#?}");
    let orphans: Vec<_> = spans.iter().filter(|span| !ids.contains(span.parent.as_str())).collect();
    assert_eq!(
        orphans.iter().map(|span| (span.name.as_str(), span.parent.as_str())).collect::<Vec<_>>(),
        [("POST /carts/{customer}/checkout", "b7ad6b7169203331")]
    );
    for (name, kind) in [
        ("POST /carts/{customer}/checkout", 2),
        ("send cart.commands", 4),
        ("process cart.commands", 5),
        ("commit cart.commands", 3),
        ("process ordering.events", 5),
        ("process stock.commands", 5),
        ("receive daybook.replies", 3),
    ] {
        let of_name: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
        let names = || spans.iter().map(|span| span.name.as_str()).collect::<BTreeSet<_>>();
        assert!(of_name.iter().any(|span| span.kind == kind), "no {name}, kind {kind}: {:#?}", names());
    }
    assert!(spans.iter().all(|span| span.micros.0 <= span.micros.1));
    let of_messages = |span: &&&Span| span.attributes.contains_key("messaging.system");
    for span in spans.iter().filter(of_messages) {
        for needed in ["messaging.operation.name", "messaging.operation.type", "messaging.destination.name"] {
            assert!(span.attributes.contains_key(needed), "{needed}: {span:?}");
        }
        assert!(span.name.starts_with(&span.attributes["messaging.operation.name"]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkout_is_one_trace_for_a_collector_and_one_tree_in_the_log() {
    let dir = TempDir::new().unwrap();
    let (collector, url) = Collector::http().await;
    let told = ["--otlp-endpoint", &url, "--trace-ratio", "0", "--access-log", "--log-format", "json"];
    let mut server = Server::new(binary(), &dir.path().join("data")).told(&told);
    tokio::task::block_in_place(|| server.start());
    let command = checked_out(&server.url, "01").await;
    let paid =
        |spans: &[Span]| spans.iter().filter(|span| span.attributes.get("messaging.consumer.group.name").is_some_and(|group| group == "orders")).count() >= 2;
    let spans = collector.until(|spans| paid(spans) && is_one_tree(spans) && of_trace(spans).iter().any(|span| span.name.starts_with("POST"))).await;
    whole(&spans);
    assert!(spans.iter().all(|span| span.trace == TRACE), "with a ratio of 0 nobody else's request begins a trace");
    // The log has the same, without any collector.
    let shown = daybook(&binary(), &["trace", &command, "--url", &server.url]);
    let tree = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    for line in ["command cart.check-out 17", "─ event cart.", "─ event order.", "─ event stock-item.", "─ event payment."] {
        assert!(tree.contains(line), "no {line} in\n{tree}");
    }
    assert_eq!(tree.lines().filter(|line| !line.contains("─ ")).count(), 1, "one root:\n{tree}");
    // So has the access log, where it was logged at all.
    let line = server.log().lines().find(|line| line.contains("/carts/17/checkout")).unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["trace_id"], TRACE, "{line}");
    let (code, refused) = (daybook(&binary(), &["trace", "no-such-command", "--url", &server.url]), "nothing of the last");
    assert!(!code.status.success() && String::from_utf8_lossy(&code.stderr).contains(refused), "{code:?}");
    assert!(server.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_over_grpc_and_one_that_is_not_recorded_goes_nowhere() {
    let dir = TempDir::new().unwrap();
    let (collector, url) = Collector::grpc().await;
    let told = ["--otlp-endpoint", &url, "--otlp-protocol", "grpc", "--trace-ratio", "1"];
    let mut server = Server::new(binary(), &dir.path().join("data")).told(&told);
    tokio::task::block_in_place(|| server.start());
    checked_out(&server.url, "00").await; // as its caller decided
    let spans = collector.until(|spans| spans.iter().any(|span| span.name == "GET /orders/{id}")).await;
    assert!(of_trace(&spans).is_empty(), "{:#?}", of_trace(&spans));
    // All others began one: every request its own.
    let roots: BTreeMap<&str, usize> = spans.iter().filter(|span| span.parent.is_empty()).fold(BTreeMap::new(), |mut roots, span| {
        *roots.entry(span.trace.as_str()).or_default() += 1;
        roots
    });
    assert!(roots.len() > 3 && roots.values().all(|count| *count == 1), "{roots:?}");
    // A collector that is away is waited for by nobody, and what it missed is counted.
    assert!(server.stop());
    let mut alone = Server::new(binary(), &dir.path().join("data")).told(&["--otlp-endpoint", "http://127.0.0.1:9", "--trace-ratio", "1"]);
    tokio::task::block_in_place(|| alone.start());
    let caller = Caller::new(&alone.url);
    caller.get("/orders/17-1").await;
    let dropped = async {
        loop {
            let text = metrics(&alone.url).await;
            if value(&text, "daybook_trace_spans_total{outcome=\"dropped\"}") > 0.0 {
                return text;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let text = tokio::time::timeout(std::time::Duration::from_secs(20), dropped).await.unwrap();
    assert!(value(&text, "daybook_trace_spans_total{outcome=\"exported\"}") < 0.5);
    assert!(alone.stop());
}

/// Three processes, one broker, one trace; and the tree of it from the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkout_over_three_processes_is_one_trace() {
    let _alone = ALONE.lock().await;
    let (dir, broker, namespace) = (TempDir::new().unwrap(), Broker::shared(), Broker::namespace());
    let (collector, url) = Collector::http().await;
    let of = |name: &str, services: &[&str]| {
        let told = ["--otlp-endpoint", &url, "--trace-ratio", "0"];
        Server::on_kafka(binary(), &dir.path().join(name), broker, &namespace, services).told(&told)
    };
    let mut fleet = [
        of("one", &["cart", "ordering", "identity", "credentials"]),
        of("two", &["stock", "payment", "audit"]),
        of("three", &["catalog", "customer", "shipment", "seller", "erasure"]),
    ];
    for server in &mut fleet {
        tokio::task::block_in_place(|| server.start());
    }
    let command = checked_out(&fleet[0].url, "01").await;
    let folded = |spans: &[Span]| {
        ["orders", "shipments"]
            .iter()
            .all(|view| spans.iter().any(|span| span.attributes.get("messaging.consumer.group.name").is_some_and(|group| group == view)))
    };
    let spans = collector.until(|spans| folded(spans) && is_one_tree(spans) && of_trace(spans).iter().any(|span| span.name.starts_with("POST"))).await;
    whole(&spans);
    assert!(spans.iter().filter(|span| span.attributes.contains_key("messaging.system")).all(|span| span.attributes["messaging.system"] == "kafka"));
    let instances: BTreeSet<&str> = of_trace(&spans).iter().map(|span| span.instance.as_str()).collect();
    assert_eq!(instances.len(), 3, "{instances:?}");
    let shown = daybook(&binary(), &["trace", &command, "--url", &fleet[1].url]);
    let tree = String::from_utf8(shown.stdout).unwrap();
    println!("{tree}");
    assert!(tree.contains("─ event shipment.") && tree.lines().filter(|line| !line.contains("─ ")).count() == 1, "{tree}");
    assert!(fleet.iter_mut().all(Server::stop));
}

async fn metrics(url: &str) -> String {
    let answer = crate::process::http().build().unwrap().get(format!("{url}/metrics")).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4", "{answer:?}");
    answer.text().await.unwrap()
}

/// The sum of the series that begin so.
fn value(text: &str, series: &str) -> f64 {
    let of_it = text.lines().filter(|line| line.starts_with(series));
    of_it.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_there_from_the_start_and_say_what_happens() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::started(binary(), &dir.path().join("data"));
    let before = metrics(&server.url).await;
    for family in [
        "commands_total",
        "optimistic_conflicts_total",
        "events_appended_total",
        "dead_letters_total",
        "dead_letters_discarded_total",
        "batches_thrown_away_total",
        "commits_total",
        "commit_duration_seconds_count",
        "committed_records_total",
        "log_sync_duration_seconds_count",
        "topics_wrong",
        "partitions_owned",
        "command_backlog_records",
        "command_backlog_seconds",
        "reader_lag_records",
        "reader_lag_seconds",
        "projection_lag_records",
        "projection_lag_seconds",
        "projection_position",
        "projection_failed",
        "projection_apply_duration_seconds_count",
        "projection_records_total",
        "replay_progress_ratio",
        "replay_records_total",
        "dead_letters_present",
        "sagas_open",
        "sagas_overdue",
        "saga_overdue_seconds",
        "disk_free_bytes",
        "disk_size_bytes",
        "data_bytes",
        "rocksdb_memtable_bytes",
        "rocksdb_sst_bytes",
        "rocksdb_pending_compaction_bytes",
        "rocksdb_running_compactions",
        "rocksdb_write_stopped",
        "rocksdb_background_errors",
        "rocksdb_block_cache_bytes",
        "memory_budget_bytes",
        "log_time_ahead_seconds",
        "log_reachable",
        "ready",
        "build_info",
        "trace_spans_total",
        "process_cpu_seconds_total",
    ] {
        assert!(before.lines().any(|line| line.starts_with(&format!("daybook_{family}"))), "no daybook_{family}");
    }
    assert!(before.contains("\nprocess_resident_memory_bytes ") && value(&before, "daybook_build_info{revision=") > 0.5);
    assert!(value(&before, "daybook_commands_total{") < 0.5 && value(&before, "daybook_ready ") > 0.5 && value(&before, "daybook_log_reachable ") > 0.5);
    assert!((value(&before, "daybook_memory_budget_bytes{") - 1024.0 * 1024.0 * 1024.0).abs() < 1.0);
    checked_out(&server.url, "01").await;
    let caller = Caller::new(&server.url);
    let stale = caller.client.put(format!("{}/products/42-1", server.url)).header("if-match", "\"7\"").header("prefer", "wait=10");
    assert_eq!(stale.json(&json!({ "name": "Lamp", "price": "2.55", "currency": "GBP" })).send().await.unwrap().status(), 412);
    let after = metrics(&server.url).await;
    for (series, least) in [
        ("daybook_commands_total{outcome=\"accepted\",service=\"cart\"", 2.0),
        ("daybook_events_appended_total{service=\"ordering\"", 2.0),
        ("daybook_money_total{currency=\"GBP\",service=\"payment\",type=\"payment.captured\"}", 5.1),
        ("daybook_commits_total{outcome=\"committed\",role=\"worker\",service=\"cart\"}", 2.0),
        ("daybook_committed_records_total{role=\"worker\",service=\"ordering\"}", 2.0),
        ("daybook_log_sync_duration_seconds_count", 4.0),
        ("daybook_projection_records_total{projection=\"orders\"}", 2.0),
        ("daybook_optimistic_conflicts_total{service=\"catalog\"}", 1.0),
        ("daybook_http_request_duration_seconds_count{method=\"POST\",route=\"/carts/{customer}/checkout\"", 1.0),
    ] {
        assert!(value(&after, series) >= least, "{series} is {}", value(&after, series));
    }
    let names: BTreeSet<&str> = after.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    for line in names {
        let (name, sort) = line.split_once(' ').unwrap();
        assert!(name.starts_with("daybook_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), sort == "counter", "{line}");
    }
    assert!(server.stop());
}

/// A collector that takes connections and answers nobody keeps no process from ending in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_hangs_holds_nothing_up() {
    let hangs = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); // the kernel takes connections for it
    let dir = TempDir::new().unwrap();
    let endpoint = format!("http://{}", hangs.local_addr().unwrap());
    let mut server = Server::new(binary(), &dir.path().join("data")).told(&["--otlp-endpoint", &endpoint, "--trace-ratio", "1"]);
    tokio::task::block_in_place(|| server.start());
    let client = crate::process::http().build().unwrap();
    for _ in 0..2_000 {
        assert!(client.get(format!("{}/products", server.url)).send().await.unwrap().status().is_success());
    }
    let began = std::time::Instant::now();
    assert!(server.stop());
    assert!(began.elapsed() < std::time::Duration::from_secs(6), "{:?}", began.elapsed());
}
