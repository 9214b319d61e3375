//! What a customer's orders came to: payments, deliveries, refunds. Folded from the orders' events, which record the
//! outcomes of the others' work.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use daybook::projections::{FoldError, Overlay, Seen};
use domain::order::{Event, Order};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use daybook::http::app::App;
use daybook::http::command::Failure;
use daybook::http::extract::Path;
use daybook::http::read::row;

/// What readers see of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct StatisticsRow {
    /// the customer's number
    pub customer: u64,
    /// orders that were placed
    pub orders: u64,
    /// payments that were captured
    pub payments_succeeded: u64,
    /// payments that were refused
    pub payments_failed: u64,
    /// packages that were delivered
    pub deliveries: u64,
    /// refunds that were paid
    pub refunds: u64,
    /// how many events it counts
    pub revision: u64,
}

/// The view.
pub fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let Some(event) = seen.event::<Order, _>()? else { return Ok(()) };
    let Some((customer, _)) = seen.envelope.subject.split_once('-') else { return Ok(()) };
    let count: fn(&mut StatisticsRow) -> &mut u64 = match event {
        Event::Placed { .. } => |row| &mut row.orders,
        Event::Paid(_) => |row| &mut row.payments_succeeded,
        Event::PaymentFailed { .. } => |row| &mut row.payments_failed,
        Event::LineDelivered { .. } => |row| &mut row.deliveries,
        Event::Refunded { .. } => |row| &mut row.refunds,
        _ => return Ok(()),
    };
    rows.update::<StatisticsRow>(customer, |row| {
        row.customer = customer.parse().unwrap_or_default();
        *count(row) += 1;
        row.revision += 1;
    })?;
    Ok(())
}

/// `GET /customers/{id}/statistics`
pub async fn show(State(app): State<App>, Path(id): Path<u64>, headers: HeaderMap) -> Result<Response, Failure> {
    row::<StatisticsRow>(&app, "statistics", (&id.to_string(), &id.to_string()), &headers, |row| row.revision).await
}
