//! The statements. Says what there is and what became of a transaction; decides nothing.

use std::future::{Future, ready};
use std::sync::Arc;
use std::time::{Duration, Instant};

use daybook::eventstore::log::{Fault, Message, Offset};
use daybook::schemas::{Headers, Partition, Topic};
use daybook_cqrs_es::StoredEvent;
use parking_lot::Mutex;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgPoolOptions, PgRow};
use sqlx::{Connection, PgConnection, PgPool, Row};
use tokio::runtime::Runtime;

use crate::held::Held;
use crate::settings::{CONNECT, Settings};

/// Rows of a page.
const PAGE: i64 = 1_000;

/// A record that waits for the log, or is the newest that the log has of its partition.
#[derive(Clone)]
pub struct Waiting {
    /// its place in the order of commits
    pub position: i64,
    /// itself
    pub message: Message,
}

/// An event that others wrote, of which no record was made yet.
pub struct Foreign {
    /// its place in the order of commits
    pub position: i64,
    /// its aggregate's type
    pub aggregate_type: String,
    /// its aggregate's id
    pub id: String,
    /// its aggregate's version after it
    pub sequence: u64,
    /// when it was written, in microseconds since 1970; none where no record can say it
    pub at: Option<i64>,
    /// its `event_type`
    pub event_type: String,
    /// its `event_version`
    pub event_version: String,
    /// its payload, as it stands there
    pub payload: String,
    /// its metadata, as it stands there
    pub metadata: String,
}

/// An event as its row and its views take it.
pub struct NewEvent<'m> {
    pub of: Arc<dyn Held>,
    pub id: String,
    pub sequence: u64,
    pub kind: daybook::schemas::envelope::Kind,
    pub row: StoredEvent,
    pub body: &'m [u8],
}

/// What one transaction keeps.
pub struct Batch<'m> {
    /// topic, partition, where it stands by what is known here, and where it stands then
    pub moves: Vec<(Topic, Partition, Option<Offset>, Offset)>,
    pub events: Vec<NewEvent<'m>>,
    /// all that the log must get, in its order
    pub records: Vec<&'m Message>,
    /// Where the inputs of partitions that are owned here were: a database that has other positions is another, or an older copy.
    pub stood: Vec<(&'m Topic, Partition, Offset)>,
    /// the events' topic; of each partition that is owned here, what the log has
    pub relayed: (&'m Topic, Vec<(Partition, i64)>),
    /// letters that the log has
    pub done: &'m [i64],
    /// the aggregate types that live here
    pub types: &'m [&'static str],
}

