//! Orders: what became of checkouts, with their whole history.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use daybook::eventstore::service::Service;
use daybook::projections::{FoldError, Overlay, Seen};
use domain::order::{Command, Ending, Event, Order, Returned};
use domain::policies::{PlaceOrder, RecordPayment, RecordReply, RecordShipment};
use domain::shipment::{Package, Status};
use domain::{Currency, Money, OrderId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rows::{PAIR, StepRow, add, impossible, listing_key, try_update};
use super::{shipment, statistics};
use crate::money::CURRENCY;
use daybook::capability::Capability;
use daybook::http::app::{App, id_of};
use daybook::http::as_of::{AsOf, row_of};
use daybook::http::body::Body;
use daybook::http::command::{CommandRequest, Failure};
use daybook::http::extract::{Path, Query};
use daybook::http::given::Both;
use daybook::http::read::{Listing, Under, list, list_through};
use daybook::http::route::{Operation, Routes};
use daybook::identity::access::{Access, OPERATORS};

/// The service.
pub fn capability() -> Capability {
    let order = |operation: Operation| operation.text_part("id", "17-1", PAIR);
    let refund_of = Operation::command::<Order>("Asks for the money of pieces that come back");
    let routes = Routes::of("ordering", Access::Owners(&["customer"]))
        .get("/orders", browse, Operation::page::<OrderRow>("Lists orders"))
        .get("/orders/{id}", show, order(Operation::row::<OrderRow>("Shows an order")))
        .get("/orders/{id}/history", history, order(Operation::page::<StepRow>("Lists what happened to an order")))
        .get("/orders/{id}/refunds", refunds, order(Operation::page::<RefundRow>("Lists an order's refunds")))
        .post(
            "/orders/{id}/refunds",
            refund,
            order(refund_of).by(OPERATORS).example(json!({ "reference": "return 1", "lines": [{ "line": 0, "quantity": 1 }] })),
        )
        .get(
            "/customers/{id}/statistics",
            statistics::show,
            Operation::row::<statistics::StatisticsRow>("Shows what a customer's orders came to").part("id", "17"),
        );
    let service = Service::new("ordering")
        .owns::<Order, _>()
        .belongs_to("customer")
        .follows::<PlaceOrder, _>("cart")
        .follows::<RecordPayment, _>("payment")
        .follows::<RecordShipment, _>("shipment")
        .follows_across::<RecordReply, _>("stock");
    Capability::of(service).view("orders", 3, fold).readable_from(2).view("statistics", 1, statistics::fold).routes(routes)
}

/// What readers see of an order's line.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "OrderLine")]
pub struct LineRow {
    /// `<seller>-<product>`
    pub product: String,
    /// the version it was priced with
    pub version: Option<String>,
    /// its name
    pub name: String,
    /// how many
    pub quantity: u32,
    /// of one
    pub unit_price: String,
    /// for shipping the line
    pub freight_value: String,
    /// a discount
    pub voucher: String,
    /// `awaited`, `reserved`, or why stock could not promise it
    pub status: String,
    /// pieces that were returned for their money
    pub returned: u32,
    /// what was given back for them; not known of what an older rule settled
    pub refunded: Option<String>,
    /// its package is there
    pub delivered: bool,
}

/// What readers see of an order.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct OrderRow {
    /// `<customer>-<number>`
    pub id: String,
    /// `reserving`, `invoiced`, `cancelling`, `paid`, `payment-failed`, `refused` or `expired`
    pub status: String,
    /// the caller's own name for the sale
    pub reference: Option<String>,
    /// when, in business time
    pub placed_at: String,
    /// the invoice's number, once it is priced
    pub invoice: Option<String>,
    /// of all amounts
    pub currency: String,
    /// prices of the lines that could be reserved
    pub items_total: String,
    /// their freight
    pub freight_total: String,
    /// their discounts
    pub discount_total: String,
    /// items + freight - discounts
    pub total: String,
    /// what of it was given back
    pub refunded: String,
    /// what is on its way back
    pub refunding: String,
    /// its packages: `approved`, `in-progress` or `concluded`, once they were sent
    pub shipment: Option<String>,
    /// what was ordered
    pub lines: Vec<LineRow>,
    /// what the cart left behind: product and reason
    pub dropped: Vec<(String, String)>,
    /// the aggregate's version
    pub revision: u64,
}

/// What readers see of a refund.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct RefundRow {
    /// which of the order's refunds, from 1
    pub refund: u32,
    /// the caller's own name for it
    pub reference: String,
    /// what comes back
    pub lines: Vec<RefundLine>,
    /// for how much
    pub amount: String,
    /// the money is back
    pub done: bool,
}

