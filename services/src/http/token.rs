//! Position tokens: where a reader must stand to see what a writer wrote. `<topic>:<partition>:<next offset>`, comma-separated.

use axum::http::HeaderMap;
use eventstore::{Offset, Positions};
use schemas::{Partition, Topic};

use super::failure::Failure;

/// The header that carries tokens, both ways.
pub const POSITION: &str = "daybook-position";
/// Most entries of a token.
const ENTRIES_MAX: usize = 256;

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
