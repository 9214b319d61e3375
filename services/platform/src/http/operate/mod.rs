//! What operators ask of a running marketplace: one aggregate, sagas that wait, topics and their records, and the two
//! things they may do: end a saga through a command of its own, and trim commands that are decided. Knows no noun of
//! the marketplace.

use axum::Router;
use axum::routing::{get, post};

use super::app::App;

mod disk;
mod inspect;
pub mod places;
mod records;
mod sagas;
mod stopped;
mod topics;
mod trim;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/inspect/{aggregate}/{id}", get(inspect::show))
        .route("/sagas", get(sagas::list))
        .route("/sagas/{aggregate}/{id}/end", post(sagas::end))
        .route("/partitions", get(stopped::list))
        .route("/partitions/{topic}/{partition}/{offset}", get(stopped::show))
        .route("/partitions/{topic}/{partition}/{offset}/retry", post(stopped::retry))
        .route("/partitions/{topic}/{partition}/{offset}/skip", post(stopped::skip))
        .route("/topics", get(topics::list))
        .route("/topics/{topic}", get(topics::extents))
        .route("/topics/{topic}/{partition}", get(records::page))
        .route("/trim", post(trim::trim))
}
