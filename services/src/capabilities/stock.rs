//! Stock: what sellers have, and what is promised to orders.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use domain::ProductRef;
use domain::policies::{BindStock, ReserveStock};
use domain::stock::{Command, Event, Pieces, StockItem};
use eventstore::service::Service;
use projections::{Overlay, Seen, Unfolded};
use serde::{Deserialize, Serialize};

use super::rows::{event_of, impossible, listing_key, try_update};
use crate::capability::Capability;
use crate::http::app::{App, id_of};
use crate::http::body::{AnyCase, Body};
use crate::http::command::{Ask, Failure};
use crate::http::given::{Both, Unused};
use crate::http::place::{Path, Query};
use crate::http::read::{Listing, Under, list, row};

/// The reference under which the benchmark's registration books an item's first pieces.
const FIRST: &str = "registration";

/// The service.
pub fn capability() -> Capability {
    let routes =
        axum::Router::new().route("/stock", get(browse).post(register_benchmark)).route("/stock/{id}", get(show)).route("/stock/{id}/receipts", post(receive));
    let service = Service::new("stock").owns::<StockItem>().follows::<BindStock>("catalog").follows_across::<ReserveStock>("ordering");
    Capability::of(service).view("stock-items", 2, fold).routes(routes)
}

/// What readers see of a stock item.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StockRow {
    /// `<seller>-<product>`
    pub id: String,
    /// the product version it is bound to; none until the catalog's event has arrived
    pub version: Option<String>,
    /// the product is no longer sold
    pub withdrawn: bool,
    /// pieces that ever came in
    pub received: u64,
    /// pieces that can be promised
    pub available: u64,
    /// pieces promised
    pub reserved: u64,
    /// pieces taken and kept
    pub sold: u64,
    /// pieces taken and given back
    pub returned: u64,
    /// orders' lines that took pieces
    pub order_count: u64,
    /// requests that could not be met
    pub short_count: u64,
    /// the aggregate's version
    pub revision: u64,
}

fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), Unfolded> {
    let Some(event) = event_of::<StockItem>(seen)? else { return Ok(()) };
    let id = &seen.envelope.subject;
    try_update::<StockRow>(rows, &listing_key(id), |row| {
        row.id.clone_from(id);
        row.revision = seen.envelope.version.unwrap_or_default();
        let before = Pieces { received: row.received, reserved: row.reserved, sold: row.sold, returned: row.returned };
        let after = before.after(&event).ok_or_else(|| impossible(format!("stock {id}: {event:?} cannot come after {before:?}")))?;
        Pieces { received: row.received, reserved: row.reserved, sold: row.sold, returned: row.returned } = after;
        row.available = after.available().unwrap_or_default();
        match event {
            Event::Bound { version } => row.version = Some(version),
            Event::Withdrawn => row.withdrawn = true,
            Event::Short { .. } => row.short_count += 1,
            Event::Confirmed { .. } => row.order_count += 1,
            _ => {}
        }
        Ok(())
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Receipt {
    quantity: u64,
    reference: String,
}

/// What the benchmark's registration says besides, and its stock counts by itself.
#[derive(Default, Deserialize)]
#[serde(default)]
#[allow(dead_code, reason = "read, and not needed")]
struct Counted {
    qty_reserved: Unused,
    order_count: Unused,
    ytd: Unused,
    data: Unused,
    version: Unused,
}

#[derive(Deserialize)]
struct Registration {
    seller_id: u64,
    product_id: u64,
    qty_available: u64,
}

async fn receive(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap, Body(given): Body<Receipt>) -> Result<Response, Failure> {
    let id = id_of::<ProductRef>(&id)?;
    Ask::<StockItem>::own("stock", id, &headers)?.send(&app, &Command::Receive { quantity: given.quantity, reference: given.reference }).await
}

async fn register_benchmark(
    State(app): State<App>,
    headers: HeaderMap,
    AnyCase(Both(given, _)): AnyCase<Both<Registration, Counted>>,
) -> Result<Response, Failure> {
    let id = format!("{}-{}", given.seller_id, given.product_id);
    let command = Command::Receive { quantity: given.qty_available, reference: FIRST.to_owned() };
    Ask::<StockItem>::benchmark("stock", id, &headers, None)?.created().send(&app, &command).await
}

async fn show(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, Failure> {
    let id = id_of::<ProductRef>(&id)?;
    row::<StockRow>(&app, "stock-items", (&id, &listing_key(&id)), &headers, |row| row.revision).await
}

#[derive(Deserialize)]
struct Filter {
    seller: Option<u64>,
}

async fn browse(State(app): State<App>, Query(Both(filter, listing)): Query<Both<Filter, Listing>>, headers: HeaderMap) -> Result<Response, Failure> {
    let seller = filter.seller.map(|seller| seller.to_string());
    let prefix = seller.as_ref().map(|seller| format!("{seller:0>20}-")).unwrap_or_default();
    list::<StockRow>(&app, "stock-items", Under { subject: seller.as_deref(), prefix: &prefix }, listing, &headers).await
}
