//! Reads of views: as fresh as the caller asks for, saying how fresh they are.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use eventstore::{Fault, Offset, Positions};
use projections::{Projection, ReadError};
use schemars::JsonSchema;
use schemas::{Partition, Topic};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::app::{App, blocking};
use super::elsewhere::Elsewhere;
use super::failure::Failure;
use super::personal::{self, shown};
use super::prefer::Prefer;
use super::{conditions, scope, token};

/// How long a read waits for its view to reach the caller's position, if the caller does not say.
pub const WAIT: Duration = Duration::from_secs(5);
/// A view that is this long behind a position may never get there: the log is asked whether there is such a place.
const SOON: Duration = Duration::from_millis(100);
/// Most rows of a page.
const LIMIT_MAX: usize = 1_000;
/// Most bytes of a page's rows as they are kept, a single larger row excepted.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// The view, once it stands where the caller needs it.
pub async fn view<'a>(app: &'a App, name: &'static str, headers: &HeaderMap) -> Result<&'a Arc<Projection>, Failure> {
    view_of(app, name, None, headers).await
}

/// The same for what lies in this partition of its topic: others may stand still.
pub async fn view_of<'a>(app: &'a App, name: &'static str, of: Option<Partition>, headers: &HeaderMap) -> Result<&'a Arc<Projection>, Failure> {
    let token = token::read(headers)?;
    let missing = || {
        app.views.forward.service_of(name).map_or_else(
            || Failure::internal(format!("there is no view {name}")),
            |service| app.is_somewhere(service).err().unwrap_or_else(|| Failure::elsewhere(Elsewhere::of(service))),
        )
    };
    let view = app.views.get(name).ok_or_else(missing)?;
    let (began, deadline) = (Instant::now(), Instant::now() + Prefer::of(headers).wait.unwrap_or(WAIT));
    may_be(app, &token)?;
    let mut asked = false;
    loop {
        let folded = app.views.folded(name);
        match view.serves(&token, of) {
            Ok(()) => return Ok(view),
            Err(ReadError::Behind(_)) if app.in_time(if asked { deadline } else { deadline.min(began + SOON) }, folded).await.is_some() => {}
            Err(ReadError::Behind(_)) if !asked => {
                asked = true;
                let own: Positions = token.iter().filter(|(topic, ..)| *topic == view.view().topic).cloned().collect();
                app.in_time(deadline, not_beyond(app, own)).await.unwrap_or(Ok(()))?; // while the log is away nobody can tell
            }
            Err(why) => return Err(why.into()),
        }
    }
}

fn wrong(why: String) -> Failure {
    Failure::bad("/headers/daybook-position", why)
}

/// That there can be such places, as far as it is known here without asking.
fn may_be(app: &App, token: &Positions) -> Result<(), Failure> {
    for (topic, partition, next) in token {
        if partition.0 >= app.log.partitions() {
            return Err(wrong(format!("there is no partition {partition}: they are numbered from 0 to {}", app.log.partitions() - 1)));
        }
        if !app.operator.services.values().any(|service| service.events() == *topic) {
            return Err(wrong(format!("no view follows a topic {topic}")));
        }
        if let Some(end) = app.log.end_known(topic, *partition).filter(|end| next > end) {
            return Err(beyond(topic, *partition, *next, end));
        }
    }
    Ok(())
}

/// The same by the log itself.
async fn not_beyond(app: &App, token: Positions) -> Result<(), Failure> {
    let log = Arc::clone(&app.log);
    blocking(move || {
        for (topic, partition, next) in token {
            // A broker that is away has its own answer: the view is behind.
            match log.end(&topic, partition) {
                Ok(end) if next > end => return Err(beyond(&topic, partition, next, end)),
                _ => {}
            }
        }
        Ok(())
    })
    .await
}

fn beyond(topic: &Topic, partition: Partition, next: Offset, end: Offset) -> Failure {
    wrong(format!("{topic}/{partition} ends at offset {end}, and {next} lies beyond: this position is of another log, or was made up"))
}

/// The answer with the row of one aggregate, its version as ETag, and the view's position. `subject` is the aggregate's
/// id: it says in which partition its events lie.
pub async fn row<T: Serialize + DeserializeOwned>(
    app: &App,
    name: &'static str,
    (subject, key): (&str, &str),
    headers: &HeaderMap,
    revision: fn(&T) -> u64,
) -> Result<Response, Failure> {
    scope::owned(Some((app.log.rules().routing_key)(subject)))?;
    let of = app.log.partition_of(subject);
    let view = view_of(app, name, Some(of), headers).await?;
    let positions = token::write(&view.positions()); // before the row: it may be newer than this says, never older
    let found: T = view.get(key)?.ok_or_else(|| nothing(name))?;
    answered(app, &found, revision(&found), &positions, headers)
}

