//! The bank account of cqrs-es' documentation, decided by one code and kept in four ways in one run: by postgres-es, with and
//! without waiting for the disk, and on a running system of ours, through `CqrsFramework` and by its own commands. Closed loop,
//! each client with an account of its own. Then loads of accounts with 10, 100 and 1,000 events.
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench stops at the first failure and prints its result"
)]

#[path = "../../bridges/cqrs-es/examples/account/account.rs"]
mod account;
#[path = "../../bridges/cqrs-es/examples/account/hosted.rs"]
mod hosted;
#[path = "../../eventstore/tests/it/postgres.rs"]
mod postgres;

use std::path::PathBuf;
use std::process::Command as Process;
use std::time::{Duration, Instant};

use account::{BankAccount, BankAccountCommand, BankAccountEvent, BankAccountServices, upcasters};
use cqrs_es::persist::PersistedEventStore;
use cqrs_es::{CqrsFramework, EventStore, Query};
use daybook::client::connection::{Command, Connection, Retry};
use daybook::testing::{PATIENCE, Server};
use daybook::web::Method;
use daybook_cqrs_es::LogStore;
use postgres::Database;
use postgres_es::PostgresEventRepository;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

type TheirStore = PersistedEventStore<PostgresEventRepository, BankAccount>;

/// Rounds, of which the median is told.
const ROUNDS: usize = 3;
/// Loads of each length.
const LOADS: usize = 200;

fn seconds() -> Duration {
    Duration::from_secs(std::env::var("SECONDS_OF_LOAD").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(5))
}

/// The example's program, built as the bench was.
fn program() -> PathBuf {
    // With the features that the bench was built with: others would build all of it once more.
    let build = ["build", "--release", "--quiet", "--workspace", "--example", "account"];
    assert!(Process::new(env!("CARGO")).args(build).status().unwrap().success(), "the example does not build");
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/account")
}

async fn tables(database: &Database) -> PgPool {
    let pool = PgPoolOptions::new().max_connections(64).connect(database.url()).await.unwrap();
    // As `db/init.sql` of postgres-es has it.
    let table = "CREATE TABLE events (aggregate_type text NOT NULL, aggregate_id text NOT NULL, sequence bigint NOT NULL, event_type text NOT NULL,
        event_version text NOT NULL, payload json NOT NULL, metadata json NOT NULL, PRIMARY KEY (aggregate_type, aggregate_id, sequence))";
    sqlx::raw_sql(table).execute(&pool).await.unwrap();
    pool
}

fn theirs(pool: &PgPool) -> TheirStore {
    PersistedEventStore::new_event_store(PostgresEventRepository::new(pool.clone())).with_upcasters(upcasters())
}

fn ours(server: &Server) -> LogStore<BankAccount> {
    LogStore::new(Connection::to([server.url()]), hosted::ACCOUNTS.events.1)
}

/// How a client has a command done.
enum Client {
    Theirs(CqrsFramework<BankAccount, TheirStore>),
    Ours(CqrsFramework<BankAccount, LogStore<BankAccount>>),
    Native(Connection),
}

/// A name, and what makes a client.
type Way<'w> = (&'static str, Box<dyn Fn() -> Client + 'w>);

fn framework<S: EventStore<BankAccount>>(store: S) -> CqrsFramework<BankAccount, S> {
    CqrsFramework::new(store, Vec::<Box<dyn Query<BankAccount>>>::new(), BankAccountServices)
}

impl Client {
    async fn execute(&self, id: &str, command: BankAccountCommand) {
        match self {
            Self::Theirs(framework) => framework.execute(id, command).await.unwrap(),
            Self::Ours(framework) => framework.execute(id, command).await.unwrap(),
            Self::Native(connection) => {
                let (path, body) = (format!("/accounts/{id}"), serde_json::to_value(&command).unwrap());
                let name = format!("{:x}", rand::random::<u128>());
                let command = Command { method: Method::POST, path: &path, id: &name, occurred_at: None, body: &body };
                let answer = connection.command(&command, &Retry::every(Duration::from_millis(10), PATIENCE)).await.unwrap();
                assert!(answer.status.is_success(), "{}", answer.text);
            }
        }
    }
}

