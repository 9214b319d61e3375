//! A shape as data: for documents and tests.

use super::personal::PERSONAL;
use crate::envelope::Kind;

/// A kind of record and the JSON Schema of its body.
pub struct Shape {
    /// its type
    pub kind: Kind,
    /// `events`, `commands` or `platform`
    pub group: &'static str,
    /// JSON Schema 2020-12 of its body
    pub schema: schemars::Schema,
    /// Its schema is a file beside its application's documents; where it is not, documents hold it.
    pub beside: bool,
}

impl Shape {
    /// Whether its body holds personal data.
    pub fn is_personal(&self) -> bool {
        self.schema.as_value().to_string().contains(&format!("\"{PERSONAL}\":"))
    }
}
