//! `replay --dry-run`: the histories that are kept of earlier versions, and what is found in those that were spoilt.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use daybook::location::LogLocation;
use daybook::schemas::codec::Codec;
use daybook::schemas::envelope::{Kind, Malformed};
use daybook::schemas::wire::Shape;
use daybook::{Aggregate, Application, Capability, Context, FoldError, Overlay, Seen, Service, replay, states};
use domain::payment::{self, Payment};
use domain::product::Product;
use eventstore::embedded::{Embedded, Settings};
use eventstore::log::TopicSpec;
use eventstore::memory::Memory;
use eventstore::rows::{Changes, Rows};
use eventstore::{Limits, Log, Message, Offset};
use marketplace::capabilities::catalog::ProductRow;
use marketplace::capabilities::rows::listing_key;
use marketplace::{APPLICATION, Marketplace};
use reqwest::Method;
use schemas::{Headers, Partition, Stream, Topic, topic};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{ALL, Caller, Server, binary, daybook};

/// A record of a kept history, as a line of its file.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    topic: String,
    partition: u16,
    key: String,
    headers: Vec<(String, String)>,
    value: Option<String>,
}

fn histories() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data")
}

fn kept(name: &str) -> Vec<Kept> {
    let lines = std::fs::read_to_string(histories().join(name)).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The events of a directory at rest.
fn events_of(data: &Path) -> Vec<Kept> {
    let log = Embedded::open(&data.join("log"), Settings { looks: true, ..Settings::default() }).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut all = vec![];
    for service in ALL.iter().chain(&["reviews"]) {
        let topic = topic(Stream::Events(service));
        for partition in (0..log.partitions()).map(Partition) {
            let mut from = Offset(0);
            while log.end(&topic, partition).is_ok_and(|end| from < end) {
                let page = log.read(&topic, partition, from, Limits::default()).unwrap();
                all.extend(page.records.iter().map(|record| Kept {
                    topic: topic.to_string(),
                    partition: partition.0,
                    key: text(&record.key),
                    headers: record.headers.iter().map(|(name, value)| (name.to_owned(), text(value))).collect(),
                    value: record.value.as_deref().map(text),
                }));
                from = page.next;
            }
        }
    }
    all
}

/// A data directory whose fresh log holds these.
fn laid(data: &Path, records: &[Kept]) {
    let log = Embedded::open(&data.join("log"), Settings::default()).unwrap();
    let topics: BTreeMap<&str, Topic> = records.iter().map(|record| (record.topic.as_str(), Topic::named(&record.topic))).collect();
    log.provision(&topics.values().map(|topic| TopicSpec { topic: topic.clone(), retention: None }).collect::<Vec<_>>()).unwrap();
    for record in records {
        let mut headers = Headers::default();
        record.headers.iter().for_each(|(name, value)| headers.push(name, value));
        let (key, value) = (record.key.clone().into_bytes(), record.value.clone().map(String::into_bytes));
        log.append(vec![Message { topic: topics[record.topic.as_str()].clone(), partition: Partition(record.partition), key, headers, value }]).unwrap();
    }
}

fn dry_run(data: &Path, more: &[&str]) -> Output {
    daybook(&binary(), &[&["replay", "--dry-run", "--data", data.to_str().unwrap()], more].concat())
}

fn told(data: &Path, code: i32) -> Value {
    let done = dry_run(data, &["-o", "json"]);
    let said = [done.stdout.as_slice(), &done.stderr].map(String::from_utf8_lossy).concat();
    assert_eq!(done.status.code(), Some(code), "{said}");
    serde_json::from_slice(&done.stdout).unwrap()
}

/// Every file below a directory, with what is in it.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    all
}

fn events(report: &Value) -> u64 {
    let heads = report["folds"].as_array().unwrap().iter().filter(|fold| fold["name"].as_str().unwrap().starts_with("heads "));
    heads.map(|fold| fold["events"].as_u64().unwrap()).sum()
}

