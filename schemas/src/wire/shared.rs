//! Shapes that several aggregates share.

use domain::{Currency, Money};
use schemars::JsonSchema;
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
        #[schemars(with = "String", length(equal = 3))]
        currency: Currency,
    }
}

/// A list whose items have shapes of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
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