/// Pieces of an order's line that come back.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundLine {
    /// the line's place in the order, from 0
    pub line: u32,
    /// how many
    pub quantity: u32,
}

fn refund_key(key: &str, refund: u32) -> String {
    format!("f/{key}/{refund:0>10}")
}

fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let Some(event) = seen.event::<Order, _>()? else { return Ok(()) };
    let envelope = seen.envelope;
    let (version, key) = (envelope.version.unwrap_or_default(), listing_key(&envelope.subject));
    let line = match &event {
        Event::LineReserved { line } | Event::LineShort { line, .. } | Event::LineDelivered { line, .. } => Some(*line),
        _ => None,
    };
    StepRow::of(seen, line).put(rows, &key);
    if let Event::Placed { checkout, .. } = &event
        && let Some(reference) = &checkout.checkout.reference
    {
        rows.put(format!("{}{key}", by_reference(reference)), envelope.subject.clone());
    }
    match &event {
        Event::RefundAsked { refund, reference, lines, amount } => {
            let line = |back: &Returned| RefundLine { line: back.line, quantity: back.quantity };
            let lines = lines.iter().map(line).collect();
            rows.put(refund_key(&key, *refund), RefundRow { refund: *refund, reference: reference.clone(), lines, amount: amount.to_string(), done: false });
        }
        Event::Refunded { refund, .. } => rows.update::<RefundRow>(&refund_key(&key, *refund), |row| row.done = true)?,
        _ => {}
    }
    try_update::<OrderRow>(rows, &format!("o/{key}"), |row| {
        row.id.clone_from(&envelope.subject);
        row.revision = version;
        row.evolve(event)
    })
}

impl OrderRow {
    fn evolve(&mut self, event: Event) -> Result<(), FoldError> {
        match event {
            Event::Placed { checkout, placed_at, .. } => {
                self.placed_at = placed_at.to_string();
                self.reference = checkout.checkout.reference;
                self.currency = checkout.lines.first().map(|line| line.unit_price.currency.code().to_owned()).unwrap_or_default();
                self.dropped = checkout.dropped.iter().map(|(product, why)| (product.to_string(), format!("{why:?}").to_ascii_lowercase())).collect();
                let line = |line: domain::cart::PricedLine| LineRow {
                    product: line.product.to_string(),
                    version: line.version,
                    name: line.name,
                    quantity: line.quantity,
                    unit_price: line.unit_price.to_string(),
                    freight_value: line.freight.to_string(),
                    voucher: line.voucher.to_string(),
                    status: "awaited".to_owned(),
                    returned: 0,
                    refunded: Some(Money::zero(line.unit_price.currency).to_string()),
                    delivered: false,
                };
                self.refunded = Money::zero(checkout.lines.first().map_or(CURRENCY, |line| line.unit_price.currency)).to_string();
                self.refunding.clone_from(&self.refunded);
                self.lines = checkout.lines.into_iter().map(line).collect();
                self.status = "reserving".to_owned();
            }
            Event::LineReserved { line } => self.line(line, "reserved"),
            Event::LineShort { line, why } => self.line(line, shortage(why)),
            Event::Invoiced { invoice, .. } => {
                let zero = Money::zero(invoice.total.currency);
                let discount = invoice.discounts.iter().try_fold(zero, |sum, discount| sum.plus(*discount)).map_err(impossible)?;
                self.invoice = Some(invoice.number);
                self.items_total = invoice.items.to_string();
                self.freight_total = invoice.freight.to_string();
                self.discount_total = discount.to_string();
                self.total = invoice.total.to_string();
                self.status = "invoiced".to_owned();
            }
            Event::CancellationAsked => self.status = "cancelling".to_owned(),
            Event::Paid(_) => self.status = "paid".to_owned(),
            Event::PaymentFailed { .. } => self.status = "payment-failed".to_owned(),
            Event::Refused(Ending { .. }) => self.status = "refused".to_owned(),
            Event::Expired(_) => self.status = "expired".to_owned(),
            Event::RefundAsked { amount, .. } => add(&mut self.refunding, amount)?,
            Event::Refunded { lines, amount, .. } => {
                add(&mut self.refunding, Money::zero(amount.currency).minus(amount).map_err(impossible)?)?;
                add(&mut self.refunded, amount)?;
                for back in lines {
                    self.returned(&back, amount.currency)?;
                }
                self.arrived();
            }
            Event::Shipped { .. } => {
                self.shipment = Some("approved".to_owned());
                self.arrived();
            }
            Event::LineDelivered { line, .. } => {
                self.change(line, |line| line.delivered = true);
                self.arrived();
            }
        }
        Ok(())
    }