fn found<'r>(report: &'r Value, kind: &str) -> Vec<&'r Value> {
    report["findings"].as_array().unwrap().iter().filter(|finding| finding["kind"] == kind).collect()
}

#[test]
fn every_history_that_is_kept_is_folded_without_a_finding() {
    let mut histories: Vec<_> = std::fs::read_dir(histories()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    histories.retain(|name| name.ends_with(".jsonl"));
    assert!(histories.len() >= 2, "{histories:?}");
    for name in histories {
        let (dir, records) = (TempDir::new().unwrap(), kept(&name));
        laid(dir.path(), &records);
        let before = files(dir.path());
        let report = told(dir.path(), 0);
        assert_eq!((events(&report), &report["counts"]), (records.len() as u64, &json!({})), "{name}: {report}");
        assert!(files(dir.path()) == before, "{name}: something was written to what is only looked at");
        let said = String::from_utf8(dry_run(dir.path(), &[]).stdout).unwrap();
        assert!(said.contains("Nothing was found. Folding all of it anew takes under 1 s"), "{said}");
    }
}

/// The directory that a version before shipments left.
fn unpacked() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/before-shipments.tar.gz");
    assert!(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(dir.path()).status().unwrap().success(), "tar unpacks it");
    let data = dir.path().join("before-shipments");
    for folds in ["heads", "views"].map(|folds| data.join(folds)) {
        std::fs::read_dir(folds).unwrap().for_each(|fold| std::fs::write(fold.unwrap().path().join("LOCK"), "").unwrap());
    }
    std::fs::write(data.join("log/LOCK"), "").unwrap();
    (dir, data)
}

/// With the rows of then: those of another shape are no finding, and nothing of the directory changes.
#[test]
fn a_directory_of_an_earlier_version_is_looked_at_and_left_as_it_is() {
    let (_dir, data) = unpacked();
    let before = files(&data);
    let report = told(&data, 0);
    let live = |name: &str| report["folds"].as_array().unwrap().iter().find(|fold| fold["name"] == name).unwrap()["live"].clone();
    assert_eq!([live("view products"), live("heads ordering"), live("view payments")], [json!("same"), json!("another-shape"), json!("none")], "{report}");
    assert!(files(&data) == before, "something was written to what is only looked at");
    if let Ok(name) = std::env::var("KEEP_BEFORE_SHIPMENTS") {
        keep(&name, &events_of(&data));
    }
}

fn keep(name: &str, records: &[Kept]) {
    let lines: Vec<String> = records.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
    std::fs::write(histories().join(format!("{name}.jsonl")), lines.join("\n") + "\n").unwrap();
}

