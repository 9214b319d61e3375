//! Carts: lines gather, a checkout sends them.

use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use domain::cart::{Cart, Checkout, Command, Event, Line};
use domain::customer::Person;
use domain::payment::{Means, Method};
use domain::policies::{CopyProduct, ReopenCart};
use domain::replica::Replica;
use domain::{Currency, ProductRef};
use eventstore::service::Service;
use projections::{Overlay, Seen, Unfolded};
use serde::{Deserialize, Serialize};

use super::{Capability, event_of};
use crate::http::body::{Amount, AnyCase, Body, CURRENCY, Text};
use crate::http::card::CardGiven;
use crate::http::command::{Ask, Failure};
use crate::http::given::{Both, Unused};
use crate::http::place::Path;
use crate::http::{App, read};

/// How long an answered checkout waits for its cart to be open again before it says so anyway.
const REOPEN_WAIT: Duration = Duration::from_secs(2);

/// The service.
pub fn capability() -> Capability {
    let routes = axum::Router::new()
        .route("/carts/{customer}", get(show))
        .route("/carts/{customer}/items", post(add).delete(empty))
        .route("/carts/{customer}/checkout", post(check_out))
        .route("/cart/{customer}/add", put(add_benchmark).patch(add_benchmark))
        .route("/cart/{customer}/checkout", post(check_out_benchmark))
        .route("/cart/{customer}/seal", post(seal_benchmark).patch(seal_benchmark))
        .route("/cart/{customer}", delete(empty));
    let service = Service::new("cart").owns::<Cart>().owns::<Replica>().follows::<ReopenCart>("ordering").follows_across::<CopyProduct>("catalog");
    Capability { answered_by: &[("checked-out", "ordering")], ..Capability::of(service).view("carts", 1, fold).routes(routes) }
}

/// What readers see of a cart's line.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LineRow {
    /// `<seller>-<product>`
    pub product: String,
    /// as it was called when last seen
    pub name: String,
    /// how many
    pub quantity: u32,
    /// of one, when last seen or as agreed
    pub unit_price: String,
    /// for shipping the line
    pub freight_value: String,
    /// a discount
    pub voucher: String,
    /// of all amounts
    pub currency: String,
    /// the price was agreed
    pub agreed: bool,
}

/// What readers see of a cart.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CartRow {
    /// the customer's number
    pub customer: String,
    /// `open` or `checkout-sent`
    pub status: String,
    /// the order it was sent to, until that has ended
    pub sent: Option<String>,
    /// what the next checkout will send
    pub items: Vec<LineRow>,
    /// how many orders there have been
    pub orders: u64,
    /// the aggregate's version
    pub revision: u64,
}

fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), Unfolded> {
    let Some(event) = event_of::<Cart>(seen)? else { return Ok(()) };
    rows.update::<CartRow>(&seen.envelope.subject, |row| {
        row.customer.clone_from(&seen.envelope.subject);
        row.revision = seen.envelope.version.unwrap_or_default();
        match event {
            Event::Added { lines, .. } => lines.iter().for_each(|line| row.put(line)),
            Event::Emptied => row.items.clear(),
            Event::Reopened { .. } => row.sent = None,
            Event::CheckedOut(sent) => {
                row.items.clear();
                row.orders = sent.order.number;
                row.sent = Some(sent.order.to_string());
            }
        }
        row.status = if row.sent.is_some() { "checkout-sent" } else { "open" }.to_owned();
    })?;
    Ok(())
}

impl CartRow {
    /// As the aggregate merges lines: by product, price and whether it was agreed.
    fn put(&mut self, line: &Line) {
        let mut new = LineRow {
            product: line.product.to_string(),
            name: line.name.clone(),
            quantity: line.quantity,
            unit_price: line.unit_price.to_string(),
            freight_value: line.freight.to_string(),
            voucher: line.voucher.to_string(),
            currency: line.unit_price.currency.code().to_owned(),
            agreed: line.agreed,
        };
        match self.items.iter().position(|known| (&known.product, &known.unit_price, known.agreed) == (&new.product, &new.unit_price, new.agreed)) {
            Some(at) => {
                new.quantity += self.items[at].quantity;
                self.items[at] = new;
            }
            None => self.items.push(new),
        }
    }
}

/// A line as our own route takes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineGiven {
    product: String,
    quantity: u32,
    #[serde(default)]
    name: String,
    /// the price the customer saw; the catalog's price of the checkout holds
    unit_price: Option<Amount>,
    /// a price that holds whatever the catalog says
    agreed_price: Option<Amount>,
    #[serde(default)]
    freight_value: Amount,
    #[serde(default)]
    voucher: Amount,
    version: Option<String>,
    currency: Option<Currency>,
}

