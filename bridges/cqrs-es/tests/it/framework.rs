//! One application code, two stores: postgres-es on a real PostgreSQL, and a running system of ours on each of its logs. The same
//! commands give the same events and the same state, whatever is killed meanwhile.

use std::path::PathBuf;
use std::time::Duration;

use cqrs_es::persist::PersistedEventStore;
use cqrs_es::{Aggregate, AggregateContext, AggregateError, CqrsFramework, EventStore, Query};
use daybook::client::connection::{Command, Connection, Retry};
use daybook::testing::{PATIENCE, Server};
use daybook::web::Method;
use daybook_cqrs_es::LogStore;
use postgres_es::{PostgresEventRepository, default_postgress_pool};
use serde_json::{Value, json};
use sqlx::{Pool, Postgres, Row};

use crate::account::{BankAccount, BankAccountCommand, BankAccountError, BankAccountEvent, BankAccountServices, upcasters};
use crate::broker::Broker;
use crate::hosted::ACCOUNTS;
use crate::postgres::Database;

const RETRY: Retry<'static> = Retry::every(Duration::from_millis(50), PATIENCE);

/// The tables of postgres-es, as its own `db/init.sql` has them.
const TABLES: &str = "
    SELECT pg_advisory_xact_lock(1); -- tests begin at once
    CREATE TABLE IF NOT EXISTS events (aggregate_type text NOT NULL, aggregate_id text NOT NULL, sequence bigint CHECK (sequence >= 0) NOT NULL,
        event_type text NOT NULL, event_version text NOT NULL, payload json NOT NULL, metadata json NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id, sequence));
    CREATE TABLE IF NOT EXISTS snapshots (aggregate_type text NOT NULL, aggregate_id text NOT NULL, last_sequence bigint CHECK (last_sequence >= 0) NOT NULL,
        current_snapshot bigint CHECK (current_snapshot >= 0) NOT NULL, payload json NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id, last_sequence));";

/// A pool on a database with the tables of postgres-es.
pub async fn prepared(database: &Database) -> Pool<Postgres> {
    let pool = default_postgress_pool(database.url()).await;
    sqlx::raw_sql(TABLES).execute(&pool).await.unwrap();
    pool
}

pub async fn snapshots_of_postgres_es(pool: &Pool<Postgres>) -> i64 {
    sqlx::query("SELECT count(*) FROM snapshots").fetch_one(pool).await.unwrap().get(0)
}

/// The example's program: cargo builds it with the tests, beside them.
fn program() -> PathBuf {
    let program = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples/account");
    assert!(program.exists(), "{} is not built: `cargo test` builds it", program.display());
    program
}

fn commands() -> Vec<BankAccountCommand> {
    let deposit = |cents| BankAccountCommand::DepositMoney { cents };
    vec![
        deposit(5), // it is not open yet
        BankAccountCommand::OpenAccount { account_id: "7".into() },
        deposit(20_000),
        BankAccountCommand::WithdrawMoney { cents: 5_000, atm_id: "A1".into() },
        BankAccountCommand::WithdrawMoney { cents: 5_000, atm_id: "broken".into() },
        BankAccountCommand::WriteCheck { check_number: "1170".into(), cents: 1_500 },
        BankAccountCommand::WriteCheck { check_number: "1171".into(), cents: 1_000_000 },
        deposit(1),
    ]
}

/// What the application's code sees: each command's end, the events, the state.
async fn told<S: EventStore<BankAccount>>(store: S, reader: &S, id: &str) -> (Vec<String>, Vec<Value>, Value) {
    let framework = CqrsFramework::new(store, Vec::<Box<dyn Query<BankAccount>>>::new(), BankAccountServices);
    let mut ends = vec![];
    for command in commands() {
        let metadata = [("user".to_owned(), "Anna".to_owned())].into();
        ends.push(match framework.execute_with_metadata(id, command, metadata).await {
            Ok(()) => "done".to_owned(),
            Err(AggregateError::UserError(why)) => why.to_string(),
            Err(why) => panic!("{why}"),
        });
    }
    let events = reader.load_events(id).await.unwrap();
    let events = events.into_iter().map(|event| json!([event.aggregate_id, event.sequence, event.payload, event.metadata])).collect();
    let state = serde_json::to_value(reader.load_aggregate(id).await.unwrap().aggregate()).unwrap();
    (ends, events, state)
}

