//! Payment: one for each order, answered by the rules of its method. Reached only through orders.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use daybook::eventstore::service::Service;
use daybook::projections::{FoldError, Overlay, Seen};
use domain::payment::{Decline, Event, Method, Payment};
use domain::policies::RequestPayment;
use domain::{Money, PaymentId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rows::{PAIR, StepRow, add, listing_key, try_update};
use daybook::capability::Capability;
use daybook::http::app::{App, id_of};
use daybook::http::as_of::{AsOf, row_of};
use daybook::http::command::Failure;
use daybook::http::extract::{Path, Query};
use daybook::http::read::{Listing, Under, list};
use daybook::http::route::{Operation, Routes};
use daybook::identity::access::Access;

/// The service.
pub fn capability() -> Capability {
    let payment = |operation: Operation| operation.text_part("id", "17-1", PAIR);
    let routes = Routes::of("payment", Access::Owners(&["customer"]))
        .get("/payments", browse, Operation::page::<PaymentRow>("Lists payments"))
        .get("/payments/{id}", show, payment(Operation::row::<PaymentRow>("Shows an order's payment")))
        .get("/payments/{id}/history", history, payment(Operation::page::<StepRow>("Lists what happened to a payment")));
    Capability::of(Service::new("payment").owns::<Payment, _>().belongs_to("customer").follows::<RequestPayment, _>("ordering"))
        .view("payments", 1, fold)
        .routes(routes)
}

/// One way an order was paid: its method, or a voucher, which is a discount.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PaymentLine")]
pub struct LineRow {
    /// `credit-card`, `debit-card`, `boleto` or `voucher`
    pub method: String,
    /// how much
    pub amount: String,
}

/// What readers see of a payment.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct PaymentRow {
    /// its order's
    pub id: String,
    /// `captured`, `refused` or `cancelled`
    pub status: String,
    /// of all amounts; none of a payment that was cancelled
    pub currency: Option<String>,
    /// what was captured
    pub captured: String,
    /// what of it was given back
    pub refunded: String,
    /// how it was paid
    pub lines: Vec<LineRow>,
    /// why it was refused: `limit`, `card` or `no-card`
    pub why: Option<String>,
    /// the aggregate's version
    pub revision: u64,
}

fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let Some(event) = seen.event::<Payment, _>()? else { return Ok(()) };
    let key = listing_key(&seen.envelope.subject);
    StepRow::of(seen, None).put(rows, &key);
    try_update::<PaymentRow>(rows, &format!("p/{key}"), |row| {
        row.id.clone_from(&seen.envelope.subject);
        row.revision = seen.envelope.version.unwrap_or_default();
        row.evolve(event)
    })
}

impl PaymentRow {
    fn evolve(&mut self, event: Event) -> Result<(), FoldError> {
        match event {
            Event::Captured(demand) => {
                self.status = "captured".to_owned();
                self.money(demand.amount);
                let line = |method: &str, amount: Money| LineRow { method: method.to_owned(), amount: amount.to_string() };
                let vouchers = demand.vouchers.iter().map(|voucher| line("voucher", *voucher));
                self.lines = std::iter::once(line(method(demand.means.method), demand.amount)).chain(vouchers).collect();
                self.captured = demand.amount.to_string();
            }
            Event::Refused { why, amount } => {
                self.status = "refused".to_owned();
                self.money(amount);
                self.why = Some(decline(why).to_owned());
            }
            Event::Cancelled => self.status = "cancelled".to_owned(),
            Event::Refunded { amount, .. } => add(&mut self.refunded, amount)?,
        }
        Ok(())
    }

    /// Nothing captured yet, in this currency.
    fn money(&mut self, amount: Money) {
        let zero = Money::zero(amount.currency).to_string();
        (self.currency, self.captured, self.refunded) = (Some(amount.currency.code().to_owned()), zero.clone(), zero);
    }
}

fn method(method: Method) -> &'static str {
    match method {
        Method::CreditCard => "credit-card",
        Method::DebitCard => "debit-card",
        Method::Boleto => "boleto",
    }
}

fn decline(why: Decline) -> &'static str {
    match why {
        Decline::Limit => "limit",
        Decline::Card => "card",
        Decline::NoCard => "no-card",
    }
}

async fn show(State(app): State<App>, Path(id): Path<String>, Query(then): Query<AsOf>, headers: HeaderMap) -> Result<Response, Failure> {
    let id = id_of::<PaymentId>(&id)?;
    row_of::<Payment, PaymentRow>(&app, "payments", (&id, &format!("p/{}", listing_key(&id))), &then, &headers, |row| row.revision).await
}

async fn history(State(app): State<App>, Path(id): Path<String>, Query(listing): Query<Listing>, headers: HeaderMap) -> Result<Response, Failure> {
    let id = id_of::<PaymentId>(&id)?;
    list::<StepRow>(&app, "payments", Under::one(&id, &StepRow::prefix(&listing_key(&id))), listing, &headers).await
}

async fn browse(State(app): State<App>, Query(listing): Query<Listing>, headers: HeaderMap) -> Result<Response, Failure> {
    list::<PaymentRow>(&app, "payments", Under::all("p/"), listing, &headers).await
}