/// What is answered where a view has no such row.
pub fn nothing(view: &str) -> Failure {
    Failure::not_found(format!("{view} has nothing under this id"))
}

/// The answer with a row that stands at this version, unless the caller knows it.
pub fn answered(app: &App, found: &impl Serialize, version: u64, positions: &str, headers: &HeaderMap) -> Result<Response, Failure> {
    let body = match conditions::of_read(headers, version)? {
        None => personal::answer(app, found)?,
        Some(condition) => condition.into_response(),
    };
    Ok(stamped(body, positions, Some(&format!("\"{version}\""))))
}

/// How much of a listing, and from where.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct Listing {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// The rows under a prefix; of one aggregate's, whose: then they lie in its partition alone.
#[derive(Clone, Copy)]
pub struct Under<'p> {
    /// the aggregate's id, or as much of it as says its routing key
    pub subject: Option<&'p str>,
    /// of their keys
    pub prefix: &'p str,
}

impl<'p> Under<'p> {
    /// From all partitions.
    pub fn all(prefix: &'p str) -> Self {
        Self { subject: None, prefix }
    }

    /// Of this aggregate.
    pub fn one(subject: &'p str, prefix: &'p str) -> Self {
        Self { subject: Some(subject), prefix }
    }

    async fn view<'a>(&self, app: &'a App, name: &'static str, headers: &HeaderMap) -> Result<&'a Arc<Projection>, Failure> {
        scope::owned(self.subject.map(|subject| (app.log.rules().routing_key)(subject)))?;
        view_of(app, name, self.subject.map(|subject| app.log.partition_of(subject)), headers).await
    }
}

/// The answer with rows, a page at a time: `{"items": […], "next": <cursor>}`.
pub async fn list<T: Serialize + DeserializeOwned>(
    app: &App,
    name: &'static str,
    under: Under<'_>,
    listing: Listing,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let view = under.view(app, name, headers).await?;
    let positions = token::write(&view.positions());
    let page = page::<T>(under.prefix, &listing, |from, limit| view.page(under.prefix, from, limit, PAGE_BYTES_MAX))?;
    listed(app, view, under, page, &positions)
}

/// The same where the rows under the prefix are ids, and `key` gives the keys of the rows that they name.
pub async fn list_through<T: Serialize + DeserializeOwned>(
    app: &App,
    name: &'static str,
    under: Under<'_>,
    key: fn(&str) -> String,
    listing: Listing,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let view = under.view(app, name, headers).await?;
    let positions = token::write(&view.positions());
    let page = page::<T>(under.prefix, &listing, |from, limit| view.page_through(under.prefix, from, key, limit, PAGE_BYTES_MAX))?;
    listed(app, view, under, page, &positions)
}

fn listed<T: Serialize>(app: &App, view: &Projection, under: Under<'_>, (items, next): Page<T>, positions: &str) -> Result<Response, Failure> {
    let mut body = json!({ "items": shown(app, &items)?, "next": next });
    let missing = if under.subject.is_some() { vec![] } else { missing(view) };
    if !missing.is_empty() {
        body["missing"] = missing.into();
    }
    Ok(stamped(Json(body).into_response(), positions, None))
}

/// The partitions of which a view shows nothing new, and why: whoever reads across partitions is told.
pub fn missing(view: &Projection) -> Vec<Value> {
    view.stops().into_iter().map(|stuck| json!({ "partition": stuck.partition.0, "why": stuck.to_string() })).collect()
}

/// A page's rows and the cursor of the next one, as `read` gives them: from a key on, so many at most.
type Page<T> = (Vec<T>, Option<String>);

fn page<T>(prefix: &str, listing: &Listing, read: impl FnOnce(Option<&str>, usize) -> Result<Page<T>, Fault>) -> Result<Page<T>, Failure> {
    let limit = listing.limit.unwrap_or(100).clamp(1, LIMIT_MAX);
    let from = listing.cursor.as_deref().filter(|cursor| cursor.starts_with(prefix));
    if listing.cursor.is_some() && from.is_none() {
        return Err(Failure::bad("/query/cursor", "this cursor belongs to another listing: start without one"));
    }
    Ok(read(from, limit)?)
}

/// The answer with the position it was read at, and its version.
pub fn stamped(mut response: Response, positions: &str, etag: Option<&str>) -> Response {
    let mut set = |name: header::HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::HeaderName::from_static(token::POSITION), positions);
    etag.into_iter().for_each(|etag| set(header::ETAG, etag));
    response
}
