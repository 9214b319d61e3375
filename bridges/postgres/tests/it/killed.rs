//! Whatever dies, and however often: nothing acknowledged is lost, nothing is there twice, both places agree.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use daybook::client::connection::{Command, Retry};
use daybook::testing::PATIENCE;
use daybook::web::Method;
use serde_json::json;

use crate::broker::Broker;
use crate::postgres::Database;
use crate::stage::{Stage, database};

const ACCOUNTS: u64 = 4;

/// What is killed.
#[derive(Clone, Copy)]
enum Victim {
    Process,
    Database,
    Both,
    Broker,
}

fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    seed.unwrap_or_else(|| u64::from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos()))
}

async fn killed(victim: Victim, kills: u64, mut broker: Option<Broker>) {
    let seed = seed();
    println!("SEED={seed}");
    let mut server = Database::start();
    let (url, pool) = database(&server).await;
    let mut stage = Stage::new(&url, broker.as_ref()).await;
    for account in 1..=ACCOUNTS {
        stage.done(account, &format!("open-{account}"), json!({ "OpenAccount": { "account_id": account.to_string() } })).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (1..=ACCOUNTS)
        .map(|account| {
            let (connection, stop) = (stage.connection.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut count, path) = (0_u64, format!("/accounts/{account}"));
                while !stop.load(Ordering::Acquire) {
                    let deposit = json!({ "DepositMoney": { "cents": 5 } });
                    let check = json!({ "WriteCheck": { "check_number": format!("fee-{count}"), "cents": 1 } });
                    for (what, body) in [("deposit", deposit), ("check", check)] {
                        let id = format!("{what}-{account}-{count}");
                        let command = Command { method: Method::POST, path: &path, id: &id, occurred_at: None, body: &body };
                        let answer = connection.command(&command, &Retry::every(Duration::from_millis(20), 2 * PATIENCE)).await.unwrap();
                        assert!(answer.status.is_success(), "{}", answer.text);
                    }
                    count += 1;
                }
                count
            })
        })
        .collect();
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(150 + (seed >> (kill % 24)) % 500)).await;
        match victim {
            Victim::Process => stage.server.kill().unwrap(),
            Victim::Database => tokio::task::block_in_place(|| server.kill()),
            Victim::Both => {
                stage.server.kill().unwrap();
                tokio::task::block_in_place(|| server.kill());
            }
            Victim::Broker => tokio::task::block_in_place(|| broker.as_mut().unwrap().kill()),
        }
        if matches!(victim, Victim::Database | Victim::Both) {
            tokio::task::block_in_place(|| server.go());
        }
        if matches!(victim, Victim::Broker) {
            tokio::task::block_in_place(|| broker.as_mut().unwrap().go());
        }
        if matches!(victim, Victim::Process | Victim::Both) {
            stage.server.start().await.unwrap();
        }
    }
    stop.store(true, Ordering::Release);
    let mut acknowledged = 0;
    for caller in callers {
        acknowledged += caller.await.unwrap();
    }
    // Each check has its charge, which a policy asks for: nobody marks such a command, and it is done once.
    let count = async |event_type: &str| -> u64 {
        let found: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE event_type = $1").bind(event_type).fetch_one(&pool).await.unwrap();
        u64::try_from(found).unwrap()
    };
    let began = Instant::now();
    while count("CustomerWithdrewCash").await < acknowledged && began.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let events = stage.same(&pool, 1..=ACCOUNTS).await;
    let found = (count("CustomerDepositedMoney").await, count("CustomerWroteCheck").await, count("CustomerWithdrewCash").await);
    println!("{kills} kills: {acknowledged} deposits and checks acknowledged, {events} events, {ACCOUNTS} of them openings: {found:?}");
    assert_eq!(found, (acknowledged, acknowledged, acknowledged));
    assert_eq!(u64::try_from(events).unwrap(), 3 * acknowledged + ACCOUNTS);
    stage.server.verify().unwrap();
    stage.server.stop().unwrap();
}

/// Kills of each; as many as `KILLS` says, if it does.
fn kills(few: u64) -> u64 {
    std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(few)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process() {
    killed(Victim::Process, kills(5), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database() {
    killed(Victim::Database, kills(5), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_on_kafka() {
    killed(Victim::Both, kills(3), Some(Broker::start())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker() {
    killed(Victim::Broker, kills(2), Some(Broker::start())).await;
}
