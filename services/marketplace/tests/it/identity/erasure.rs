//! The right to be forgotten, against the real binary: what is personal stands nowhere in the clear, an erasure reaches all of it,
//! and nothing brings it back, whatever is restored, rebuilt or killed.

use std::path::{Path, PathBuf};
use std::process::Command;

use daybook::eventstore::embedded::{Embedded, Settings};
use daybook::eventstore::{Log, Message, Offset};
use daybook::schemas::envelope::Kind;
use daybook::schemas::{Codec, Envelope, Partition, Stream, topic};
use domain::customer::{Command as Register, Customer, Details, Person};
use reqwest::{Method, StatusCode};
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_erased_is_nowhere_and_stays_so_whatever_is_restored() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::started(binary(), &data);
    let url = server.url.clone();
    lives(&url, 17).await;
    lives(&url, 18).await; // the same again: nothing of it may look the same
    let account = done(&url, Method::POST, "/identity/accounts", json!({ "email": CANARIES[3], "password": PASSWORD })).await;
    let own = account["roles"]["customer"].as_str().unwrap().to_owned();
    done(&url, Method::PUT, &format!("/customers/{own}"), person()).await;
    done(&url, Method::POST, "/identity/password-resets", json!({ "email": CANARIES[3] })).await;
    let sessions = done(&url, Method::POST, "/identity/sessions", json!({ "email": CANARIES[3], "password": PASSWORD })).await;
    assert_eq!(get(&url, "/customers/17").await["person"]["street"], CANARIES[2], "who may see it sees it");
    assert_eq!(get(&url, "/sellers/17").await["name"], CANARIES[0]);
    assert_eq!(get(&url, &format!("/identity/accounts/{}", account["id"].as_str().unwrap())).await["email"], CANARIES[3]);
    let revision = get(&url, "/customers/17").await["revision"].clone();
    done(&url, Method::PUT, "/customers/17", person()).await;
    assert_eq!(get(&url, "/customers/17").await["revision"], revision, "the same details again are no event");
    // A repeat is answered as it was the first time; the same name for something else is told.
    let (named, register) = (client(None), person());
    let send = |body: Value| named.put(format!("{url}/customers/19")).header("idempotency-key", "once").header("prefer", "wait=20").json(&body).send();
    let first: Value = send(register.clone()).await.unwrap().json().await.unwrap();
    assert_eq!(send(register).await.unwrap().json::<Value>().await.unwrap(), first);
    assert_eq!(send(json!({ "first_name": "Other" })).await.unwrap().status(), StatusCode::UNPROCESSABLE_ENTITY);
    for _ in 0..100 {
        if data.join("outbox.jsonl").exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    server.verify();
    assert!(server.stop());

    // Before anybody is erased: on the disk nothing is readable but the mail that waits for its mailer.
    let mail = std::fs::read_to_string(data.join("outbox.jsonl")).unwrap();
    assert!(mail.contains(CANARIES[3]));
    assert_eq!(standing(&data, &[CANARIES[0], CANARIES[1], CANARIES[2], CANARIES[4], CARD]), [""; 0]);
    assert_eq!(readable(&data), [""; 0]);
    let all = records(&data);
    let sealed: Vec<&str> = all.iter().filter_map(|(_, text)| text.split("\"data\":\"").nth(1)?.split('"').next()).filter(|text| text.len() > 40).collect();
    let different: std::collections::BTreeSet<&&str> = sealed.iter().collect();
    println!("{} records, {} sealed, {} of them different", all.len(), sealed.len(), different.len());
    assert!(sealed.len() >= 12 && different.len() >= sealed.len() - 4, "orders carry what their carts sealed, and nothing else looks alike");
    let (before, keys_before) = (dir.path().join("before"), dir.path().join("keys-before"));
    copied(&data, &before);
    copied(&keys(&data), &keys_before);

    server.start();
    for who in [&format!("customer/{own}"), "customer/17", "seller/17"] {
        let (code, report) = erase(&url, who);
        assert_eq!((code, &report["report"]["found_in_all"]), (Some(0), &json!(0)), "{report:#}");
        assert!(report["report"]["values"].as_u64().unwrap() >= 4 && !report["keys"].as_array().unwrap().is_empty(), "{report:#}");
        let looked = |place: &str| report["report"]["looked"].as_array().unwrap().iter().any(|looked| looked["place"] == place);
        assert!(["customer.events", "ordering.commands.dlt", "heads/cart", "views/customers", "outbox.jsonl"].iter().all(|place| looked(place)), "{report:#}");
    }
    let forgotten = async || {
        for path in ["/customers/17".to_owned(), format!("/customers/{own}")] {
            assert!(is_erased(&get(&url, &path).await), "{path}");
        }
        assert_eq!(get(&url, "/sellers/17").await["erased"], true);
        assert_eq!(get(&url, "/customers/18").await["person"]["street"], CANARIES[2], "nobody else is");
        for aggregate in ["customer", "cart"] {
            let state = get(&url, &format!("/inspect/{aggregate}/17")).await.to_string();
            assert!(!CANARIES.iter().any(|canary| state.contains(canary)), "{state}");
        }
    };
    forgotten().await;
    // Who has no account any more is not signed in, and may come anew under the same address.
    let gone = get(&url, &format!("/identity/accounts/{}", account["id"].as_str().unwrap())).await;
    assert_eq!((&gone["status"], &gone["erased"], gone.get("email")), (&json!("erased"), &json!(true), None));
    let (status, _) = ask(&client(None), Method::POST, &format!("{url}/identity/sessions"), Some(&json!({ "email": CANARIES[3], "password": PASSWORD }))).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, _) =
        ask(&client(None), Method::POST, &format!("{url}/identity/sessions/refresh"), Some(&json!({ "refresh_token": sessions["refresh_token"] }))).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(std::fs::read_to_string(data.join("outbox.jsonl")).unwrap(), "");
    server.verify();
    assert!(server.stop());
    assert_eq!(standing(&data, &CANARIES), [""; 0]);
    server.verify();

    // Folded anew from the log alone: the same.
    for folds in ["views", "heads"] {
        std::fs::remove_dir_all(data.join(folds)).unwrap();
    }
    server.start();
    forgotten().await;
    server.verify();
    assert!(server.stop());

    // The keys of before the erasure, with the log of after it: it is told again.
    std::fs::remove_dir_all(keys(&data)).unwrap();
    copied(&keys_before, &keys(&data));
    server.start();
    forgotten().await;
    assert!(server.log().contains("what was erased since is erased again"));
    assert!(server.stop());

    // The whole directory of before the erasure, with the keys of after it.
    std::fs::remove_dir_all(&data).unwrap();
    copied(&before, &data);
    server.start();
    for path in ["/customers/17".to_owned(), format!("/customers/{own}")] {
        assert!(is_erased(&get(&url, &path).await), "{path}");
    }
    server.verify();
    // Somebody new under the old number has a new key.
    done(&url, Method::PUT, "/customers/17", json!({ "first_name": "Anna", "last_name": "Berg" })).await;
    assert_eq!(get(&url, "/customers/17").await["person"]["first_name"], "Anna");
    assert!(server.stop());

    // Whoever reads the events of erasures anew erases nobody once more.
    std::fs::remove_dir_all(data.join("erasures")).unwrap();
    server.start();
    done(&url, Method::PUT, "/customers/20", json!({ "first_name": "Somebody", "last_name": "Else" })).await;
    assert_eq!(erase(&url, "customer/20").0, Some(0), "it has read them all");
    assert_eq!(get(&url, "/customers/17").await["person"]["first_name"], "Anna");
    assert!(server.stop());

    // Without its keys it does not start, nor with those of another log.
    std::fs::rename(keys(&data), dir.path().join("away")).unwrap();
    let (code, said) = server.refused();
    assert!(code == Some(1) && said.contains("key store"), "{said}");
    let other = dir.path().join("other/data");
    std::fs::create_dir(other.parent().unwrap()).unwrap();
    let mut elsewhere = Server::started(binary(), &other);
    assert!(elsewhere.stop());
    copied(&keys(&other), &keys(&data));
    std::fs::copy(other.join("sealing.key"), data.join("sealing.key")).unwrap();
    std::fs::remove_file(data.join("sealing.key.check")).unwrap();
    let (code, said) = server.refused();
    assert!(code == Some(1) && said.contains("of another log"), "{said}");
}

