//! One e-mail address, wanted by many at once: one account, whatever dies meanwhile.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::people::{PASSWORD, Person, client, create};
use crate::broker::Broker;
use crate::kill::environment;
use crate::process::{Server, binary};

/// Sign-ups of one address.
const SIGN_UPS: usize = 1_000;
/// How many are under way at once: each waits for a password to be hashed.
const AT_ONCE: usize = 250;

/// One address in many spellings.
fn spelling(n: usize) -> &'static str {
    ["anna.lamp@example.com", "Anna.Lamp@Example.COM", "ANNA.LAMP@EXAMPLE.COM", "anna．lamp@example.com", " anna.lamp@EXAMPLE.com "][n % 5]
}

/// A sign-up, repeated under its name until it is answered.
async fn sign_up(client: Client, urls: Arc<Vec<String>>, n: usize) -> (StatusCode, Value) {
    let body = json!({ "email": spelling(n), "password": PASSWORD });
    for attempt in 0.. {
        assert!(attempt < 3_000, "sign-up {n} is not answered");
        let url = &urls[(n + attempt) % urls.len()];
        let request = client.post(format!("{url}/identity/accounts")).header("idempotency-key", format!("sign-up {n}")).json(&body);
        if let Ok(answer) = request.timeout(Duration::from_secs(40)).send().await
            && answer.status() != StatusCode::SERVICE_UNAVAILABLE
            && answer.status() != StatusCode::TOO_MANY_REQUESTS
        {
            let status = answer.status();
            if let Ok(body) = answer.json().await {
                return (status, body);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    unreachable!()
}

/// Lets all sign up at once, kills what `kill` kills meanwhile, and holds what is left to one account.
async fn race(urls: Vec<String>, mut kill: impl FnMut(u64), kills: u64) -> Person {
    let (urls, room, client) = (Arc::new(urls), Arc::new(Semaphore::new(AT_ONCE)), client(None));
    let mut asked = tokio::task::JoinSet::new();
    for n in 0..SIGN_UPS {
        let (client, urls, room) = (client.clone(), Arc::clone(&urls), Arc::clone(&room));
        asked.spawn(async move {
            let _room = room.acquire().await.unwrap();
            sign_up(client, urls, n).await
        });
    }
    let seed = environment("KILL_SEED", u64::from(std::process::id()));
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..kills {
        tokio::time::sleep(Duration::from_millis(random.random_range(300..1_500))).await;
        tokio::task::block_in_place(|| kill(round));
    }
    let (mut made, mut taken) = (vec![], 0);
    while let Some(answer) = asked.join_next().await {
        match answer.unwrap() {
            (StatusCode::CREATED, row) => made.push(row["id"].as_str().unwrap().to_owned()),
            (StatusCode::CONFLICT, why) if why["code"] == "email-taken" => taken += 1,
            // Of a process that died between the two: it was too late for its claim, and says so.
            (StatusCode::CONFLICT, why) if why["code"] == "timed-out" => taken += 1,
            other => panic!("KILL_SEED={seed}: {other:?}"),
        }
    }
    println!("{} sign-ups of one address, {kills} kills: {} made, {taken} refused", SIGN_UPS, made.len());
    assert_eq!((made.len(), taken), (1, SIGN_UPS - 1), "KILL_SEED={seed}");
    let person = Person::sign_in(&urls[0], "anna.lamp@example.com", PASSWORD).await;
    assert_eq!(person.account, made[0]);
    person
}

/// All accounts, as an operator sees them.
async fn active(operator: &Person) -> Vec<Value> {
    let (mut rows, mut cursor) = (vec![], String::new());
    loop {
        let (status, page) = operator.ask(Method::GET, &format!("/identity/accounts?limit=500{cursor}"), None).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        rows.extend(page["items"].as_array().unwrap().iter().filter(|row| row["status"] == "active").cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={}", next.replace('/', "%2F")),
            None => return rows,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sign_ups_of_one_address_make_one_account() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::new(binary(), &data).told(&["--auth", "required", "--rate-limit", "0", "--rate-limit-unknown", "0"]);
    server.start();
    let url = server.url.clone();
    let kills = environment("KILLS", 5);
    let person = race(
        vec![url.clone()],
        |_| {
            server.kill();
            server.start();
        },
        kills,
    )
    .await;
    create(&server, &data, "olga@example.com", &["operator"]);
    let operator = Person::sign_in(&url, "olga@example.com", PASSWORD).await;
    let accounts = active(&operator).await;
    assert_eq!(accounts.len(), 2, "{accounts:?}");
    assert!(accounts.iter().any(|row| row["id"] == person.account.as_str()));
    assert!(server.stop());
    server.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sign_ups_on_kafka_make_one_account() {
    let (dir, namespace, broker) = (TempDir::new().unwrap(), Broker::namespace(), Broker::shared());
    let keys: PathBuf = dir.path().join("signing-keys.json");
    let told = ["--auth", "required", "--rate-limit", "0", "--rate-limit-unknown", "0", "--signing-keys", keys.to_str().unwrap()];
    let mut servers: Vec<Server> = (0..2)
        .map(|n| Server::on_kafka(binary(), &dir.path().join(format!("data{n}")), broker, &namespace, &["identity", "credentials", "audit"]).told(&told))
        .collect();
    servers.iter_mut().for_each(|server| {
        server.start();
    });
    let urls: Vec<String> = servers.iter().map(|server| server.url.clone()).collect();
    let person = race(
        urls.clone(),
        |round| {
            let server = &mut servers[usize::try_from(round).unwrap() % 2];
            server.kill();
            server.start();
        },
        environment("KAFKA_KILLS", 2),
    )
    .await;
    // What one instance was told holds at the other within seconds.
    let there = Person { url: urls[1].clone(), ..Person::sign_in(&urls[1], "anna.lamp@example.com", PASSWORD).await };
    assert_eq!(there.ask(Method::GET, "/identity/me", None).await.0, StatusCode::OK);
    let ended = person.ask(Method::DELETE, &format!("/identity/sessions/{}", there.session), None).await;
    assert!(ended.0.is_success(), "{ended:?}");
    let told = std::time::Instant::now();
    while there.ask(Method::GET, "/identity/me", None).await.0 != StatusCode::UNAUTHORIZED {
        assert!(told.elapsed() < Duration::from_secs(5), "a session that was ended here is good there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("a session that was ended at one instance was refused at the other after {} ms", told.elapsed().as_millis());
    servers.iter_mut().for_each(|server| assert!(server.stop()));
}
