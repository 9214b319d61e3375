//! Request bodies: JSON with errors that name the place, the benchmark's any-case field names, amounts without floats.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use domain::{Currency, Money};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::BODY_BYTES_MAX;
use super::failure::Failure;

/// A JSON body.
pub struct Body<T>(pub T);

/// A JSON body whose field names may be in any letter case, with or without underscores, as the benchmark's driver sends them.
pub struct AnyCase<T>(pub T);

/// The benchmark's field names.
const NAMES: &[&str] = &[
    "seller_id",
    "product_id",
    "product_name",
    "unit_price",
    "freight_value",
    "qty_available",
    "qty_reserved",
    "order_count",
    "instance_id",
    "customer_id",
    "first_name",
    "last_name",
    "zip_code",
    "birth_date",
    "payment_type",
    "card_number",
    "card_holder_name",
    "card_expiration",
    "card_security_number",
    "card_brand",
    "card_type",
    "success_payment_count",
    "failed_payment_count",
    "delivery_count",
];

async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Failure> {
    let bytes = Bytes::from_request(request, state).await.map_err(|_| Failure::too_large(format!("a body has at most {BODY_BYTES_MAX} bytes")))?;
    super::scope::read(&bytes);
    Ok(bytes)
}

fn parsed<T: DeserializeOwned>(value: Result<T, serde_json::Error>) -> Result<T, Failure> {
    value.map_err(|why| Failure::bad("", format!("the body is not the JSON this route takes: {why}")))
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        parsed(serde_json::from_slice(&bytes(request, state).await?)).map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for AnyCase<T> {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let value: Value = parsed(serde_json::from_slice(&bytes(request, state).await?))?;
        let Value::Object(fields) = value else { return Err(Failure::bad("", "the body must be a JSON object")) };
        let renamed = fields.into_iter().map(|(name, value)| (canonical(&name), value)).collect();
        parsed(serde_json::from_value(Value::Object(renamed))).map(Self)
    }
}

fn canonical(name: &str) -> String {
    let bare = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let given = bare(name);
    NAMES.iter().find(|known| bare(known) == given).map_or(given, |known| (*known).to_owned())
}

/// A text that may be written as a number.
#[derive(Debug)]
pub struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            Value::Number(number) => Ok(Self(number.to_string())),
            other => Err(D::Error::custom(format!("{other} is neither text nor number"))),
        }
    }
}

/// The currency of amounts that name none.
pub const CURRENCY: Currency = Currency::USD;

/// A decimal amount, as text or as a number; read digit by digit, never computed with as a float.
#[derive(Debug)]
pub struct Amount(String);

impl Default for Amount {
    fn default() -> Self {
        Self("0".to_owned())
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer).map(|text| Self(text.0))
    }
}

impl Amount {
    /// As money; `pointer` names the field in the error.
    pub fn money(&self, currency: Currency, pointer: &str) -> Result<Money, Failure> {
        Money::parse(&self.0, currency).map_err(|why| Failure::bad(pointer, why.to_string()))
    }
}
