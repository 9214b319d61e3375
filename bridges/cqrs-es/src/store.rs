//! `CqrsFramework`'s event store over a running system. Loading folds the aggregate's events; a commit is a command to the owner
//! of its partition, which alone writes there.

use std::collections::{BTreeMap, HashMap};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cqrs_es::{AggregateContext, AggregateError, DomainEvent, EventEnvelope, EventStore};
use daybook::client::connection::{Command, Connection, Response, Retry};
use daybook::web::Method;

use crate::hosted::{CONFLICT, Hosted, upcast};
use crate::hosting::EventRow;
use crate::records::{AppendV1, AppendedV1};

/// Events of a page.
const PAGE: usize = 1_000;
/// How long a system that is away is asked again.
const AWAY: Duration = Duration::from_secs(60);

/// An event store over a running system. A clone is the same store.
///
/// Reads see all that this store has committed. What others commit meanwhile ends a commit of ours with
/// [`AggregateError::AggregateConflict`], as in every other store; a commit whose answer was lost is asked for again under the
/// same id, and done once.
pub struct LogStore<A> {
    connection: Connection,
    /// before the id, and behind it
    route: (&'static str, &'static str),
    retry: Retry<'static>,
    /// `<topic>:<partition>` -> where a reader must stand to see what was committed
    seen: Arc<Mutex<BTreeMap<String, u64>>>,
    of: PhantomData<fn() -> A>,
}

// A derived one would ask of `A` what cqrs-es does not.
impl<A> Clone for LogStore<A> {
    fn clone(&self) -> Self {
        Self { connection: self.connection.clone(), route: self.route, retry: self.retry, seen: Arc::clone(&self.seen), of: PhantomData }
    }
}

/// An aggregate as it was loaded.
pub struct Loaded<A> {
    id: String,
    aggregate: A,
    version: u64,
}

impl<A: Hosted> AggregateContext<A> for Loaded<A> {
    fn aggregate(&mut self) -> &mut A {
        &mut self.aggregate
    }
}

impl<A: Hosted> LogStore<A> {
    /// Over the system at `connection`, whose route of an aggregate's events is `events`: the second of
    /// [`crate::Hosting::events`].
    pub fn new(connection: Connection, events: &'static str) -> Self {
        let route = events.split_once("{id}").unwrap_or((events, ""));
        Self { connection, route, retry: Retry::every(Duration::from_millis(50), AWAY), seen: Arc::default(), of: PhantomData }
    }

    /// Asks a system that is away for so long again; a minute if not given.
    #[must_use]
    pub fn patient(self, give_up: Duration) -> Self {
        Self { retry: Retry::every(Duration::from_millis(50), give_up), ..self }
    }

    fn path(&self, id: &str) -> String {
        format!("{}{}{}", self.route.0, daybook::uri::part(id), self.route.1)
    }

    /// What all answers said of where a reader must stand.
    fn position(&self) -> Option<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let entries: Vec<String> = seen.iter().map(|(place, next)| format!("{place}:{next}")).collect();
        (!entries.is_empty()).then(|| entries.join(","))
    }

    fn saw(&self, answer: &Response) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, next) in answer.position.iter().flat_map(|all| all.split(',')).filter_map(|entry| entry.rsplit_once(':')) {
            let known = seen.entry(place.to_owned()).or_default();
            *known = next.parse().map_or(*known, |next: u64| next.max(*known));
        }
    }

    async fn rows(&self, id: &str) -> Result<Vec<EventRow>, AggregateError<A::Error>> {
        let (path, position) = (self.path(id), self.position());
        let listed = self.connection.list_at::<EventRow>(&path, PAGE, position.as_deref(), &self.retry).await;
        let rows = listed.map_err(unexpected)?.ok_or_else(|| unexpected(format!("GET {path}: the system has no such route")))?.items;
        // What is missing in the middle must not become a state.
        match rows.iter().zip(1..).find(|(row, sequence)| row.sequence != *sequence) {
            Some((row, sequence)) => Err(unexpected(format!("{} {id} shows event {} in the place of {sequence}", A::TYPE, row.sequence))),
            None => Ok(rows),
        }
    }
}

fn unexpected<E: std::error::Error>(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> AggregateError<E> {
    AggregateError::UnexpectedError(why.into())
}

fn envelope<A: Hosted>(row: EventRow) -> Result<EventEnvelope<A>, AggregateError<A::Error>> {
    let payload = upcast::<A>(&row.event_type, &row.version, row.payload).map_err(|why| AggregateError::DeserializationError(why.into()))?;
    let sequence = usize::try_from(row.sequence).map_err(unexpected)?;
    Ok(EventEnvelope { aggregate_id: row.id, sequence, payload, metadata: row.metadata.into_iter().collect() })
}

impl<A: Hosted> EventStore<A> for LogStore<A> {
    type AC = Loaded<A>;

    async fn load_events(&self, aggregate_id: &str) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        self.rows(aggregate_id).await?.into_iter().map(envelope).collect()
    }

    async fn load_aggregate(&self, aggregate_id: &str) -> Result<Loaded<A>, AggregateError<A::Error>> {
        let mut loaded = Loaded { id: aggregate_id.to_owned(), aggregate: A::default(), version: 0 };
        for event in self.load_events(aggregate_id).await? {
            loaded.aggregate.apply(event.payload);
            loaded.version += 1;
        }
        Ok(loaded)
    }

    async fn commit(
        &self,
        events: Vec<A::Event>,
        context: Loaded<A>,
        metadata: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        let Loaded { id, version: expected, .. } = context;
        if events.is_empty() {
            return Ok(vec![]);
        }
        let recorded: BTreeMap<String, String> = metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let appended = |event: &A::Event| {
            let payload = serde_json::to_value(event).map_err(unexpected)?;
            Ok(AppendedV1 { event_type: event.event_type(), version: event.event_version(), payload, metadata: recorded.clone() })
        };
        let events_written = events.iter().map(appended).collect::<Result<_, AggregateError<A::Error>>>()?;
        let body = serde_json::to_value(AppendV1 { expected, events: events_written }).map_err(unexpected)?;
        let (path, name) = (self.path(&id), uuid::Uuid::now_v7().to_string());
        let command = Command { method: Method::POST, path: &path, id: &name, occurred_at: None, body: &body };
        let answer = self.connection.command(&command, &self.retry).await.map_err(|why| AggregateError::DatabaseConnectionError(why.into()))?;
        self.saw(&answer);
        let said = answer.body();
        if !answer.status.is_success() {
            let code = said["code"].as_str().or(said["type"].as_str()).unwrap_or_default();
            return Err(if code.ends_with(CONFLICT) { AggregateError::AggregateConflict } else { unexpected(format!("POST {path}: {}", answer.text)) });
        }
        let numbered = events.into_iter().zip(expected + 1..).map(|(payload, sequence)| {
            let sequence = usize::try_from(sequence).map_err(unexpected)?;
            Ok(EventEnvelope { aggregate_id: id.clone(), sequence, payload, metadata: metadata.clone() })
        });
        numbered.collect()
    }
}
