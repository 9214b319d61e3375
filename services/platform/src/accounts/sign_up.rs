//! How an account comes to be, and how one is shown to its owner.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use eventstore::actor::OPERATOR;
use kernel::Personal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

use super::answers::{PasswordGiven, acceptable, busy, email};
use super::settled::{decided, row};
use super::{IDENTITY, SECRETS};
use crate::hex::Hex;
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::failure::Failure;
use crate::http::personal::shown;
use crate::http::route::{Operation, Routes};
use crate::http::scope::{Caller, caller};
use crate::identity::Role;
use crate::identity::access::Access;
use crate::identity::account::{Account, Address, Command, Granted, SignUp, Status};
use crate::identity::credential::{self, Credential};
use crate::identity::email::Email;
use crate::identity::policies::Claim;
use crate::identity::views::{ACCOUNTS, AccountRow, account_key};
use crate::reservation::Unique;

/// The numbers that are drawn for who signs up: whoever counts numbers up never comes there, JSON's readers still can (below
/// 2^53), and none begins as card numbers do, which are masked wherever a record is shown.
const DRAWN: std::ops::Range<u64> = 7_000_000_000_000_000..8_000_000_000_000_000;

/// The routes.
pub fn routes() -> Routes {
    let sign_up = Operation::new("Signs up: makes an account under an e-mail address that no other account has")
        .about("Whoever signs up takes the roles that the application offers, and owns what is new. Operators give any role, and whose things come with it.")
        .answers::<AccountRow>(201, "The account")
        .fails(&["email-taken", "password-too-short-out-of-range", "password-too-long-out-of-range", "password-too-common-out-of-range"])
        .fails(&["password-too-personal-out-of-range", "timed-out", "id-used", "account-exists", "password-exists", "roles-out-of-range", "text-out-of-range"])
        .fails(&["forbidden", "too-many-requests"])
        .example(json!({ "email": "anna@example.com", "password": "three lamps on a shelf" }));
    Routes::of(IDENTITY, Access::Anyone)
        .post("/identity/accounts", open_account, sign_up.secret())
        .get("/identity/me", me, Operation::new("Shows who asks").answers::<Me>(200, "Who").by(Access::SignedIn))
        .get("/.well-known/jwks.json", jwks, Operation::new("Shows the keys that access tokens are checked with").answers::<Keys>(200, "The keys"))
}

/// A role that is asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleGiven {
    /// its name
    pub role: String,
    /// the id that its own things begin with; operators alone may say
    #[serde(default)]
    pub owns: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Given {
    email: String,
    password: PasswordGiven,
    /// what is taken that is offered to whoever signs up, if not said
    roles: Option<Vec<RoleGiven>>,
}

async fn open_account(State(app): State<App>, headers: HeaderMap, Body(given): Body<Given>) -> Result<Response, Failure> {
    let email = email(&given.email)?;
    acceptable(&given.password.0, "/password", &email, app.identity.application)?;
    let account = account_id(&app, &headers, &email);
    let (granted, drawn) = granted(&app, given.roles, &account)?;
    let values = std::iter::once(format!("email {}", email.folded())).chain(drawn);
    let claims = values.map(|value| Claim::id(&app.identity.key, &value)).collect();
    let hash = app.identity.passwords.hash(given.password.0).await.map_err(busy)?;
    decided::<Credential, _>(&app, SECRETS, &account, &headers, &credential::Command::Set { hash }).await?;
    let command = Command::SignUp(SignUp { address: Personal::Clear(Address { email: email.given().to_owned() }), claims, granted });
    let at = decided::<Account, _>(&app, IDENTITY, &account, &headers, &command).await?;
    let row: AccountRow = row(&app, ACCOUNTS, (&account, &account_key(&account)), &at).await?.unwrap_or_default();
    match row.status {
        Status::Active | Status::Disabled => {}
        Status::Rejected if row.reason.as_deref() == Some("email-taken") => {
            return Err(Failure::refused("email-taken", "there is an account with this e-mail address: sign in, or ask for another password").at("/email"));
        }
        _ => return Err(Failure::refused("timed-out", "the address could not be reserved in time: sign up again")),
    }
    let location = format!("/identity/accounts/{account}");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], at, Json(shown(&app, &row)?)).into_response())
}

