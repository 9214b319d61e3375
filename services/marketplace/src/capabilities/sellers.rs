//! Sellers: registration, and what is known of one. Part of the catalog's service.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use daybook::kernel::Personal;
use daybook::projections::{FoldError, Overlay, Seen};
use domain::seller::{Command, Contact, Details, Event, Seller};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use daybook::http::app::App;
use daybook::http::as_of::{AsOf, row_of};
use daybook::http::body::{Body, Text};
use daybook::http::command::{CommandRequest, Failure};
use daybook::http::extract::{Path, Query};
use daybook::http::read::{Listing, Under, list};
use daybook::http::route::{Operation, Routes};
use daybook::identity::access::Access;
use daybook::sealing::may_be_erased;

/// How they are reached.
pub fn routes() -> Routes {
    Routes::of("catalog", Access::Anyone)
        .get("/sellers", browse, Operation::page::<SellerRow>("Lists sellers"))
        .put(
            "/sellers/{id}",
            register,
            Operation::command::<Seller>("Registers a seller").by(Access::Owners(&["seller"])).part("id", "42").example(json!({ "name": "Rose Lamps" })),
        )
        .get("/sellers/{id}", show, Operation::row::<SellerRow>("Shows a seller").part("id", "42"))
}

/// What readers see of a seller.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct SellerRow {
    /// its number
    pub id: u64,
    /// how to reach it
    #[serde(flatten)]
    #[schemars(with = "ContactShown")]
    pub contact: Personal<Contact>,
    /// the company's name
    pub company_name: String,
    /// the aggregate's version
    pub revision: u64,
}

/// [`Contact`], for documents.
#[derive(JsonSchema)]
#[schemars(rename = "Contact", transform = may_be_erased)]
#[allow(dead_code, reason = "only described")]
struct ContactShown {
    /// the seller's name
    name: String,
    /// e-mail
    email: String,
    /// phone
    phone: String,
    /// mobile phone
    mobile_phone: String,
    /// the tax number of a person
    cpf: String,
    /// the tax number of a company
    cnpj: String,
    /// street and number
    address: String,
    /// flat, floor, care of
    complement: String,
    /// town
    city: String,
    /// state or country
    state: String,
    /// postal code
    zip_code: String,
}

/// The view of them.
pub fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let Some(Event::Registered(Details { contact, company_name })) = seen.event::<Seller, _>()? else { return Ok(()) };
    let id = seen.envelope.subject.parse().unwrap_or_default();
    rows.put(format!("{id:0>20}"), SellerRow { id, contact, company_name, revision: seen.envelope.version.unwrap_or_default() });
    Ok(())
}

/// What a registration may say.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct SellerGiven {
    name: String,
    #[serde(default)]
    company_name: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    phone: String,
    #[serde(default)]
    mobile_phone: String,
    #[serde(default)]
    cpf: String,
    #[serde(default)]
    cnpj: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    complement: String,
    #[serde(default)]
    city: String,
    #[serde(default)]
    state: String,
    zip_code: Option<Text>,
}

impl SellerGiven {
    /// As the domain has it.
    pub fn command(self) -> Command {
        let Self { name, company_name, email, phone, mobile_phone, cpf, cnpj, address, complement, city, state, zip_code } = self;
        let zip_code = zip_code.map(|Text(code)| code).unwrap_or_default();
        let contact = Contact { name, email, phone, mobile_phone, cpf, cnpj, address, complement, city, state, zip_code };
        Command::Register(Details { contact: Personal::Clear(contact), company_name })
    }
}

async fn register(State(app): State<App>, Path(id): Path<u64>, headers: HeaderMap, Body(given): Body<SellerGiven>) -> Result<Response, Failure> {
    CommandRequest::<Seller>::own("catalog", id.to_string(), &headers)?.send(&app, &given.command()).await
}

async fn show(State(app): State<App>, Path(id): Path<u64>, Query(then): Query<AsOf>, headers: HeaderMap) -> Result<Response, Failure> {
    row_of::<Seller, SellerRow>(&app, "sellers", (&id.to_string(), &format!("{id:0>20}")), &then, &headers, |row| row.revision).await
}

async fn browse(State(app): State<App>, Query(listing): Query<Listing>, headers: HeaderMap) -> Result<Response, Failure> {
    list::<SellerRow>(&app, "sellers", Under::all(""), listing, &headers).await
}
