//! An aggregate type that lives here, its type erased: from records to rows and back.

use cqrs_es::EventEnvelope;
use daybook::schemas::envelope::{Kind, Malformed};
use daybook_cqrs_es::{Hosted, OnLog, StoredEvent};
use sqlx::PgConnection;

use crate::views::{Done, InTransaction};

/// See the module.
pub trait Held: Send + Sync {
    /// what its rows have as `aggregate_type`
    fn row_type(&self) -> &'static str;
    /// what its records have
    fn name(&self) -> &'static str;
    /// The row of a record.
    fn row(&self, kind: &Kind, body: &[u8]) -> Result<StoredEvent, Malformed>;
    /// The record of a row.
    fn record(&self, row: StoredEvent) -> Result<(Kind, Vec<u8>), Malformed>;
    /// Tells its views.
    fn tell<'c>(&'c self, connection: &'c mut PgConnection, id: &'c str, sequence: usize, kind: &'c Kind, body: &'c [u8]) -> Done<'c>;
}

/// An aggregate type, and its views here.
pub struct Views<A>(pub Vec<Box<dyn InTransaction<A>>>);

impl<A: Hosted> Held for Views<A> {
    fn row_type(&self) -> &'static str {
        A::TYPE
    }
    fn name(&self) -> &'static str {
        A::NAME
    }
    fn row(&self, kind: &Kind, body: &[u8]) -> Result<StoredEvent, Malformed> {
        StoredEvent::of::<A>(kind, body)
    }
    fn record(&self, row: StoredEvent) -> Result<(Kind, Vec<u8>), Malformed> {
        row.record::<A>()
    }
    fn tell<'c>(&'c self, connection: &'c mut PgConnection, id: &'c str, sequence: usize, kind: &'c Kind, body: &'c [u8]) -> Done<'c> {
        use daybook::schemas::Codec;
        Box::pin(async move {
            if self.0.is_empty() {
                return Ok(());
            }
            let recorded = OnLog::<A>::decode_event(kind, body).map_err(|why| sqlx::Error::Decode(why.into()))?;
            let metadata = recorded.metadata.into_iter().collect();
            let envelope = EventEnvelope::<A> { aggregate_id: id.to_owned(), sequence, payload: recorded.event, metadata };
            for view in &self.0 {
                view.take(&mut *connection, &envelope).await?;
            }
            Ok(())
        })
    }
}