/// Commands that come from outside, in the clear or with what they copied from others' records; and a log of before there was
/// sealing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_from_outside_is_sealed_and_opens_nothing() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::started(binary(), &data);
    let url = server.url.clone();
    done(&url, Method::PUT, "/customers/17", person()).await;
    assert!(server.stop());
    let event = records(&data).into_iter().find(|(topic, text)| topic == "customer.events" && text.contains("sealed")).unwrap().1;
    let sealed: Value = serde_json::from_str::<Value>(event.lines().last().unwrap()).unwrap()["personal"]["sealed"].clone();
    let command = |id: &str, body: &[u8]| {
        let envelope = Envelope::new(id, "/outside".to_owned(), Kind::of("customer", "register", 1), "20");
        (envelope, body.to_vec())
    };
    let details = Details { person: daybook::kernel::Personal::Clear(Person { email: CANARIES[3].to_owned(), ..Person::default() }), ..Details::default() };
    let mut bare = sealed.clone();
    bare.as_object_mut().unwrap().remove("about");
    let with = |personal: &Value| json!({ "personal": { "sealed": personal } }).to_string();
    let outside = [
        command("copied", with(&sealed).as_bytes()),
        command("copied-bare", with(&bare).as_bytes()),
        command("spelt", with(&sealed).replace("personal", "person\\u0061l").as_bytes()),
        command("no-json", format!("{{ {} ", CANARIES[0]).as_bytes()),
        command("wrong-field", format!("{{\"name\":\"{}\"}}", CANARIES[1]).as_bytes()),
        command("wrong-type", format!("{{\"personal\":\"{}\"}}", CANARIES[2]).as_bytes()),
        command("clear", &Customer::encode_command(&Register::Register(details)).1),
    ];
    let log = Embedded::open(&data.join("log"), Settings::default()).unwrap();
    let append = |(envelope, body): (Envelope, Vec<u8>)| {
        let (topic, partition) = (topic(Stream::Commands("customer")), log.partition_of("20"));
        log.append(vec![Message { topic, partition, key: b"20".to_vec(), headers: envelope.headers(), value: Some(body) }]).unwrap();
    };
    outside.into_iter().for_each(append);
    drop(log);
    server.start();
    let mut letters = vec![];
    for _ in 0..200 {
        letters = get(&url, "/dead-letters").await["items"].as_array().unwrap().clone();
        if letters.len() == 6 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(letters.len(), 6, "{letters:#?}");
    let said = serde_json::to_string(&letters).unwrap();
    assert!(said.contains("sealed for another record") && !CANARIES.iter().any(|canary| said.contains(canary)), "{said}");
    assert_eq!(get(&url, "/customers/20").await["person"]["email"], CANARIES[3], "what came clear is sealed from its event on");
    // What outsiders wrote stays in the command topic until it is trimmed, and the report says so.
    let (code, report) = erase(&url, "customer/20");
    let places: std::collections::BTreeSet<&str> = report["report"]["found"].as_array().unwrap().iter().map(|found| found["place"].as_str().unwrap()).collect();
    assert_eq!((code, places), (Some(3), ["customer.commands"].into()), "{report:#}");
    let trimmed = daybook(&binary(), &["trim", "--all", "--yes", "--url", &url]);
    assert!(trimmed.status.success(), "{}", String::from_utf8_lossy(&trimmed.stderr));
    let (code, _) = erase(&url, "customer/20");
    assert_eq!(code, Some(0));
    assert!(is_erased(&get(&url, "/customers/20").await));
    server.verify();
    assert!(server.stop());
    assert!(!CANARIES.iter().any(|canary| server.log().contains(canary)), "no line of the log has it");

    // A log from before there was sealing goes on in the clear, until it is told.
    let old = dir.path().join("old/data");
    std::fs::create_dir(old.parent().unwrap()).unwrap();
    let mut server = Server::new(binary(), &old).told(&["--seal", "off"]);
    server.start();
    let url = server.url.clone();
    done(&url, Method::PUT, "/customers/17", person()).await;
    let (code, said) = erase(&url, "customer/17");
    assert!(code == Some(1) && said.to_string().contains("--seal on"), "{said}");
    assert!(server.stop());
    assert!(!keys(&old).exists());
    let mut plain = Server::new(binary(), &old);
    plain.start(); // told nothing: an old log stays as it is
    assert!(plain.stop() && !keys(&old).exists());
    let mut server = Server::new(binary(), &old).told(&["--seal", "on"]);
    server.start();
    let url = server.url.clone();
    assert_eq!(get(&url, "/customers/17").await["person"]["email"], CANARIES[3], "old clear events are read");
    done(&url, Method::PUT, "/customers/17", json!({ "first_name": "Wanderfalke", "street": CANARIES[2] })).await;
    assert_eq!(get(&url, "/customers/17").await["person"]["first_name"], "Wanderfalke");
    let (code, report) = erase(&url, "customer/17");
    let found: Vec<&str> = report["report"]["found"].as_array().unwrap().iter().map(|found| found["place"].as_str().unwrap()).collect();
    assert!(code == Some(3) && found.contains(&"customer.events") && found.contains(&"customer.commands"), "{report:#}");
    assert!(!report.to_string().contains(CANARIES[3]), "a report tells where, and never what");
    assert!(is_erased(&get(&url, "/customers/17").await));
    server.verify();
    let (code, said) = {
        assert!(server.stop());
        Server::new(binary(), &old).told(&["--seal", "off"]).refused()
    };
    assert!(code == Some(1) && said.contains("goes on to be"), "{said}");
}

