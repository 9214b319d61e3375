//! The right to be forgotten, against the real binary: what is personal stands nowhere in the clear, an erasure reaches all of it,
//! and nothing brings it back, whatever is restored, rebuilt or killed.

mod forgotten;
mod instances;
mod outside;
mod stores;

use std::path::{Path, PathBuf};
use std::process::Command;

use daybook::eventstore::embedded::{Embedded, Settings};
use daybook::eventstore::{Log, Message, Offset};
use daybook::schemas::envelope::Kind;
use daybook::schemas::{Codec, Envelope, Partition, Stream, topic};
use domain::customer::{Command as Register, Customer, Details, Person};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::people::{PASSWORD, ask, client};
use super::secrets::{files, holds};
use crate::broker::Broker;
use crate::process::{Server, binary, daybook};

/// Values that stand nowhere by chance.
const CANARIES: [&str; 5] = ["Quillabella", "Ünterwelden-Xu", "Zwölfgasse 1717", "quillabella@canary.example", "+49 1717 171717"];
const CARD: &str = "4111111111111111";

fn person() -> Value {
    let [first_name, last_name, street, email, phone] = CANARIES;
    json!({ "first_name": first_name, "last_name": last_name, "street": street, "email": email, "phone": phone, "city": "Rome",
            "card_number": CARD, "card_brand": "visa" })
}

async fn done(url: &str, method: Method, path: &str, body: Value) -> Value {
    let (status, answer) = ask(&client(None), method, &format!("{url}{path}"), Some(&body)).await;
    assert!(status.is_success(), "{path}: {status} {answer}");
    answer
}

async fn get(url: &str, path: &str) -> Value {
    let (status, answer) = ask(&client(None), Method::GET, &format!("{url}{path}"), None).await;
    assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    answer
}

/// Somebody with everything: registered, signed up, with an order, as a seller.
async fn lives(url: &str, number: u64) {
    done(url, Method::PUT, &format!("/customers/{number}"), person()).await;
    done(url, Method::PUT, &format!("/sellers/{number}"), json!({ "name": CANARIES[0], "email": CANARIES[3], "address": CANARIES[2], "phone": CANARIES[4] }))
        .await;
    done(url, Method::PUT, &format!("/products/{number}-1"), json!({ "name": "Lamp", "price": "2.75", "currency": "GBP" })).await;
    done(url, Method::POST, &format!("/stock/{number}-1/receipts"), json!({ "quantity": 10, "reference": "delivery 1" })).await;
    let item = json!({ "items": [{ "product": format!("{number}-1"), "quantity": 1, "unit_price": "2.75", "currency": "GBP", "name": "Lamp" }] });
    done(url, Method::POST, &format!("/carts/{number}/items"), item).await;
    let [first_name, last_name, street, ..] = CANARIES;
    let checkout = json!({ "payment_type": "CREDIT_CARD", "first_name": first_name, "last_name": last_name, "street": street, "card_number": CARD,
                           "card_brand": "visa", "installments": 1 });
    done(url, Method::POST, &format!("/carts/{number}/checkout"), checkout).await;
}

fn erase(url: &str, who: &str) -> (Option<i32>, Value) {
    let erased = daybook(&binary(), &["erase", who, "--reason", "a test", "--yes", "--url", url, "-o", "json"]);
    let said = [erased.stdout.as_slice(), &erased.stderr].map(String::from_utf8_lossy).concat();
    (erased.status.code(), serde_json::from_slice(&erased.stdout).unwrap_or(Value::String(said)))
}

fn copied(from: &Path, to: &Path) {
    assert!(Command::new("cp").args(["-a"]).args([from, to]).status().unwrap().success());
}

fn keys(data: &Path) -> PathBuf {
    data.with_file_name("data.keys")
}

/// Where any of these stands in the files of an installation, its keys and its log of what it did.
fn standing(data: &Path, canaries: &[&str]) -> Vec<String> {
    let mut all = vec![data.with_extension("log")];
    files(data, &mut all);
    files(&keys(data), &mut all);
    let found = all.iter().flat_map(|file| {
        let bytes = std::fs::read(file).unwrap();
        canaries.iter().filter(move |canary| holds(&bytes, canary)).map(move |canary| format!("{canary} in {}", file.display()))
    });
    found.collect()
}

/// All records of an embedded log that nothing has open.
fn records(data: &Path) -> Vec<(String, String)> {
    let log = Embedded::open(&data.join("log"), Settings { looks: true, ..Settings::default() }).unwrap();
    let mut found = vec![];
    for service in marketplace::APPLICATION.services().iter().map(|capability| capability.service.name) {
        for stream in [Stream::Commands(service), Stream::Events(service), Stream::DeadLetters(service)] {
            for partition in (0..log.partitions()).map(Partition) {
                let (topic, mut next) = (topic(stream), Offset(0));
                while next < log.end(&topic, partition).unwrap() {
                    let page = log.read(&topic, partition, next, daybook::eventstore::Limits::default()).unwrap();
                    next = page.next;
                    for record in page.records {
                        let headers: Vec<_> = record.headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))).collect();
                        found.push((topic.to_string(), format!("{}\n{}", headers.join("\n"), String::from_utf8_lossy(record.body()))));
                    }
                }
            }
        }
    }
    found
}

fn readable(data: &Path) -> Vec<String> {
    let found = records(data).into_iter().filter(|(_, text)| CANARIES.iter().chain([&CARD]).any(|canary| text.contains(canary)));
    found.map(|(topic, text)| format!("{topic}: {text}")).collect()
}

fn is_erased(row: &Value) -> bool {
    row["person"] == json!({ "erased": true })
}

/// Waits until what is there says so.
async fn until(client: &Client, url: &str, says: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..600 {
        let (status, found) = ask(client, Method::GET, url, None).await;
        if status == StatusCode::OK && says(&found) {
            return found;
        }
        last = found;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{url} is {last:#}");
}
