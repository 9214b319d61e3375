//! Request bodies: objects with the fields of their route, amounts as they are written.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use kernel::{Currency, Money};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::failure::Failure;
use super::given::{Given, TEXT_OR_NUMBER, Wrong, given};
use super::json::{Json, Object, parse};
use super::limits::BODY_BYTES_MAX;

/// A JSON body.
pub struct Body<T>(pub T);

/// A JSON body of any shape: whoever takes it says what it must be.
pub struct AnyBody(pub Value);

async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Json, Failure> {
    let bytes = Bytes::from_request(request, state).await.map_err(|_| Failure::too_large(format!("a body has at most {BODY_BYTES_MAX} bytes")))?;
    super::scope::read(&bytes);
    parse(&bytes).map_err(|why| Failure::bad("", why))
}

/// The fields of a body, which must be an object.
pub async fn object<S: Send + Sync>(request: Request, state: &S) -> Result<Object, Failure> {
    match read(request, state).await? {
        Json::Object(fields) => Ok(fields),
        _ => Err(Failure::bad("", "the body must be an object: fields in braces")),
    }
}

impl<S: Send + Sync> FromRequest<S> for AnyBody {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        value(read(request, state).await?).map(Self).map_err(|wrong| bad(&wrong))
    }
}

/// A JSON value as libraries have it. A name that is given twice would be the last one's there: it is refused.
fn value(json: Json) -> Result<Value, Wrong> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(yes) => Value::Bool(yes),
        Json::Number(text) => Value::Number(text.parse().map_err(|_| Wrong::custom(format!("is {text}, which is too large a number")))?),
        Json::Text(text) | Json::Parameter(text) => Value::String(text),
        Json::List(items) => {
            let items = items.into_iter().enumerate().map(|(at, item)| value(item).map_err(|wrong| wrong.below(&at.to_string())));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Json::Object(fields) => {
            let mut object = serde_json::Map::with_capacity(fields.len());
            for (name, field) in fields {
                let field = value(field).map_err(|wrong| wrong.below(&name))?;
                if object.insert(name.clone(), field).is_some() {
                    return Err(Wrong::custom("is given twice").below(&name));
                }
            }
            Value::Object(object)
        }
    })
}

/// What is wrong with a field, as an answer.
pub fn bad(wrong: &Wrong) -> Failure {
    Failure::bad(&wrong.pointer, wrong.to_string())
}

impl<T: Given, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        given(object(request, state).await?, "field").map(Self).map_err(|wrong| bad(&wrong))
    }
}

/// A text that may be written as a number.
#[derive(Debug)]
pub struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsWritten;
        impl Visitor<'_> for AsWritten {
            type Value = Text;
            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(TEXT_OR_NUMBER)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }
        }
        deserializer.deserialize_newtype_struct(TEXT_OR_NUMBER, AsWritten)
    }
}

/// A decimal amount, as text or as a number; read digit by digit, never computed with as a float.
#[derive(Debug)]
pub struct Amount(String);

impl JsonSchema for Amount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Amount".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "a decimal amount", "anyOf": [{ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?$" }, { "type": "number" }] })
    }
}

impl JsonSchema for Text {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TextOrNumber".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "number" }] })
    }
}

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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn any_body_is_what_was_written() {
        let read = |text: &str| value(parse(text.as_bytes()).unwrap()).map_err(|wrong| (wrong.pointer.clone(), wrong.to_string()));
        let whole = r#"{"Pay":{"cents":-5,"most":18446744073709551615,"rate":1.5e-3,"to":["a",null,true]}}"#;
        assert_eq!(read(whole), Ok(json!({ "Pay": { "cents": -5, "most": u64::MAX, "rate": 0.0015, "to": ["a", null, true] } })));
        assert_eq!(read("\"Close\""), Ok(json!("Close")));
        assert_eq!(read(r#"{"a":[{"b":1,"b":2}]}"#), Err(("/a/0/b".to_owned(), "'a/0/b' is given twice".to_owned())));
        assert_eq!(read(r#"{"a":1e999}"#).unwrap_err().0, "/a");
    }
}