async fn told_by_ours(server: &Server) -> (Vec<String>, Vec<Value>, Value) {
    let store = LogStore::<BankAccount>::new(Connection::to([server.url()]), ACCOUNTS.events.1);
    told(store.clone(), &store, "7").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_code_over_postgres_and_over_both_logs() {
    let pool = prepared(Database::shared()).await;
    let store = || PersistedEventStore::new_event_store(PostgresEventRepository::new(pool.clone())).with_upcasters(upcasters());
    let theirs = told(store(), &store(), "7").await;
    assert_eq!(theirs.0[0], BankAccountError::NotOpen.to_string());
    assert_eq!((theirs.1.len(), &theirs.2["cents"]), (5, &json!(13_501)));

    let dir = tempfile::tempdir().unwrap();
    let mut embedded = Server::new(program(), &dir.path().join("embedded")).unwrap();
    let kafka = Server::new(program(), &dir.path().join("kafka")).unwrap();
    let mut kafka = kafka.set("DAYBOOK_BROKERS", Broker::shared().address()).set("DAYBOOK_NAMESPACE", Broker::namespace());
    for server in [&mut embedded, &mut kafka] {
        server.start().await.unwrap();
        assert_eq!(told_by_ours(server).await, theirs);
        server.verify().unwrap();
        server.stop().unwrap();
    }
}

/// Commands by topic and by HTTP: one aggregate, whichever way they come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_say_what_is_wrong_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::new(program(), &dir.path().join("data")).unwrap();
    server.start().await.unwrap();
    let connection = Connection::to([server.url()]);
    let ask = async |method: Method, path: &str, id: &str, body: Value| {
        let answer = connection.command(&Command { method, path, id, occurred_at: None, body: &body }, &RETRY).await.unwrap();
        let said = answer.body();
        (answer.status.as_u16(), said["code"].as_str().unwrap_or("accepted").to_owned(), said["detail"].as_str().unwrap_or_default().to_owned())
    };
    let open = json!({ "OpenAccount": { "account_id": "7" } });
    assert_eq!(ask(Method::POST, "/accounts/7", "a", open.clone()).await.1, "accepted");
    assert_eq!(ask(Method::POST, "/accounts/7", "a", open.clone()).await.1, "accepted"); // a repeat
    for (path, id, body, status, code) in [
        ("/accounts/07", "b", open.clone(), 400, "bad-request"),
        ("/accounts/x", "c", open.clone(), 400, "bad-request"),
        ("/accounts/7", "d", json!({ "CloseAccount": {} }), 400, "bad-request"),
        ("/accounts/7", "e", json!([]), 400, "bad-request"),
        ("/accounts/7", "f", json!({ "DepositMoney": { "cents": 1.5 } }), 400, "bad-request"),
        ("/accounts/7", "g", json!({ "DepositMoney": { "cents": -1 } }), 422, "amount-out-of-range"),
        ("/accounts/8", "h", json!({ "DepositMoney": { "cents": 1 } }), 404, "unknown-account"),
        ("/accounts/7", "i", json!("StampMoney"), 422, "panicked"),
        ("/accounts/7", "j", json!("WaitForMoney"), 422, "panicked"),
        ("/accounts/7/events", "k", json!({ "expected": 0, "events": [] }), 412, "version-conflict"),
        ("/accounts/7/events", "l", json!({ "events": [] }), 400, "bad-request"),
        ("/accounts/7/events", "m", json!({ "expected": 1, "events": [{ "type": "Rob", "version": "1.0", "payload": {} }] }), 400, "bad-request"),
        ("/accounts/7/events", "n", json!({ "expected": 1, "events": [{ "type": "AccountOpened", "version": "1.0", "payload": {} }] }), 400, "bad-request"),
    ] {
        let answer = ask(Method::POST, path, id, body.clone()).await;
        assert_eq!((answer.0, answer.1.as_str()), (status, code), "{path} {body}: {}", answer.2);
        assert!(!answer.2.is_empty(), "{path} {body}");
    }
    let shown = connection.find::<Value>("/accounts/7", None, &RETRY).await.unwrap().unwrap();
    assert_eq!(shown, json!({ "id": "7", "state": { "account_id": "7", "cents": 0, "checks": [] }, "version": 1, "revision": 1 }));
    assert!(connection.find::<Value>("/accounts/8", None, &RETRY).await.unwrap().is_none());
    server.verify().unwrap();
    server.stop().unwrap();
}

