//! The one place for personal data in a shape: a field `personal`, clear or sealed.

use kernel::{Sealed, SealedFor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of every field that holds personal data, and of no other.
pub const PERSONAL: &str = "personal";

/// Personal data: clear, or sealed under a person's key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Personal")]
pub enum Personal<P> {
    /// readable by all
    Clear(P),
    /// readable by who holds the key; nobody does once the person is erased
    Sealed(SealedV1),
}

shape! {
    /// The record that a piece of data was sealed for: it opens as nothing else.
    #[derive(Eq)]
    SealedForV1 of SealedFor {
        /// the record's id
        event: String,
        /// its type
        #[serde(rename = "type")]
        kind: String,
        /// whose data it is
        subject: String,
        /// the field's place in the body, as a JSON pointer
        field: String,
    }
}

/// A piece of personal data, sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SealedV1 {
    /// the key's name
    pub key: String,
    /// the sealed fields
    pub data: String,
    /// what it was sealed for; in a client's command always that command, and left away
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<SealedForV1>,
}

impl From<Sealed> for SealedV1 {
    fn from(Sealed { key, data, about }: Sealed) -> Self {
        Self { key, data, about: about.map(Into::into) }
    }
}

impl From<SealedV1> for Sealed {
    fn from(SealedV1 { key, data, about }: SealedV1) -> Self {
        Self { key, data, about: about.map(Into::into) }
    }
}

impl<P, D: Into<P>> From<kernel::Personal<D>> for Personal<P> {
    fn from(personal: kernel::Personal<D>) -> Self {
        match personal {
            kernel::Personal::Clear(clear) => Self::Clear(clear.into()),
            kernel::Personal::Sealed(sealed) => Self::Sealed(sealed.into()),
        }
    }
}

impl<P, D: From<P>> From<Personal<P>> for kernel::Personal<D> {
    fn from(personal: Personal<P>) -> Self {
        match personal {
            Personal::Clear(clear) => Self::Clear(clear.into()),
            Personal::Sealed(sealed) => Self::Sealed(sealed.into()),
        }
    }
}
