//! The benchmark's routes, with its own names in its own letter case: what the driver of *Online Marketplace* sends is
//! asked of the same services as our own routes ask. Nothing else in the marketplace knows them.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use daybook::http::app::App;
use daybook::http::body::{Amount, Text, bad, object};
use daybook::http::command::{CommandRequest, Failure};
use daybook::http::extract::Path;
use daybook::http::given::{Both, Given, Unused, given};
use daybook::http::read::stamped;
use daybook::http::route::{Kind, Operation, Routes, Takes};
use daybook::identity::access::{Access, OPERATORS};
use daybook::schemas::wire::Code;
use domain::cart::Cart;
use domain::customer::Customer;
use domain::delivery::DeliveryRun;
use domain::product::Product;
use domain::sale::{Line, Status};
use domain::seller::Seller;
use domain::stock::StockItem;
use domain::{Charge, Currency, Money, MoneyError, customer, product, stock};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::capabilities::cart::{self, LineGiven, WithCard, reopened};
use crate::capabilities::catalog::{PriceGiven, ProductGiven};
use crate::capabilities::customer::{WithCard as CustomerGiven, details};
use crate::capabilities::seller::{SALES_MAX, SaleRow, Totals, read, too_large};
use crate::capabilities::sellers::SellerGiven;
use crate::capabilities::shipment::{send, transaction};
use crate::money::CURRENCY;

/// Sellers, about what is their own.
const SELLERS: Access = Access::Owners(&["seller"]);

/// How they are reached.
pub fn routes() -> Routes {
    let product = || json!({ "seller_id": 43, "product_id": 1, "name": "Hook", "price": 1.20, "version": "1" });
    let other = json!({ "seller_id": 43, "product_id": 1, "name": "Hook", "price": 1.40, "version": "2" });
    let price = json!({ "seller_id": 43, "product_id": 1, "price": 1.30 });
    let pieces = json!({ "seller_id": 43, "product_id": 1, "qty_available": 100 });
    let seller = json!({ "id": 43, "name": "Hooks and Eyes" });
    let customer = json!({ "id": 18, "first_name": "Bert" });
    let item =
        |run: &str| json!({ "seller_id": 43, "product_id": 1, "product_name": "Hook", "unit_price": 1.40, "quantity": 2, "version": "2", "instance_id": run });
    let checkout = json!({ "payment_type": "BOLETO", "first_name": "Bert", "instance_id": "12" });
    let cart = |summary| Operation::command::<Cart>(summary).part("customer", "18");
    let run = Operation::command::<DeliveryRun>("Delivers the oldest packages of ten sellers").by(OPERATORS);
    let shown = Operation { kind: Kind::Read, ..Operation::new("Shows a seller's dashboard in the benchmark's words").by(SELLERS) };
    Routes::of("benchmark", Access::Owners(&["customer"]))
        .post("/product", register_product, Operation::command::<Product>("Registers a product").by(SELLERS).created().example(product()))
        .put("/product", replace_product, Operation::command::<Product>("Replaces a product by another version of it").by(SELLERS).example(other))
        .patch("/product", change_price, Operation::command::<Product>("Changes a product's price").by(SELLERS).example(price))
        .post("/stock", register_stock, Operation::command::<StockItem>("Registers a product's first pieces").by(SELLERS).created().example(pieces))
        .post("/seller", register_seller, Operation::command::<Seller>("Registers a seller").by(SELLERS).created().example(seller))
        .post("/customer", register_customer, Operation::command::<Customer>("Registers a customer").created().example(customer))
        .put("/cart/{customer}/add", add, cart("Adds an item to a cart").example(item("10")))
        .patch("/cart/{customer}/add", add, cart("Adds an item to a cart").example(item("11")))
        .post("/cart/{customer}/checkout", check_out, cart("Checks a cart out: answered when its order has ended").example(checkout))
        .post("/cart/{customer}/seal", seal, cart("Empties a cart"))
        .patch("/cart/{customer}/seal", seal, cart("Empties a cart"))
        .delete("/cart/{customer}", cart::empty, cart("Empties a cart"))
        .patch("/shipment/{tid}", deliver, run.text_part("tid", "run_2", "^[A-Za-z0-9_]{1,100}$"))
        .get("/seller/dashboard/{id}", dashboard, shown.answers::<DashboardShown>(200, "One snapshot").part("id", "43"))
}

/// How long its routes wait: they answer when the transaction has ended.
const WAIT: Duration = Duration::from_secs(30);

/// A command of one of its routes: the id is its transaction id, and the answer comes at the end.
fn request<A>(service: &'static str, subject: String, headers: &HeaderMap, instance: Option<Text>) -> Result<CommandRequest<A>, Failure> {
    let request = CommandRequest::own(service, subject, headers)?.waiting(WAIT);
    let Some(Text(id)) = instance.filter(|given| !given.0.is_empty()) else { return Ok(request) };
    if id.len() > 100 || id.chars().any(char::is_control) {
        return Err(Failure::bad("/instance_id", "at most 100 visible characters"));
    }
    Ok(request.named("instance", id))
}

