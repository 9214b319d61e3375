//! Position tokens: where a reader must stand to see what a writer wrote. `<topic>:<partition>:<next offset>`, comma-separated.

use std::collections::BTreeMap;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use eventstore::{Offset, Positions};
use schemas::{Partition, Topic};

use super::failure::Failure;

/// The header that carries tokens, both ways.
pub const POSITION: &str = "daybook-position";
/// Most entries of a token.
const ENTRIES_MAX: usize = 1_024;

/// A token as text.
pub fn write(positions: &Positions) -> String {
    positions.iter().map(|(topic, partition, next)| format!("{topic}:{partition}:{next}")).collect::<Vec<_>>().join(",")
}

/// The request's token; empty if it has none.
pub fn read(headers: &HeaderMap) -> Result<Positions, Failure> {
    let Some(text) = headers.get(POSITION) else { return Ok(vec![]) };
    let wrong = || Failure::bad("/headers/daybook-position", "a position is <topic>:<partition>:<next offset>, several of them separated by commas");
    let text = text.to_str().map_err(|_| wrong())?;
    let entries: Vec<&str> = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    if entries.len() > ENTRIES_MAX {
        return Err(wrong());
    }
    let parse = |entry: &str| {
        let (rest, next) = entry.rsplit_once(':')?;
        let (topic, partition) = rest.rsplit_once(':')?;
        Some((Topic::named(topic), Partition(partition.parse().ok()?), Offset(next.parse().ok()?)))
    };
    entries.into_iter().map(|entry| parse(entry).ok_or_else(wrong)).collect()
}

/// Adds to an answer's token what the caller's says of other places: a caller who sends the last answer's token with the
/// next request never reads behind what any answer before has told.
pub async fn carried(request: Request, next: Next) -> Response {
    let given = match read(request.headers()) {
        Ok(given) => given,
        Err(failure) => return failure.into_response(),
    };
    let mut response = next.run(request).await;
    let own = if given.is_empty() { None } else { read(response.headers()).ok().filter(|own| !own.is_empty()) };
    if let Some(own) = own {
        let mut all: BTreeMap<(Topic, Partition), Offset> = BTreeMap::new();
        for (topic, partition, next) in own.into_iter().chain(given) {
            if all.len() < ENTRIES_MAX {
                let known = all.entry((topic, partition)).or_default();
                *known = next.max(*known);
            }
        }
        let all = all.into_iter().map(|((topic, partition), next)| (topic, partition, next)).collect();
        if let Ok(value) = HeaderValue::from_str(&write(&all)) {
            response.headers_mut().insert(POSITION, value);
        }
    }
    response
}