/// What became of a transaction.
pub enum Kept {
    /// It is kept: the positions of its records.
    Yes(Vec<i64>),
    /// It is not: others were here first.
    No(&'static str),
    /// It is not, and will not be: what a view or a constraint says.
    Refused(String),
    /// Nobody knows: the connection broke while it was committed.
    Unknown(String),
}

/// See the module. Blocks; made in the thread it stays in.
pub struct Database {
    pool: PgPool,
    /// when something went wrong last: sessions of before are not used again
    failed: Arc<Mutex<Option<Instant>>>,
    runtime: Runtime,
    settings: Settings,
    migrations: Vec<Arc<Migrator>>,
}

/// The record's id, by which it is found again.
fn id(message: &Message) -> &str {
    message.headers.text("ce_id").unwrap_or_default()
}

impl Database {
    /// To be reached when it is needed.
    pub fn new(settings: &Settings, migrations: &[Arc<Migrator>]) -> Result<Self, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|why| Fault::Fatal(format!("no runtime: {why}")))?;
        let failed = Arc::<Mutex<Option<Instant>>>::default();
        let pool = {
            let _within = runtime.enter();
            let since = Arc::clone(&failed);
            // What a session has kept of what was wrong (a plan, a setting) is gone with it.
            let is_fresh = move |age: Duration| since.lock().is_none_or(|failed: Instant| failed.elapsed() > age);
            PgPoolOptions::new()
                .max_connections(2)
                .acquire_timeout(CONNECT)
                .before_acquire(move |_, of| Box::pin(ready(Ok(is_fresh(of.age)))))
                .connect_lazy_with(settings.connect.clone())
        };
        Ok(Self { pool, failed, runtime, settings: settings.clone(), migrations: migrations.to_vec() })
    }

    /// Makes what is missing.
    pub fn migrate(&self) -> Result<(), Fault> {
        self.ask(async {
            // Two that begin at once would both make it.
            let mut connection = self.pool.acquire().await?;
            let schema = format!("SELECT pg_advisory_xact_lock(hashtext('daybook schema')); CREATE SCHEMA IF NOT EXISTS {}", self.settings.schema);
            sqlx::raw_sql(&schema).execute(&mut *connection).await?;
            let own = Arc::new(sqlx::migrate!("./migrations"));
            for migrator in std::iter::once(&own).chain(&self.migrations) {
                // Each knows its own alone.
                let mut migrator = Migrator { migrations: migrator.migrations.clone(), ..Migrator::DEFAULT };
                migrator.set_ignore_missing(true).run(&mut *connection).await.map_err(|why| sqlx::Error::Configuration(why.into()))?;
            }
            Ok(())
        })
    }

    /// The log that this database belongs to: the given one, if it had none.
    pub fn home(&self, log: &str) -> Result<String, Fault> {
        self.ask(async {
            let mut transaction = self.pool.begin().await?;
            // Two that begin at once would both be the first.
            sqlx::query("SELECT outbox_turn()").execute(&mut *transaction).await?;
            sqlx::query("INSERT INTO home (log) SELECT $1 WHERE NOT EXISTS (SELECT FROM home)").bind(log).execute(&mut *transaction).await?;
            let home = sqlx::query_scalar("SELECT log FROM home").fetch_one(&mut *transaction).await?;
            transaction.commit().await.map(|()| home)
        })
    }

    /// Events of other types than these are nobody's here: the log never gets them.
    pub fn pass_over(&self, types: &[&str]) -> Result<(), Fault> {
        let query = "DELETE FROM outbox WHERE topic IS NULL AND aggregate_type <> ALL($1)";
        self.ask(async { sqlx::query(query).bind(types).execute(&self.pool).await.map(drop) })
    }

    /// Up to where each topic's partitions were taken in.
    pub fn positions(&self) -> Result<Vec<(Topic, Partition, Offset)>, Fault> {
        self.ask(async {
            let rows = sqlx::query("SELECT topic, partition, next FROM inbox").fetch_all(&self.pool).await?;
            rows.iter().map(|row| Ok((Topic::named(row.try_get("topic")?), partition(row)?, Offset(unsigned(row.try_get("next")?)?)))).collect()
        })
    }

    /// The position of the record with this id.
    pub fn position_of(&self, topic: &Topic, partition: Partition, id: &str) -> Result<Option<i64>, Fault> {
        self.ask(async {
            let query = "SELECT position FROM outbox WHERE topic = $1 AND partition = $2 AND id = $3";
            sqlx::query_scalar(query).bind(topic.as_str()).bind(i32::from(partition.0)).bind(id).fetch_optional(&self.pool).await
        })
    }

    /// Events of these types that others wrote and that are not records yet, behind a position, the first of them.
    pub fn foreign(&self, types: &[&str], after: i64) -> Result<Vec<Foreign>, Fault> {
        let query = "SELECT o.position, e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version, e.payload::text, e.metadata::text,
                CASE WHEN e.created_at >= '0001-01-01' AND e.created_at < '9999-12-31' THEN (extract(epoch FROM e.created_at) * 1000000)::bigint END AS at
            FROM outbox o JOIN events e USING (aggregate_type, aggregate_id, sequence)
            WHERE o.topic IS NULL AND o.position > $2 AND o.aggregate_type = ANY($3) ORDER BY o.position LIMIT $1";
        self.ask(async {
            let rows = sqlx::query(query).bind(PAGE).bind(after).bind(types).fetch_all(&self.pool).await?;
            rows.iter().map(read_foreign).collect()
        })
    }

    /// What was made of them is what the log will get; of the others it is known in which partition they lie.
    pub fn made(&self, records: &[Waiting], stuck: &[(i64, Partition)]) -> Result<(), Fault> {
        self.ask(async {
            let mut transaction = self.pool.begin().await?;
            for (position, partition) in stuck {
                let update = sqlx::query("UPDATE outbox SET partition = $2 WHERE position = $1 AND topic IS NULL").bind(position);
                update.bind(i32::from(partition.0)).execute(&mut *transaction).await?;
            }
            for Waiting { position, message } in records {
                let update = "UPDATE outbox SET topic = $2, partition = $3, id = $4, key = $5, names = $6, contents = $7, body = $8
                    WHERE position = $1 AND topic IS NULL";
                bound(sqlx::query(update).bind(position), message).execute(&mut *transaction).await?;
            }
            transaction.commit().await
        })
    }

    /// Records of this topic in these partitions behind a position, the first of them.
    pub fn waiting(&self, topic: &Topic, partitions: &[Partition], after: i64) -> Result<Vec<Waiting>, Fault> {
        let partitions: Vec<i32> = partitions.iter().map(|partition| i32::from(partition.0)).collect();
        let query = "SELECT position, topic, partition, key, names, contents, body FROM outbox
            WHERE topic = $1 AND partition = ANY($2) AND position > $3 ORDER BY position LIMIT $4";
        self.ask(async {
            let rows = sqlx::query(query).bind(topic.as_str()).bind(partitions).bind(after).bind(PAGE).fetch_all(&self.pool).await?;
            rows.iter().map(read_waiting).collect()
        })
    }

    /// Keeps a batch, whole or not at all.
    pub fn keep(&self, batch: &Batch<'_>) -> Result<Kept, Fault> {
        self.ask(async {
            let mut connection = self.pool.acquire().await?;
            let mut transaction = connection.begin().await?;
            let positions = match within(&mut transaction, batch).await {
                Ok(Ok(positions)) => positions,
                Ok(Err(first)) => return transaction.rollback().await.map(|()| Kept::No(first)),
                Err(why) if is_taken(&why) => return transaction.rollback().await.map(|()| Kept::No("others have written to one of its aggregates")),
                Err(why) if is_for_good(&why) => return transaction.rollback().await.map(|()| Kept::Refused(why.to_string())),
                Err(why) => return Err(why),
            };
            match transaction.commit().await {
                Ok(()) => Ok(Kept::Yes(positions)),
                Err(why) if is_for_good(&why) => Ok(Kept::Refused(why.to_string())),
                Err(why @ sqlx::Error::Database(_)) => Err(why), // it was told that it is not
                Err(why) => Ok(Kept::Unknown(why.to_string())),
            }
        })
    }

    /// Why there is no connection: a pool does not say.
    fn unreachable(&self) -> String {
        let connected = async { tokio::time::timeout(CONNECT, PgConnection::connect_with(&self.settings.connect)).await };
        match self.runtime.block_on(connected) {
            Ok(Ok(_)) => "all connections are in use".to_owned(),
            Ok(Err(why)) => why.to_string(),
            Err(_) => format!("no connection in {} s", CONNECT.as_secs()),
        }
    }

    fn ask<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Fault> {
        let answer = 2 * self.settings.statement; // for a whole transaction, and whatever else is asked
        let ended = self.runtime.block_on(async { tokio::time::timeout(answer, work).await });
        if !matches!(ended, Ok(Ok(_))) {
            *self.failed.lock() = Some(Instant::now());
        }
        let why = match ended {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(sqlx::Error::PoolTimedOut)) => self.unreachable(),
            Ok(Err(why)) if why.as_database_error().and_then(|why| why.code()).as_deref() == Some("55P03") => {
                format!(
                    "{why}: another transaction holds what this one needs (SELECT * FROM pg_stat_activity WHERE pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')); end it"
                )
            }
            Ok(Err(why)) => why.to_string(),
            Err(_) => format!("no answer in {} s", answer.as_secs()),
        };
        Err(Fault::Retry(format!("PostgreSQL at {}: {why}", self.settings.place())))
    }
}