/// A small history of every service of this version: to be kept when it is released, by `KEEP=<name>`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_of_today_is_folded_and_a_row_that_differs_is_named() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::started(binary(), &data);
    let caller = Caller::new(&server.url);
    let done = async |method: Method, path: &str, id: &str, body: Value| caller.accepted(method, path, id, body).await;
    done(Method::POST, "/identity/accounts", "anna", json!({ "email": "anna@example.com", "password": "a long enough passphrase" })).await;
    for seller in [1, 2] {
        done(Method::PUT, &format!("/sellers/{seller}"), &format!("seller {seller}"), json!({ "name": "Ann", "company_name": "Ann's" })).await;
        let product = json!({ "name": "lamp", "price": "2.55", "freight_value": "0.00", "currency": "GBP" });
        done(Method::PUT, &format!("/products/{seller}-1"), &format!("product {seller}"), product).await;
        done(Method::POST, &format!("/stock/{seller}-1/receipts"), &format!("stock {seller}"), json!({ "quantity": 10, "reference": "first" })).await;
    }
    let line = |seller: u64| json!({ "product": format!("{seller}-1"), "quantity": 3, "unit_price": "2.55", "currency": "GBP" });
    for (customer, card) in [(17, "4111111111111111"), (18, "4111111111111111")] {
        done(Method::POST, &format!("/carts/{customer}/items"), &format!("items {customer}"), json!({ "items": [line(1), line(2)] })).await;
        let card = json!({ "payment_type": "CREDIT_CARD", "card_number": card, "card_brand": "visa", "city": "Oslo" });
        done(Method::POST, &format!("/carts/{customer}/checkout"), &format!("out {customer}"), card).await;
        caller.until(&format!("/orders/{customer}-1"), |row| row["shipment"] == "approved").await;
    }
    let refund = json!({ "reference": "one", "lines": [{ "line": 0, "quantity": 1 }] });
    done(Method::POST, "/orders/17-1/refunds", "one", refund).await;
    caller.until("/orders/17-1", |row| row["refunded"] == "2.55").await;
    done(Method::POST, "/deliveries/t_1", "run", json!({})).await;
    caller.until("/orders/17-1", |row| row["shipment"] == "concluded").await;
    let busy = dry_run(&data, &[]);
    let said = String::from_utf8_lossy(&busy.stderr).into_owned();
    assert!(busy.status.code() == Some(1) && said.contains("is open in another process"), "{said}");
    assert!(server.stop());

    let before = files(&data);
    let report = told(&data, 0);
    assert!(report["folds"].as_array().unwrap().iter().all(|fold| fold["live"] == "same"), "{report}");
    assert!(files(&data) == before, "something was written to what is only looked at");
    if let Ok(name) = std::env::var("KEEP") {
        keep(&name, &events_of(&data));
    }

    let rows = Rows::open(&data.join("views/products"), "products 1", &Memory::default()).unwrap();
    let (key, row) = rows.scan(b"", None, 10).unwrap().into_iter().find(|(_, row)| String::from_utf8_lossy(row).contains("1-1")).unwrap();
    let mut changes = Changes::default();
    changes.put(&key, String::from_utf8_lossy(&row).replace("2.55", "0.55").as_bytes());
    rows.write(changes).unwrap();
    drop(rows);
    let report = told(&data, 3);
    let differing: Vec<_> = report["folds"].as_array().unwrap().iter().filter(|fold| fold["live"] != "same").collect();
    assert!(differing.len() == 1 && differing[0]["name"] == "view products" && differing[0]["live"] == "differ", "{report}");
    let difference = &differing[0]["differences"][0];
    assert_eq!(difference["key"], String::from_utf8_lossy(&key).as_ref());
    assert!(difference["live"].as_str().unwrap().contains("0.55") && difference["rebuilt"].as_str().unwrap().contains("2.55"), "{difference}");
    let said = String::from_utf8(dry_run(&data, &[]).stdout).unwrap();
    assert!(said.contains("view products: key") && said.contains("1 differ"), "{said}");
}

/// A topic, a subject, and what is done to a record.
type Change<'c> = (&'c str, &'c str, &'c dyn Fn(&mut Kept));

/// The first history that is kept, with records after it; each is like the last of an aggregate, and then changed.
fn spoilt(changes: &[Change<'_>]) -> TempDir {
    let (dir, mut records) = (TempDir::new().unwrap(), kept("before-shipments.jsonl"));
    for (topic, subject, change) in changes {
        let of = |record: &&Kept| record.topic == *topic && header(record, "ce_subject") == *subject && !header(record, "ce_sequence").is_empty();
        let mut record = records.iter().rfind(of).unwrap_or_else(|| panic!("{topic} has nothing of {subject}")).clone();
        let next = header(&record, "ce_sequence").parse::<u64>().unwrap() + 1;
        set(&mut record, "ce_sequence", &format!("{next:020}"));
        change(&mut record);
        records.push(record);
    }
    laid(dir.path(), &records);
    dir
}

fn header<'r>(record: &'r Kept, name: &str) -> &'r str {
    record.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

fn set(record: &mut Kept, name: &str, to: &str) {
    record.headers.iter_mut().filter(|(known, _)| known == name).for_each(|(_, value)| to.clone_into(value));
}

