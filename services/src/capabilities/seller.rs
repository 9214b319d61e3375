//! The seller's view: their lines of all orders in progress, and what these add up to, as one snapshot. Its service
//! owns no decision: it re-keys the orders' events by seller, exactly once, so that the view folds one topic.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use domain::policies::ShareSales;
use domain::sale::{Event, Line, Sale};
use domain::{Currency, Money};
use eventstore::service::Service;
use projections::{Overlay, Seen, Unfolded};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Capability, event_of, listing_key};
use crate::http::App;
use crate::http::command::Failure;
use crate::http::place::{Path, Query};
use crate::http::read::{stamped, view};
use crate::http::token;

/// Most sales that one dashboard shows.
const SALES_MAX: usize = 10_000;
/// Most bytes of them, as they are kept.
const SALES_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The service.
pub fn capability() -> Capability {
    let routes = axum::Router::new().route("/sellers/{id}/dashboard", get(dashboard)).route("/seller/dashboard/{id}", get(dashboard_benchmark));
    Capability::of(Service::new("seller").owns::<Sale>().follows_across::<ShareSales>("ordering")).view("dashboards", 1, fold).routes(routes)
}

/// A seller's lines in progress of one order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SaleRow {
    order: String,
    /// `paid` or `shipped`
    status: String,
    lines: Vec<Line>,
}

/// What a seller's lines in progress add up to, in one currency's minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Totals {
    orders: i64,
    lines: i64,
    items: i64,
    amount: i64,
    freight: i64,
    discounts: i64,
}

/// The tables under a seller's prefix: totals sort first, so that one scan, which is one snapshot, has both.
const TOTALS: &str = "0";
const SALES: &str = "1";

fn amounts(line: &Line) -> (i64, i64) {
    let amount = line.unit_price.minor.saturating_mul(i64::from(line.quantity));
    (amount, line.voucher.minor.min(amount))
}

impl SaleRow {
    fn totals(&self) -> Totals {
        let zero = Totals { orders: i64::from(!self.lines.is_empty()), ..Totals::default() };
        self.lines.iter().fold(zero, |sum, line| {
            let (amount, discount) = amounts(line);
            Totals {
                orders: sum.orders,
                lines: sum.lines + 1,
                items: sum.items + i64::from(line.quantity),
                amount: sum.amount + amount,
                freight: sum.freight + line.freight.minor,
                discounts: sum.discounts + discount,
            }
        })
    }

    fn evolve(&mut self, event: Event) {
        match event {
            Event::Opened { .. } => {}
            Event::Paid { lines } => (self.status, self.lines) = ("paid".to_owned(), lines),
            Event::Shipped => "shipped".clone_into(&mut self.status),
            Event::Delivered { line } | Event::Returned { line, kept: 0 } => self.lines.retain(|open| open.line != line),
            Event::Returned { line, kept } => self.lines.iter_mut().filter(|open| open.line == line).for_each(|open| open.quantity = kept),
            Event::Closed => self.lines.clear(),
        }
    }
}

impl Totals {
    fn shift(&mut self, from: Self, to: Self) {
        self.orders += to.orders - from.orders;
        self.lines += to.lines - from.lines;
        self.items += to.items - from.items;
        self.amount += to.amount - from.amount;
        self.freight += to.freight - from.freight;
        self.discounts += to.discounts - from.discounts;
    }
}

fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), Unfolded> {
    let Some(event) = event_of::<Sale>(seen)? else { return Ok(()) };
    let Some((seller, order)) = seen.envelope.subject.split_once('-') else { return Ok(()) };
    let seller = format!("{seller:0>20}");
    let key = format!("{seller}/{SALES}/{}", listing_key(order));
    let (mut before, mut after, mut currency) = (Totals::default(), Totals::default(), None);
    rows.update::<SaleRow>(&key, |row| {
        order.clone_into(&mut row.order);
        let code = |row: &SaleRow| row.lines.first().map(|line| line.unit_price.currency.code());
        (before, currency) = (row.totals(), code(row));
        row.evolve(event);
        (after, currency) = (row.totals(), currency.or_else(|| code(row)));
    })?;
    if after.lines == 0 {
        rows.delete(key);
    }
    if let Some(currency) = currency.filter(|_| before != after) {
        rows.update::<Totals>(&format!("{seller}/{TOTALS}/{currency}"), |totals| totals.shift(before, after))?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Most {
    limit: Option<usize>,
}

struct Dashboard {
    totals: Vec<(Currency, Totals)>,
    sales: Vec<SaleRow>,
    positions: String,
}

/// One scan is one snapshot.
async fn read(app: &App, seller: u64, most: usize, headers: &HeaderMap) -> Result<Dashboard, Failure> {
    let view = view(app, "dashboards", headers).await?;
    let positions = token::write(&view.positions());
    let (mut totals, mut sales) = (vec![], vec![]);
    let (rows, _) = view.rows().scan_within(format!("{seller:0>20}/").as_bytes(), None, most.clamp(1, SALES_MAX) + 200, SALES_BYTES_MAX)?;
    for (key, row) in rows {
        let key = String::from_utf8_lossy(&key);
        let mut parts = key.split('/').skip(1);
        if parts.next() == Some(TOTALS) {
            let sums: Totals = projections::read(&key, &row)?;
            totals.extend(parts.next().and_then(Currency::from_code).filter(|_| sums.lines > 0).map(|currency| (currency, sums)));
        } else {
            sales.push(projections::read(&key, &row)?);
        }
    }
    Ok(Dashboard { totals, sales, positions })
}

async fn dashboard(State(app): State<App>, Path(seller): Path<u64>, Query(most): Query<Most>, headers: HeaderMap) -> Result<Response, Failure> {
    let most = most.limit.unwrap_or(SALES_MAX);
    let read = read(&app, seller, most, &headers).await?;
    let totals = read.totals.iter().map(|(currency, sums)| {
        let money = |minor: i64| Money::new(minor, *currency).to_string();
        json!({
            "currency": currency.code(), "orders": sums.orders, "lines": sums.lines, "items": sums.items, "amount": money(sums.amount),
            "freight": money(sums.freight), "discounts": money(sums.discounts), "invoice": money(sums.amount + sums.freight - sums.discounts),
        })
    });
    let every = read.sales.iter().flat_map(|sale| sale.lines.iter().map(move |line| shown(sale, line)));
    let lines: Vec<Shown<'_>> = every.take(most).collect();
    let left_off = read.totals.iter().map(|(_, sums)| sums.lines).sum::<i64>() - i64::try_from(lines.len()).unwrap_or(i64::MAX);
    let body = Body { seller, totals: totals.collect(), lines, left_off };
    Ok(stamped(Json(body).into_response(), &read.positions, None))
}

/// A dashboard as our own route gives it.
#[derive(Serialize)]
struct Body<'r> {
    seller: u64,
    totals: Vec<Value>,
    lines: Vec<Shown<'r>>,
    /// lines that are in the totals and not shown
    left_off: i64,
}

#[derive(Serialize)]
struct Shown<'r> {
    order: &'r str,
    line: u32,
    product: String,
    name: &'r str,
    quantity: u32,
    unit_price: String,
    freight_value: String,
    discount: String,
    invoice: String,
    currency: &'static str,
    status: &'r str,
}

fn shown<'r>(sale: &'r SaleRow, line: &'r Line) -> Shown<'r> {
    let (amount, discount) = amounts(line);
    let money = |minor: i64| Money::new(minor, line.unit_price.currency).to_string();
    Shown {
        order: &sale.order,
        line: line.line,
        product: line.product.to_string(),
        name: &line.name,
        quantity: line.quantity,
        unit_price: line.unit_price.to_string(),
        freight_value: line.freight.to_string(),
        discount: money(discount),
        invoice: money(amount + line.freight.minor - discount),
        currency: line.unit_price.currency.code(),
        status: &sale.status,
    }
}

/// The same in the benchmark's words: one currency's totals, amounts as numbers.
async fn dashboard_benchmark(State(app): State<App>, Path(seller): Path<u64>, headers: HeaderMap) -> Result<Response, Failure> {
    let read = read(&app, seller, SALES_MAX, &headers).await?;
    let (currency, sums) = read.totals.first().copied().unwrap_or((crate::http::body::CURRENCY, Totals::default()));
    let number = |minor: i64| serde_json::from_str::<Value>(&Money::new(minor, currency).to_string()).unwrap_or_default();
    let entry = |sale: &SaleRow, line: &Line| {
        let (amount, discount) = amounts(line);
        let (customer, _) = sale.order.split_once('-').unwrap_or_default();
        json!({
            "order_id": sale.order, "customer_id": customer.parse::<u64>().unwrap_or_default(), "seller_id": seller, "package_id": line.line + 1,
            "product_id": line.product.product.0, "product_name": line.name, "quantity": line.quantity, "unit_price": number(line.unit_price.minor),
            "total_items": number(amount), "total_amount": number(amount - discount), "total_incentive": number(discount),
            "total_invoice": number(amount + line.freight.minor - discount), "freight_value": number(line.freight.minor),
            "order_status": if sale.status == "shipped" { "IN_TRANSIT" } else { "PAYMENT_PROCESSED" },
        })
    };
    let entries: Vec<Value> =
        read.sales.iter().flat_map(|sale| sale.lines.iter().filter(|line| line.unit_price.currency == currency).map(|line| entry(sale, line))).collect();
    let body = json!({
        "sellerView": {
            "seller_id": seller, "count_orders": sums.orders, "count_items": sums.items, "total_amount": number(sums.amount - sums.discounts),
            "total_freight": number(sums.freight), "total_incentive": number(sums.discounts), "total_items": number(sums.amount),
            "total_invoice": number(sums.amount + sums.freight - sums.discounts),
        },
        "orderEntries": entries,
    });
    Ok(stamped(Json(body).into_response(), &read.positions, None))
}
