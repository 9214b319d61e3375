//! Reads of views: as fresh as the caller asks for, saying how fresh they are.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::routing_key;
use projections::{NotServed, Projection};
use schemas::{Partition, partition_of};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::command::Waiting;
use super::failure::Failure;
use super::forward::Elsewhere;
use super::{App, token};

/// How long a read waits for its view to reach the caller's position, if the caller does not say.
pub const WAIT: Duration = Duration::from_secs(5);
/// Most rows of a page.
const LIMIT_MAX: usize = 1_000;

/// The view, once it stands where the caller needs it.
pub async fn view<'a>(app: &'a App, name: &'static str, headers: &HeaderMap) -> Result<&'a Arc<Projection>, Failure> {
    view_of(app, name, None, headers).await
}

/// The same for what lies in this partition of its topic: others may stand still.
async fn view_of<'a>(app: &'a App, name: &'static str, of: Option<Partition>, headers: &HeaderMap) -> Result<&'a Arc<Projection>, Failure> {
    let token = token::read(headers)?;
    let missing = || {
        app.forward.service_of(name).map_or_else(|| Failure::internal(format!("there is no view {name}")), |service| Failure::elsewhere(Elsewhere::of(service)))
    };
    let view = app.views.get(name).ok_or_else(missing)?;
    let deadline = Instant::now() + Waiting::of(headers)?.unwrap_or(WAIT);
    loop {
        let folded = app.folded(name);
        match view.serves(&token, of) {
            Ok(()) => return Ok(view),
            Err(NotServed::Behind(_)) if timeout_at(deadline, folded).await.is_ok() => {}
            Err(why) => return Err(why.into()),
        }
    }
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
    let of = partition_of(routing_key(subject).as_bytes(), app.log.partitions());
    let view = view_of(app, name, Some(of), headers).await?;
    let positions = token::write(&view.positions()); // before the row: it may be newer than this says, never older
    let found: T = view.get(key)?.ok_or_else(|| Failure::not_found(format!("{name} has nothing under this id")))?;
    let etag = format!("\"{}\"", revision(&found));
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|given| given.as_bytes() == etag.as_bytes());
    let body = if known { StatusCode::NOT_MODIFIED.into_response() } else { Json(found).into_response() };
    Ok(stamped(body, &positions, Some(&etag)))
}

/// How much of a listing, and from where.
#[derive(Debug, Default, Deserialize)]
pub struct Listing {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// The answer with the rows under a prefix, a page at a time: `{"items": […], "next": <cursor>}`.
pub async fn list<T: Serialize + DeserializeOwned>(
    app: &App,
    name: &'static str,
    prefix: &str,
    listing: Listing,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let view = view(app, name, headers).await?;
    let positions = token::write(&view.positions());
    let (rows, next) = page::<T>(view, prefix, listing)?;
    let items: Vec<T> = rows.into_iter().map(|(_, row)| row).collect();
    Ok(stamped(Json(json!({ "items": items, "next": next })).into_response(), &positions, None))
}

/// The same where the rows under the prefix are ids, and `key` gives the keys of the rows that they name.
pub async fn list_through<T: Serialize + DeserializeOwned>(
    app: &App,
    name: &'static str,
    prefix: &str,
    key: fn(&str) -> String,
    listing: Listing,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let view = view(app, name, headers).await?;
    let positions = token::write(&view.positions());
    let (ids, next) = page::<String>(view, prefix, listing)?;
    let items = ids.iter().map(|(_, id)| view.get::<T>(&key(id))).collect::<Result<Vec<_>, _>>()?;
    let items: Vec<T> = items.into_iter().flatten().collect();
    Ok(stamped(Json(json!({ "items": items, "next": next })).into_response(), &positions, None))
}

/// Rows with their keys, and the cursor of the page behind them.
type Page<T> = (Vec<(String, T)>, Option<String>);

/// A page of the rows under a prefix.
fn page<T: DeserializeOwned>(view: &Projection, prefix: &str, listing: Listing) -> Result<Page<T>, Failure> {
    let limit = listing.limit.unwrap_or(100).clamp(1, LIMIT_MAX);
    let from = listing.cursor.as_deref().filter(|cursor| cursor.starts_with(prefix));
    if listing.cursor.is_some() && from.is_none() {
        return Err(Failure::bad("/query/cursor", "this cursor belongs to another listing: start without one"));
    }
    let mut rows = view.scan::<T>(prefix, from, limit + 1)?;
    let next = if rows.len() > limit { rows.pop().map(|(key, _)| key) } else { None };
    Ok((rows, next))
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
