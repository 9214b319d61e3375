//! One record that nobody can read, and what goes on beside it: other partitions, other readers, HTTP, a restart; what an
//! operator sees and settles; and folds that do not belong to their log.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use eventstore::embedded::{Embedded, Settings};
use eventstore::kafka::{self, Kafka};
use eventstore::{Log, Message};
use reqwest::{Method, StatusCode};
use schemas::envelope::Kind;
use schemas::{Envelope, Headers, Partition, Stream, partition_of, topic};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::broker::Broker;
use crate::operate::{done, json_of, run, until};
use crate::process::{Caller, Server, binary};

/// Sellers whose products lie in eight different partitions.
fn sellers() -> Vec<u32> {
    let mut of: Vec<Option<u32>> = vec![None; 8];
    for seller in 1..200 {
        of[usize::from(partition_of(seller.to_string().as_bytes(), 8).0)].get_or_insert(seller);
    }
    of.into_iter().map(Option::unwrap).collect()
}

fn garbage(partition: u16) -> Message {
    let headers: Headers = [("ce_id", "garbage")].into_iter().collect();
    Message { topic: topic(Stream::Events("catalog")), partition: Partition(partition), key: b"x".to_vec(), headers, value: Some(b"garbage".to_vec()) }
}

async fn get(url: &str, path: &str) -> (StatusCode, String) {
    let answer = reqwest::get(format!("{url}{path}")).await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

async fn products(caller: &Caller, round: &str, but: Option<usize>) {
    for (at, seller) in sellers().into_iter().enumerate().filter(|(at, _)| Some(*at) != but) {
        let body = json!({ "name": "lamp", "price": "2.55" });
        done(caller, Method::PUT, &format!("/products/{seller}-{round}"), &format!("{round}.{at}"), body).await;
    }
}

/// The whole story; `write` puts the record into the log as something outside would.
async fn one_unreadable_event_stops_nothing_but_itself(mut server: Server, write: impl FnOnce() -> u64) {
    const STOPS: usize = 5;
    let caller = Caller::new(&server.url);
    let stopped_seller = sellers()[STOPS];
    server.start();
    products(&caller, "1", None).await;
    assert!(server.stop());
    let offset = write();
    let place = format!("catalog.events/{STOPS}/{offset}");

    // After a restart everything answers but what lies in that partition.
    server.start();
    let (status, ready) = get(&server.url, "/readyz?verbose").await;
    assert!(status == StatusCode::OK && ready.contains(&format!("catalog.events/{STOPS} offset {offset}")), "{ready}");
    assert_eq!(get(&server.url, "/livez").await.0, StatusCode::OK);
    products(&caller, "2", Some(STOPS)).await;
    for (at, seller) in sellers().into_iter().enumerate() {
        let (status, said) = get(&server.url, &format!("/products/{seller}-1")).await;
        if at == STOPS {
            assert!(status == StatusCode::SERVICE_UNAVAILABLE && said.contains(&format!("catalog.events/{STOPS} offset {offset}")), "{status} {said}");
        } else {
            assert_eq!(status, StatusCode::OK, "{said}");
        }
    }
    // Whoever reads across partitions is told what is missing, and of whose rows all are missing is told nothing else.
    let (status, all) = get(&server.url, "/products?limit=3").await;
    let all: Value = serde_json::from_str(&all).unwrap();
    assert!(status == StatusCode::OK && all["missing"][0]["partition"] == STOPS && all["missing"].as_array().unwrap().len() == 1, "{all}");
    let (status, said) = get(&server.url, &format!("/products?seller={stopped_seller}")).await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && said.contains(&format!("offset {offset}")), "{status} {said}");
    let (status, others) = get(&server.url, &format!("/products?seller={}", sellers()[(STOPS + 1) % 8])).await;
    assert!(status == StatusCode::OK && !others.contains("missing"), "{status} {others}");
    let (code, _, err) = run(&server.url, &["audit", "--wait", "1s"]);
    assert!(code == 1 && err.contains("does not show everything"), "{code} {err}");
    let listed = json_of(&server.url, &["partitions", "list"]);
    let readers: Vec<&str> = listed["items"].as_array().unwrap().iter().map(|item| item["reader"].as_str().unwrap()).collect();
    for reader in ["view:products", "worker:catalog", "worker:stock", "router:cart"] {
        assert!(readers.contains(&reader), "{reader} is not among {readers:?}");
    }
    assert!(listed["items"].as_array().unwrap().iter().all(|item| item["offset"] == offset && item["partition"] == STOPS && item["topic"] == "catalog.events"));
    let shown = json_of(&server.url, &["partitions", "show", &place]);
    assert!(shown["record"]["body"] == "garbage" && shown["readers"].as_array().unwrap().len() == readers.len(), "{shown}");
    // A proof does not call that well.
    let (code, proof, _) = run(&server.url, &["verify", "-o", "json"]);
    let proof: Value = serde_json::from_str(&proof).unwrap();
    let wrong = |name: &str| proof["folds"].as_array().unwrap().iter().find(|fold| fold["name"] == name).unwrap()["wrong"].to_string();
    assert!(code == 3 && wrong("view products").contains("offset") && wrong("heads catalog").contains("offset"), "{proof}");

    // Nothing is settled by mistake: another record, no reason, a reader that does not stand still there.
    for (arguments, saying) in [
        (vec!["partitions", "retry", "catalog.events/0/0"], "no reader stands still"),
        (vec!["partitions", "skip", "catalog.events/5/99999", "--reason", "x"], "no record"),
        (vec!["partitions", "skip", &place, "--reason", " "], "why"),
        (vec!["partitions", "skip", &place, "--reason", "x", "--reader", "view:orders"], "view:orders does not stand still"),
        (vec!["partitions", "skip", "nonsense/5/1", "--reason", "x"], "no topic"),
    ] {
        let (code, out, err) = run(&server.url, &arguments);
        assert!([1, 2].contains(&code) && err.contains(saying) && out.is_empty(), "{arguments:?} ended {code}: {out}{err}");
    }
    let (code, ..) = run(&server.url, &["partitions", "skip", &place]);
    assert_eq!(code, 2, "a skip without a reason");
    // Trying again helps nobody here.
    json_of(&server.url, &["partitions", "retry", &place]);
    tokio::time::sleep(Duration::from_secs(3)).await; // each of them hears of it at its next turn
    until("stopped again", || Some(json_of(&server.url, &["partitions", "list"])).filter(|now| now["items"].as_array().unwrap().len() == readers.len())).await;

    let skipped = json_of(&server.url, &["partitions", "skip", &place, "--reason", "written by a script"]);
    assert!(skipped["readers"].as_array().unwrap().len() >= readers.len(), "{skipped}");
    until("gone on", || Some(json_of(&server.url, &["partitions", "list"])).filter(|now| now["items"].as_array().unwrap().is_empty())).await;
    products(&caller, "3", None).await;
    for round in ["1", "3"] {
        assert_eq!(caller.get(&format!("/products/{stopped_seller}-{round}")).await["price"], "2.55");
    }
    let (_, ready) = get(&server.url, "/readyz?verbose").await;
    assert!(!ready.contains("offset"), "{ready}");
    server.verify();
    assert!(server.stop());
    server.verify();
    server.start();
    products(&caller, "4", None).await;
    server.verify();
    assert!(server.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_unreadable_event_on_the_embedded_log() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let log = data.join("log");
    let server = Server::new(binary(), &data);
    one_unreadable_event_stops_nothing_but_itself(server, move || Embedded::open(&log, Settings::default()).unwrap().append(vec![garbage(5)]).unwrap()[0].0)
        .await;
}

/// A log that has lost files is no other log: nobody is told to throw away what it still has, or what was folded from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_lost_its_newest_file_is_refused_until_that_is_accepted() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::started(binary(), &data);
    let caller = Caller::new(&server.url);
    for id in 1..=20 {
        let (status, answer) = caller.command(Method::PUT, &format!("/customers/{id}"), &format!("c{id}"), json!({ "first_name": "ada" })).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    server.kill();
    let newest = std::fs::read_dir(data.join("log")).unwrap().map(|file| file.unwrap().path());
    let newest = newest.filter(|path| path.extension().is_some_and(|ending| ending == "log")).max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    std::fs::remove_file(newest).unwrap();
    let up = |more: &[&str]| {
        let done = std::process::Command::new(binary()).args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(&data).args(more).output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let (code, said) = up(&[]);
    assert!(code == Some(1) && said.contains("backup") && said.contains("--accept-loss") && !said.contains("delete"), "{code:?} {said}");
    let mut server = server.told(&["--accept-loss"]);
    tokio::task::block_in_place(|| server.start());
    assert!(server.log().contains("the loss is accepted"), "{}", server.log());
    let aside = std::fs::read_dir(&data).unwrap().filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("set-aside-")).count();
    assert_eq!(aside, 1);
    server.verify();
    assert!(server.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_unreadable_event_on_kafka() {
    let (broker, namespace, dir) = (Broker::shared(), Broker::namespace(), TempDir::new().unwrap());
    let server = Server::on_kafka(binary(), &dir.path().join("data"), broker, &namespace, &[]);
    let write = || {
        let log = Kafka::open(kafka::Settings { namespace: namespace.clone(), ..kafka::Settings::new(broker.address()) }).unwrap();
        log.append(vec![garbage(5)]).unwrap()[0].0
    };
    one_unreadable_event_stops_nothing_but_itself(server, || tokio::task::block_in_place(write)).await;
    // And the same folds beside the log of another namespace, as long or longer: they are not taken for its.
    let other = Broker::namespace();
    Server::on_kafka(binary(), &dir.path().join("other"), broker, &other, &[]).start();
    let mut astray = Server::on_kafka(binary(), &dir.path().join("data"), broker, &other, &[]);
    let (code, said) = tokio::task::block_in_place(|| astray.refused());
    assert!(code == Some(1) && said.contains("another log"), "{code:?} {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_skipped_event_closes_its_aggregate_alone() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::started(binary(), &data);
    let caller = Caller::new(&server.url);
    for product in ["1-1", "1-2"] {
        done(&caller, Method::PUT, &format!("/products/{product}"), product, json!({ "name": "lamp", "price": "2.55" })).await;
    }
    assert!(server.stop());
    // The next event of product 1-1, as a newer version of the program would have written it.
    let partition = partition_of(b"1", 8);
    let id = schemas::envelope::event_id("/catalog/product", "1", "1-1", 2);
    let mut envelope = Envelope::new(id, "/catalog/product", Kind::of("product", "blessed", 1), "1-1");
    envelope.version = Some(2);
    let event = Message { topic: topic(Stream::Events("catalog")), partition, key: b"1".to_vec(), headers: envelope.headers(), value: Some(b"{}".to_vec()) };
    let offset = Embedded::open(&data.join("log"), Settings::default()).unwrap().append(vec![event]).unwrap()[0].0;
    server.start();
    json_of(&server.url, &["partitions", "skip", &format!("catalog.events/{partition}/{offset}"), "--reason", "a trial of the next version"]);
    until("gone on", || Some(json_of(&server.url, &["partitions", "list"])).filter(|now| now["items"].as_array().unwrap().is_empty())).await;
    let price = |product: &str| (format!("/products/{product}/price"), json!({ "price": "3.00" }));
    let (path, body) = price("1-2");
    done(&caller, Method::POST, &path, "other", body).await;
    let (path, body) = price("1-1");
    let (status, refused) = caller.command(Method::POST, &path, "closed", body).await;
    assert!(status.is_client_error() || status.is_server_error(), "{status} {refused}");
    let letters = json_of(&server.url, &["dead-letters", "list"]);
    let letter = letters["items"].as_array().unwrap().iter().find(|letter| letter["reason"] == "closed").unwrap_or_else(|| panic!("{letters}"));
    assert!(letter["detail"].as_str().unwrap().contains("a trial of the next version"), "{letter}");
    server.verify();
    assert!(server.stop());
    server.verify();
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_log_beneath_newer_folds_is_refused_at_once() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::started(binary(), &data);
    let caller = Caller::new(&server.url);
    let product = |n: u32| json!({ "name": format!("lamp {n}"), "price": "2.55" });
    done(&caller, Method::PUT, "/products/1-1", "a", product(1)).await;
    assert!(server.stop());
    copy(&data.join("log"), &dir.path().join("backup"));
    server.start();
    for n in 2..6 {
        done(&caller, Method::POST, "/products/1-1/price", &format!("b{n}"), json!({ "price": format!("{n}.00") })).await;
    }
    assert!(server.stop());
    std::fs::remove_dir_all(data.join("log")).unwrap();
    copy(&dir.path().join("backup"), &data.join("log"));

    let began = Instant::now();
    let (code, said) = tokio::task::block_in_place(|| server.refused());
    assert!(code == Some(1) && said.contains("past the log's end") && said.contains("--accept-loss") && said.contains("backup"), "{code:?} {said}");
    assert!(began.elapsed() < Duration::from_secs(20), "it hung: {:?}", began.elapsed());
    // The advice works: the log is what counts.
    for folds in ["heads", "views"] {
        std::fs::rename(data.join(folds), data.join(format!("{folds}.aside"))).unwrap();
    }
    server.start();
    done(&caller, Method::POST, "/products/1-1/price", "c", json!({ "price": "9.00" })).await;
    server.verify();
    assert!(server.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_at_rest_changes_nothing_even_where_shapes_differ() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::started(binary(), &data);
    done(&Caller::new(&server.url), Method::PUT, "/products/1-1", "a", json!({ "name": "lamp", "price": "2.55" })).await;
    assert!(server.stop());
    // Rows of a shape that this program does not fold, as a newer or older one leaves them.
    let view = data.join("views/products");
    let rows = eventstore::rows::Rows::open(&dir.path().join("made"), "products 99", &eventstore::memory::Memory::default()).unwrap();
    let mut changes = eventstore::rows::Changes::default();
    changes.put(b"row", b"{\"kept\":true}");
    rows.write(changes).unwrap();
    rows.flush().unwrap();
    drop(rows);
    std::fs::remove_dir_all(&view).unwrap();
    copy(&dir.path().join("made"), &view);
    let files = || {
        let all = Command::new("sh").arg("-c").arg("find . -type f -exec sha256sum {} + | sort").current_dir(&data).output().unwrap();
        String::from_utf8(all.stdout).unwrap()
    };
    let before = files();
    let done = crate::process::daybook(&binary(), &["verify", "--data", data.to_str().unwrap(), "-o", "json"]);
    assert_eq!(done.status.code(), Some(3), "{}", String::from_utf8_lossy(&done.stderr));
    let proof: Value = serde_json::from_slice(&done.stdout).unwrap();
    let fold = proof["folds"].as_array().unwrap().iter().find(|fold| fold["name"] == "view products").unwrap();
    assert!(fold["wrong"].as_str().unwrap().contains("products 99"), "{fold}");
    assert_eq!(files(), before, "a proof changed the directory");
    // Nor does one pass because folds are missing.
    std::fs::remove_dir_all(data.join("heads/catalog")).unwrap();
    let missing = crate::process::daybook(&binary(), &["verify", "--data", data.to_str().unwrap(), "-o", "json"]);
    assert!(missing.status.code() == Some(3) && String::from_utf8_lossy(&missing.stdout).contains("heads/catalog"), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_has_one_spelling_also_in_the_log() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::started(binary(), &data);
    assert!(server.stop());
    let wrong = [
        ("cart", "cart", "01"),
        ("cart", "cart", "+1"),
        ("cart", "cart", "1-1"),
        ("catalog", "product", "42"),
        ("catalog", "product", "42-007"),
        ("catalog", "product", "abc-xyz"),
        ("catalog", "seller", "007"),
        ("ordering", "order", "1-01"),
        ("shipment", "delivery", "a-b"),
    ];
    let command = |(service, aggregate, id): (&str, &str, &str)| {
        let key = domain::routing_key(id).to_owned();
        let envelope = Envelope::new(format!("c {id}"), "/outside", format!("dev.daybook.{aggregate}.anything.v1").parse().unwrap(), id);
        let partition = partition_of(key.as_bytes(), 8);
        Message { topic: topic(Stream::Commands(service)), partition, key: key.into_bytes(), headers: envelope.headers(), value: Some(b"{}".to_vec()) }
    };
    let log = Embedded::open(&data.join("log"), Settings::default()).unwrap();
    log.append(wrong.map(command).to_vec()).unwrap();
    drop(log);
    server.start();
    let all = || {
        let letters = json_of(&server.url, &["dead-letters", "list"]);
        Some(letters).filter(|letters| letters["items"].as_array().unwrap().len() == wrong.len())
    };
    let letters = until("all put aside", all).await;
    for letter in letters["items"].as_array().unwrap() {
        assert!(letter["reason"] == "malformed" && letter["detail"].as_str().unwrap().contains("ce_subject"), "{letter}");
    }
    assert!(json_of(&server.url, &["partitions", "list"])["items"].as_array().unwrap().is_empty());
    assert!(server.stop());
}
