//! How somebody signs in, stays so, and signs out.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use kernel::{Timestamp, routing_key};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::answers::{PasswordGiven, Tokens, busy};
use super::settled::{decided, row, standing};
use super::{IDENTITY, SECRETS};
use crate::hex::{Hex, HexPair};
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::command::CommandRequest;
use crate::http::extract::{Path, Query};
use crate::http::failure::Failure;
use crate::http::guard::now;
use crate::http::read::{Listing, Under, list};
use crate::http::route::{Operation, Routes};
use crate::http::scope;
use crate::identity::access::Access;
use crate::identity::account::Status;
use crate::identity::attempts::By;
use crate::identity::credential::{self, Credential};
use crate::identity::email::Email;
use crate::identity::policies::Claim;
use crate::identity::session::{self, Command, Session};
use crate::identity::signing::LIFE_SECONDS;
use crate::identity::tokens::{read_refresh_token, refresh_token};
use crate::identity::views::{ACCOUNTS, AccountRow, CREDENTIALS, CredentialRow, SessionRow, account_key, claim_key, credential_key, session_key};
use crate::reservation::Unique;

/// What ids of accounts look like.
pub const ACCOUNT: &str = "^[0-9a-f]{32}$";
const SESSION: &str = "^[0-9a-f]{32}-[0-9a-f]{32}$";
/// How long, in seconds of log time, a repeat under the same Idempotency-Key has the answer that was lost.
const REPEAT_SECONDS: i64 = 60;
const NOBODY: &str = "5f3a0c1d2e4b69788796a5b4c3d2e1f0";

