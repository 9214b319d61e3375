//! Personal data in states, commands and events: clear on its way in, sealed from its first record on. Whoever decides and
//! evolves passes it on unopened; it is opened where a person reads it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What saved states and rows call personal data that is clear.
pub const CLEAR_IN_ROWS: &str = "clear-personal-data";
/// What they call personal data that is sealed.
pub const SEALED_IN_ROWS: &str = "sealed-personal-data";

/// Personal data, clear or sealed. Two sealed ones are equal if they are the same seal: equal data sealed twice is not.
///
/// ```
/// use daybook_kernel::Personal;
///
/// let name = Personal::Clear("Anna".to_owned());
/// assert!(name.fits(|name| name.len() <= 100));
/// assert_eq!(format!("{name:?}"), "Clear(..)", "no log line shows it");
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub enum Personal<P> {
    /// as it was given: new, or of a log that seals nothing
    #[serde(rename = "clear-personal-data")]
    Clear(P),
    /// readable as long as there is its key
    #[serde(rename = "sealed-personal-data")]
    Sealed(Sealed),
}

/// A piece of data sealed under a person's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// the key's id
    pub key: String,
    /// nonce and ciphertext, in base64url
    pub data: String,
    /// what it was sealed for, and opens with; none where that is the record it stands in
    pub about: Option<SealedFor>,
}

/// The record that a piece of data was sealed for: it opens as nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedFor {
    /// the record's id
    pub event: String,
    /// its type, as `ce_type` has it
    pub kind: String,
    /// whose data it is, as `customer/17`
    pub subject: String,
    /// the field's place in the body, as a JSON pointer
    pub field: String,
}

impl<P> Personal<P> {
    /// Whether it passes a check. What is sealed passed it when it was clear.
    pub fn fits(&self, check: impl FnOnce(&P) -> bool) -> bool {
        match self {
            Self::Clear(clear) => check(clear),
            Self::Sealed(_) => true,
        }
    }
}

impl<P: Default> Default for Personal<P> {
    fn default() -> Self {
        Self::Clear(P::default())
    }
}

impl<P> fmt::Debug for Personal<P> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clear(_) => formatter.write_str("Clear(..)"),
            Self::Sealed(sealed) => write!(formatter, "Sealed({})", sealed.key),
        }
    }
}
