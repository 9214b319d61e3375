//! Carts: lines gather, a checkout sends them.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use daybook::eventstore::service::Service;
use daybook::kernel::Personal;
use daybook::projections::{FoldError, Overlay, Seen};
use daybook::schemas::Partition;
use daybook::schemas::wire::Code;
use domain::cart::{Cart, Checkout, Command, Line};
use domain::customer::Person;
use domain::payment::{Means, Method};
use domain::policies::{CopyProduct, ReopenCart};
use domain::replica::ProductCopy;
use domain::{Aggregate, Currency, Money, ProductRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::card::CardGiven;
use crate::money::CURRENCY;
use daybook::capability::Capability;
use daybook::http::app::{App, blocking};
use daybook::http::as_of::{AsOf, Past};
use daybook::http::body::{Amount, Body};
use daybook::http::command::{CommandRequest, Failure};
use daybook::http::extract::{Path, Query};
use daybook::http::given::{Both, Given, Wrong, inner};
use daybook::http::json::Object;
use daybook::http::route::{Operation, Routes};
use daybook::http::scope::operators_only;
use daybook::http::{read, token};
use daybook::identity::access::{Access, OPERATORS};

/// How long an answered checkout waits for its cart to be open again before it says so anyway.
const REOPEN_WAIT: Duration = Duration::from_secs(2);

/// The service.
pub fn capability() -> Capability {
    let command = |summary| Operation::command::<Cart>(summary).part("customer", "17");
    let items = || json!([{ "product": "42-1", "quantity": 2, "name": "Lantern", "unit_price": "2.75", "freight_value": "0.50", "currency": "GBP" }]);
    let sold = || json!([{ "product": "42-1", "quantity": 1, "name": "Lantern", "agreed_price": "2.75", "currency": "GBP" }]);
    let checkout = || json!({ "payment_type": "BOLETO", "first_name": "Anna", "city": "Turku" });
    let routes = Routes::of("cart", Access::Owners(&["customer"]))
        .get("/carts/{customer}", show, Operation::row::<CartShown>("Shows a cart, as a checkout of now would charge it").part("customer", "17"))
        .post("/carts/{customer}/items", add, command("Adds items to a cart").example(json!({ "items": items() })))
        .delete("/carts/{customer}/items", empty, command("Empties a cart"))
        .post("/carts/{customer}/checkout", check_out, command("Checks a cart out: answered when its order has ended").example(checkout()))
        .post(
            "/carts/{customer}/sales",
            record,
            command("Records a sale that was made elsewhere, at its prices").by(OPERATORS).example(json!({ "items": sold(), "checkout": checkout() })),
        );
    let service = Service::new("cart")
        .owns::<Cart, _>()
        .belongs_to("customer")
        .owns::<ProductCopy, _>()
        .follows::<ReopenCart, _>("ordering")
        .follows_across::<CopyProduct, _>("catalog");
    Capability { answered_by: &[("checked-out", "ordering"), ("recorded", "ordering")], ..Capability::of(service).view("carts", 2, fold).routes(routes) }
}

/// What readers see of a cart's line: as a checkout of now would charge it.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "CartLine")]
struct LineShown {
    /// `<seller>-<product>`
    product: String,
    /// its name
    name: String,
    /// how many
    quantity: u32,
    /// the price of one that holds
    unit_price: String,
    /// the price of one when last seen, where another holds now
    seen_price: Option<String>,
    /// for shipping the line
    freight_value: String,
    /// a discount, used up to the line's price
    voucher: String,
    /// of all amounts
    currency: &'static str,
    /// the product's version that holds, if it is known
    version: Option<String>,
    /// the price was agreed
    agreed: bool,
}

/// What readers see of a cart.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "Cart")]
struct CartShown {
    /// the customer's number
    customer: String,
    /// `open` or `checkout-sent`
    status: &'static str,
    /// the order it was sent to, until that has ended
    sent: Option<String>,
    /// what the next checkout would send
    items: Vec<LineShown>,
    /// what it would leave behind: product and reason
    dropped: Vec<(String, String)>,
    /// prices of the items
    items_total: String,
    /// their freight
    freight_total: String,
    /// their discounts
    discount_total: String,
    /// what it would charge: items + freight - discounts
    total: String,
    /// how many orders there have been
    orders: u64,
    /// the aggregate's version
    revision: u64,
}

/// A cart as its aggregate has it: what is in it, and what that costs, is the aggregate's to say.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct CartRow {
    cart: Cart,
    revision: u64,
}