    fn returned(&mut self, back: &Returned, currency: Currency) -> Result<(), FoldError> {
        let mut summed = Ok(());
        self.change(back.line, |line| {
            line.returned = line.quantity.saturating_sub(back.kept);
            line.refunded = line.refunded.take().zip(back.settled).map(|(mut sum, settled)| {
                summed = add(&mut sum, Money::new(settled.amount, currency));
                sum
            });
        });
        summed
    }

    /// How far its shipment is.
    fn arrived(&mut self) {
        let reserved = self.lines.iter().filter(|line| line.status == "reserved");
        let status = Status::of(reserved.map(|line| Package::of(line.delivered, line.quantity.saturating_sub(line.returned))));
        if let Some(shipment) = &mut self.shipment {
            shipment::stands(status).clone_into(shipment);
        }
    }

    fn line(&mut self, line: u32, status: &str) {
        self.change(line, |line| status.clone_into(&mut line.status));
    }

    fn change(&mut self, line: u32, change: impl FnOnce(&mut LineRow)) {
        if let Some(line) = usize::try_from(line).ok().and_then(|at| self.lines.get_mut(at)) {
            change(line);
        }
    }
}

/// Keys of orders by their reference; its length keeps `a` apart from `a/b`.
fn by_reference(reference: &str) -> String {
    format!("r/{}/{reference}/", reference.len())
}

fn shortage(why: domain::stock::Shortage) -> &'static str {
    use domain::stock::Shortage::{OutOfStock, UnknownProduct, VersionGone, Withdrawn};
    match why {
        UnknownProduct => "unknown-product",
        OutOfStock => "out-of-stock",
        Withdrawn => "withdrawn",
        VersionGone => "version-gone",
    }
}

async fn show(State(app): State<App>, Path(id): Path<String>, Query(then): Query<AsOf>, headers: HeaderMap) -> Result<Response, Failure> {
    let id = id_of::<OrderId>(&id)?;
    row_of::<Order, OrderRow>(&app, "orders", (&id, &format!("o/{}", listing_key(&id))), &then, &headers, |row| row.revision).await
}

async fn history(State(app): State<App>, Path(id): Path<String>, Query(listing): Query<Listing>, headers: HeaderMap) -> Result<Response, Failure> {
    let id = id_of::<OrderId>(&id)?;
    list::<StepRow>(&app, "orders", Under::one(&id, &StepRow::prefix(&listing_key(&id))), listing, &headers).await
}

/// What is to come back.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RefundGiven {
    /// the caller's own name for it: the same again changes nothing
    reference: String,
    lines: Vec<RefundLine>,
}

async fn refund(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap, Body(given): Body<RefundGiven>) -> Result<Response, Failure> {
    let id = id_of::<OrderId>(&id)?;
    let lines = given.lines.iter().map(|line| (line.line, line.quantity)).collect();
    CommandRequest::<Order>::own("ordering", id, &headers)?.send(&app, &Command::Refund { reference: given.reference, lines }).await
}

async fn refunds(State(app): State<App>, Path(id): Path<String>, Query(listing): Query<Listing>, headers: HeaderMap) -> Result<Response, Failure> {
    let id = id_of::<OrderId>(&id)?;
    list::<RefundRow>(&app, "orders", Under::one(&id, &format!("f/{}/", listing_key(&id))), listing, &headers).await
}

#[derive(Deserialize, JsonSchema)]
struct Filter {
    customer: Option<u64>,
    reference: Option<String>,
}

async fn browse(State(app): State<App>, Query(Both(filter, listing)): Query<Both<Filter, Listing>>, headers: HeaderMap) -> Result<Response, Failure> {
    let customer = filter.customer.map(|customer| customer.to_string());
    let whose = customer.as_ref().map(|customer| format!("{customer:0>20}-")).unwrap_or_default();
    let prefix = filter.reference.as_ref().map_or_else(|| format!("o/{whose}"), |reference| format!("{}{whose}", by_reference(reference)));
    let under = Under { subject: customer.as_deref(), prefix: &prefix };
    match filter.reference {
        Some(_) => list_through::<OrderRow>(&app, "orders", under, own_key, listing, &headers).await,
        None => list::<OrderRow>(&app, "orders", under, listing, &headers).await,
    }
}

/// The key of the order that a reference's row names.
fn own_key(id: &str) -> String {
    format!("o/{}", listing_key(id))
}
