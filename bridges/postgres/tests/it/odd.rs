//! Databases that are not what they were, and rows that no application writes.

use std::time::{Duration, Instant};

use daybook::testing::PATIENCE;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::postgres::Database;
use crate::stage::{Stage, database};

fn open(account: u64) -> Value {
    json!({ "OpenAccount": { "account_id": account.to_string() } })
}

fn deposit(cents: i64) -> Value {
    json!({ "DepositMoney": { "cents": cents } })
}

/// Waits until this page says so.
async fn says(stage: &Stage, path: &str, said: &str) {
    let began = Instant::now();
    loop {
        let text = stage.connection.once(stage.connection.get(path)).await.unwrap().text;
        if text.contains(said) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{said}: {text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn written(pool: &PgPool, account: u64, sequence: i64, at: &str) {
    let query = format!(
        "INSERT INTO events VALUES ('account', '{account}', {sequence}, 'AccountOpened', '1.0', '{{\"AccountOpened\":{{\"account_id\":\"7\"}}}}', '{{}}', '{at}')"
    );
    sqlx::raw_sql(&query).execute(pool).await.unwrap();
}

/// A time that no record can say holds up its partition alone, and the row is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_that_no_record_can_say_are_named() {
    let (url, pool) = database(Database::shared()).await;
    let mut stage = Stage::new(&url, None).await;
    stage.done(7, "open", open(7)).await;
    let other = (8..).find(|id: &u64| daybook::schemas::partition_of(id.to_string().as_bytes(), 8) != daybook::schemas::partition_of(b"7", 8)).unwrap();
    for (at, sequence) in ["infinity", "-infinity", "4712-01-01 BC", "294276-12-31", "9999-12-31"].into_iter().zip(2..) {
        written(&pool, 7, sequence, at).await;
        says(&stage, "/partitions", "no record can say when it was written (created_at)").await;
        stage.done(other, &format!("open {sequence}"), open(other)).await;
        sqlx::query("DELETE FROM events WHERE aggregate_id = '7' AND sequence >= $1").bind(sequence).execute(&pool).await.unwrap();
        stage.done(7, &format!("deposit {sequence}"), deposit(1)).await;
    }
    stage.same(&pool, [7, other]).await;
    stage.server.verify().unwrap();
    stage.server.stop().unwrap();
}

/// What is taken back leaves no gap, which would stand in the log for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_gap_is_left_by_what_is_taken_back() {
    let (url, pool) = database(Database::shared()).await;
    let mut stage = Stage::new(&url, None).await;
    stage.done(7, "open", open(7)).await;
    stage.server.stop().unwrap();
    for sequence in 2..=4 {
        written(&pool, 7, sequence, "2026-11-27").await;
    }
    let middle = sqlx::raw_sql("DELETE FROM events WHERE aggregate_id = '7' AND sequence = 3").execute(&pool).await.unwrap_err().to_string();
    assert!(middle.contains("account 7 has events behind 3: take back those as well"), "{middle}");
    sqlx::raw_sql("DELETE FROM events WHERE aggregate_id = '7' AND sequence >= 3").execute(&pool).await.unwrap();
    stage.server.start().await.unwrap();
    stage.done(7, "deposit", deposit(1)).await;
    assert_eq!(stage.same(&pool, [7]).await, 3);
    stage.server.stop().unwrap();
}

/// A standby that lost the last commits takes over while the service runs: nothing is decided by it, wherever that would lie.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_is_found_before_anything_is_decided_by_it() {
    let (url, pool) = database(Database::shared()).await;
    let mut stage = Stage::new(&url, None).await;
    let other = (8..).find(|id: &u64| daybook::schemas::partition_of(id.to_string().as_bytes(), 8) != daybook::schemas::partition_of(b"7", 8)).unwrap();
    for account in [7, other] {
        stage.done(account, &format!("open {account}"), open(account)).await;
    }
    // As if the last transaction of the other account had never been, and back again. Triggers would not have it.
    const TABLES: [&str; 4] = ["events", "outbox", "inbox", "statements"];
    let kept = TABLES.map(|table| format!("CREATE TABLE saved_{table} AS TABLE {table};")).concat();
    sqlx::raw_sql(&kept).execute(&pool).await.unwrap();
    stage.done(other, "deposit", deposit(5)).await;
    let swap = |to: &str, from: &str| {
        let each =
            TABLES.map(|table| format!("CREATE TABLE {to}_{table} AS TABLE {table}; DELETE FROM {table}; INSERT INTO {table} SELECT * FROM {from}_{table};"));
        format!("BEGIN; SET LOCAL session_replication_role = replica; {} COMMIT;", each.concat())
    };
    sqlx::raw_sql(&swap("right", "saved")).execute(&pool).await.unwrap();
    let deposited = stage.done(7, "deposit 7", deposit(1));
    let mended = async {
        says(&stage, "/readyz?verbose", "it is another database, or an older copy").await;
        let events: i64 = sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(&pool).await.unwrap();
        assert_eq!(events, 2, "something was decided by the older copy");
        sqlx::raw_sql(&swap("wrong", "right")).execute(&pool).await.unwrap();
    };
    tokio::join!(deposited, mended);
    assert_eq!(stage.same(&pool, [7, other]).await, 4);
    stage.server.verify().unwrap();
    stage.server.stop().unwrap();
}

/// What was wrong with a session goes with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_read_only_is_written_to_once_it_is_not() {
    let (url, pool) = database(Database::shared()).await;
    let mut stage = Stage::new(&url, None).await;
    stage.done(7, "open", open(7)).await;
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&pool).await.unwrap();
    let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'daybook'";
    sqlx::raw_sql(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on; {ended}")).execute(&pool).await.unwrap();
    let began = Instant::now();
    let deposited = stage.done(7, "deposit", deposit(5));
    let mended = async {
        says(&stage, "/readyz?verbose", "in a read-only transaction").await;
        let all = "SET default_transaction_read_only = off";
        sqlx::raw_sql(&format!("{all}; ALTER DATABASE {name} RESET default_transaction_read_only")).execute(&pool).await.unwrap();
    };
    tokio::join!(deposited, mended);
    println!("written to again {:?} after it was made read-only", began.elapsed());
    assert_eq!(stage.same(&pool, [7]).await, 2);
    stage.server.stop().unwrap();
}