/// The keys of a customer's cart, and of the copy of a product in a partition of this service.
fn cart_key(customer: &str) -> String {
    format!("c/{customer}")
}

fn replica_key(partition: Partition, product: &str) -> String {
    format!("r/{:05}/{product}", partition.0)
}

fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let subject = &seen.envelope.subject;
    if let Some(event) = seen.event::<ProductCopy, _>()? {
        rows.update::<ProductCopy>(&replica_key(seen.record.partition, subject), |replica| replica.evolve(&event))?;
    } else if let Some(event) = seen.event::<Cart, _>()? {
        rows.update::<CartRow>(&cart_key(subject), |row| {
            row.revision = seen.envelope.version.unwrap_or_default();
            row.cart.evolve(&event);
        })?;
    }
    Ok(())
}

impl CartShown {
    /// A cart, with the copies of the products in it.
    fn of(customer: String, row: CartRow, replicas: impl Fn(&ProductRef) -> Result<Option<ProductCopy>, Failure>) -> Result<Self, Failure> {
        let CartRow { cart, revision } = row;
        let status = if cart.sent.is_some() { "checkout-sent" } else { "open" };
        let mut shown = Self { customer, status, sent: cart.sent.map(|order| order.to_string()), orders: cart.orders, revision, ..Self::default() };
        let zero = Money::zero(cart.lines.first().map_or(CURRENCY, |line| line.unit_price.currency));
        let (mut items, mut freight, mut discounts) = (zero, zero, zero);
        for line in &cart.lines {
            let priced = match line.priced(replicas(&line.product)?.as_ref()) {
                Ok(priced) => priced,
                Err(why) => {
                    shown.dropped.push((line.product.to_string(), format!("{why:?}").to_ascii_lowercase()));
                    continue;
                }
            };
            let add = |sum: &mut Money, amount: Money| sum.plus(amount).map(|after| *sum = after);
            let charge = priced.charge();
            charge
                .and_then(|charge| add(&mut items, charge.items).and(add(&mut freight, charge.freight)).and(add(&mut discounts, charge.discount)))
                .map_err(Failure::internal)?;
            shown.items.push(LineShown {
                product: priced.product.to_string(),
                name: priced.name,
                quantity: priced.quantity,
                unit_price: priced.unit_price.to_string(),
                seen_price: priced.seen_price.map(|price| price.to_string()),
                freight_value: priced.freight.to_string(),
                voucher: priced.voucher.to_string(),
                currency: priced.unit_price.currency.code(),
                version: priced.version,
                agreed: line.agreed,
            });
        }
        let total = items.plus(freight).and_then(|sum| sum.minus(discounts)).map_err(Failure::internal)?;
        (shown.items_total, shown.freight_total, shown.discount_total) = (items.to_string(), freight.to_string(), discounts.to_string());
        shown.total = total.to_string();
        Ok(shown)
    }
}

/// A line as our own route takes it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LineGiven {
    pub product: String,
    pub quantity: u32,
    #[serde(default)]
    pub name: String,
    /// the price the customer saw; the catalog's price of the checkout holds
    pub unit_price: Option<Amount>,
    /// a price that holds whatever the catalog says
    pub agreed_price: Option<Amount>,
    #[serde(default)]
    pub freight_value: Amount,
    #[serde(default)]
    pub voucher: Amount,
    pub version: Option<String>,
    #[schemars(with = "Option<Code>")]
    pub currency: Option<Currency>,
}

