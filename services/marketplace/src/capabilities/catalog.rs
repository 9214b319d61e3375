//! The catalog: products, their prices, versions and end; and who sells them.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use daybook::eventstore::service::Service;
use daybook::projections::{FoldError, Overlay, Seen};
use daybook::schemas::wire::Code;
use domain::product::{Command, Details, Event, Product};
use domain::rating::Rating;
use domain::seller::Seller;
use domain::{Currency, Money, ProductRef};
use reviews::policies::CountStars;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rows::{PAIR, listing_key};
use super::{ratings, sellers};
use crate::money::CURRENCY;
use daybook::capability::Capability;
use daybook::http::app::{App, id_of};
use daybook::http::as_of::{AsOf, row_of};
use daybook::http::body::{Amount, Body};
use daybook::http::command::{CommandRequest, Failure};
use daybook::http::extract::{Path, Query};
use daybook::http::given::Both;
use daybook::http::read::{Listing, Under, list};
use daybook::http::route::{Operation, Routes};
use daybook::identity::access::Access;

/// The service.
pub fn capability() -> Capability {
    let command = |summary| Operation::command::<Product>(summary).text_part("id", "42-1", PAIR);
    let lamp = || json!({ "name": "Lantern", "sku": "71053", "price": "2.55", "freight_value": "0.50", "currency": "GBP" });
    let routes = Routes::of("catalog", Access::Owners(&["seller"]))
        .get("/products", browse, Operation::page::<ProductRow>("Lists products").by(Access::Anyone))
        .put("/products/{id}", register, command("Registers a product, whose id is <seller>-<number>").example(lamp()))
        .get("/products/{id}", show, Operation::row::<ProductRow>("Shows a product").by(Access::Anyone).text_part("id", "42-1", PAIR))
        .post("/products/{id}/price", change_price, command("Changes a product's price").example(json!({ "price": "2.75", "currency": "GBP" })))
        .post(
            "/products/{id}/replacement",
            replace,
            command("Replaces a product by another version of it").example(json!({ "name": "Lantern", "price": "3.10", "currency": "GBP", "version": "2" })),
        )
        .delete("/products/{id}", withdraw, command("Withdraws a product from sale").text_part("id", "42-1", PAIR));
    let service = Service::new("catalog").owns::<Product, _>().belongs_to("seller").owns::<Seller, _>().belongs_to("seller");
    let service = service.owns::<Rating, _>().follows_across::<CountStars, _>(reviews::SERVICE);
    Capability::of(service)
        .view("products", 1, fold)
        .view("sellers", 2, sellers::fold)
        .view("ratings", 1, ratings::fold)
        .routes(routes)
        .routes(sellers::routes())
        .routes(ratings::routes())
}

/// What readers see of a product.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ProductRow {
    /// `<seller>-<product>`
    pub id: String,
    /// what buyers read first
    pub name: String,
    /// the seller's own code
    pub sku: String,
    /// its shelf
    pub category: String,
    /// its text
    pub description: String,
    /// for one
    pub price: String,
    /// for shipping an order line
    pub freight_value: String,
    /// of both
    pub currency: String,
    /// the seller's word for its state
    pub status: String,
    /// names this version
    pub version: String,
    /// no longer sold
    pub withdrawn: bool,
    /// the aggregate's version
    pub revision: u64,
}

fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let Some(event) = seen.event::<Product, _>()? else { return Ok(()) };
    let revision = seen.envelope.version.unwrap_or_default();
    rows.update::<ProductRow>(&listing_key(&seen.envelope.subject), |row| {
        row.revision = revision;
        match event {
            Event::Registered(details) | Event::Replaced(details) => {
                let Details { name, sku, category, description, price, freight, status, version } = details;
                let (currency, id) = (price.currency.code().to_owned(), seen.envelope.subject.clone());
                *row = ProductRow {
                    id,
                    name,
                    sku,
                    category,
                    description,
                    price: price.to_string(),
                    freight_value: freight.to_string(),
                    currency,
                    status,
                    version,
                    withdrawn: false,
                    revision,
                };
            }
            Event::PriceChanged { price, .. } => row.price = price.to_string(),
            Event::Withdrawn { .. } => row.withdrawn = true,
        }
    })?;
    Ok(())
}

/// What a registration or a replacement says.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct ProductGiven {
    name: String,
    #[serde(default)]
    sku: String,
    #[serde(default)]
    category: String,
    #[serde(default)]
    description: String,
    price: Amount,
    #[serde(default)]
    freight_value: Amount,
    #[schemars(with = "Option<Code>")]
    currency: Option<Currency>,
    #[serde(default)]
    status: String,
    #[serde(default = "first")]
    version: String,
}

fn first() -> String {
    "1".to_owned()
}

impl ProductGiven {
    /// As the domain has it.
    pub fn details(self) -> Result<Details, Failure> {
        let currency = self.currency.unwrap_or(CURRENCY);
        let (price, freight) = (self.price.money(currency, "/price")?, self.freight_value.money(currency, "/freight_value")?);
        Ok(Details {
            name: self.name,
            sku: self.sku,
            category: self.category,
            description: self.description,
            price,
            freight,
            status: self.status,
            version: self.version,
        })
    }
}

/// A new price.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct PriceGiven {
    price: Amount,
    version: Option<String>,
    #[schemars(with = "Option<Code>")]
    currency: Option<Currency>,
}

impl PriceGiven {
    /// As the domain has it.
    pub fn command(self) -> Result<Command, Failure> {
        let price: Money = self.price.money(self.currency.unwrap_or(CURRENCY), "/price")?;
        Ok(Command::ChangePrice { price, version: self.version })
    }
}

async fn register(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap, Body(given): Body<ProductGiven>) -> Result<Response, Failure> {
    let id = id_of::<ProductRef>(&id)?;
    CommandRequest::<Product>::own("catalog", id, &headers)?.send(&app, &Command::Register(given.details()?)).await
}

async fn replace(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap, Body(given): Body<ProductGiven>) -> Result<Response, Failure> {
    let id = id_of::<ProductRef>(&id)?;
    CommandRequest::<Product>::own("catalog", id, &headers)?.send(&app, &Command::Replace(given.details()?)).await
}

async fn change_price(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap, Body(given): Body<PriceGiven>) -> Result<Response, Failure> {
    let id = id_of::<ProductRef>(&id)?;
    CommandRequest::<Product>::own("catalog", id, &headers)?.send(&app, &given.command()?).await
}

async fn withdraw(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, Failure> {
    let id = id_of::<ProductRef>(&id)?;
    CommandRequest::<Product>::own("catalog", id, &headers)?.send(&app, &Command::Withdraw).await
}

async fn show(State(app): State<App>, Path(id): Path<String>, Query(then): Query<AsOf>, headers: HeaderMap) -> Result<Response, Failure> {
    let id = id_of::<ProductRef>(&id)?;
    row_of::<Product, ProductRow>(&app, "products", (&id, &listing_key(&id)), &then, &headers, |row| row.revision).await
}

#[derive(Deserialize, JsonSchema)]
struct Filter {
    seller: Option<u64>,
}

async fn browse(State(app): State<App>, Query(Both(filter, listing)): Query<Both<Filter, Listing>>, headers: HeaderMap) -> Result<Response, Failure> {
    let seller = filter.seller.map(|seller| seller.to_string());
    let prefix = seller.as_ref().map(|seller| format!("{seller:0>20}-")).unwrap_or_default();
    list::<ProductRow>(&app, "products", Under { subject: seller.as_deref(), prefix: &prefix }, listing, &headers).await
}
