//! Views of cqrs-es, kept current in the transaction that keeps their events: none is ever missed, and none seen twice.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;

use cqrs_es::{EventEnvelope, View};
use daybook_cqrs_es::Hosted;
use sqlx::{PgConnection, Row};

/// What is done in the transaction of an event.
pub type Done<'c> = Pin<Box<dyn Future<Output = Result<(), sqlx::Error>> + Send + 'c>>;

/// Something of an aggregate's that is kept current in the transaction of its events.
pub trait InTransaction<A: Hosted>: Send + Sync {
    /// Takes in an event.
    fn take<'c>(&'c self, connection: &'c mut PgConnection, event: &'c EventEnvelope<A>) -> Done<'c>;
}

/// A view in a table as `PostgresViewRepository` has them: `view_id`, `version`, `payload`.
pub struct TableView<V, A> {
    table: &'static str,
    of: PhantomData<fn() -> (V, A)>,
}

impl<V, A> TableView<V, A> {
    /// In this table.
    pub fn new(table: &'static str) -> Self {
        Self { table, of: PhantomData }
    }
}

impl<V: View<A>, A: Hosted> InTransaction<A> for TableView<V, A> {
    fn take<'c>(&'c self, connection: &'c mut PgConnection, event: &'c EventEnvelope<A>) -> Done<'c> {
        Box::pin(async move {
            let select = format!("SELECT version, payload FROM {} WHERE view_id = $1 FOR UPDATE", self.table);
            let found = sqlx::query(&select).bind(&event.aggregate_id).fetch_optional(&mut *connection).await?;
            let read = |row: &sqlx::postgres::PgRow| serde_json::from_value::<V>(row.try_get("payload")?).map_err(|why| sqlx::Error::Decode(why.into()));
            let (version, mut view) = match &found {
                Some(row) => (row.try_get::<i64, _>("version")?, read(row)?),
                None => (0, V::default()),
            };
            view.update(event);
            let payload = serde_json::to_string(&view).map_err(|why| sqlx::Error::Encode(why.into()))?;
            let upsert = format!(
                "INSERT INTO {} (view_id, version, payload) VALUES ($1, $2, $3::text::json)
                 ON CONFLICT (view_id) DO UPDATE SET version = excluded.version, payload = excluded.payload",
                self.table
            );
            sqlx::query(&upsert).bind(&event.aggregate_id).bind(version + 1).bind(payload).execute(connection).await?;
            Ok(())
        })
    }
}