impl LineGiven {
    /// As the domain has it; `at` is its place in the request.
    pub fn line(self, at: usize) -> Result<Line, Failure> {
        let pointer = |field: &str| format!("/items/{at}/{field}");
        let currency = self.currency.unwrap_or(CURRENCY);
        let product = self.product.parse::<ProductRef>().map_err(|why| Failure::bad(&pointer("product"), why))?;
        let (field, price, agreed) = match (&self.agreed_price, &self.unit_price) {
            (Some(price), _) => ("agreed_price", price, true),
            (None, Some(price)) => ("unit_price", price, false),
            (None, None) => return Err(Failure::bad(&pointer("unit_price"), "unit_price or agreed_price must be given")),
        };
        let voucher = self.voucher.money(currency, &pointer("voucher"))?;
        // What is not the catalog's price is somebody's to grant, and not the buyer's.
        for (field, granted) in [("agreed_price", agreed), ("voucher", voucher.minor != 0)] {
            if granted {
                operators_only(&pointer(field))?;
            }
        }
        Ok(Line {
            product,
            name: self.name,
            quantity: self.quantity,
            unit_price: price.money(currency, &pointer(field))?,
            freight: self.freight_value.money(currency, &pointer("freight_value"))?,
            voucher,
            version: self.version,
            agreed,
        })
    }
}

fn lines_of(items: Vec<LineGiven>) -> Result<Vec<Line>, Failure> {
    items.into_iter().enumerate().map(|(at, line)| line.line(at)).collect()
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Addition {
    items: Vec<LineGiven>,
    reference: Option<String>,
}

/// A sale that was made elsewhere: its lines, and how and to whom.
#[derive(JsonSchema)]
struct SaleGiven {
    items: Vec<LineGiven>,
    checkout: WithCard,
}

impl Given for SaleGiven {
    fn names() -> Vec<&'static str> {
        vec!["items", "checkout"]
    }
    fn take(object: Object) -> Result<Self, Wrong> {
        let (checkout, items): (Object, Object) = object.into_iter().partition(|(name, _)| name == "checkout");
        let Addition { items, .. } = Addition::take(items)?;
        let checkout = checkout.into_iter().next().ok_or_else(|| Wrong::missing("checkout"))?.1;
        Ok(Self { items, checkout: inner(checkout).map_err(|wrong| wrong.below("checkout"))? })
    }
}

/// A checkout as a route takes it.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct CheckoutGiven {
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
}

/// A checkout with its card.
pub(crate) type WithCard = Both<CheckoutGiven, CardGiven>;

impl CheckoutGiven {
    /// As the domain has it.
    pub fn checkout(self, card: CardGiven, app: &App) -> Result<Checkout, Failure> {
        let method = match self.payment_type.to_ascii_uppercase().as_str() {
            "CREDIT_CARD" => Method::CreditCard,
            "DEBIT_CARD" => Method::DebitCard,
            "BOLETO" => Method::Boleto,
            _ => return Err(Failure::bad("/payment_type", format!("'{}' is none of CREDIT_CARD, DEBIT_CARD, BOLETO", self.payment_type))),
        };
        let Self { installments, first_name, last_name, street, complement, city, state, zip_code, reference, .. } = self;
        let buyer = Person { first_name, last_name, street, complement, city, state, zip_code, ..Person::default() };
        Ok(Checkout { buyer: Personal::Clear(buyer), means: Means { method, card: card.kept(&app.keys)?, installments }, reference })
    }
}

