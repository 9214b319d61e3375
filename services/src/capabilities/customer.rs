//! Customers: registration, and what is known of one.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{post, put};
use domain::customer::{Command, Customer, Details, Event, Person};
use eventstore::service::Service;
use projections::{Overlay, Seen, Unfolded};
use serde::{Deserialize, Serialize};

use super::rows::event_of;
use crate::capability::Capability;
use crate::http::app::App;
use crate::http::body::{AnyCase, Body};
use crate::http::card::CardGiven;
use crate::http::command::{Ask, Failure};
use crate::http::given::{Both, Unused};
use crate::http::place::Path;
use crate::http::read;

/// The service.
pub fn capability() -> Capability {
    let routes = axum::Router::new().route("/customers/{id}", put(register).get(show)).route("/customer", post(register_benchmark));
    Capability::of(Service::new("customer").owns::<Customer>()).view("customers", 1, fold).routes(routes)
}

/// What readers see of a customer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CustomerRow {
    /// its number
    pub id: u64,
    /// who it is
    pub person: Person,
    /// the card's brand and last four digits
    pub card: Option<String>,
    /// as given
    pub data: String,
    /// the aggregate's version
    pub revision: u64,
}

fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), Unfolded> {
    let Some(Event::Registered(Details { person, card, data })) = event_of::<Customer>(seen)? else { return Ok(()) };
    let id = seen.envelope.subject.parse().unwrap_or_default();
    let card = card.map(|card| format!("{} ····{}", card.brand, card.last4));
    rows.put(seen.envelope.subject.clone(), CustomerRow { id, person, card, data, revision: seen.envelope.version.unwrap_or_default() });
    Ok(())
}

/// What a registration may say. The benchmark's field names are taken too.
#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
    #[serde(default, alias = "address")]
    street: String,
    #[serde(default)]
    complement: String,
    #[serde(default)]
    city: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    zip_code: String,
    #[serde(default)]
    birth_date: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    phone: String,
    #[serde(default)]
    data: String,
}

/// What the benchmark says of a customer besides: what it counts itself is not needed.
#[derive(Deserialize)]
#[allow(dead_code, reason = "read, and not all of it needed")]
struct Numbered {
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

type WithCard = Both<Given, CardGiven>;

fn details(app: &App, Both(given, card): WithCard) -> Result<Details, Failure> {
    let card = card.kept(&app.cards)?;
    let Given { first_name, last_name, street, complement, city, state, zip_code, birth_date, email, phone, data } = given;
    Ok(Details { person: Person { first_name, last_name, street, complement, city, state, zip_code, birth_date, email, phone }, card, data })
}

async fn register(State(app): State<App>, Path(id): Path<u64>, headers: HeaderMap, Body(given): Body<WithCard>) -> Result<Response, Failure> {
    let details = details(&app, given)?;
    Ask::<Customer>::own("customer", id.to_string(), &headers)?.send(&app, &Command::Register(details)).await
}

async fn register_benchmark(
    State(app): State<App>,
    headers: HeaderMap,
    AnyCase(Both(Numbered { id, .. }, given)): AnyCase<Both<Numbered, WithCard>>,
) -> Result<Response, Failure> {
    let details = details(&app, given)?;
    Ask::<Customer>::benchmark("customer", id.to_string(), &headers, None)?.created().send(&app, &Command::Register(details)).await
}

async fn show(State(app): State<App>, Path(id): Path<u64>, headers: HeaderMap) -> Result<Response, Failure> {
    read::row::<CustomerRow>(&app, "customers", (&id.to_string(), &id.to_string()), &headers, |row| row.revision).await
}
