//! The seller's view: their lines of all orders in progress, and what these add up to, as one snapshot. Its service
//! owns no decision: it re-keys the orders' events by seller, exactly once, so that the view folds one topic.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use daybook::eventstore::service::Service;
use daybook::projections::{FoldError, Overlay, Seen};
use domain::policies::ShareSales;
use domain::sale::{Line, Sale, Status};
use domain::{Aggregate, Currency, Money, MoneyError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rows::{impossible, listing_key, try_update};
use daybook::capability::Capability;
use daybook::http::app::App;
use daybook::http::command::Failure;
use daybook::http::extract::{Path, Query};
use daybook::http::read::{missing, stamped, view};
use daybook::http::route::{Kind, Operation, Routes};
use daybook::http::token;
use daybook::identity::access::Access;

/// Most sales that one dashboard shows.
pub(crate) const SALES_MAX: usize = 10_000;
/// Most bytes of them, as they are kept.
const SALES_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The service.
pub fn capability() -> Capability {
    let shown = Operation { kind: Kind::Read, ..Operation::new("Shows a seller's sales that are in progress, and what they add up to") };
    let routes = Routes::of("seller", Access::Owners(&["seller"])).get(
        "/sellers/{id}/dashboard",
        dashboard,
        shown.answers::<Shown>(200, "One snapshot").part("id", "42"),
    );
    Capability::of(Service::new("seller").owns::<Sale, _>().belongs_to("seller").follows_across::<ShareSales, _>("ordering"))
        .view("dashboards", 2, fold)
        .routes(routes)
}

/// A seller's part of an order, as long as lines of it are in progress.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SaleRow {
    pub order: String,
    pub sale: Sale,
}

/// What a seller's lines in progress add up to, in one currency's minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Totals {
    pub orders: i64,
    pub lines: i64,
    pub items: i64,
    pub amount: i64,
    pub freight: i64,
    pub discounts: i64,
}

/// The tables under a seller's prefix: totals sort first, so that one scan, which is one snapshot, has both.
const TOTALS: &str = "0";
const SALES: &str = "1";

impl Totals {
    /// Of a sale's lines in progress; none if no number holds them.
    fn of(sale: &Sale) -> Option<Self> {
        let sum = sale.in_progress().try_fold(Self::default(), |sum, line| {
            let charge = line.charge().ok()?;
            let line = Self {
                orders: 0,
                lines: 1,
                items: line.quantity.into(),
                amount: charge.items.minor,
                freight: charge.freight.minor,
                discounts: charge.discount.minor,
            };
            sum.with(line, i64::checked_add)
        })?;
        Some(Self { orders: i64::from(sum.lines > 0), ..sum })
    }

    fn with(self, other: Self, op: fn(i64, i64) -> Option<i64>) -> Option<Self> {
        Some(Self {
            orders: op(self.orders, other.orders)?,
            lines: op(self.lines, other.lines)?,
            items: op(self.items, other.items)?,
            amount: op(self.amount, other.amount)?,
            freight: op(self.freight, other.freight)?,
            discounts: op(self.discounts, other.discounts)?,
        })
    }

    /// With one sale's part of them changed.
    fn shifted(self, from: Self, to: Self) -> Option<Self> {
        self.with(from, i64::checked_sub)?.with(to, i64::checked_add)
    }

    /// What is paid for all of it.
    pub fn invoice(&self) -> Option<i64> {
        self.amount.checked_add(self.freight)?.checked_sub(self.discounts)
    }
}

fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let Some(event) = seen.event::<Sale, _>()? else { return Ok(()) };
    let Some((seller, order)) = seen.envelope.subject.split_once('-') else { return Ok(()) };
    let seller = format!("{seller:0>20}");
    let key = format!("{seller}/{SALES}/{}", listing_key(order));
    let (mut before, mut after, mut currency) = (Totals::default(), Totals::default(), None);
    let too_much = || impossible(format!("the totals of seller {seller}: more than 64 bits of minor units"));
    try_update::<SaleRow>(rows, &key, |row| {
        order.clone_into(&mut row.order);
        let code = |row: &SaleRow| row.sale.in_progress().next().map(|line| line.unit_price.currency.code());
        (before, currency) = (Totals::of(&row.sale).ok_or_else(too_much)?, code(row));
        row.sale.evolve(&event);
        (after, currency) = (Totals::of(&row.sale).ok_or_else(too_much)?, currency.or_else(|| code(row)));
        Ok(())
    })?;
    if after.lines == 0 {
        rows.delete(key);
    }
    if let Some(currency) = currency.filter(|_| before != after) {
        try_update::<Totals>(rows, &format!("{seller}/{TOTALS}/{currency}"), |totals| {
            *totals = totals.shifted(before, after).ok_or_else(too_much)?;
            Ok(())
        })?;
    }
    Ok(())
}

#[derive(Deserialize, JsonSchema)]
struct Most {
    limit: Option<usize>,
}

/// What a dashboard shows.
pub(crate) struct Dashboard {
    pub totals: Vec<(Currency, Totals)>,
    pub sales: Vec<SaleRow>,
    pub positions: String,
    pub missing: Vec<Value>,
}

