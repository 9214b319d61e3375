//! The program, a database, and what both say.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use cqrs_es::Query;
use cqrs_es::persist::PersistedEventStore;
use daybook::client::connection::{Command, Connection, Retry};
use daybook::testing::{PATIENCE, Server};
use daybook::web::Method;
use postgres_es::PostgresEventRepository;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, Row};

use crate::account::{BankAccount, BankAccountServices, upcasters};
use crate::broker::Broker;
use crate::postgres::Database;

pub const RETRY: Retry<'static> = Retry::every(Duration::from_millis(50), PATIENCE);

/// The program on one of the logs.
pub struct Stage {
    pub server: Server,
    pub connection: Connection,
    pub dir: tempfile::TempDir,
}

/// The example's program: cargo builds it with the tests, beside them.
pub fn program() -> PathBuf {
    let program = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples/account-in-postgres");
    assert!(program.exists(), "{} is not built: `cargo test` builds it", program.display());
    program
}

impl Stage {
    /// With its events in this database; on Kafka, or with a log of its own.
    pub async fn new(database: &str, broker: Option<&Broker>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::new(program(), &dir.path().join("data")).unwrap().set("ACCOUNT_POSTGRES", database);
        let mut server = match broker {
            Some(broker) => server.set("DAYBOOK_BROKERS", broker.address()).set("DAYBOOK_NAMESPACE", Broker::namespace()),
            None => server,
        };
        server.start().await.unwrap();
        Self { connection: Connection::to([server.url()]), server, dir }
    }

    /// A command's status and code.
    pub async fn ask(&self, account: u64, id: &str, body: Value) -> (u16, String) {
        let path = format!("/accounts/{account}");
        let command = Command { method: Method::POST, path: &path, id, occurred_at: None, body: &body };
        let answer = self.connection.command(&command, &RETRY).await.unwrap();
        (answer.status.as_u16(), answer.body()["code"].as_str().unwrap_or("accepted").to_owned())
    }

    pub async fn done(&self, account: u64, id: &str, body: Value) {
        assert_eq!(self.ask(account, id, body.clone()).await, (200, "accepted".to_owned()), "{body}");
    }

    /// The events of an account as its view has them: sequence, type, payload.
    pub async fn logged(&self, account: u64) -> Vec<Value> {
        let rows = self.connection.list::<Value>(&format!("/accounts/{account}/events"), 1_000, &RETRY).await.unwrap().unwrap().items;
        rows.into_iter().map(|row| json!([row["sequence"], row["type"], row["payload"]])).collect()
    }

    /// Waits until the log has as many events of these accounts as PostgreSQL, and then holds both against each other.
    pub async fn same(&self, pool: &PgPool, accounts: impl IntoIterator<Item = u64>) -> usize {
        let mut all = 0;
        for account in accounts {
            let kept = kept(pool, account).await;
            let began = Instant::now();
            loop {
                let logged = self.logged(account).await;
                if logged == kept {
                    break;
                }
                assert!(began.elapsed() < PATIENCE, "account {account}: the log has {} events, PostgreSQL {}\n{logged:?}\n{kept:?}", logged.len(), kept.len());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            all += kept.len();
        }
        all
    }
}

/// The events of an account as its table has them.
pub async fn kept(pool: &PgPool, account: u64) -> Vec<Value> {
    let query = "SELECT sequence, event_type, payload FROM events WHERE aggregate_type = 'account' AND aggregate_id = $1 ORDER BY sequence";
    let rows = sqlx::query(query).bind(account.to_string()).fetch_all(pool).await.unwrap();
    rows.iter().map(|row| json!([row.get::<i64, _>(0), row.get::<String, _>(1), row.get::<Value, _>(2)])).collect()
}

/// A database of its own on a server, with its address; and a pool in the service's schema there.
pub async fn database(server: &Database) -> (String, PgPool) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let all = PgPoolOptions::new().max_connections(1).connect(server.url()).await.unwrap();
    sqlx::raw_sql(&format!("CREATE DATABASE {name}")).execute(&all).await.unwrap();
    let (address, how) = server.url().split_once('?').map_or((server.url(), String::new()), |(address, how)| (address, format!("?{how}")));
    let (place, _) = address.rsplit_once('/').unwrap();
    let url = format!("{place}/{name}{how}");
    (url.clone(), pool(&url).await)
}

/// A pool in the service's schema.
pub async fn pool(url: &str) -> PgPool {
    let options: PgConnectOptions = url.parse().unwrap();
    PgPoolOptions::new().max_connections(16).connect_lazy_with(options.options([("search_path", "accounts")]))
}

/// An application of cqrs-es and postgres-es that knows nothing of a log.
pub type Plain = cqrs_es::CqrsFramework<BankAccount, PersistedEventStore<PostgresEventRepository, BankAccount>>;

pub fn plain(pool: &PgPool) -> Plain {
    let store = PersistedEventStore::new_event_store(PostgresEventRepository::new(pool.clone())).with_upcasters(upcasters());
    Plain::new(store, Vec::<Box<dyn Query<BankAccount>>>::new(), BankAccountServices)
}