#[test]
fn every_event_that_cannot_be_decoded_is_named_and_so_is_a_gap() {
    let newer = |record: &mut Kept| {
        let kind = header(record, "ce_type").rsplit_once(".v").unwrap().0.to_owned();
        set(record, "ce_type", &format!("{kind}.v99"));
    };
    let garbage = |record: &mut Kept| record.value = Some("{".to_owned());
    let gap = |record: &mut Kept| set(record, "ce_sequence", &format!("{:020}", 77));
    let dir = spoilt(&[
        ("payment.events", "17-1", &newer),
        ("catalog.events", "1-1", &garbage),
        ("stock.events", "1-1", &gap),
        ("ordering.events", "17-1", &garbage),
    ]);
    let report = told(dir.path(), 3);
    assert_eq!(report["counts"], json!({ "undecodable": 3, "version": 1, "stopped": 1 }), "{report}");
    let undecodable = found(&report, "undecodable");
    for (topic, why) in [("payment.events/", "v99"), ("catalog.events/", "EOF"), ("ordering.events/", "EOF")] {
        let one = undecodable.iter().find(|finding| finding["place"].as_str().unwrap().starts_with(topic)).unwrap();
        assert!(one["why"].as_str().unwrap().contains(why) && one["type"].is_string() && one["folds"].as_array().unwrap().len() > 1, "{one}");
    }
    let gap = found(&report, "version")[0];
    assert!(gap["place"].as_str().unwrap().starts_with("stock.events/") && gap["why"].as_str().unwrap().contains("version 77 follows"), "{gap}");
    // A view that fails over it, as over what cannot be, says where as well.
    let stopped = found(&report, "stopped")[0];
    assert_eq!((&stopped["place"], &stopped["folds"]), (&gap["place"], &json!(["view stock-items"])), "{stopped}");
    let said = String::from_utf8(dry_run(dir.path(), &[]).stdout).unwrap();
    assert!(said.contains("cannot be decoded: payment.events/") && said.contains("folded without them"), "{said}");
}

/// Payments as a version has them that was changed without thinking of those that there are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Changed(Payment);

impl Aggregate for Changed {
    const NAME: &'static str = Payment::NAME;
    const STATE_VERSION: u8 = 99;
    const REFUSALS: &'static [&'static str] = Payment::REFUSALS;
    type Id = <Payment as Aggregate>::Id;
    type Command = payment::Command;
    type Event = payment::Event;
    type Refusal = payment::Refusal;
    fn decide(&self, command: payment::Command, context: &Context<'_>) -> Result<Vec<payment::Event>, payment::Refusal> {
        self.0.decide(command, context)
    }
    fn evolve(&mut self, event: &payment::Event) {
        assert!(!matches!(event, payment::Event::Refused { .. }), "nobody thought of refused payments");
        self.0.evolve(event);
    }
    fn invariant(&self) -> Result<(), String> {
        let captured = self.0.captured.map_or(0, |captured| captured.minor);
        if captured < 100 { Ok(()) } else { Err(format!("{captured} are captured, and less than 100 may be")) }
    }
    fn refusal_code(refusal: &payment::Refusal) -> &'static str {
        Payment::refusal_code(refusal)
    }
}

impl Codec<Marketplace> for Changed {
    fn encode_event(event: &payment::Event) -> (Kind, Vec<u8>) {
        <Payment as Codec<Marketplace>>::encode_event(event)
    }
    fn decode_event(kind: &Kind, body: &[u8]) -> Result<payment::Event, Malformed> {
        <Payment as Codec<Marketplace>>::decode_event(kind, body)
    }
    fn encode_command(command: &payment::Command) -> (Kind, Vec<u8>) {
        <Payment as Codec<Marketplace>>::encode_command(command)
    }
    fn decode_command(kind: &Kind, body: &[u8]) -> Result<payment::Command, Malformed> {
        <Payment as Codec<Marketplace>>::decode_command(kind, body)
    }
    fn shapes() -> Vec<Shape> {
        <Payment as Codec<Marketplace>>::shapes()
    }
}

