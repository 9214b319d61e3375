//! A history of postgres-es comes into the log as it is, once, and what cqrs-es loads from it is what the log folds to.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use cqrs_es::persist::PersistedEventStore;
use cqrs_es::{AggregateContext, EventStore};
use postgres_es::PostgresEventRepository;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Row};

use crate::account::{BankAccount, BankAccountCommand, upcasters};
use crate::postgres::Database;
use crate::stage::{RETRY, Stage, database, plain, program};

/// A history with the tables of postgres-es alone, in a database of its own.
async fn history() -> (String, PgPool) {
    let (url, _) = database(Database::shared()).await;
    let pool = PgPoolOptions::new().max_connections(8).connect(&url).await.unwrap();
    let table = "CREATE TABLE events (aggregate_type text NOT NULL, aggregate_id text NOT NULL, sequence bigint NOT NULL, event_type text NOT NULL,
        event_version text NOT NULL, payload json NOT NULL, metadata json NOT NULL, PRIMARY KEY (aggregate_type, aggregate_id, sequence))";
    sqlx::raw_sql(table).execute(&pool).await.unwrap();
    (url, pool)
}

async fn insert(pool: &PgPool, aggregate_type: &str, id: &str, sequence: i64, event_type: &str, version: &str, payload: Value) {
    let query = sqlx::query("INSERT INTO events VALUES ($1, $2, $3, $4, $5, $6, '{\"user\": \"Anna\"}')");
    query.bind(aggregate_type).bind(id).bind(sequence).bind(event_type).bind(version).bind(payload).execute(pool).await.unwrap();
}

/// Where the mapping lies, and how the command begins.
fn command(stage: &Stage, url: &str, mapping: &str) -> Command {
    let file: PathBuf = stage.dir.path().join("mapping.toml");
    std::fs::write(&file, mapping).unwrap();
    let mut command = Command::new(program());
    command.args(["import-events", "-o", "json", "--url", &stage.server.url(), "--mapping"]).arg(file).env("DAYBOOK_FROM_POSTGRES", url);
    command.env("ACCOUNT_POSTGRES", url).stdin(Stdio::null());
    command
}

fn report(done: &Output) -> Value {
    serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&done.stderr)))
}

