//! What an instance answers while its broker is away.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use tempfile::TempDir;

use crate::broker::Broker;
use crate::process::{Caller, Server, binary};

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
