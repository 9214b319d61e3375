//! What an audit found, and how it is collected.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Breach {
    /// the rule's stable name
    pub check: String,
    /// where it does not hold, such as `order 17-3`
    pub entity: String,
    /// what is so and what should be
    pub detail: String,
}

/// Breaches as they are found.
#[derive(Debug, Default)]
pub struct Findings(pub Vec<Breach>);

impl Findings {
    /// The rule does not hold there.
    pub fn add(&mut self, check: &str, entity: impl Display, detail: impl Display) {
        self.0.push(Breach { check: check.to_owned(), entity: entity.to_string(), detail: detail.to_string() });
    }

    /// The rule holds there only if both are the same.
    pub fn same<T: PartialEq + Display>(&mut self, check: &str, entity: impl Display, what: &str, is: T, should: T) {
        if is != should {
            self.add(check, entity, format!("{what} is {is}, should be {should}"));
        }
    }
}
