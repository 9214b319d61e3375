//! The same events in both places, whoever writes.

use std::time::{Duration, Instant};

use cqrs_es::persist::PersistedEventStore;
use cqrs_es::{AggregateContext, AggregateError, EventStore};
use daybook::client::connection::{Command, Connection};
use daybook::testing::{PATIENCE, Server};
use daybook::web::Method;
use postgres_es::PostgresEventRepository;
use serde_json::{Value, json};
use sqlx::{PgPool, Row};

use crate::account::{BankAccount, BankAccountCommand, upcasters};
use crate::broker::Broker;
use crate::postgres::Database;
use crate::stage::{RETRY, Stage, database, plain, program};
use crate::statement::Statement;

fn open(account: u64) -> Value {
    json!({ "OpenAccount": { "account_id": account.to_string() } })
}

fn deposit(cents: i64) -> Value {
    json!({ "DepositMoney": { "cents": cents } })
}

async fn both_places(broker: Option<&Broker>) {
    let (url, pool) = database(Database::shared()).await;
    let mut stage = Stage::new(&url, broker).await;
    stage.done(7, "open", open(7)).await;
    stage.done(7, "deposit", deposit(20_000)).await;
    stage.done(7, "deposit", deposit(20_000)).await; // a repeat
    assert_eq!(stage.ask(7, "deposit", deposit(5)).await, (422, "id-used".to_owned()));
    assert_eq!(stage.ask(8, "early", deposit(5)).await, (404, "unknown-account".to_owned()));
    assert_eq!(stage.ask(7, "stamped", json!("StampMoney")).await, (422, "panicked".to_owned()));
    assert_eq!(stage.ask(7, "early", deposit(0)).await, (422, "amount-out-of-range".to_owned()));
    // An application that knows nothing of a log, in the same tables; and the service again, which decides by what that wrote.
    plain(&pool).execute("7", BankAccountCommand::WithdrawMoney { cents: 19_000, atm_id: "A1".into() }).await.unwrap();
    assert_eq!(stage.same(&pool, [7, 8]).await, 3);
    assert_eq!(stage.ask(7, "check", json!({ "WriteCheck": { "check_number": "1", "cents": 1_001 } })).await, (409, "funds-short".to_owned()));
    stage.done(7, "check-2", json!({ "WriteCheck": { "check_number": "2", "cents": 1_000 } })).await;
    assert_eq!(stage.same(&pool, [7]).await, 4);
    // Whatever JSON holds: PostgreSQL's other JSON would take neither of these.
    stage.done(9, "odd", json!({ "OpenAccount": { "account_id": "a\u{0}b" } })).await;
    stage.done(9, "odd-deposit", deposit(i64::MAX)).await;
    assert_eq!(stage.same(&pool, [9]).await, 2);
    // What cqrs-es loads is what the log folds to.
    let store = PersistedEventStore::<_, BankAccount>::new_event_store(PostgresEventRepository::new(pool.clone())).with_upcasters(upcasters());
    let mut loaded = store.load_aggregate("7").await.unwrap();
    let shown = stage.connection.find::<Value>("/accounts/7", None, &RETRY).await.unwrap().unwrap();
    assert_eq!(shown["state"], serde_json::to_value(loaded.aggregate()).unwrap());
    // Its view there has what the service wrote, each event once; the plain application has told its own views, if it has any.
    let view: Value = sqlx::query("SELECT payload FROM statements WHERE view_id = '7'").fetch_one(&pool).await.unwrap().get(0);
    assert_eq!(serde_json::from_value::<Statement>(view).unwrap(), Statement { events: 3, balance: 19_000 });
    stage.server.verify().unwrap();
    // A dead letter was kept and written once: the rows of it are gone with the next commit, the letter is there.
    let letters = stage.connection.find::<Value>("/dead-letters", None, &RETRY).await.unwrap().unwrap();
    assert_eq!(letters["items"].as_array().map(Vec::len), Some(1), "{letters}");
    stage.server.stop().unwrap();
    stage.server.start().await.unwrap();
    stage.done(7, "deposit", deposit(20_000)).await; // the same repeat, after a restart
    assert_eq!(stage.same(&pool, [7]).await, 4);
    let waiting: i64 = sqlx::query("SELECT count(*) FROM outbox").fetch_one(&pool).await.unwrap().get(0);
    assert!(waiting <= 8, "{waiting} rows wait for a log that has them");
    stage.server.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_log_of_its_own() {
    both_places(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_kafka() {
    both_places(Some(Broker::shared())).await;
}

/// Plain applications and the service at once on the same accounts: who comes second is told, or decides again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_writes_nothing_is_lost_or_doubled() {
    const EACH: i64 = 60;
    let (url, pool) = database(Database::shared()).await;
    let mut stage = Stage::new(&url, None).await;
    for account in 1..=3 {
        stage.done(account, &format!("open-{account}"), open(account)).await;
    }
    let plain_ones: Vec<_> = (1..=3_u64)
        .map(|account| {
            let framework = plain(&pool);
            tokio::spawn(async move {
                for _ in 0..EACH {
                    while let Err(why) = framework.execute(&account.to_string(), BankAccountCommand::DepositMoney { cents: 1 }).await {
                        assert!(matches!(why, AggregateError::AggregateConflict), "{why}");
                    }
                }
            })
        })
        .collect();
    for number in 0..EACH {
        for account in 1..=3 {
            stage.done(account, &format!("deposit-{account}-{number}"), deposit(100)).await;
        }
    }
    for task in plain_ones {
        task.await.unwrap();
    }
    assert_eq!(stage.same(&pool, 1..=3).await, 3 * (1 + 2 * usize::try_from(EACH).unwrap()));
    for account in 1..=3 {
        let shown = stage.connection.find::<Value>(&format!("/accounts/{account}"), None, &RETRY).await.unwrap().unwrap();
        assert_eq!(shown["state"]["cents"], 101 * EACH);
    }
    stage.server.verify().unwrap();
    stage.server.stop().unwrap();
}

/// What cannot be right is said, and nothing is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_database_is_not_taken_for_its_own() {
    let ((one, _), (other, other_pool)) = (database(Database::shared()).await, database(Database::shared()).await);
    let mut stage = Stage::new(&one, None).await;
    stage.done(7, "open", open(7)).await;
    stage.server.stop().unwrap();
    let data = stage.dir.path().join("data");
    let mut elsewhere = Server::new(program(), &data).unwrap().set("ACCOUNT_POSTGRES", &other);
    elsewhere.start().await.unwrap();
    let connection = Connection::to([elsewhere.url()]);
    let began = Instant::now();
    loop {
        let said = connection.once(connection.get("/readyz?verbose")).await.unwrap();
        assert!(said.status.is_success(), "no other service is ready: {}", said.text);
        if said.text.contains("it is another database, or an older copy") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{}", said.text);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let events: i64 = sqlx::query("SELECT count(*) FROM events").fetch_one(&other_pool).await.unwrap().get(0);
    assert_eq!(events, 0);
    elsewhere.kill().unwrap();
}

/// While PostgreSQL is away its service stands still and says so, every other goes on, and nothing that was asked is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_stops_nobody_else() {
    const AWAY: Duration = Duration::from_secs(12);
    let mut server = Database::start();
    let (url, pool) = database(&server).await;
    let mut stage = Stage::new(&url, None).await;
    stage.done(7, "open", open(7)).await;
    tokio::task::block_in_place(|| server.kill());
    let began = Instant::now();
    let (mut said, mut others) = (false, 0);
    let waiting = async {
        let asked = stage.ask(7, "deposit", deposit(5)).await;
        (asked, began.elapsed())
    };
    let watched = async {
        while began.elapsed() < AWAY {
            let ready = stage.connection.once(stage.connection.get("/readyz?verbose")).await.unwrap();
            assert!(ready.status.is_success(), "{}", ready.text);
            said |= ready.text.contains("accounts worker's turns") && ready.text.contains("PostgreSQL at 127.0.0.1:");
            // Another service: its commands are decided meanwhile.
            let (id, body) = (format!("sign-up-{others}"), json!({ "email": format!("anna-{others}@example.com"), "password": "correct horse battery" }));
            let command = Command { method: Method::POST, path: "/identity/accounts", id: &id, occurred_at: None, body: &body };
            let answer = stage.connection.command(&command, &RETRY).await.unwrap();
            assert!(answer.status.is_success(), "{}", answer.text);
            others += 1;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        tokio::task::block_in_place(|| server.go());
    };
    let ((answer, took), ()) = tokio::join!(waiting, watched);
    assert_eq!(answer, (200, "accepted".to_owned()));
    println!("away for {AWAY:?}: its command was answered after {took:?}, {others} of another service meanwhile");
    assert!(said && others > 5 && took >= AWAY);
    assert_eq!(stage.same(&pool, [7]).await, 2);
    let began = Instant::now();
    while stage.connection.once(stage.connection.get("/readyz?verbose")).await.unwrap().text.contains("PostgreSQL at") {
        assert!(began.elapsed() < PATIENCE, "it is still said");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stage.server.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_and_no_other_way() {
    let server = Database::with_tls();
    let (url, pool) = database(&server).await;
    let mut stage = Stage::new(&url, None).await;
    stage.done(7, "open", open(7)).await;
    assert_eq!(stage.same(&pool, [7]).await, 1);
    let encrypted: bool = sqlx::query("SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'daybook'")
        .fetch_one(&pool)
        .await
        .unwrap()
        .get(0);
    assert!(encrypted);
    stage.server.stop().unwrap();
}

/// An event as others write it; without a payload one whose metadata is not cqrs-es'.
async fn insert(pool: &PgPool, (aggregate_type, id, sequence): (&str, &str, i64), (event_type, version): (&str, &str), payload: Value) -> Result<(), String> {
    let insert = "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
        VALUES ($1, $2, $3, $4, $5, $6::text::json, $7::text::json)";
    // What no number of ours can hold, JSON can.
    let metadata = if payload.is_null() { "{\"number\":1}" } else { "{}" };
    let payload = payload.to_string().replace("\"beyond\"", "1e999");
    let query = sqlx::query(insert).bind(aggregate_type).bind(id).bind(sequence).bind(event_type).bind(version).bind(payload).bind(metadata);
    query.execute(pool).await.map(drop).map_err(|why| why.to_string())
}

/// What others wrote and cannot go into the log holds up its partition, and no other; taken back, it holds up nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_rows_hold_up_their_own_partition_alone() {
    let (url, pool) = database(Database::shared()).await;
    let mut stage = Stage::new(&url, None).await;
    let partition = |id: &str| daybook::schemas::partition_of(id.as_bytes(), 8);
    let beside = |id: &str| (20..).find(|account: &u64| partition(&account.to_string()) == partition(id) && account.to_string() != id).unwrap();
    let elsewhere = (20..).find(|account: &u64| ["8", "abc"].iter().all(|id| partition(&account.to_string()) != partition(id))).unwrap();
    stage.done(8, "open-8", open(8)).await;
    stage.done(elsewhere, "open-elsewhere", open(elsewhere)).await;
    // Of a type that does not live here: the log is not asked to take it, and nothing waits for it.
    insert(&pool, ("customer", "8", 1), ("Renamed", "1.0"), json!({ "x": 1 })).await.unwrap();
    stage.done(8, "deposit-8", deposit(1)).await;
    let gap = insert(&pool, ("account", "8", 7), ("AccountOpened", "1.0"), open(8)).await.unwrap_err();
    assert!(gap.contains("account 8 is at version 2: its next event is 3, and not 7"), "{gap}");
    assert!(sqlx::query("DELETE FROM events WHERE aggregate_id = '8'").execute(&pool).await.unwrap_err().to_string().contains("events are never changed"));
    let large = json!({ "CustomerDepositedMoney": { "cents": 1, "balance": 1, "note": "x".repeat(600_000) } });
    let odd = [
        ("8", 3, ("NoSuchEvent", "1.0"), json!({}), "type NoSuchEvent of version 1.0 of account is unknown here"),
        ("8", 3, ("AccountOpened", "9.9"), json!({}), "type AccountOpened of version 9.9 of account is unknown here"),
        ("8", 3, ("AccountOpened", "1.0"), json!({ "garbage": 1 }), "'payload': unknown variant `garbage`"),
        ("8", 3, ("CustomerDepositedMoney", "2.0"), large, "a record has at most"),
        ("abc", 1, ("AccountOpened", "1.0"), json!({ "AccountOpened": { "account_id": "abc" } }), "'abc' is no id"),
        ("8", 3, ("AccountOpened", "1.0"), json!({ "AccountOpened": "beyond" }), "its payload: number out of range"),
        ("8", 3, ("AccountOpened", "1.0"), Value::Null, "its metadata: invalid type: integer `1`, expected a string"),
    ];
    for (number, (id, sequence, kind, payload, said)) in odd.into_iter().enumerate() {
        insert(&pool, ("account", id, sequence), kind, payload).await.unwrap();
        let began = Instant::now();
        loop {
            let stands = stage.connection.once(stage.connection.get("/partitions")).await.unwrap().text;
            if stands.contains(said) && stands.contains("take it back: DELETE FROM events WHERE") {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{said}: {stands}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Another partition goes on; what is asked of this one waits, and is answered once the row is gone.
        stage.done(elsewhere, &format!("deposit-{number}"), deposit(1)).await;
        let (waits, waited) = (beside(id), format!("open-beside-{number}"));
        let taken_back = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let delete = "DELETE FROM events WHERE aggregate_type = 'account' AND aggregate_id = $1 AND sequence >= $2";
            sqlx::query(delete).bind(id).bind(sequence).execute(&pool).await.unwrap();
            Instant::now()
        };
        let asked = async {
            stage.done(waits, &waited, open(waits)).await;
            Instant::now()
        };
        let (answered, taken_back) = tokio::join!(asked, taken_back);
        assert!(answered > taken_back, "{said}");
    }
    stage.same(&pool, [8, elsewhere]).await;
    stage.server.verify().unwrap();
    stage.server.stop().unwrap();
}

/// The log is gone and PostgreSQL is not: a new log is not taken for the old one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_log_is_not_taken_for_its_own() {
    let (url, pool) = database(Database::shared()).await;
    let mut stage = Stage::new(&url, None).await;
    stage.done(7, "open", open(7)).await;
    stage.server.stop().unwrap();
    let mut other = Server::new(program(), &stage.dir.path().join("another")).unwrap().set("ACCOUNT_POSTGRES", &url);
    other.start().await.unwrap();
    let connection = Connection::to([other.url()]);
    let began = Instant::now();
    loop {
        let said = connection.once(connection.get("/readyz?verbose")).await.unwrap();
        assert!(said.status.is_success(), "{}", said.text);
        if said.text.contains("PostgreSQL has the events of another log") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{}", said.text);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(connection.list::<Value>("/accounts/7/events", 10, &RETRY).await.unwrap().unwrap().items.len(), 0);
    other.stop().unwrap();
    stage.server.start().await.unwrap();
    stage.done(7, "deposit", deposit(5)).await;
    assert_eq!(stage.same(&pool, [7]).await, 2);
    stage.server.stop().unwrap();
}

/// What a view refuses for good holds up the partition in which it was decided, which is listed, and no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_view_refuses_stops_its_partition_alone() {
    let (url, pool) = database(Database::shared()).await;
    let mut stage = Stage::new(&url, None).await;
    for account in 1..=12 {
        stage.done(account, &format!("open {account}"), open(account)).await;
    }
    sqlx::raw_sql("ALTER TABLE statements ADD CONSTRAINT small CHECK (view_id <> '7' OR (payload ->> 'balance')::bigint < 100)").execute(&pool).await.unwrap();
    let listed = async || stage.connection.find::<Value>("/partitions", None, &RETRY).await.unwrap().unwrap()["items"].clone();
    let refused = stage.done(7, "too much", deposit(100));
    let others = async {
        let began = Instant::now();
        while listed().await.as_array().is_none_or(Vec::is_empty) {
            assert!(began.elapsed() < PATIENCE, "it is not listed");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut on = 0;
        for account in (1..=12).filter(|account| *account != 7) {
            let id = format!("deposit {account}");
            let done = stage.done(account, &id, deposit(100));
            on += u32::from(tokio::time::timeout(Duration::from_secs(3), done).await.is_ok());
        }
        let stops = listed().await;
        let why = stops[0]["reason"].as_str().unwrap_or_default();
        assert_eq!(stops.as_array().map(Vec::len), Some(1), "{stops}");
        assert!(why.contains("PostgreSQL refuses what was decided") && why.contains("\"small\""), "{stops}");
        let path = format!("/partitions/accounts.commands/{}/{}/skip", stops[0]["partition"], stops[0]["offset"]);
        let skip = Command { method: Method::POST, path: &path, id: "skip", occurred_at: None, body: &json!({ "reason": "a test" }) };
        let skipped = stage.connection.command(&skip, &RETRY).await.unwrap();
        assert_eq!((skipped.status.as_u16(), &skipped.body()["code"]), (409, &json!("not-skipped")), "{}", skipped.text);
        println!("{on} of 11 others went on");
        assert!(on >= 6, "only {on} of 11 others went on"); // 7 shares its partition with some
        sqlx::raw_sql("ALTER TABLE statements DROP CONSTRAINT small").execute(&pool).await.unwrap();
    };
    tokio::join!(refused, others);
    for account in (1..=12).filter(|account| *account != 7) {
        stage.done(account, &format!("deposit {account}"), deposit(100)).await; // those that waited
    }
    assert_eq!(stage.same(&pool, 1..=12).await, 24);
    assert_eq!(listed().await, json!([]));
    stage.server.verify().unwrap();
    stage.server.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_postgres_refuses_is_said() {
    let (url, pool) = database(Database::shared()).await;
    let mut stage = Stage::new(&url, None).await;
    stage.done(7, "open", open(7)).await;
    sqlx::raw_sql("ALTER TABLE statements RENAME TO elsewhere").execute(&pool).await.unwrap();
    let watched = async {
        let began = Instant::now();
        loop {
            let said = stage.connection.once(stage.connection.get("/readyz?verbose")).await.unwrap().text;
            if said.contains("relation \"statements\" does not exist") {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{said}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        sqlx::raw_sql("ALTER TABLE elsewhere RENAME TO statements").execute(&pool).await.unwrap();
    };
    tokio::join!(stage.done(7, "deposit", deposit(5)), watched);
    assert_eq!(stage.same(&pool, [7]).await, 2);
    stage.server.stop().unwrap();
}
