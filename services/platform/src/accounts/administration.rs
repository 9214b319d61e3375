//! What operators do with accounts: list, grant, revoke, shut and open them.

use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::IDENTITY;
use super::sessions::ACCOUNT;
use super::sign_up::{RoleGiven, known, owned};
use crate::hex::Hex;
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::command::CommandRequest;
use crate::http::extract::Path;
use crate::http::failure::Failure;
use crate::http::route::{Operation, Routes};
use crate::identity::access::{Access, OPERATORS};
use crate::identity::account::{Account, Command, Granted};
use crate::identity::views::{ACCOUNT_PREFIX, ACCOUNTS, AccountRow, account_key};

/// The routes.
pub fn routes() -> Routes {
    let account = |operation: Operation| operation.text_part("id", "5f3a0c1d2e4b69788796a5b4c3d2e1f0", ACCOUNT);
    let command = |summary| account(Operation::command::<Account>(summary));
    let own = Access::Owners(&[eventstore::actor::SELF]);
    let disable = |given: Reason| Ok(Command::Disable { reason: given.reason });
    let enable = |_: Nothing| Ok(Command::Enable);
    Routes::of(IDENTITY, OPERATORS)
        .page::<AccountRow>("/identity/accounts", ACCOUNTS, ACCOUNT_PREFIX, Operation::new("Lists accounts"))
        .row::<AccountRow, Account>("/identity/accounts/{id}", ACCOUNTS, account_key, |row| row.revision, account(Operation::new("Shows an account")).by(own))
        .post("/identity/accounts/{id}/roles", grant, command("Gives an account a role").example(json!({ "role": "auditor" })))
        .delete("/identity/accounts/{id}/roles/{role}", revoke, command("Takes a role from an account").text_part("role", "auditor", "^[a-z-]{1,50}$"))
        .command::<Account, Reason, _>(
            Method::POST,
            "/identity/accounts/{id}/disable",
            disable,
            command("Shuts an account: its sessions are over").example(json!({ "reason": "a test" })),
        )
        .command::<Account, Nothing, _>(Method::POST, "/identity/accounts/{id}/enable", enable, command("Opens an account again").example(json!({})))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reason {
    reason: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn grant(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap, Body(given): Body<RoleGiven>) -> Result<Response, Failure> {
    id.parse::<Hex>().map_err(|why| Failure::bad("/id", why))?;
    let owns = owned(known(&app, &given.role)?, given.owns)?;
    CommandRequest::<Account>::own(IDENTITY, id, &headers)?.send(&app, &Command::Grant(Granted { role: given.role, owns })).await
}

async fn revoke(State(app): State<App>, Path((id, role)): Path<(String, String)>, headers: HeaderMap) -> Result<Response, Failure> {
    id.parse::<Hex>().map_err(|why| Failure::bad("/id", why))?;
    CommandRequest::<Account>::own(IDENTITY, id, &headers)?.send(&app, &Command::Revoke { role }).await
}
