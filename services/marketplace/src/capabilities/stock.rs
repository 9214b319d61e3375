//! Stock: what sellers have, and what is promised to orders.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use daybook::eventstore::service::Service;
use daybook::projections::{FoldError, Overlay, Seen};
use domain::ProductRef;
use domain::policies::{BindStock, ReserveStock};
use domain::stock::{Command, Event, Pieces, StockItem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rows::{PAIR, impossible, listing_key, try_update};
use daybook::capability::Capability;
use daybook::http::app::{App, id_of};
use daybook::http::as_of::{AsOf, row_of};
use daybook::http::body::Body;
use daybook::http::command::{CommandRequest, Failure};
use daybook::http::extract::{Path, Query};
use daybook::http::given::Both;
use daybook::http::read::{Listing, Under, list};
use daybook::http::route::{Operation, Routes};
use daybook::identity::access::Access;

/// The service.
pub fn capability() -> Capability {
    let receipt = Operation::command::<StockItem>("Books pieces that came in").text_part("id", "42-1", PAIR);
    let routes = Routes::of("stock", Access::Anyone)
        .get("/stock", browse, Operation::page::<StockRow>("Lists stock"))
        .get("/stock/{id}", show, Operation::row::<StockRow>("Shows what there is of a product").text_part("id", "42-1", PAIR))
        .post("/stock/{id}/receipts", receive, receipt.by(Access::Owners(&["seller"])).example(json!({ "quantity": 10, "reference": "delivery 1" })));
    let service =
        Service::new("stock").owns::<StockItem, _>().belongs_to("seller").follows::<BindStock, _>("catalog").follows_across::<ReserveStock, _>("ordering");
    Capability::of(service).view("stock-items", 2, fold).routes(routes)
}

/// What readers see of a stock item.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
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

fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let Some(event) = seen.event::<StockItem, _>()? else { return Ok(()) };
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

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Receipt {
    quantity: u64,
    reference: String,
}

async fn receive(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap, Body(given): Body<Receipt>) -> Result<Response, Failure> {
    let id = id_of::<ProductRef>(&id)?;
    CommandRequest::<StockItem>::own("stock", id, &headers)?.send(&app, &Command::Receive { quantity: given.quantity, reference: given.reference }).await
}

async fn show(State(app): State<App>, Path(id): Path<String>, Query(then): Query<AsOf>, headers: HeaderMap) -> Result<Response, Failure> {
    let id = id_of::<ProductRef>(&id)?;
    row_of::<StockItem, StockRow>(&app, "stock-items", (&id, &listing_key(&id)), &then, &headers, |row| row.revision).await
}

#[derive(Deserialize, JsonSchema)]
struct Filter {
    seller: Option<u64>,
}

async fn browse(State(app): State<App>, Query(Both(filter, listing)): Query<Both<Filter, Listing>>, headers: HeaderMap) -> Result<Response, Failure> {
    let seller = filter.seller.map(|seller| seller.to_string());
    let prefix = seller.as_ref().map(|seller| format!("{seller:0>20}-")).unwrap_or_default();
    list::<StockRow>(&app, "stock-items", Under { subject: seller.as_deref(), prefix: &prefix }, listing, &headers).await
}