/// A JSON body whose field names may be in any letter case, with or without underscores, as its driver sends them.
struct AnyCase<T>(T);

/// The benchmark's field names.
const NAMES: &[&str] = &[
    "seller_id",
    "product_id",
    "product_name",
    "unit_price",
    "freight_value",
    "qty_available",
    "qty_reserved",
    "order_count",
    "instance_id",
    "customer_id",
    "first_name",
    "last_name",
    "zip_code",
    "birth_date",
    "payment_type",
    "card_number",
    "card_holder_name",
    "card_expiration",
    "card_security_number",
    "card_brand",
    "card_type",
    "success_payment_count",
    "failed_payment_count",
    "delivery_count",
    "abandoned_cart_count",
    "total_spent_items",
    "total_spent_freights",
    "company_name",
    "mobile_phone",
];

impl<T: JsonSchema> Takes for AnyCase<T> {
    fn describe(operation: &mut Operation) {
        operation.body = Some(T::json_schema);
        operation.any_case = true;
    }
}

impl<T: Given, S: Send + Sync> FromRequest<S> for AnyCase<T> {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let fields = object(request, state).await?.into_iter().map(|(name, value)| (canonical(&name), value)).collect();
        given(fields, "field").map(Self).map_err(|wrong| bad(&wrong))
    }
}

fn canonical(name: &str) -> String {
    let bare = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let given = bare(name);
    NAMES.iter().find(|known| bare(known) == given).map_or(given, |known| (*known).to_owned())
}

/// A product as the benchmark names it.
#[derive(Deserialize, JsonSchema)]
struct Named {
    seller_id: u64,
    product_id: u64,
    instance_id: Option<Text>,
}

impl Named {
    fn id(&self) -> String {
        format!("{}-{}", self.seller_id, self.product_id)
    }
}

type NamedGiven<T> = AnyCase<Both<Named, T>>;

async fn register_product(State(app): State<App>, headers: HeaderMap, AnyCase(Both(named, given)): NamedGiven<ProductGiven>) -> Result<Response, Failure> {
    request::<Product>("catalog", named.id(), &headers, None)?.created().send(&app, &product::Command::Register(given.details()?)).await
}

async fn replace_product(State(app): State<App>, headers: HeaderMap, AnyCase(Both(named, given)): NamedGiven<ProductGiven>) -> Result<Response, Failure> {
    request::<Product>("catalog", named.id(), &headers, None)?.send(&app, &product::Command::Replace(given.details()?)).await
}

async fn change_price(State(app): State<App>, headers: HeaderMap, AnyCase(Both(named, given)): NamedGiven<PriceGiven>) -> Result<Response, Failure> {
    request::<Product>("catalog", named.id(), &headers, named.instance_id)?.send(&app, &given.command()?).await
}

/// The reference under which the benchmark's registration books an item's first pieces.
const FIRST: &str = "registration";

/// What the benchmark's registration says besides, and its stock counts by itself.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
#[allow(dead_code, reason = "read, and not needed")]
struct Counted {
    qty_reserved: Unused,
    order_count: Unused,
    ytd: Unused,
    data: Unused,
    version: Unused,
}

#[derive(Deserialize, JsonSchema)]
struct Registration {
    seller_id: u64,
    product_id: u64,
    qty_available: u64,
}

async fn register_stock(
    State(app): State<App>,
    headers: HeaderMap,
    AnyCase(Both(given, _)): AnyCase<Both<Registration, Counted>>,
) -> Result<Response, Failure> {
    let id = format!("{}-{}", given.seller_id, given.product_id);
    let command = stock::Command::Receive { quantity: given.qty_available, reference: FIRST.to_owned() };
    request::<StockItem>("stock", id, &headers, None)?.created().send(&app, &command).await
}

/// What the benchmark says of a seller besides.
#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "read, and not all of it needed")]
struct NumberedSeller {
    id: u64,
    #[serde(default)]
    order_count: Unused,
}

async fn register_seller(
    State(app): State<App>,
    headers: HeaderMap,
    AnyCase(Both(NumberedSeller { id, .. }, given)): AnyCase<Both<NumberedSeller, SellerGiven>>,
) -> Result<Response, Failure> {
    request::<Seller>("catalog", id.to_string(), &headers, None)?.created().send(&app, &given.command()).await
}

/// What the benchmark says of a customer besides: what it counts itself is not needed.
#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "read, and not all of it needed")]
struct NumberedCustomer {
    id: u64,
    #[serde(default)]
    success_payment_count: Unused,
    #[serde(default)]
    failed_payment_count: Unused,
    #[serde(default)]
    delivery_count: Unused,
    #[serde(default)]
    abandoned_cart_count: Unused,
    #[serde(default)]
    total_spent_items: Unused,
    #[serde(default)]
    total_spent_freights: Unused,
}