/// One scan is one snapshot.
/// What a dashboard shows.
pub(crate) async fn read(app: &App, seller: u64, most: usize, headers: &HeaderMap) -> Result<Dashboard, Failure> {
    let view = view(app, "dashboards", headers).await?;
    let positions = token::write(&view.positions());
    let (mut totals, mut sales) = (vec![], vec![]);
    let (rows, _) = view.rows().scan_within(format!("{seller:0>20}/").as_bytes(), None, most.clamp(1, SALES_MAX) + 200, SALES_BYTES_MAX)?;
    for (key, row) in rows {
        let key = String::from_utf8_lossy(&key);
        let mut parts = key.split('/').skip(1);
        if parts.next() == Some(TOTALS) {
            let sums: Totals = daybook::projections::read(&key, &row)?;
            totals.extend(parts.next().and_then(Currency::from_code).filter(|_| sums.lines > 0).map(|currency| (currency, sums)));
        } else {
            sales.push(daybook::projections::read(&key, &row)?);
        }
    }
    Ok(Dashboard { totals, sales, positions, missing: missing(view) })
}

async fn dashboard(State(app): State<App>, Path(seller): Path<u64>, Query(most): Query<Most>, headers: HeaderMap) -> Result<Response, Failure> {
    let most = most.limit.unwrap_or(SALES_MAX);
    let read = read(&app, seller, most, &headers).await?;
    let totals = read.totals.iter().map(|(currency, sums)| {
        let money = |minor: i64| Money::new(minor, *currency).to_string();
        Ok(TotalsShown {
            currency: currency.code(),
            orders: sums.orders,
            lines: sums.lines,
            items: sums.items,
            amount: money(sums.amount),
            freight: money(sums.freight),
            discounts: money(sums.discounts),
            invoice: money(sums.invoice().ok_or_else(too_large)?),
        })
    });
    let totals = totals.collect::<Result<_, Failure>>()?;
    let every = read.sales.iter().flat_map(|sale| sale.sale.in_progress().map(move |line| shown(sale, line)));
    let lines: Vec<LineShown> = every.take(most).collect::<Result<_, _>>().map_err(Failure::internal)?;
    let all = read.totals.iter().try_fold(0_i64, |all, (_, sums)| all.checked_add(sums.lines));
    let left_off = i64::try_from(lines.len()).ok().and_then(|shown| all?.checked_sub(shown)).ok_or_else(too_large)?;
    let body = Shown { seller, totals, lines, left_off, missing: read.missing };
    Ok(stamped(Json(body).into_response(), &read.positions, None))
}

/// What is answered where no number holds a total.
pub(crate) fn too_large() -> Failure {
    Failure::internal("a dashboard adds up to more than 64 bits of minor units")
}

/// A dashboard as our own route gives it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Dashboard")]
struct Shown {
    /// whose
    seller: u64,
    /// in each currency
    totals: Vec<TotalsShown>,
    /// lines of orders that are in progress
    lines: Vec<LineShown>,
    /// lines that are in the totals and not shown
    left_off: i64,
    /// partitions of orders of which nothing new is in this
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<Value>,
}

/// What lines in progress add up to, in one currency.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DashboardTotals")]
struct TotalsShown {
    /// of all amounts
    currency: &'static str,
    /// orders in progress
    orders: i64,
    /// their lines
    lines: i64,
    /// their pieces
    items: i64,
    /// prices of the pieces
    amount: String,
    /// their freight
    freight: String,
    /// their discounts
    discounts: String,
    /// amount + freight - discounts
    invoice: String,
}

/// A line of an order in progress.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DashboardLine")]
struct LineShown {
    order: String,
    line: u32,
    product: String,
    name: String,
    quantity: u32,
    unit_price: String,
    freight_value: String,
    discount: String,
    invoice: String,
    currency: &'static str,
    status: &'static str,
}

fn shown(sale: &SaleRow, line: &Line) -> Result<LineShown, MoneyError> {
    let charge = line.charge()?;
    Ok(LineShown {
        order: sale.order.clone(),
        line: line.line,
        product: line.product.to_string(),
        name: line.name.clone(),
        quantity: line.quantity,
        unit_price: line.unit_price.to_string(),
        freight_value: line.freight.to_string(),
        discount: charge.discount.to_string(),
        invoice: charge.total()?.to_string(),
        currency: line.unit_price.currency.code(),
        status: if sale.sale.status == Status::Shipped { "shipped" } else { "paid" },
    })
}

#[cfg(test)]
mod tests {
    use super::{Sale, Totals};

    #[test]
    fn totals_that_no_number_holds_are_none() {
        let most = Totals { amount: i64::MAX, ..Totals::default() };
        let one = Totals { amount: 1, ..Totals::default() };
        assert_eq!(most.shifted(Totals::default(), one), None);
        assert_eq!(most.shifted(one, one), Some(most));
        assert_eq!((most.invoice(), Totals { freight: 1, ..most }.invoice()), (Some(i64::MAX), None));
        let dear = domain::sale::Line { quantity: u32::MAX, unit_price: domain::Money::new(i64::MAX, domain::Currency::GBP), ..domain::sale::sample::line() };
        let sale = Sale { status: domain::sale::Status::Paid, open: [(0, dear)].into() };
        assert_eq!(Totals::of(&sale), None);
    }
}
