//! Sellers: registration, and what is known of one. Part of the catalog's service.

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, put};
use daybook::projections::{Overlay, Seen, Unfolded};
use domain::seller::{Command, Contact, Details, Event, Seller};
use serde::{Deserialize, Serialize};

use super::rows::event_of;
use daybook::http::app::App;
use daybook::http::body::{Body, Text};
use daybook::http::command::{CommandRequest, Failure};
use daybook::http::place::{Path, Query};
use daybook::http::read::{Listing, Under, list, row};

/// How they are reached.
pub fn routes() -> Router<App> {
    Router::new().route("/sellers", get(browse)).route("/sellers/{id}", put(register).get(show))
}

/// What readers see of a seller.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SellerRow {
    /// its number
    pub id: u64,
    /// how to reach it
    #[serde(flatten)]
    pub contact: Contact,
    /// the company's name
    pub company_name: String,
    /// the aggregate's version
    pub revision: u64,
}

/// The view of them.
pub fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), Unfolded> {
    let Some(Event::Registered(Details { contact, company_name })) = event_of::<Seller, _>(seen)? else { return Ok(()) };
    let id = seen.envelope.subject.parse().unwrap_or_default();
    rows.put(format!("{id:0>20}"), SellerRow { id, contact, company_name, revision: seen.envelope.version.unwrap_or_default() });
    Ok(())
}

/// What a registration may say.
#[derive(Deserialize)]
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
        Command::Register(Details { contact, company_name })
    }
}

async fn register(State(app): State<App>, Path(id): Path<u64>, headers: HeaderMap, Body(given): Body<SellerGiven>) -> Result<Response, Failure> {
    CommandRequest::<Seller>::own("catalog", id.to_string(), &headers)?.send(&app, &given.command()).await
}

async fn show(State(app): State<App>, Path(id): Path<u64>, headers: HeaderMap) -> Result<Response, Failure> {
    row::<SellerRow>(&app, "sellers", (&id.to_string(), &format!("{id:0>20}")), &headers, |row| row.revision).await
}

async fn browse(State(app): State<App>, Query(listing): Query<Listing>, headers: HeaderMap) -> Result<Response, Failure> {
    list::<SellerRow>(&app, "sellers", Under::all(""), listing, &headers).await
}
