//! A Daybook service whose aggregates live in PostgreSQL, in the tables of [`postgres-es`](https://docs.rs/postgres-es), and which
//! is as good a citizen of the log as any other.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use daybook::Service;
//! use daybook_postgres::{PostgresStore, Settings};
//!
//! # fn service() -> Result<Service, daybook_postgres::SettingsError> {
//! let store = PostgresStore::new(Settings::new("postgres://daybook@127.0.0.1/daybook", "reviews")?);
//! let service = Service::new("reviews").kept_in(Arc::new(store)); // store.holds::<Review>(…), service.owns::<OnLog<Review>, _>()
//! # Ok(service)
//! # }
//! ```
//!
//! # How it is kept
//! The service's worker decides as every worker does. What it commits, events and dead letters, is first written into PostgreSQL,
//! in one transaction with the positions of what it was decided from and with the views there; then it is written into the log. So
//! - a record is taken into PostgreSQL **exactly once**: its position moves with what came of it, and only from where it stood;
//! - what PostgreSQL has, the log gets **exactly once, in the order of commits**: each record waits in a table, `outbox`, until
//!   the log has it; a new owner of a partition finds there what the log's newest record was, and goes on behind it;
//! - **one relay** is active for each partition, the partition's owner: the log refuses everybody else's;
//! - applications that write into the same tables through `CqrsFramework` and postgres-es go on: a trigger puts what they commit
//!   into `outbox`, and where both write at once PostgreSQL's primary key lets one of them win.
//!
//! While PostgreSQL is away the service decides nothing; its commands wait in their topic.
//!
//! A file uses what stands below its room, or beside it there; no two files use each other. A test holds it.
//! Low to high: `settings`, `ends`, `listener`, `views`, `held`, `database`, `refusals`, `member`, `store`, `import`.

mod database;
mod ends;
mod held;
pub mod import;
mod listener;
mod member;
mod refusals;
mod settings;
mod store;
mod views;

pub use settings::{Settings, SettingsError};
pub use sqlx;
pub use store::PostgresStore;
pub use views::{InTransaction, TableView};
