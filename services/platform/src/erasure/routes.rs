//! How erasures are asked for and read.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use eventstore::service::{Handler, Service};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::view::{ERASURE_PREFIX, ERASURES, ErasureRow, erasure_key, fold};
use super::{Command, DataSubject, Erasure, SERVICE};
use crate::accounts::IDENTITY;
use crate::capability::Capability;
use crate::http::app::App;
use crate::http::as_of::{AsOf, row_of};
use crate::http::body::Body;
use crate::http::command::CommandRequest;
use crate::http::extract::{Path, Query};
use crate::http::failure::Failure;
use crate::http::route::{Operation, Routes};
use crate::identity::access::OPERATORS;

/// What a role or a key is.
const WORD: &str = "^[!-.0-<>-~]{1,100}$";

/// The service.
pub fn capability() -> Capability {
    let of = |operation: Operation| operation.text_part("role", "customer", WORD).text_part("key", "17", WORD);
    let erase = "Erases somebody's personal data: its keys are destroyed, and what may be left of it is looked for";
    let routes = Routes::of(SERVICE, OPERATORS)
        .page::<ErasureRow>("/erasures", ERASURES, ERASURE_PREFIX, Operation::new("Lists erasures"))
        .post(
            "/erasures/{role}/{key}",
            request,
            of(Operation::command::<Erasure>(erase)).fails(&["not-sealed", "unknown-name"]).example(json!({ "reason": "asked by letter" })),
        )
        .get("/erasures/{role}/{key}", show, of(Operation::row::<ErasureRow>("Shows an erasure and its report")));
    let erasure = Capability::of(Service::new(SERVICE).owns::<Erasure, _>()).everywhere(ERASURES, 1, fold).routes(routes);
    Capability { asks: &[IDENTITY], reads_all: true, ..erasure }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reason {
    /// why; it must not name anybody
    reason: String,
}

fn subject(role: &str, key: &str) -> Result<String, Failure> {
    let text = format!("{role}/{key}");
    text.parse::<DataSubject>().map_err(|why| Failure::bad("/role", why))?;
    Ok(text)
}

async fn request(
    State(app): State<App>,
    Path((role, key)): Path<(String, String)>,
    headers: HeaderMap,
    Body(given): Body<Reason>,
) -> Result<Response, Failure> {
    let id = subject(&role, &key)?;
    if app.sealer.is_none() {
        return Err(Failure::refused(
            "not-sealed",
            "this log seals nothing, so there are no keys to destroy: start it with --seal on, for what is written from then on",
        ));
    }
    let known = roles(&app);
    if !known.contains(role.as_str()) {
        return Err(Failure::unknown_name(format!("nobody's personal data is '{role}'s: {}", known.into_iter().collect::<Vec<_>>().join(", "))));
    }
    let spelt = app.operator.services.values().any(|service| {
        let of_role = |handler: &&dyn Handler| service.role_of(handler.name()) == role;
        service.personal().filter(of_role).any(|handler| handler.check_id(&key).is_ok())
    });
    if !spelt || (app.log.rules().routing_key)(&key) != key {
        return Err(Failure::bad("/key", format!("'{key}' is nobody's among {role}s: give the key as its own things begin, as 17")));
    }
    CommandRequest::<Erasure>::own(SERVICE, id, &headers)?.send(&app, &Command::Request { reason: given.reason }).await
}

/// Whose personal data there can be, by the services' declarations.
fn roles(app: &App) -> BTreeSet<&'static str> {
    let services = app.operator.services.values();
    services.flat_map(|service| service.personal().map(|handler| service.role_of(handler.name()))).collect()
}

async fn show(State(app): State<App>, Path((role, key)): Path<(String, String)>, Query(then): Query<AsOf>, headers: HeaderMap) -> Result<Response, Failure> {
    let id = subject(&role, &key)?;
    row_of::<Erasure, ErasureRow>(&app, ERASURES, (&id, &erasure_key(&id)), &then, &headers, |row| row.revision).await
}