const MAPPING: &str =
    "[account]\nevents = \"/accounts/{id}/events\"\nstrip = \"ACCT-\"\n[account.types]\nMoneyIn = \"CustomerDepositedMoney\"\n[audit]\nevents = \"\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_is_brought_here_and_proven() {
    let ((own, _), (url, pool)) = (database(Database::shared()).await, history().await);
    let mut stage = Stage::new(&own, None).await;
    // What plain cqrs-es wrote, and what it wrote before there was a second version.
    for id in ["ACCT-1", "ACCT-2"] {
        insert(&pool, "account", id, 1, "AccountOpened", "1.0", json!({ "AccountOpened": { "account_id": id } })).await;
        insert(&pool, "account", id, 2, "CustomerDepositedMoney", "1.0", json!({ "CustomerDepositedMoney": { "amount": 3, "balance": 3 } })).await;
        for _ in 0..450 {
            plain(&pool).execute(id, BankAccountCommand::DepositMoney { cents: 1 }).await.unwrap();
        }
    }
    insert(&pool, "audit", "1", 1, "Looked", "1.0", json!({})).await;
    // Ended in the middle, and begun again.
    let mut child = command(&stage, &url, MAPPING).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let done = tokio::task::block_in_place(|| command(&stage, &url, MAPPING).output().unwrap());
    let first = report(&done);
    println!("{first}");
    assert!(done.status.success(), "{first}");
    assert_eq!((&first["aggregates"], &first["events"], &first["proven"], &first["left_out"]), (&json!(2), &json!(904), &json!(904), &json!(1)));
    let again = report(&tokio::task::block_in_place(|| command(&stage, &url, MAPPING).output().unwrap()));
    assert_eq!((&again["there"], &again["proven"], &again["findings"]), (&json!(904), &json!(904), &json!(0)));
    // What cqrs-es loads there is what the log folds to here.
    let store = PersistedEventStore::<_, BankAccount>::new_event_store(PostgresEventRepository::new(pool.clone())).with_upcasters(upcasters());
    for id in ["1", "2"] {
        let loaded = serde_json::to_value(store.load_aggregate(&format!("ACCT-{id}")).await.unwrap().aggregate()).unwrap();
        let shown = stage.connection.find::<Value>(&format!("/accounts/{id}"), None, &RETRY).await.unwrap().unwrap();
        assert_eq!((&shown["state"], &shown["revision"]), (&loaded, &json!(452)));
    }
    let events = stage.connection.list::<Value>("/accounts/1/events", 500, &RETRY).await.unwrap().unwrap().items;
    assert_eq!((&events[1]["version"], &events[1]["metadata"]), (&json!("1.0"), &json!({ "user": "Anna" })), "it is what it was");
    stage.server.verify().unwrap();
    stage.server.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_right_is_named_and_not_brought() {
    let ((own, own_pool), (url, pool)) = (database(Database::shared()).await, history().await);
    let mut stage = Stage::new(&own, None).await;
    let opened = |id: &str| json!({ "AccountOpened": { "account_id": id } });
    let deposited = json!({ "CustomerDepositedMoney": { "cents": 1, "balance": 1 } });
    insert(&pool, "account", "ACCT-1", 1, "AccountOpened", "1.0", opened("1")).await;
    insert(&pool, "account", "ACCT-1", 3, "CustomerDepositedMoney", "2.0", deposited.clone()).await; // a gap
    insert(&pool, "account", "7", 1, "AccountOpened", "1.0", opened("7")).await; // another kind of id
    insert(&pool, "account", "ACCT-x", 1, "AccountOpened", "1.0", opened("x")).await; // none of the service's
    insert(&pool, "account", "ACCT-2", 1, "AccountClosed", "1.0", json!({})).await; // an unknown type
    insert(&pool, "account", "ACCT-3", 1, "AccountOpened", "1.0", opened("3")).await;
    insert(&pool, "account", "ACCT-3", 2, "MoneyIn", "2.0", json!({ "CustomerDepositedMoney": { "cents": "x" } })).await; // no such payload
    insert(&pool, "account", "ACCT-4", 1, "AccountOpened", "1.0", opened("4")).await;
    insert(&pool, "account", "ACCT-5", 1, "AccountOpened", "1.0", opened("other")).await;
    stage.done(5, "open", json!({ "OpenAccount": { "account_id": "5" } })).await; // another history
    let done = tokio::task::block_in_place(|| command(&stage, &url, MAPPING).output().unwrap());
    let found = report(&done);
    println!("{found:#}");
    assert_eq!((done.status.code(), &found["findings"], &found["proven"]), (Some(3), &json!(6), &json!(1)));
    let named: Vec<&str> = found["named"].as_array().unwrap().iter().map(|finding| finding.as_str().unwrap()).collect();
    for (id, why) in [
        ("account ACCT-1", "event 3 stands where 2 should"),
        ("account 7", "does not begin with 'ACCT-'"),
        ("account ACCT-x", "is no id"),
        ("account ACCT-2", "AccountClosed"),
        ("account ACCT-3", "invalid type"),
        ("account ACCT-5", "event 1 is AccountOpened"),
    ] {
        assert!(named.iter().any(|finding| finding.starts_with(&format!("{id}:")) && finding.contains(why)), "{id}: {why}\n{named:#?}");
    }
    let kept: i64 = sqlx::query("SELECT count(*) FROM events").fetch_one(&own_pool).await.unwrap().get(0);
    assert_eq!(kept, 2, "the one that was right, and the one that was there");
    // Nothing is done where something is asked wrongly.
    for (mapping, url, said) in [
        ("", url.as_str(), "does not say where account goes"),
        ("[account]\nevents = \"/accounts\"\n", url.as_str(), "a route with {id} in it once"),
        ("[account]\nroute = \"/accounts/{id}/events\"\n", url.as_str(), "unknown field `route`"),
        ("[account]\nevents = \"/nothing/{id}/events\"\n", url.as_str(), "the system has no route /nothing/"),
        (MAPPING, "mysql://anna:hush@db/shop", "--from-postgres: PostgreSQL's address begins with postgres://"),
        (MAPPING, "postgres://anna:hush@127.0.0.1:1/shop", "PostgreSQL at 127.0.0.1:1/shop"),
    ] {
        let mut command = command(&stage, url, mapping);
        command.env("ACCOUNT_POSTGRES", &own);
        let done = tokio::task::block_in_place(|| command.output().unwrap());
        let words = String::from_utf8_lossy(&done.stderr);
        assert!(!done.status.success() && words.contains(said) && !words.contains("hush"), "{mapping}: {words}");
    }
    stage.server.verify().unwrap();
    stage.server.stop().unwrap();
}