/// Deposits for a while by so many at once: how many a second, and p50 and p99 of their latencies in milliseconds.
async fn load(clients: u64, first: u64, client: impl Fn() -> Client) -> [f64; 3] {
    let (began, for_so_long) = (Instant::now(), seconds());
    let tasks: Vec<_> = (0..clients)
        .map(|number| {
            let (client, id) = (client(), (first + number).to_string());
            tokio::spawn(async move {
                client.execute(&id, BankAccountCommand::OpenAccount { account_id: id.clone() }).await;
                let mut took = vec![];
                while began.elapsed() < for_so_long {
                    let asked = Instant::now();
                    client.execute(&id, BankAccountCommand::DepositMoney { cents: 1 }).await;
                    took.push(asked.elapsed().as_secs_f64() * 1_000.0);
                }
                took
            })
        })
        .collect();
    let mut took = vec![];
    for task in tasks {
        took.extend(task.await.unwrap());
    }
    let per_second = took.len() as f64 / began.elapsed().as_secs_f64();
    took.sort_by(f64::total_cmp);
    [per_second, took[took.len() / 2], took[took.len() * 99 / 100]]
}

fn median(mut rounds: Vec<[f64; 3]>) -> [f64; 3] {
    rounds.sort_by(|one, other| one[0].total_cmp(&other[0]));
    rounds[rounds.len() / 2]
}

/// Loads of an account with so many events: the median in milliseconds.
async fn loads<S: EventStore<BankAccount>>(store: &S, id: &str) -> f64 {
    let mut took = vec![];
    for _ in 0..LOADS {
        let asked = Instant::now();
        store.load_aggregate(id).await.unwrap();
        took.push(asked.elapsed().as_secs_f64() * 1_000.0);
    }
    took.sort_by(f64::total_cmp);
    took[took.len() / 2]
}

#[tokio::main]
async fn main() {
    let (synced, unsynced) = (Database::start(), Database::unsynced());
    let (disk, memory) = (tables(&synced).await, tables(&unsynced).await);
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::new(program(), &dir.path().join("data")).unwrap();
    server.start().await.unwrap();
    let server = &server;
    let ways: [Way<'_>; 4] = [
        ("postgres-es, waits for the disk", Box::new(|| Client::Theirs(framework(theirs(&disk))))),
        ("postgres-es, does not wait", Box::new(|| Client::Theirs(framework(theirs(&memory))))),
        ("CqrsFramework over our log", Box::new(|| Client::Ours(framework(ours(server))))),
        ("commands to our log", Box::new(|| Client::Native(Connection::to([server.url()])))),
    ];
    println!("{ROUNDS} rounds of {:?} each, in turns; ours always waits for the disk", seconds());
    let mut first = 1;
    for clients in [1, 64] {
        let mut found: Vec<Vec<[f64; 3]>> = vec![vec![]; ways.len()];
        for _ in 0..ROUNDS {
            for (place, (_, client)) in ways.iter().enumerate() {
                found[place].push(load(clients, first, client).await);
                first += clients;
            }
        }
        for ((name, _), rounds) in ways.iter().zip(found) {
            let [per_second, half, most] = median(rounds);
            println!("{clients:>3} clients, {name:<32} {per_second:>7.0}/s   p50 {half:>7.2} ms   p99 {most:>7.2} ms");
        }
    }
    for events in [10_usize, 100, 1_000] {
        let id = (1_000_000 + events).to_string();
        let deposits = || (1..events).map(|_| BankAccountEvent::CustomerDepositedMoney { cents: 1, balance: 1 });
        let all: Vec<_> = std::iter::once(BankAccountEvent::AccountOpened { account_id: id.clone() }).chain(deposits()).collect();
        let (disk, log) = (theirs(&disk), ours(server));
        disk.commit(all.clone(), disk.load_aggregate(&id).await.unwrap(), [].into()).await.unwrap();
        log.commit(all, log.load_aggregate(&id).await.unwrap(), [].into()).await.unwrap();
        // Ours has every state at hand, in a view as where it decides.
        let connection = Connection::to([server.url()]);
        let mut took = vec![];
        for _ in 0..LOADS {
            let asked = Instant::now();
            let path = format!("/accounts/{id}");
            connection.find::<serde_json::Value>(&path, None, &Retry::every(Duration::from_millis(10), PATIENCE)).await.unwrap().unwrap();
            took.push(asked.elapsed().as_secs_f64() * 1_000.0);
        }
        took.sort_by(f64::total_cmp);
        let (theirs, ours) = (loads(&disk, &id).await, loads(&log, &id).await);
        println!("{events:>4} events: postgres-es loads in {theirs:.2} ms, LogStore in {ours:.2} ms; our state is read in {:.2} ms", took[took.len() / 2]);
    }
}