/// The routes.
pub fn routes() -> Routes {
    let sign_in = Operation::new("Signs in: opens a session")
        .about("Whatever is wrong, the answer is the same, and comes as late.")
        .answers::<Tokens>(201, "What shows who asks")
        .fails(&["sign-in-failed", "too-many-requests"])
        .example(json!({ "email": "anna@example.com", "password": "three lamps on a shelf" }));
    let refresh = Operation::new("Gets the next pair of tokens, once; a refresh token that comes again ends its session")
        .about("Whoever lost the answer asks again under the same Idempotency-Key: within a minute, and before the next token is used.")
        .answers::<Tokens>(200, "The next pair")
        .fails(&["session-over", "id-used"])
        .example(json!({ "refresh_token": format!("{NOBODY}-{NOBODY}.0.{}", "0".repeat(64)) }));
    let own = Access::Owners(&[eventstore::actor::SELF]);
    let sessions = Operation::page::<SessionRow>("Lists an account's sessions").text_part("id", NOBODY, ACCOUNT);
    Routes::of("identity", own)
        .post("/identity/sessions", open_session, sign_in.secret().by(Access::Anyone))
        .post("/identity/sessions/refresh", refresh_session, refresh.secret().by(Access::Anyone))
        .get("/identity/accounts/{id}/sessions", list_sessions, sessions)
        .delete(
            "/identity/sessions/{id}",
            sign_out,
            Operation::command::<Session>("Signs out: ends a session").text_part(
                "id",
                "5f3a0c1d2e4b69788796a5b4c3d2e1f0-00112233445566778899aabbccddeeff",
                SESSION,
            ),
        )
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Given {
    email: String,
    password: PasswordGiven,
}

/// The account that has an address, if there is one that can be used.
pub async fn known(app: &App, claim: &str, headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let accounts = standing(app, ACCOUNTS, claim, headers).await?;
    let Some(account) = accounts.get::<String>(&claim_key(claim))?.filter(|account| !account.is_empty()) else { return Ok(None) };
    Ok(accounts.get::<AccountRow>(&account_key(&account))?.filter(|row| row.status == Status::Active).map(|row| row.id))
}

/// The hash of an account's password. Known where the service of credentials runs: another instance is asked otherwise.
pub async fn hash(app: &App, account: &str, headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let row: Option<CredentialRow> = row(app, CREDENTIALS, (account, &credential_key(account)), headers).await?;
    Ok(row.and_then(|row| row.hash))
}

fn failed() -> Failure {
    Failure::refused("sign-in-failed", "this e-mail address and this password are not of an account that can be used")
}

async fn open_session(State(app): State<App>, headers: HeaderMap, Body(given): Body<Given>) -> Result<Response, Failure> {
    let address = Email::parse(&given.email).map_or_else(|_| given.email.clone(), |email| email.folded().to_owned());
    let claim = Claim::id(&app.identity.key, &format!("email {address}"));
    let by = [By::Address(claim.clone()), By::Source(scope::address())];
    let account = known(&app, &claim, &headers).await?;
    // Whoever has no account, or none that can be used, gets the answer that a wrong password gets, as late.
    let hash = hash(&app, account.as_deref().unwrap_or(NOBODY), &headers).await?;
    begin(&app, &by)?;
    let verified = app.identity.passwords.verify(given.password.0, hash.clone()).await.map_err(busy)?;
    let Some(account) = account.filter(|_| verified.matches) else {
        app.identity.denials.add(format!("address {}", scope::address()), "POST /identity/sessions".to_owned(), "sign-in failed");
        return Err(failed());
    };
    app.identity.attempts.succeeded(&by);
    let none = HeaderMap::new();
    if let (Some(rehash), Some(of)) = (verified.rehash, hash) {
        let rehashed = decided::<Credential, _>(&app, SECRETS, &account, &none, &credential::Command::Rehash { hash: rehash, of }).await;
        rehashed.err().into_iter().for_each(|why| tracing::warn!(?why, "a password was not hashed anew"));
    }
    let session = format!("{account}-{}", Hex::random());
    let at = decided::<Session, _>(&app, IDENTITY, &session, &none, &Command::Open).await?;
    Ok((StatusCode::CREATED, at, Json(tokens(&app, &session, 0)?)).into_response())
}

/// That a password may be tried now.
pub fn begin(app: &App, by: &[By]) -> Result<(), Failure> {
    let refused = |wait: std::time::Duration| Failure::too_often("too many sign-ins have failed: wait", wait.as_secs() + 1);
    app.identity.attempts.begin(by, std::time::Instant::now()).map_err(refused)
}

fn tokens(app: &App, session: &str, number: u64) -> Result<Tokens, Failure> {
    let account = routing_key(session);
    Ok(Tokens {
        access_token: app.identity.tokens.issue(account, session, now()).map_err(Failure::internal)?,
        token_type: "Bearer",
        expires_in: LIFE_SECONDS,
        refresh_token: refresh_token(&app.identity.key, session, number),
        session: session.to_owned(),
        account: account.to_owned(),
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Refresh {
    refresh_token: String,
}

fn over() -> Failure {
    Failure::refused("session-over", "this refresh token is good for nothing: sign in again")
}

async fn refresh_session(State(app): State<App>, headers: HeaderMap, Body(given): Body<Refresh>) -> Result<Response, Failure> {
    let (session, number) = read_refresh_token(&app.identity.key, &given.refresh_token).filter(|(id, _)| id.parse::<HexPair>().is_ok()).ok_or_else(over)?;
    let (mut at, mut row) = refreshed(&app, &session, number, &headers).await?;
    // A repeat under the same name is for whoever lost the answer: soon, and before the next token was used. After that it is reuse.
    let lost = |row: &SessionRow| {
        let renewed: Option<Timestamp> = row.renewed_at.parse().ok();
        row.renewals == number + 1 && renewed.is_some_and(|renewed| app.log.now() <= renewed.plus_seconds(REPEAT_SECONDS))
    };
    if row.as_ref().is_some_and(|row| !lost(row)) {
        (at, row) = refreshed(&app, &session, number, &HeaderMap::new()).await?;
    }
    if row.is_none_or(|row| row.status != session::Status::Open) {
        app.identity.denials.add(format!("session {session}"), "POST /identity/sessions/refresh".to_owned(), "refresh token used again, or its account shut");
        return Err(over());
    }
    Ok((at, Json(tokens(&app, &session, number + 1)?)).into_response())
}

/// Renews a session with the token of this number, and gives what it is then.
async fn refreshed(app: &App, session: &str, number: u64, headers: &HeaderMap) -> Result<(HeaderMap, Option<SessionRow>), Failure> {
    let at = decided::<Session, _>(app, IDENTITY, session, headers, &Command::Refresh { number }).await;
    let at = at.map_err(|failure| if failure.is("session-over") { over() } else { failure })?;
    let row = row(app, ACCOUNTS, (session, &session_key(session)), &at).await?;
    Ok((at, row))
}

async fn list_sessions(State(app): State<App>, Path(id): Path<String>, Query(listing): Query<Listing>, headers: HeaderMap) -> Result<Response, Failure> {
    id.parse::<Hex>().map_err(|why| Failure::bad("/id", why))?;
    list::<SessionRow>(&app, ACCOUNTS, Under::one(&id, &session_key(&format!("{id}-"))), listing, &headers).await
}

async fn sign_out(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, Failure> {
    id.parse::<HexPair>().map_err(|why| Failure::bad("/id", why))?;
    CommandRequest::<Session>::own(IDENTITY, id, &headers)?.send(&app, &Command::Revoke { reason: "signed-out".to_owned() }).await
}
