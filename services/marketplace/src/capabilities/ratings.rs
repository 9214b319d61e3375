//! Ratings: what reviews make of products, as the catalog hears it. Part of the catalog's service.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use daybook::projections::{FoldError, Overlay, Seen};
use domain::ProductRef;
use domain::rating::{Event, Rating};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rows::{PAIR, listing_key};
use daybook::http::app::{App, id_of};
use daybook::http::as_of::{AsOf, row_of};
use daybook::http::command::Failure;
use daybook::http::extract::{Path, Query};
use daybook::http::read::{Listing, Under, list};
use daybook::http::route::{Operation, Routes};
use daybook::identity::access::Access;

/// How they are reached.
pub fn routes() -> Routes {
    let one = Operation::row::<RatingRow>("Shows what buyers make of a product").text_part("id", "42-1", PAIR);
    Routes::of("catalog", Access::Anyone).get("/products/{id}/rating", show, one).get(
        "/ratings",
        browse,
        Operation::page::<RatingRow>("Lists what buyers make of products"),
    )
}

/// What readers see of a product's rating. A product that nobody reviewed has none.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct RatingRow {
    /// the product's: `<seller>-<product>`
    pub id: String,
    /// reviews that stand
    pub reviews: u64,
    /// their stars, on average, to two places; none where none stands
    pub average: Option<String>,
    /// the aggregate's version
    pub revision: u64,
}

/// The view of them.
pub fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let Some(Event::Rated { reviews, stars }) = seen.event::<Rating, _>()? else { return Ok(()) };
    let average = Rating { reviews, stars }.average().map(|hundredths| format!("{}.{:0>2}", hundredths / 100, hundredths % 100));
    let (id, revision) = (seen.envelope.subject.clone(), seen.envelope.version.unwrap_or_default());
    rows.put(listing_key(&id), RatingRow { id, reviews, average, revision });
    Ok(())
}

async fn show(State(app): State<App>, Path(id): Path<String>, Query(then): Query<AsOf>, headers: HeaderMap) -> Result<Response, Failure> {
    let id = id_of::<ProductRef>(&id)?;
    row_of::<Rating, RatingRow>(&app, "ratings", (&id, &listing_key(&id)), &then, &headers, |row| row.revision).await
}

async fn browse(State(app): State<App>, Query(listing): Query<Listing>, headers: HeaderMap) -> Result<Response, Failure> {
    list::<RatingRow>(&app, "ratings", Under::all(""), listing, &headers).await
}
