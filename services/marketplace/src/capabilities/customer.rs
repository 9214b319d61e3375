//! Customers: registration, and what is known of one.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use daybook::eventstore::service::Service;
use daybook::kernel::Personal;
use daybook::projections::{FoldError, Overlay, Seen};
use domain::customer::{Command, Customer, Details, Event, Person};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::card::CardGiven;
use daybook::capability::Capability;
use daybook::http::app::App;
use daybook::http::as_of::{AsOf, row_of};
use daybook::http::body::Body;
use daybook::http::command::{CommandRequest, Failure};
use daybook::http::extract::{Path, Query};
use daybook::http::given::Both;
use daybook::http::route::{Operation, Routes};
use daybook::identity::access::Access;
use daybook::sealing::may_be_erased;

/// The service.
pub fn capability() -> Capability {
    let anna = json!({ "first_name": "Anna", "last_name": "Berg", "city": "Turku", "card_number": "4111111111111111", "card_brand": "visa" });
    let routes = Routes::of("customer", Access::Owners(&["customer"]))
        .put("/customers/{id}", register, Operation::command::<Customer>("Registers a customer").part("id", "17").example(anna))
        .get("/customers/{id}", show, Operation::row::<CustomerRow>("Shows a customer").part("id", "17"));
    Capability::of(Service::new("customer").owns::<Customer, _>().belongs_to("customer")).view("customers", 2, fold).routes(routes)
}

/// What readers see of a customer.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CustomerRow {
    /// its number
    pub id: u64,
    /// who it is
    #[schemars(with = "PersonShown")]
    pub person: Personal<Person>,
    /// the card's brand and last four digits
    pub card: Option<String>,
    /// as given
    pub data: String,
    /// the aggregate's version
    pub revision: u64,
}

/// [`Person`], for documents.
#[derive(JsonSchema)]
#[schemars(rename = "Person", transform = may_be_erased)]
#[allow(dead_code, reason = "only described")]
struct PersonShown {
    /// given name
    first_name: String,
    /// family name
    last_name: String,
    /// street and number
    street: String,
    /// flat, floor, care of
    complement: String,
    /// town
    city: String,
    /// state or country
    state: String,
    /// postal code
    zip_code: String,
    /// as the caller writes it
    birth_date: String,
    /// e-mail
    email: String,
    /// phone
    phone: String,
}

fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let Some(Event::Registered(Details { person, card, data })) = seen.event::<Customer, _>()? else { return Ok(()) };
    let id = seen.envelope.subject.parse().unwrap_or_default();
    let card = card.map(|card| format!("{} ····{}", card.brand, card.last4));
    rows.put(seen.envelope.subject.clone(), CustomerRow { id, person, card, data, revision: seen.envelope.version.unwrap_or_default() });
    Ok(())
}

/// What a registration may say.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct CustomerGiven {
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

/// A registration with its card.
pub(crate) type WithCard = Both<CustomerGiven, CardGiven>;

/// As the domain has it.
pub(crate) fn details(app: &App, Both(given, card): WithCard) -> Result<Details, Failure> {
    let card = card.kept(&app.keys)?;
    let CustomerGiven { first_name, last_name, street, complement, city, state, zip_code, birth_date, email, phone, data } = given;
    let person = Person { first_name, last_name, street, complement, city, state, zip_code, birth_date, email, phone };
    Ok(Details { person: Personal::Clear(person), card, data })
}

async fn register(State(app): State<App>, Path(id): Path<u64>, headers: HeaderMap, Body(given): Body<WithCard>) -> Result<Response, Failure> {
    let details = details(&app, given)?;
    CommandRequest::<Customer>::own("customer", id.to_string(), &headers)?.send(&app, &Command::Register(details)).await
}

async fn show(State(app): State<App>, Path(id): Path<u64>, Query(then): Query<AsOf>, headers: HeaderMap) -> Result<Response, Failure> {
    row_of::<Customer, CustomerRow>(&app, "customers", (&id.to_string(), &id.to_string()), &then, &headers, |row| row.revision).await
}