fn changed() -> Vec<Capability> {
    vec![Capability::of(Service::new("payment").owns::<Changed, _>()).view("payments", 99, states::<Changed, _>)]
}

#[test]
fn a_state_that_panics_and_an_invariant_that_breaks_are_found_before_the_release() {
    let dir = spoilt(&[]);
    let application = Application { capabilities: changed, ..APPLICATION };
    let report = replay::look(dir.path(), LogLocation::here(None, false).unwrap(), &application).unwrap();
    assert!(!report.found_nothing());
    let report = serde_json::to_value(&report).unwrap();
    assert_eq!(report["counts"], json!({ "invariant": 2, "panic": 1 }), "{report}");
    let panic = found(&report, "panic")[0];
    assert!(panic["place"].as_str().unwrap().starts_with("payment.events/") && panic["why"].as_str().unwrap().contains("nobody thought"), "{panic}");
    assert_eq!((&panic["aggregate"], &panic["folds"]), (&json!("payment/18-1 version 1"), &json!(["heads payment", "view payments"])));
    let broken = found(&report, "invariant");
    assert!(broken.iter().any(|one| one["aggregate"] == "payment/17-1 version 1" && one["why"] == "965 are captured, and less than 100 may be"), "{report}");
}

/// What a version shows of products whose fold was changed, and its shape's number was not.
fn cheaper(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let catalog = (APPLICATION.capabilities)().into_iter().find(|capability| capability.service.name == "catalog").unwrap();
    let view = catalog.views.iter().find(|view| view.name == "products").unwrap();
    (view.fold)(seen, rows)?;
    if seen.envelope.subject == "1-1" {
        rows.update::<ProductRow>(&listing_key("1-1"), |row| row.price = "0.01".to_owned())?;
    }
    Ok(())
}

#[test]
fn a_fold_that_was_changed_is_found_before_the_release_with_the_keys_that_differ() {
    let (_dir, data) = unpacked();
    let catalog = || vec![Capability::of(Service::new("catalog").owns::<Product, _>()).view("products", 1, cheaper)];
    let application = Application { capabilities: catalog, ..APPLICATION };
    let report = replay::look(&data, LogLocation::here(None, false).unwrap(), &application).unwrap();
    assert!(!report.found_nothing());
    let report = serde_json::to_value(&report).unwrap();
    let products = report["folds"].as_array().unwrap().iter().find(|fold| fold["name"] == "view products").unwrap();
    let differences = products["differences"].as_array().unwrap();
    assert!(products["live"] == "differ" && differences.len() == 1 && differences[0]["key"] == listing_key("1-1"), "{products}");
    let [live, rebuilt] = ["live", "rebuilt"].map(|side| serde_json::from_str::<ProductRow>(differences[0][side].as_str().unwrap()).unwrap());
    assert!(live.price != "0.01" && rebuilt.price == "0.01" && live.id == rebuilt.id, "{products}");
}

#[test]
fn what_cannot_be_replayed_says_so_in_a_sentence() {
    let (dir, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    laid(data.path(), &[]);
    let nowhere = dir.path().join("nowhere");
    for (data, part) in [(nowhere.as_path(), "holds no Daybook data"), (dir.path(), "holds no Daybook data"), (data.path(), "there is nothing to replay")] {
        let failed = dry_run(data, &[]);
        let said = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert!(failed.status.code() == Some(1) && said.contains(part) && said.lines().count() == 1, "{said}");
    }
    assert!(!nowhere.exists());
    let misused = daybook(&binary(), &["replay", "--data", data.path().to_str().unwrap()]);
    let said = String::from_utf8_lossy(&misused.stderr).into_owned();
    assert!(misused.status.code() == Some(2) && said.contains("--dry-run") && said.contains("projections rebuild"), "{said}");
}