/// The account's id: the same for a repeat under the same name, and nobody else's.
fn account_id(app: &App, headers: &HeaderMap, email: &Email) -> String {
    let Some(key) = headers.get("idempotency-key") else { return Hex::random().to_string() };
    let mut hasher = blake3::Hasher::new_keyed(&blake3::derive_key("daybook 2026-11-26 accounts of sign-ups", &app.identity.key));
    hasher.update(&(email.folded().len() as u64).to_be_bytes()).update(email.folded().as_bytes()).update(key.as_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

/// The roles that are given, and what must be the account's alone because of them.
fn granted(app: &App, asked: Option<Vec<RoleGiven>>, account: &str) -> Result<(Vec<Granted>, Vec<String>), Failure> {
    let by_operator = match caller() {
        Caller::Account(actor) => actor.is(OPERATOR),
        Caller::Open => true,
        Caller::Unknown => false,
    };
    let offered =
        || app.identity.roles.iter().filter(|role| role.at_sign_up).take(1).map(|role| RoleGiven { role: role.name.to_owned(), owns: None }).collect();
    let (mut granted, mut drawn) = (vec![], vec![]);
    for (at, RoleGiven { role, owns }) in asked.unwrap_or_else(offered).into_iter().enumerate() {
        let known = known(app, &role).map_err(|failure| failure.at(&format!("/roles/{at}/role")))?;
        if !by_operator && (!known.at_sign_up || owns.is_some()) {
            return Err(Failure::denied(format!("the role {role}, and whose things come with it, are given by operators")).at(&format!("/roles/{at}")));
        }
        let owns = match owns {
            None if known.owns && known.at_sign_up => {
                let drawn_by = u64::from_str_radix(account.get(..16).unwrap_or_default(), 16).unwrap_or_default();
                let number = DRAWN.start + drawn_by % (DRAWN.end - DRAWN.start);
                drawn.push(format!("{role} {number}"));
                Some(number.to_string())
            }
            owns => owns,
        };
        granted.push(Granted { role, owns: owned(known, owns).map_err(|failure| failure.at(&format!("/roles/{at}/owns")))? });
    }
    Ok((granted, drawn))
}

/// A role that there is.
pub fn known<'a>(app: &'a App, name: &str) -> Result<&'a Role, Failure> {
    let names = || app.identity.roles.iter().map(|role| role.name).collect::<Vec<_>>().join(", ");
    app.identity.role(name).ok_or_else(|| Failure::bad("/role", format!("there is no role '{name}': one of {}", names())))
}

/// What comes with a role, if it is as the role wants it.
pub fn owned(role: &Role, owns: Option<String>) -> Result<Option<String>, Failure> {
    match (&owns, role.owns) {
        (None, true) => Err(Failure::bad("/owns", format!("a {} owns something: say the id that it begins with", role.name))),
        (Some(_), false) => Err(Failure::bad("/owns", format!("a {} owns nothing", role.name))),
        _ => Ok(owns),
    }
}

/// Who asks.
#[derive(Serialize, JsonSchema)]
struct Me {
    /// the account; none where nobody is asked who it is
    account: Option<String>,
    /// its roles, and for each the id that its own things begin with
    roles: BTreeMap<String, Option<String>>,
}

async fn me() -> Json<Me> {
    Json(match caller() {
        Caller::Account(actor) => Me { account: Some(actor.account.clone()), roles: actor.roles.clone() },
        Caller::Open | Caller::Unknown => Me { account: None, roles: BTreeMap::new() },
    })
}

/// A JSON Web Key Set (RFC 7517).
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only described")]
struct Keys {
    keys: Vec<serde_json::Map<String, serde_json::Value>>,
}

async fn jwks(State(app): State<App>) -> Json<serde_json::Value> {
    Json(app.identity.tokens.jwks())
}
