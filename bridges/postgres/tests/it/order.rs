//! The order of the log is that of commits, and none is passed over.

use std::time::Duration;

use daybook::testing::PATIENCE;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::postgres::Database;
use crate::stage::{RETRY, Stage, database};

/// Begins a transaction that writes an account's first event.
async fn begun(pool: &PgPool, account: u64) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut transaction = pool.begin().await.unwrap();
    let insert = "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
        VALUES ('account', $1, 1, 'AccountOpened', '1.0', $2, '{}')";
    let payload = json!({ "AccountOpened": { "account_id": account.to_string() } });
    sqlx::query(insert).bind(account.to_string()).bind(payload).execute(&mut *transaction).await.unwrap();
    transaction
}

/// Accounts by the place of their first event, in the partition that all of them are in.
async fn logged(stage: &Stage, count: usize) -> Vec<u64> {
    let began = std::time::Instant::now();
    loop {
        let shown = stage.connection.find::<Value>("/topics/accounts.events/0?limit=1000", None, &RETRY).await.unwrap();
        let records = shown.map(|shown| shown["items"].as_array().cloned().unwrap_or_default()).unwrap_or_default();
        let accounts: Vec<u64> = records.iter().filter_map(|record| record["headers"]["ce_subject"].as_str()?.parse().ok()).collect();
        if accounts.len() >= count {
            return accounts;
        }
        assert!(began.elapsed() < PATIENCE, "{accounts:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_commits_come_late_and_none_is_skipped() {
    let (url, pool) = database(Database::shared()).await;
    let mut stage = Stage::new(&url, None).await;
    // All in one partition: there alone the log has an order.
    let own: Vec<u64> = (1..).filter(|account| daybook::schemas::partition_of(account.to_string().as_bytes(), 8).0 == 0).take(9).collect();
    // They begin in order, and commit in another; one is taken back, one is still open while all others are in the log.
    let mut all = vec![];
    for account in &own {
        all.push((*account, begun(&pool, *account).await));
    }
    let mut open: std::collections::BTreeMap<u64, _> = all.into_iter().collect();
    let mut expected = vec![];
    for place in [4, 1, 8, 2, 0] {
        open.remove(&own[place]).unwrap().commit().await.unwrap();
        expected.push(own[place]);
        if place == 8 {
            assert_eq!(logged(&stage, expected.len()).await, expected, "before the others have ended");
        }
    }
    open.remove(&own[3]).unwrap().rollback().await.unwrap();
    for place in [7, 5] {
        open.remove(&own[place]).unwrap().commit().await.unwrap();
        expected.push(own[place]);
    }
    assert_eq!(logged(&stage, expected.len()).await, expected);
    open.remove(&own[6]).unwrap().commit().await.unwrap();
    expected.push(own[6]);
    assert_eq!(logged(&stage, expected.len()).await, expected);
    stage.server.verify().unwrap();
    stage.server.stop().unwrap();
}

/// Committed at once by many: the order is whichever it is, and it is the same in both places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_committed_at_once_has_one_order() {
    let (url, pool) = database(Database::shared()).await;
    let mut stage = Stage::new(&url, None).await;
    let own: Vec<u64> = (1..).filter(|account| daybook::schemas::partition_of(account.to_string().as_bytes(), 8).0 == 0).take(200).collect();
    // What the outbox had is gone when the log has it: a copy of each position is kept here.
    sqlx::raw_sql(
        "CREATE TABLE drawn (position bigint, aggregate_id text);
         CREATE FUNCTION draw() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS
         $$ BEGIN INSERT INTO drawn VALUES (NEW.position, NEW.aggregate_id); RETURN NULL; END $$;
         CREATE TRIGGER draw AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION draw();",
    )
    .execute(&pool)
    .await
    .unwrap();
    let tasks: Vec<_> = own
        .chunks(25)
        .map(|some| {
            let (some, pool) = (some.to_vec(), pool.clone());
            tokio::spawn(async move {
                for account in some {
                    begun(&pool, account).await.commit().await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let drawn: Vec<String> = sqlx::query_scalar("SELECT aggregate_id FROM drawn ORDER BY position").fetch_all(&pool).await.unwrap();
    let logged: Vec<String> = logged(&stage, own.len()).await.iter().map(u64::to_string).collect();
    assert_eq!(logged, drawn);
    stage.server.verify().unwrap();
    stage.server.stop().unwrap();
}

/// One that has drawn its position holds up those that would come after it: seen before it, they would be in the log before it,
/// and it would lie behind what the log has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_drawn_first_is_waited_for() {
    let (url, pool) = database(Database::shared()).await;
    let mut stage = Stage::new(&url, None).await;
    let own: Vec<u64> = (1..).filter(|account| daybook::schemas::partition_of(account.to_string().as_bytes(), 8).0 == 0).take(3).collect();
    begun(&pool, own[0]).await.commit().await.unwrap();
    assert_eq!(logged(&stage, 1).await, own[..1]);
    let mut slow = begun(&pool, own[1]).await;
    sqlx::query("SET CONSTRAINTS ALL IMMEDIATE").execute(&mut *slow).await.unwrap();
    let fast = begun(&pool, own[2]).await;
    let fast = tokio::spawn(async move { fast.commit().await.unwrap() });
    tokio::time::sleep(Duration::from_millis(1_500)).await; // longer than the service takes to look by itself
    assert!(!fast.is_finished(), "it has overtaken");
    assert_eq!(logged(&stage, 1).await, own[..1]);
    slow.commit().await.unwrap();
    fast.await.unwrap();
    assert_eq!(logged(&stage, 3).await, own);
    stage.server.verify().unwrap();
    stage.server.stop().unwrap();
}
