//! Passwords beside signing in: forgotten ones, hashes of before; who asks too often; and a load that shows a token.

use std::path::Path;
use std::time::Duration;

use daybook::eventstore::embedded::{Embedded, Settings};
use daybook::eventstore::{Limits, Log, Message};
use daybook::identity::credential::{Command, Credential};
use daybook::schemas::{Codec, Envelope, Partition, Stream, topic};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::people::{PASSWORD, Person, ask, client, create, guarded, signed_up, typed};
use crate::process::{Server, binary};

/// Of that password, as a version with other figures would have made it: 8 MiB, one pass (by argon2-cffi 25.1, another's program).
const WEAK: &str = "$argon2id$v=19$m=8192,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$sb4M5+E2UwTQvB6CWhN+R7yAsmQxKsYSwonPHdDxzfI";

/// The mail that waits for its mailer.
async fn mail(data: &Path, mails: usize) -> Vec<Value> {
    for _ in 0..200 {
        let text = std::fs::read_to_string(data.join("outbox.jsonl")).unwrap_or_default();
        let all: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if all.len() >= mails {
            return all;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no mail");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_password_is_set_anew_by_mail() {
    const NEW: &str = "another lamp on a shelf";
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let server = guarded(&data);
    let url = server.url.clone();
    let anna = signed_up(&url, "Anna@example.com", None).await;
    let none = client(None);
    let reset = async |email: &str| ask(&none, Method::POST, &format!("{url}/identity/password-resets"), Some(&json!({ "email": email }))).await;
    let complete = async |token: &str, password: &str| {
        let body = json!({ "token": token, "password": password });
        ask(&none, Method::POST, &format!("{url}/identity/password-resets/complete"), Some(&body)).await
    };
    // Whoever is unknown is answered alike, and gets none.
    let (known, unknown) = (reset("anna@EXAMPLE.com").await, reset("nobody@example.com").await);
    assert_eq!((known.0, &known.1), (unknown.0, &unknown.1));
    assert_eq!(known.0, StatusCode::ACCEPTED);
    let sent = mail(&data, 1).await;
    assert_eq!((sent.len(), &sent[0]["to"], &sent[0]["kind"]), (1, &json!("Anna@example.com"), &json!("password-reset")));
    let first = sent[0]["token"].as_str().unwrap().to_owned();
    assert_eq!(reset("anna@example.com").await.0, StatusCode::ACCEPTED);
    let second = mail(&data, 2).await[1]["token"].as_str().unwrap().to_owned();
    // Only the newest token is good, once, for a password that is good, and for nobody who made it up.
    let altered = format!("{}{}", &second[..second.len() - 1], if second.ends_with('0') { '1' } else { '0' });
    for (token, password) in [(first.as_str(), NEW), (altered.as_str(), NEW), ("", NEW), (second.as_str(), "short"), (second.as_str(), "anna@example.com")] {
        let (status, answer) = complete(token, password).await;
        assert!(status.is_client_error(), "{token} {password}: {status} {answer}");
    }
    assert_eq!(complete(&second, NEW).await.0, StatusCode::OK);
    assert!(complete(&second, NEW).await.0.is_client_error());
    // The old password is none any more, and what it had opened is over.
    let old = json!({ "email": "anna@example.com", "password": PASSWORD });
    assert_eq!(ask(&none, Method::POST, &format!("{url}/identity/sessions"), Some(&old)).await.0, StatusCode::UNAUTHORIZED);
    for _ in 0..100 {
        if anna.ask(Method::GET, "/identity/me", None).await.0 == StatusCode::UNAUTHORIZED {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(anna.ask(Method::GET, "/identity/me", None).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(anna.refreshed().await.0, StatusCode::UNAUTHORIZED);
    // Failing has made the address wait a little.
    for _ in 0..100 {
        let body = json!({ "email": "anna@example.com", "password": NEW });
        if ask(&none, Method::POST, &format!("{url}/identity/sessions"), Some(&body)).await.0 == StatusCode::CREATED {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the new password does not sign in");
}

/// The hashes of a log that nothing has open, in their order.
fn hashes(data: &Path) -> Vec<(String, String)> {
    let log = Embedded::open(&data.join("log"), Settings { looks: true, ..Settings::default() }).unwrap();
    let (topic, mut found) = (topic(Stream::Events("credentials")), vec![]);
    for partition in (0..log.partitions()).map(Partition) {
        let page = log.read(&topic, partition, log.start(&topic, partition).unwrap(), Limits::default()).unwrap();
        for record in page.records {
            let body: Value = serde_json::from_slice(record.body()).unwrap();
            found.extend(body["hash"].as_str().map(|hash| (record.envelope().unwrap().kind.name.to_string(), hash.to_owned())));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_of_other_figures_is_made_anew_at_the_next_sign_in() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = guarded(&data);
    let anna = signed_up(&server.url, "anna@example.com", None).await;
    assert!(server.stop());
    let (_, of) = hashes(&data).pop().unwrap();
    let hash = WEAK.to_owned();
    let (kind, body) = Credential::encode_command(&Command::Change { hash: hash.clone(), of });
    let envelope = Envelope::new("of another version", "/outside".to_owned(), kind, &anna.account);
    let log = Embedded::open(&data.join("log"), Settings::default()).unwrap();
    let key = anna.account.as_bytes().to_vec();
    let (topic, partition) = (topic(Stream::Commands("credentials")), log.partition_of(&anna.account));
    log.append(vec![Message { topic, partition, key, headers: envelope.headers(), value: Some(body) }]).unwrap();
    drop(log);
    server.start();
    let again = async || {
        for _ in 0..100 {
            let body = json!({ "email": "anna@example.com", "password": PASSWORD });
            let (status, _) = ask(&client(None), Method::POST, &format!("{}/identity/sessions", server.url), Some(&body)).await;
            if status == StatusCode::CREATED {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("cannot sign in");
    };
    again().await;
    again().await;
    assert!(server.stop());
    let all = hashes(&data);
    let kinds: Vec<&str> = all.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["password-set", "password-changed", "password-rehashed"], "once");
    assert!(all[1].1 == hash && all[2].1.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::new(binary(), &data).told(&["--auth", "required", "--rate-limit", "4", "--rate-limit-unknown", "2", "--behind-proxy"]);
    server.start();
    create(&server, &data, "olga@example.com", &["operator"]);
    let anna = signed_up(&server.url, "anna@example.com", None).await;
    let asked = async |request: reqwest::RequestBuilder, from: &str| {
        let answer = request.header("x-forwarded-for", from).send().await.unwrap();
        let after = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().parse::<u64>().unwrap());
        (answer.status(), after, answer.text().await.unwrap())
    };
    // Five times as many at once as in a second, each account for itself.
    let mut passed = 0;
    let (after, problem) = loop {
        match asked(anna.client.get(format!("{}/identity/me", server.url)), "10.0.0.1").await {
            (StatusCode::OK, None, _) => passed += 1,
            (StatusCode::TOO_MANY_REQUESTS, Some(after), problem) => break (after, problem),
            other => panic!("{other:?}"),
        }
    };
    assert!((18..40).contains(&passed) && (1..=5).contains(&after) && problem.contains("too-many-requests"), "{passed} {after} {problem}");
    let bert = signed_up(&server.url, "bert@example.com", None).await;
    assert_eq!(bert.ask(Method::GET, "/identity/me", None).await.0, StatusCode::OK, "another account is not held back");
    tokio::time::sleep(Duration::from_secs(after)).await;
    assert_eq!(anna.ask(Method::GET, "/identity/me", None).await.0, StatusCode::OK);
    // Who has not signed in, by address; and by nothing that the caller says itself.
    let none = client(None);
    let mut statuses = vec![];
    for number in 0..20 {
        statuses.push(asked(none.get(format!("{}/products", server.url)), &format!("172.16.0.{number}, 10.0.0.2")).await.0);
    }
    assert!(statuses[0] == StatusCode::OK && statuses[19] == StatusCode::TOO_MANY_REQUESTS, "{statuses:?}");
    assert_eq!(asked(none.get(format!("{}/products", server.url)), "10.0.0.3").await.0, StatusCode::OK);
    // Operators are not held back: they are who mends things.
    let olga = Person::sign_in(&server.url, "olga@example.com", PASSWORD).await;
    for _ in 0..60 {
        assert_eq!(olga.ask(Method::GET, "/topics", None).await.0, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_shows_its_token() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let server = guarded(&data);
    create(&server, &data, "olga@example.com", &["operator"]);
    let olga = Person::sign_in(&server.url, "olga@example.com", PASSWORD).await;
    let load = ["load", "--url", &server.url, "--sellers", "2", "--customers", "10", "--duration", "3s", "--clients", "2", "-o", "json"];
    let run = |token: &str| tokio::task::block_in_place(|| typed(&load, "", &[("DAYBOOK_TOKEN", token)]));
    let done = run(&olga.access);
    let said = [done.stdout.as_slice(), &done.stderr].map(String::from_utf8_lossy).concat();
    assert!(done.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&report["holds"], &report["errors"]), (&json!(true), &json!({})), "{report:#}");
    let anna = signed_up(&server.url, "anna@example.com", None).await;
    assert!(!run(&anna.access).status.success(), "a customer may not do what a load does");
}