impl LineGiven {
    fn line(self, at: usize) -> Result<Line, Failure> {
        let pointer = |field: &str| format!("/items/{at}/{field}");
        let currency = self.currency.unwrap_or(CURRENCY);
        let product = self.product.parse::<ProductRef>().map_err(|why| Failure::bad(&pointer("product"), why))?;
        let (field, price, agreed) = match (&self.agreed_price, &self.unit_price) {
            (Some(price), _) => ("agreed_price", price, true),
            (None, Some(price)) => ("unit_price", price, false),
            (None, None) => return Err(Failure::bad(&pointer("unit_price"), "unit_price or agreed_price must be given")),
        };
        Ok(Line {
            product,
            name: self.name,
            quantity: self.quantity,
            unit_price: price.money(currency, &pointer(field))?,
            freight: self.freight_value.money(currency, &pointer("freight_value"))?,
            voucher: self.voucher.money(currency, &pointer("voucher"))?,
            version: self.version,
            agreed,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Addition {
    items: Vec<LineGiven>,
    reference: Option<String>,
}

#[derive(Deserialize)]
struct AdditionBenchmark {
    seller_id: u64,
    product_id: u64,
    #[serde(default)]
    product_name: String,
    unit_price: Amount,
    #[serde(default)]
    freight_value: Amount,
    quantity: u32,
    #[serde(default)]
    voucher: Amount,
    version: Option<Text>,
    currency: Option<Currency>,
    instance_id: Option<Text>,
}

/// A checkout as both kinds of routes take it; names in the benchmark's spelling are mapped before.
#[derive(Deserialize)]
struct CheckoutGiven {
    payment_type: String,
    #[serde(default)]
    installments: u32,
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
    #[serde(default)]
    street: String,
    #[serde(default)]
    complement: String,
    #[serde(default)]
    city: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    zip_code: String,
    reference: Option<String>,
    instance_id: Option<Text>,
    /// as the benchmark says it once more; the path holds
    #[serde(default)]
    #[allow(dead_code, reason = "read, and not needed")]
    customer_id: Unused,
}

type WithCard = Both<CheckoutGiven, CardGiven>;

impl CheckoutGiven {
    fn checkout(self, card: CardGiven, app: &App) -> Result<Checkout, Failure> {
        let method = match self.payment_type.to_ascii_uppercase().as_str() {
            "CREDIT_CARD" => Method::CreditCard,
            "DEBIT_CARD" => Method::DebitCard,
            "BOLETO" => Method::Boleto,
            other => return Err(Failure::bad("/payment_type", format!("'{other}' is none of CREDIT_CARD, DEBIT_CARD, BOLETO"))),
        };
        let Self { installments, first_name, last_name, street, complement, city, state, zip_code, reference, .. } = self;
        let buyer = Person { first_name, last_name, street, complement, city, state, zip_code, ..Person::default() };
        Ok(Checkout { buyer, means: Means { method, card: card.kept(&app.cards)?, installments }, reference })
    }
}

async fn show(State(app): State<App>, Path(customer): Path<u64>, headers: HeaderMap) -> Result<Response, Failure> {
    read::row::<CartRow>(&app, "carts", (&customer.to_string(), &customer.to_string()), &headers, |row| row.revision).await
}

async fn add(State(app): State<App>, Path(customer): Path<u64>, headers: HeaderMap, Body(given): Body<Addition>) -> Result<Response, Failure> {
    let lines = given.items.into_iter().enumerate().map(|(at, line)| line.line(at)).collect::<Result<_, _>>()?;
    Ask::<Cart>::own("cart", customer.to_string(), &headers)?.send(&app, &Command::Add { lines, reference: given.reference }).await
}

async fn empty(State(app): State<App>, Path(customer): Path<u64>, headers: HeaderMap) -> Result<Response, Failure> {
    Ask::<Cart>::own("cart", customer.to_string(), &headers)?.send(&app, &Command::Empty).await
}

async fn check_out(
    State(app): State<App>,
    Path(customer): Path<u64>,
    headers: HeaderMap,
    AnyCase(Both(given, card)): AnyCase<WithCard>,
) -> Result<Response, Failure> {
    let checkout = given.checkout(card, &app)?;
    let answer = Ask::<Cart>::own("cart", customer.to_string(), &headers)?.send(&app, &Command::CheckOut(checkout)).await?;
    Ok(reopened(&app, customer, answer).await)
}

async fn add_benchmark(
    State(app): State<App>,
    Path(customer): Path<u64>,
    headers: HeaderMap,
    AnyCase(given): AnyCase<AdditionBenchmark>,
) -> Result<Response, Failure> {
    let line = LineGiven {
        product: format!("{}-{}", given.seller_id, given.product_id),
        quantity: given.quantity,
        name: given.product_name,
        unit_price: Some(given.unit_price),
        agreed_price: None,
        freight_value: given.freight_value,
        voucher: given.voucher,
        version: given.version.map(|version| version.0),
        currency: given.currency,
    };
    Ask::<Cart>::benchmark("cart", customer.to_string(), &headers, given.instance_id)?
        .send(&app, &Command::Add { lines: vec![line.line(0)?], reference: None })
        .await
}

async fn check_out_benchmark(
    State(app): State<App>,
    Path(customer): Path<u64>,
    headers: HeaderMap,
    AnyCase(Both(mut given, card)): AnyCase<WithCard>,
) -> Result<Response, Failure> {
    let instance = given.instance_id.take();
    let checkout = given.checkout(card, &app)?;
    let answer = Ask::<Cart>::benchmark("cart", customer.to_string(), &headers, instance)?.send(&app, &Command::CheckOut(checkout)).await?;
    Ok(reopened(&app, customer, answer).await)
}

async fn seal_benchmark(State(app): State<App>, Path(customer): Path<u64>, headers: HeaderMap) -> Result<Response, Failure> {
    Ask::<Cart>::benchmark("cart", customer.to_string(), &headers, None)?.send(&app, &Command::Empty).await
}

/// Holds back the answer of an ended checkout until the cart has heard of it, so that the caller's next checkout is not refused.
async fn reopened(app: &App, customer: u64, answer: Response) -> Response {
    let deadline = tokio::time::Instant::now() + REOPEN_WAIT;
    while answer.status() == axum::http::StatusCode::OK {
        let folded = app.folded("carts");
        let row = app.views.get("carts").and_then(|view| view.get::<CartRow>(&customer.to_string()).ok().flatten());
        if row.is_none_or(|row| row.sent.is_none()) || tokio::time::timeout_at(deadline, folded).await.is_err() {
            break;
        }
    }
    answer
}