/// The keys of before somebody was written of, and those of before they were erased, put back at rest and while it runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_older_key_store_brings_anybody_back() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::started(binary(), &data);
    let url = server.url.clone();
    done(&url, Method::PUT, "/customers/16", person()).await;
    assert!(server.stop());
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    copied(&keys(&data), &first);
    server.start();
    done(&url, Method::PUT, "/customers/17", person()).await;
    done(&url, Method::PUT, "/customers/18", person()).await;
    copied(&keys(&data), &second);
    assert!(server.stop());
    let put_back = |store: &Path| {
        std::fs::remove_dir_all(keys(&data)).unwrap();
        copied(store, &keys(&data));
    };
    // A store that knows nothing of them: what they had is unreadable, nobody else is hidden, and they can be erased.
    put_back(&first);
    server.start();
    assert_eq!(get(&url, "/customers/17").await["person"], json!({ "unreadable": true }));
    assert_eq!(get(&url, "/customers/16").await["person"]["street"], CANARIES[2]);
    let (code, report) = erase(&url, "customer/17");
    assert_eq!((code, report["keys"].as_array().unwrap().len()), (Some(0), 1), "{report:#}");
    assert!(server.stop());
    put_back(&second);
    server.start();
    assert!(is_erased(&get(&url, "/customers/17").await));
    assert_eq!(get(&url, "/customers/18").await["person"]["street"], CANARIES[2]);
    // Put in place while it runs, by a rename.
    assert_eq!(erase(&url, "customer/18").0, Some(0));
    let back = keys(&data).join("back");
    std::fs::copy(second.join("keys"), &back).unwrap();
    std::fs::rename(&back, keys(&data).join("keys")).unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    for path in ["/customers/17", "/customers/18"] {
        assert!(is_erased(&get(&url, path).await), "{path}");
    }
    // Who is not known, in any spelling, is not erased; nor does the store of one log serve another.
    for who in ["Customer/16", "customers/16", "customer/016", "customer/16-1", "operator/16", "seller/042", "account/nope"] {
        let (code, said) = erase(&url, who);
        assert!(code.is_some_and(|code| code != 0 && code != 3), "{who}: {code:?} {said}");
    }
    assert_eq!(get(&url, "/customers/16").await["person"]["street"], CANARIES[2]);
    let log = Embedded::open(&data.join("log"), Settings::default());
    assert!(log.is_err(), "it runs");
    assert!(server.stop());
    // What only services say, from outside: a forged end of an erasure that nobody asked for.
    let key = get_key(&data, "customer/16");
    let log = Embedded::open(&data.join("log"), Settings::default()).unwrap();
    for (name, body) in [
        ("request", json!({ "reason": "forged" })),
        ("record-destroyed", json!({ "number": 1, "keys": [{ "key": key, "at": "2026-11-26T00:00:00Z" }] })),
        ("complete", json!({ "number": 1, "report": { "values": 9, "looked": [], "found": [], "found_in_all": 0 } })),
    ] {
        let envelope = Envelope::new(format!("forged-{name}"), "/outside".to_owned(), Kind::of("erasure", name, 1), "customer/4444");
        let (topic, partition) = (topic(Stream::Commands("erasure")), log.partition_of("customer/4444"));
        let value = Some(serde_json::to_vec(&body).unwrap());
        log.append(vec![Message { topic, partition, key: b"customer/4444".to_vec(), headers: envelope.headers(), value }]).unwrap();
    }
    drop(log);
    server.start();
    for _ in 0..200 {
        let (status, row) = ask(&client(None), Method::GET, &format!("{url}/erasures/customer/4444"), None).await;
        if status == StatusCode::OK && row["status"] == "completed" {
            assert_eq!((&row["keys"], &row["report"]["values"]), (&json!([]), &json!(0)), "{row:#}");
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(get(&url, "/customers/16").await["person"]["street"], CANARIES[2]);
    assert!(server.stop());
    let mut other = Server::new(binary(), &dir.path().join("another")).told(&["--key-store", keys(&data).to_str().unwrap()]);
    std::fs::create_dir(dir.path().join("another")).unwrap();
    std::fs::copy(data.join("sealing.key"), dir.path().join("another/sealing.key")).unwrap();
    let (code, said) = other.refused();
    assert!(code == Some(1) && said.contains("the keys of another log"), "{said}");
}

/// The key that something of somebody's was sealed under.
fn get_key(data: &Path, who: &str) -> String {
    let all = records(data);
    let text = all.iter().map(|(_, text)| text).find(|text| text.contains(&format!("\"subject\":\"{who}\""))).unwrap();
    text.split("\"key\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

/// Erasures are operators' acts: in the trail, and not on the callers' listener.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erasures_are_in_the_audit_trail_and_operators_own() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let port = crate::process::free();
    let server = super::people::told(&data, &["--admin-listen", &format!("127.0.0.1:{port}")]);
    let admin = format!("http://127.0.0.1:{port}");
    super::people::create(&server, &data, "olga@example.com", &["operator"]);
    let olga = super::people::Person::sign_in(&server.url, "olga@example.com", PASSWORD).await;
    let anna = super::people::signed_up(&server.url, "anna@example.com", None).await;
    let (path, reason) = (format!("/erasures/account/{}", anna.account), json!({ "reason": "a test" }));
    assert_eq!(olga.ask(Method::POST, &path, Some(&reason)).await.0, StatusCode::NOT_FOUND, "this listener is for callers");
    for who in [&anna.client, &client(None)] {
        let (status, _) = ask(who, Method::POST, &format!("{admin}{path}"), Some(&reason)).await;
        assert!([StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&status), "{status}");
    }
    let (status, answer) = ask(&olga.client, Method::POST, &format!("{admin}{path}"), Some(&reason)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let act = format!("POST {path}");
    let mut acts = vec![];
    for _ in 0..100 {
        let (_, trail) = ask(&olga.client, Method::GET, &format!("{admin}/audit-log"), None).await;
        let text = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
        acts = trail["items"].as_array().unwrap().iter().map(|entry| (text(entry, "act"), text(entry, "outcome"))).collect();
        if ["begun", "200"].iter().all(|outcome| acts.contains(&(act.clone(), (*outcome).to_owned()))) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{act} is not in {acts:?}");
}

/// Killed over and over while people are erased: each is erased in the end, once, and nobody else is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erasures_outlive_kills() {
    const PEOPLE: u64 = 12;
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::started(binary(), &data);
    let url = server.url.clone();
    for number in 1..=2 * PEOPLE {
        done(&url, Method::PUT, &format!("/customers/{number}"), person()).await;
    }
    for number in 1..=PEOPLE {
        let (at, http) = (url.clone(), client(None));
        let asked = tokio::spawn(async move {
            let request = http.post(format!("{at}/erasures/customer/{number}")).header("idempotency-key", format!("erase-{number}"));
            let _may_be_cut_off = request.json(&json!({ "reason": "a test" })).send().await;
        });
        tokio::time::sleep(std::time::Duration::from_millis(number * 3)).await;
        server.kill();
        server.start();
        let _ended = asked.await;
        let request =
            client(None).post(format!("{url}/erasures/customer/{number}")).header("idempotency-key", format!("erase-{number}")).header("prefer", "wait=20");
        assert!(request.json(&json!({ "reason": "a test" })).send().await.unwrap().status().is_success());
    }
    for number in 1..=PEOPLE {
        let mut row = Value::Null;
        for _ in 0..400 {
            row = get(&url, &format!("/erasures/customer/{number}")).await;
            if row["status"] == "completed" {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!((&row["status"], &row["number"], &row["report"]["found_in_all"]), (&json!("completed"), &json!(1), &json!(0)), "{row:#}");
        assert!(is_erased(&get(&url, &format!("/customers/{number}")).await));
        assert_eq!(get(&url, &format!("/customers/{}", number + PEOPLE)).await["person"]["first_name"], CANARIES[0]);
    }
    server.verify();
    assert!(server.stop());
    assert_eq!(standing(&data, &CANARIES), [""; 0]);
}

/// Two instances on Kafka share the keys: who is erased at one is erased at the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_on_kafka_share_keys_and_erasures() {
    let (broker, namespace) = (Broker::shared(), Broker::namespace());
    let dir = TempDir::new().unwrap();
    let at = |name: &str| Server::on_kafka(binary(), &dir.path().join(name), broker, &namespace, &[]);
    let (mut one, mut other) = (at("one"), at("other"));
    one.start();
    other.start();
    lives(&one.url, 17).await;
    done(&other.url, Method::PUT, "/customers/18", person()).await;
    for url in [&one.url, &other.url] {
        assert_eq!(get(url, "/customers/17").await["person"]["street"], CANARIES[2]);
    }
    let (code, report) = erase(&other.url, "customer/17");
    assert_eq!(code, Some(0), "{report:#}");
    for url in [&one.url, &other.url] {
        assert!(is_erased(&get(url, "/customers/17").await));
        assert_eq!(get(url, "/customers/18").await["person"]["street"], CANARIES[2]);
    }
    for server in [&one, &other] {
        server.verify();
        assert!(!CANARIES.iter().any(|canary| server.log().contains(canary)));
    }
    // One without the keys does not join.
    let mut alone =
        Server::new(binary(), &dir.path().join("alone")).told(&["--brokers", &broker.address(), "--namespace", &namespace, "--card-key", &"0".repeat(64)]);
    let (code, said) = alone.refused();
    assert!(code == Some(1) && said.contains("--key-store"), "{said}");
    assert!(one.stop() && other.stop());
}
