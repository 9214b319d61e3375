//! A shape as data: for documents and tests.

use crate::envelope::Kind;

/// A kind of record and the JSON Schema of its body.
pub struct Shape {
    /// its type
    pub kind: Kind,
    /// `events`, `commands` or `platform`
    pub group: &'static str,
    /// JSON Schema 2020-12 of its body
    pub schema: schemars::Schema,
}