/// Prices change without the cart's version, which is its ETag: so it is shown whole, whatever version is known. As of a
/// version, by the prices that were known when that came to be; as of a time, by those of that time.
async fn show(State(app): State<App>, Path(customer): Path<u64>, Query(then): Query<AsOf>, headers: HeaderMap) -> Result<Response, Failure> {
    let customer = customer.to_string();
    if let Some(moment) = then.moment()? {
        let past = Past::of::<Cart>(&app, "carts", &customer, moment, &headers).await?;
        let now = past.now::<CartRow>(&cart_key(&customer))?;
        let (shown, positions) = blocking(move || {
            let (row, until) = past.row::<Cart, CartRow>(&customer, &cart_key(&customer), now, |row| row.revision)?;
            let shown = CartShown::of(customer, row, |product| {
                let product = product.to_string();
                past.beside::<ProductCopy, ProductCopy>(&product, &replica_key(past.partition, &product), until)
            });
            shown.map(|shown| (shown, past.positions()))
        })
        .await?;
        return Ok(shown_at(shown, &positions));
    }
    let partition = app.log.partition_of(&customer);
    let view = read::view_of(&app, "carts", Some(partition), &headers).await?;
    let positions = token::write(&view.positions()); // before the rows: they may be newer than this says, never older
    let row: CartRow = view.get(&cart_key(&customer))?.ok_or_else(|| Failure::not_found("carts has nothing under this id"))?;
    let shown = CartShown::of(customer, row, |product| Ok(view.get::<ProductCopy>(&replica_key(partition, &product.to_string()))?))?;
    Ok(shown_at(shown, &positions))
}

fn shown_at(shown: CartShown, positions: &str) -> Response {
    let etag = format!("\"{}\"", shown.revision);
    read::stamped(Json(shown).into_response(), positions, Some(&etag))
}

async fn add(State(app): State<App>, Path(customer): Path<u64>, headers: HeaderMap, Body(given): Body<Addition>) -> Result<Response, Failure> {
    let lines = lines_of(given.items)?;
    CommandRequest::<Cart>::own("cart", customer.to_string(), &headers)?.send(&app, &Command::Add { lines, reference: given.reference }).await
}

/// Leaves nothing in a cart.
pub(crate) async fn empty(State(app): State<App>, Path(customer): Path<u64>, headers: HeaderMap) -> Result<Response, Failure> {
    CommandRequest::<Cart>::own("cart", customer.to_string(), &headers)?.send(&app, &Command::Empty).await
}

async fn check_out(
    State(app): State<App>,
    Path(customer): Path<u64>,
    headers: HeaderMap,
    Body(Both(given, card)): Body<WithCard>,
) -> Result<Response, Failure> {
    let checkout = given.checkout(card, &app)?;
    let answer = CommandRequest::<Cart>::own("cart", customer.to_string(), &headers)?.send(&app, &Command::CheckOut(checkout)).await?;
    Ok(reopened(&app, customer, answer).await)
}

async fn record(State(app): State<App>, Path(customer): Path<u64>, headers: HeaderMap, Body(given): Body<SaleGiven>) -> Result<Response, Failure> {
    let lines = lines_of(given.items)?;
    let Both(checkout, card) = given.checkout;
    let command = Command::Record { lines, checkout: checkout.checkout(card, &app).map_err(|failure| failure.below("checkout"))? };
    CommandRequest::<Cart>::own("cart", customer.to_string(), &headers)?.send(&app, &command).await
}

/// Holds back the answer of an ended checkout until the cart has heard of it, so that the caller's next checkout is not refused.
pub(crate) async fn reopened(app: &App, customer: u64, answer: Response) -> Response {
    let deadline = tokio::time::Instant::now() + REOPEN_WAIT;
    while answer.status() == axum::http::StatusCode::OK {
        let folded = app.views.folded("carts");
        let row = app.views.get("carts").and_then(|view| view.get::<CartRow>(&cart_key(&customer.to_string())).ok().flatten());
        if row.is_none_or(|row| row.cart.sent.is_none()) || tokio::time::timeout_at(deadline, folded).await.is_err() {
            break;
        }
    }
    answer
}