/// A primary key that is taken: somebody else wrote this version of an aggregate.
fn is_taken(why: &sqlx::Error) -> bool {
    why.as_database_error().is_some_and(|why| why.is_unique_violation() && why.table() == Some("events"))
}

/// What is refused for what it says, whenever it comes: classes 22, 23 and 42 (data, constraints, names), `RAISE`, and what a view
/// cannot read or write. PostgreSQL's manual, appendix A.
fn is_for_good(why: &sqlx::Error) -> bool {
    let code = why.as_database_error().and_then(sqlx::error::DatabaseError::code);
    let by_code = code.is_some_and(|code| ["22", "23", "42", "P0"].iter().any(|class| code.starts_with(class)));
    by_code || matches!(why, sqlx::Error::Decode(_) | sqlx::Error::Encode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_))
}

/// All of a batch's statements; the positions of its records, or who was first.
async fn within(connection: &mut PgConnection, batch: &Batch<'_>) -> Result<Result<Vec<i64>, &'static str>, sqlx::Error> {
    sqlx::query("SELECT set_config('daybook.worker', 'on', true)").execute(&mut *connection).await?;
    let (topic, relayed) = &batch.relayed;
    let (partitions, ends): (Vec<i32>, Vec<i64>) = relayed.iter().map(|(partition, position)| (i32::from(partition.0), *position)).unzip();
    let topics: Vec<&str> = batch.stood.iter().map(|(topic, ..)| topic.as_str()).collect();
    let of: Vec<i32> = batch.stood.iter().map(|(_, partition, _)| i32::from(partition.0)).collect();
    let nexts: Vec<i64> = batch.stood.iter().map(|(.., next)| signed(next.0)).collect::<Result<_, _>>()?;
    let as_known = "SELECT NOT EXISTS (SELECT FROM unnest($1::text[], $2::integer[], $3::bigint[]) AS k (topic, partition, next)
            LEFT JOIN inbox i USING (topic, partition) WHERE i.next IS DISTINCT FROM k.next)
        AND NOT EXISTS (SELECT FROM unnest($4::integer[], $5::bigint[]) AS k (partition, position)
            LEFT JOIN outbox o ON o.topic = $6 AND o.partition = k.partition AND o.position = k.position WHERE k.position >= 0 AND o.position IS NULL)";
    let query = sqlx::query_scalar(as_known).bind(topics).bind(of).bind(nexts).bind(&partitions).bind(&ends).bind(topic.as_str());
    let stands: bool = query.fetch_one(&mut *connection).await?;
    if !stands {
        return Ok(Err("it does not stand where it stood: another process has gone on, or it is another database"));
    }
    // What the log has is not needed here, but for the newest of each partition: by that it is known how far the log is.
    let had = "DELETE FROM outbox o USING unnest($2::integer[], $3::bigint[]) AS r (partition, position)
        WHERE (o.topic = $1 AND o.partition = r.partition AND o.position < r.position) OR o.position = ANY($4)";
    sqlx::query(had).bind(topic.as_str()).bind(&partitions).bind(&ends).bind(batch.done).execute(&mut *connection).await?;
    for (topic, partition, known, next) in &batch.moves {
        let statement = match known {
            None => "INSERT INTO inbox (topic, partition, next) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            Some(_) => "UPDATE inbox SET next = $3 WHERE topic = $1 AND partition = $2 AND next = $4",
        };
        let query = sqlx::query(statement).bind(topic.as_str()).bind(i32::from(partition.0)).bind(signed(next.0)?);
        let query = match known {
            None => query,
            Some(known) => query.bind(signed(known.0)?),
        };
        if query.execute(&mut *connection).await?.rows_affected() != 1 {
            return Ok(Err("another process has taken in the same commands"));
        }
    }
    for NewEvent { of, id, sequence, kind, row, body } in &batch.events {
        // As text: a value would go as jsonb, which holds neither every number nor every character that JSON has.
        let insert = "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
            VALUES ($1, $2, $3, $4, $5, $6::text::json, $7::text::json)";
        let metadata = serde_json::to_string(&row.metadata).map_err(|why| sqlx::Error::Encode(why.into()))?;
        let query = sqlx::query(insert).bind(of.row_type()).bind(id).bind(signed(*sequence)?).bind(&row.event_type).bind(&row.event_version);
        query.bind(row.payload.to_string()).bind(metadata).execute(&mut *connection).await?;
        let number = usize::try_from(*sequence).map_err(|why| sqlx::Error::Encode(why.into()))?;
        of.tell(&mut *connection, id, number, kind, body).await?;
    }
    if batch.records.is_empty() {
        return Ok(Ok(vec![]));
    }
    // From here to the end of the commit nobody else draws a position.
    sqlx::query("SELECT outbox_turn()").execute(&mut *connection).await?;
    // Rows that can be no records have their partition, and hold up that one alone.
    let before = "SELECT EXISTS (SELECT FROM outbox WHERE topic IS NULL AND aggregate_type = ANY($4) AND (partition IS NULL OR partition = ANY($5)))
        OR EXISTS (SELECT FROM outbox o JOIN unnest($2::integer[], $3::bigint[]) AS r (partition, position) USING (partition)
            WHERE o.topic = $1 AND o.position > r.position)";
    let written: Vec<i32> = batch.records.iter().map(|message| i32::from(message.partition.0)).collect();
    let query = sqlx::query_scalar(before).bind(topic.as_str()).bind(partitions).bind(ends).bind(batch.types).bind(written);
    if query.fetch_one(&mut *connection).await? {
        return Ok(Err("others have written what the log must get first"));
    }
    let mut positions = Vec::with_capacity(batch.records.len());
    for message in &batch.records {
        let insert = "INSERT INTO outbox (topic, partition, id, key, names, contents, body) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING position";
        let row = bound(sqlx::query(insert), message).fetch_one(&mut *connection).await?;
        positions.push(row.try_get("position")?);
    }
    Ok(Ok(positions))
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// A record's columns, in their order. Names and contents of headers are bytes: a letter has whatever a stranger wrote.
fn bound<'q>(query: Query<'q>, message: &'q Message) -> Query<'q> {
    let (names, contents): (Vec<Vec<u8>>, Vec<Vec<u8>>) = message.headers.iter().map(|(name, content)| (name.as_bytes().to_vec(), content.to_vec())).unzip();
    let query = query.bind(message.topic.as_str()).bind(i32::from(message.partition.0)).bind(id(message)).bind(&message.key);
    query.bind(names).bind(contents).bind(message.value.as_ref())
}

fn signed(number: u64) -> Result<i64, sqlx::Error> {
    i64::try_from(number).map_err(|why| sqlx::Error::Encode(why.into()))
}

fn unsigned(number: i64) -> Result<u64, sqlx::Error> {
    u64::try_from(number).map_err(|why| sqlx::Error::Decode(why.into()))
}

fn partition(row: &PgRow) -> Result<Partition, sqlx::Error> {
    u16::try_from(row.try_get::<i32, _>("partition")?).map(Partition).map_err(|why| sqlx::Error::Decode(why.into()))
}

fn read_waiting(row: &PgRow) -> Result<Waiting, sqlx::Error> {
    let (names, contents): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (row.try_get("names")?, row.try_get("contents")?);
    let headers: Headers = names.into_iter().map(|name| String::from_utf8_lossy(&name).into_owned()).zip(contents).collect();
    let topic = Topic::named(row.try_get("topic")?);
    let message = Message { topic, partition: partition(row)?, key: row.try_get("key")?, headers, value: row.try_get("body")? };
    Ok(Waiting { position: row.try_get("position")?, message })
}

/// As text: what cannot be read must not keep others from being read.
fn read_foreign(row: &PgRow) -> Result<Foreign, sqlx::Error> {
    Ok(Foreign {
        position: row.try_get("position")?,
        aggregate_type: row.try_get("aggregate_type")?,
        id: row.try_get("aggregate_id")?,
        sequence: unsigned(row.try_get("sequence")?)?,
        at: row.try_get("at")?,
        event_type: row.try_get("event_type")?,
        event_version: row.try_get("event_version")?,
        payload: row.try_get("payload")?,
        metadata: row.try_get("metadata")?,
    })
}
