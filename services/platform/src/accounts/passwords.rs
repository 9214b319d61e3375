//! How a password is changed by who knows it, and reset by who has its account's mail.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answers::{PasswordGiven, acceptable, address, busy};
use super::sessions::{ACCOUNT, begin, hash, known};
use super::settled::{decided, row};
use super::{IDENTITY, SECRETS};
use crate::hex::Hex;
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::command::CommandRequest;
use crate::http::extract::Path;
use crate::http::failure::Failure;
use crate::http::route::{Operation, Routes};
use crate::http::scope;
use crate::identity::access::Access;
use crate::identity::account::{self, Account};
use crate::identity::attempts::By;
use crate::identity::credential::{Command, Credential};
use crate::identity::email::Email;
use crate::identity::policies::Claim;
use crate::identity::tokens::read_reset_token;
use crate::identity::views::{ACCOUNTS, AccountRow, account_key};
use crate::reservation::Unique;

const REFUSED: [&str; 4] =
    ["password-too-short-out-of-range", "password-too-long-out-of-range", "password-too-common-out-of-range", "password-too-personal-out-of-range"];

/// The routes.
pub fn routes() -> Routes {
    let change = Operation::new("Changes a password: all sessions of the account are over")
        .answers::<Done>(200, "It is changed")
        .text_part("id", "5f3a0c1d2e4b69788796a5b4c3d2e1f0", ACCOUNT)
        .fails(&REFUSED)
        .fails(&["sign-in-failed", "too-many-requests", "password-changed", "unknown-account", "id-used"])
        .example(json!({ "password": "three lamps on a shelf", "new_password": "four lamps on two shelves" }));
    let reset = Operation::new("Asks for another password: whoever has the account's mail is sent a token")
        .about("The answer is the same whether there is such an account.")
        .answers::<Done>(202, "If there is such an account, it is sent a token")
        .fails(&["too-many-requests"])
        .example(json!({ "email": "anna@example.com" }));
    let complete = Operation::new("Sets another password by the token that was sent: all sessions of the account are over")
        .answers::<Done>(200, "It is set")
        .fails(&REFUSED)
        .fails(&["reset-over", "id-used", "too-many-requests"])
        .example(json!({ "token": format!("5f3a0c1d2e4b69788796a5b4c3d2e1f0.1.{}", "0".repeat(64)), "password": "four lamps on two shelves" }));
    Routes::of("identity", Access::Anyone)
        .post("/identity/accounts/{id}/password", change_password, change.secret().by(Access::Owners(&[eventstore::actor::SELF])))
        .post("/identity/password-resets", ask_reset, reset)
        .post("/identity/password-resets/complete", complete_reset, complete.secret())
}

/// It is done.
#[derive(Serialize, JsonSchema)]
struct Done {
    /// what
    done: &'static str,
}

/// The account's sessions are over. Asked before its password is another, so that no crash leaves them, and after, so that none is
/// left that was opened by the password of before in between.
async fn over(app: &App, account: &str) -> Result<(), Failure> {
    decided::<Account, _>(app, IDENTITY, account, &HeaderMap::new(), &account::Command::RenewPassword).await.map(|_| ())
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Change {
    /// that of now
    password: PasswordGiven,
    new_password: PasswordGiven,
}

async fn change_password(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap, Body(given): Body<Change>) -> Result<Response, Failure> {
    id.parse::<Hex>().map_err(|why| Failure::bad("/id", why))?;
    let by = [By::Address(id.clone()), By::Source(scope::address())];
    let unknown = || Failure::refused("unknown-account", "there is no such account");
    let account: AccountRow = row(&app, ACCOUNTS, (&id, &account_key(&id)), &headers).await?.ok_or_else(unknown)?;
    let hash = hash(&app, &id, &headers).await?;
    begin(&app, &by)?;
    let verified = app.identity.passwords.verify(given.password.0, hash.clone()).await.map_err(busy)?;
    let Some(of) = hash.filter(|_| verified.matches) else {
        return Err(Failure::refused("sign-in-failed", "this is not the account's password").at("/password"));
    };
    app.identity.attempts.succeeded(&by);
    acceptable(&given.new_password.0, "/new_password", &address(&app, &account)?, app.identity.application)?;
    let hash = app.identity.passwords.hash(given.new_password.0).await.map_err(busy)?;
    over(&app, &id).await?;
    let at = decided::<Credential, _>(&app, SECRETS, &id, &headers, &Command::Change { hash, of }).await?;
    over(&app, &id).await?;
    Ok((at, Json(Done { done: "changed" })).into_response())
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reset {
    email: String,
}

async fn ask_reset(State(app): State<App>, headers: HeaderMap, Body(given): Body<Reset>) -> Result<Response, Failure> {
    let address = Email::parse(&given.email).map_or_else(|_| given.email.clone(), |email| email.folded().to_owned());
    let claim = Claim::id(&app.identity.key, &format!("email {address}"));
    begin(&app, &[By::Address(format!("reset {claim}")), By::Source(scope::address())])?;
    // One that is not there is asked as well, and says no: the answer does not wait for either.
    let account = known(&app, &claim, &headers).await?.unwrap_or(claim);
    CommandRequest::<Credential>::own(SECRETS, account, &HeaderMap::new())?.anew().send(&app, &Command::BeginReset).await?;
    Ok((StatusCode::ACCEPTED, Json(Done { done: "asked" })).into_response())
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Complete {
    /// what was sent
    token: String,
    password: PasswordGiven,
}

async fn complete_reset(State(app): State<App>, headers: HeaderMap, Body(given): Body<Complete>) -> Result<Response, Failure> {
    begin(&app, &[By::Source(format!("reset {}", scope::address()))])?;
    let unusable = || Failure::refused("reset-over", "this token is used, replaced by a later one, or too old: ask for another");
    let (account, number) = read_reset_token(&app.identity.key, &given.token).ok_or_else(unusable)?;
    let row: AccountRow = row(&app, ACCOUNTS, (&account, &account_key(&account)), &headers).await?.ok_or_else(unusable)?;
    acceptable(&given.password.0, "/password", &address(&app, &row)?, app.identity.application)?;
    let hash = app.identity.passwords.hash(given.password.0).await.map_err(busy)?;
    over(&app, &account).await?;
    let reset = decided::<Credential, _>(&app, SECRETS, &account, &headers, &Command::Reset { number, hash }).await;
    let at = reset.map_err(|failure| if failure.is("reset-over") { unusable() } else { failure })?;
    over(&app, &account).await?;
    Ok((at, Json(Done { done: "set" })).into_response())
}
