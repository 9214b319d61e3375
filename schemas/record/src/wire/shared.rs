//! Shapes that several aggregates share.

use kernel::{Currency, Money};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A body without fields. Unknown ones are passed over, so that fields can be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Empty {}

shape! {
    /// An amount of money.
    #[derive(Copy)]
    MoneyV1 of Money {
        /// minor units
        minor: i64,
        /// ISO 4217
        #[schemars(with = "Code")]
        currency: Currency,
    }
}

macro_rules! written {
    ($($(#[$doc:meta])* $name:ident: $schema:tt)*) => {$(
        $(#[$doc])*
        pub struct $name;
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}
written! {
    /// How ids of two numbers are written, for documents: `#[schemars(with = "PairId")]`.
    PairId: { "type": "string", "pattern": "^(0|[1-9][0-9]*)-(0|[1-9][0-9]*)$" }
    /// How points in time are written, for documents.
    Instant: { "type": "string", "format": "date-time" }
    /// How currencies are written, for documents.
    Code: { "type": "string", "pattern": "^[A-Z]{3}$" }
}

/// A list whose items have shapes of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct List<T>(pub Vec<T>);

impl<D, W: From<D>> From<Vec<D>> for List<W> {
    fn from(domain: Vec<D>) -> Self {
        Self(domain.into_iter().map(W::from).collect())
    }
}

impl<D: From<W>, W> From<List<W>> for Vec<D> {
    fn from(wire: List<W>) -> Self {
        wire.0.into_iter().map(D::from).collect()
    }
}

/// Values written as their text: ids as `17-3`, times as RFC 3339.
pub mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// As text.
    pub fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    /// From text.
    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(|why| D::Error::custom(format!("'{text}': {why}")))
    }
}
