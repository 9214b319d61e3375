//! What the routes of accounts take and answer.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::http::app::App;
use crate::http::failure::Failure;
use crate::http::personal;
use crate::identity::email::Email;
use crate::identity::hashing::Busy;
use crate::identity::password::Password;
use crate::identity::views::AccountRow;

/// A password as it is given.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct PasswordGiven(pub Password);

impl JsonSchema for PasswordGiven {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Password".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "password", "writeOnly": true })
    }
}

/// What somebody who has signed in has in hand.
#[derive(Serialize, JsonSchema)]
pub struct Tokens {
    /// to be sent as `Authorization: Bearer <token>`
    pub access_token: String,
    /// `Bearer`
    pub token_type: &'static str,
    /// seconds until the access token is worth nothing
    pub expires_in: i64,
    /// gets the next pair, once
    pub refresh_token: String,
    /// the session's id, `<account>-<session>`
    pub session: String,
    /// the account's id
    pub account: String,
}

/// An e-mail address, as a reservation has it.
pub fn email(given: &str) -> Result<Email, Failure> {
    Email::parse(given).map_err(|why| Failure::bad("/email", why.to_string()))
}

/// The address of an account; one that was erased has none, and is nobody's any more.
pub fn address(app: &App, account: &AccountRow) -> Result<Email, Failure> {
    let address = personal::read(app, &account.address)?.ok_or_else(|| Failure::refused("unknown-account", "this account was erased"))?;
    email(&address.email)
}

/// That a password may be chosen by who has this address.
pub fn acceptable(password: &Password, pointer: &str, email: &Email, application: &str) -> Result<(), Failure> {
    let about = [email.folded(), email.local(), application];
    password.acceptable(&about).map_err(|why| Failure::refused(&format!("password-{}-out-of-range", why.code()), why.to_string()).at(pointer))
}

/// Too many passwords are looked at already.
pub fn busy(why: Busy) -> Failure {
    Failure::too_often(why.to_string(), 1)
}