/// Whoever loses a race is told, and nobody's event stands in another's place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_decide_at_once_one_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::new(program(), &dir.path().join("data")).unwrap();
    server.start().await.unwrap();
    let store = || LogStore::<BankAccount>::new(Connection::to([server.url()]), ACCOUNTS.events.1);
    let one = store();
    let framework = CqrsFramework::new(one.clone(), Vec::<Box<dyn Query<BankAccount>>>::new(), BankAccountServices);
    framework.execute("7", BankAccountCommand::OpenAccount { account_id: "7".into() }).await.unwrap();
    // Clones of the store that opened the account: another one may not see it yet.
    let (first, second) = (one.clone(), one.clone());
    let (loaded, stale) = (first.load_aggregate("7").await.unwrap(), second.load_aggregate("7").await.unwrap());
    let deposit = || vec![BankAccountEvent::CustomerDepositedMoney { cents: 1, balance: 1 }];
    assert_eq!(first.commit(deposit(), loaded, [].into()).await.unwrap()[0].sequence, 2);
    assert!(matches!(second.commit(deposit(), stale, [].into()).await, Err(AggregateError::AggregateConflict)));
    // Many at once, each asking again where it lost: as many events as were told to be done.
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let framework = CqrsFramework::new(store(), Vec::<Box<dyn Query<BankAccount>>>::new(), BankAccountServices);
            tokio::spawn(async move {
                let mut conflicts = 0;
                for _ in 0..5 {
                    while let Err(why) = framework.execute("7", BankAccountCommand::DepositMoney { cents: 1 }).await {
                        assert!(matches!(why, AggregateError::AggregateConflict), "{why}");
                        conflicts += 1;
                    }
                }
                conflicts
            })
        })
        .collect();
    let mut conflicts = 0;
    for task in tasks {
        conflicts += task.await.unwrap();
    }
    println!("40 deposits by 8 at once, {conflicts} conflicts");
    // One more by the first store, which then has seen all that came before.
    while framework.execute("7", BankAccountCommand::DepositMoney { cents: 1 }).await.is_err() {}
    assert_eq!(one.load_aggregate("7").await.unwrap().aggregate().cents, 42);
    server.verify().unwrap();
}

/// A commit whose answer is lost is done once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_commit_is_lost_or_doubled_whenever_it_is_killed() {
    const KILLS: u64 = 6;
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
    println!("seed {seed}");
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::new(program(), &dir.path().join("data")).unwrap();
    server.start().await.unwrap();
    let url = server.url();
    let store = move || LogStore::<BankAccount>::new(Connection::to([url.clone()]), ACCOUNTS.events.1);
    let tasks: Vec<_> = (1..=4)
        .map(|account| {
            let (id, reader) = (account.to_string(), store());
            let framework = CqrsFramework::new(reader.clone(), Vec::<Box<dyn Query<BankAccount>>>::new(), BankAccountServices);
            tokio::spawn(async move {
                framework.execute(&id, BankAccountCommand::OpenAccount { account_id: id.clone() }).await.unwrap();
                for _ in 0..200 {
                    framework.execute(&id, BankAccountCommand::DepositMoney { cents: 1 }).await.unwrap();
                }
                let events = reader.load_events(&id).await.unwrap();
                let mut folded = BankAccount::default();
                events.into_iter().for_each(|event| folded.apply(event.payload));
                folded.cents
            })
        })
        .collect();
    for kill in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(100 + (u64::from(seed) >> kill) % 300)).await;
        server.kill().unwrap();
        server.start().await.unwrap();
    }
    for task in tasks {
        assert_eq!(task.await.unwrap(), 200);
    }
    server.verify().unwrap();
    server.stop().unwrap();
    server.verify().unwrap();
}