async fn register_customer(
    State(app): State<App>,
    headers: HeaderMap,
    AnyCase(Both(NumberedCustomer { id, .. }, given)): AnyCase<Both<NumberedCustomer, CustomerGiven>>,
) -> Result<Response, Failure> {
    let details = details(&app, given)?;
    request::<Customer>("customer", id.to_string(), &headers, None)?.created().send(&app, &customer::Command::Register(details)).await
}

#[derive(Deserialize, JsonSchema)]
struct Addition {
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
    #[schemars(with = "Option<Code>")]
    currency: Option<Currency>,
    instance_id: Option<Text>,
}

async fn add(State(app): State<App>, Path(customer): Path<u64>, headers: HeaderMap, AnyCase(given): AnyCase<Addition>) -> Result<Response, Failure> {
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
    request::<Cart>("cart", customer.to_string(), &headers, given.instance_id)?
        .send(&app, &domain::cart::Command::Add { lines: vec![line.line(0)?], reference: None })
        .await
}

/// What a checkout says of itself besides.
#[derive(Deserialize, JsonSchema)]
struct Repeated {
    instance_id: Option<Text>,
    customer_id: Option<Text>,
}

async fn check_out(
    State(app): State<App>,
    Path(customer): Path<u64>,
    headers: HeaderMap,
    AnyCase(Both(repeated, Both(given, card))): AnyCase<Both<Repeated, WithCard>>,
) -> Result<Response, Failure> {
    if repeated.customer_id.is_some_and(|given| given.0 != customer.to_string()) {
        return Err(Failure::bad("/customer_id", format!("the path says that customer {customer} checks out")));
    }
    let checkout = given.checkout(card, &app)?;
    let answer = request::<Cart>("cart", customer.to_string(), &headers, repeated.instance_id)?.send(&app, &domain::cart::Command::CheckOut(checkout)).await?;
    Ok(reopened(&app, customer, answer).await)
}

async fn seal(State(app): State<App>, Path(customer): Path<u64>, headers: HeaderMap) -> Result<Response, Failure> {
    request::<Cart>("cart", customer.to_string(), &headers, None)?.send(&app, &domain::cart::Command::Empty).await
}

async fn deliver(State(app): State<App>, Path(tid): Path<String>, headers: HeaderMap) -> Result<Response, Failure> {
    send(&app, request("shipment", transaction(tid)?, &headers, None)?, &headers).await
}

/// A dashboard in the benchmark's words, for documents.
#[derive(JsonSchema)]
#[schemars(rename = "BenchmarkDashboard")]
#[allow(non_snake_case, dead_code, reason = "only described")]
struct DashboardShown {
    /// totals, in one currency
    sellerView: Map<String, Value>,
    /// lines of orders in progress
    orderEntries: Vec<Map<String, Value>>,
}

/// The same in the benchmark's words: one currency's totals, amounts as numbers.
async fn dashboard(State(app): State<App>, Path(seller): Path<u64>, headers: HeaderMap) -> Result<Response, Failure> {
    let read = read(&app, seller, SALES_MAX, &headers).await?;
    let (currency, sums) = read.totals.first().copied().unwrap_or((CURRENCY, Totals::default()));
    let decimal = |money: Money| serde_json::from_str::<Value>(&money.to_string()).unwrap_or_default();
    let number = |minor: i64| decimal(Money::new(minor, currency));
    let entry = |sale: &SaleRow, line: &Line| {
        let Charge { items, freight, discount, .. } = line.charge()?;
        let (customer, _) = sale.order.split_once('-').unwrap_or_default();
        Ok(json!({
            "order_id": sale.order, "customer_id": customer.parse::<u64>().unwrap_or_default(), "seller_id": seller, "package_id": u64::from(line.line) + 1,
            "product_id": line.product.product.0, "product_name": line.name, "quantity": line.quantity, "unit_price": decimal(line.unit_price),
            "total_items": decimal(items), "total_amount": decimal(items.minus(discount)?), "total_incentive": decimal(discount),
            "total_invoice": decimal(items.plus(freight)?.minus(discount)?), "freight_value": decimal(freight),
            "order_status": if sale.sale.status == Status::Shipped { "IN_TRANSIT" } else { "PAYMENT_PROCESSED" },
        }))
    };
    let lines = read.sales.iter().flat_map(|sale| sale.sale.in_progress().map(move |line| (sale, line)));
    let entries = lines.filter(|(_, line)| line.unit_price.currency == currency).map(|(sale, line)| entry(sale, line));
    let entries = entries.collect::<Result<Vec<Value>, MoneyError>>().map_err(Failure::internal)?;
    let invoice = sums.invoice().ok_or_else(too_large)?;
    let body = json!({
        "sellerView": {
            "seller_id": seller, "count_orders": sums.orders, "count_items": sums.items, "total_amount": number(invoice.checked_sub(sums.freight).ok_or_else(too_large)?),
            "total_freight": number(sums.freight), "total_incentive": number(sums.discounts), "total_items": number(sums.amount),
            "total_invoice": number(invoice),
        },
        "orderEntries": entries,
    });
    Ok(stamped(Json(body).into_response(), &read.positions, None))
}
