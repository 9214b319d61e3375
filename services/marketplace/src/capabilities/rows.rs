//! What the views of several services have in common: events, keys, sums, the steps of histories.

use daybook::eventstore::Fault;
use daybook::projections::{FoldError, Overlay, Seen};
use domain::Money;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What ids of two numbers look like.
pub(crate) const PAIR: &str = "^(0|[1-9][0-9]*)-(0|[1-9][0-9]*)$";

/// Ids of two numbers as keys that sort like the numbers.
pub fn listing_key(id: &str) -> String {
    id.split('-').map(|number| format!("{number:0>20}")).collect::<Vec<_>>().join("-")
}

/// What a view stops at: an event that its rows cannot have had, or a sum that no number holds.
pub fn impossible(why: impl std::fmt::Display) -> FoldError {
    FoldError::Fault(Fault::Fatal(why.to_string()))
}

/// Changes a row by a change that may be impossible.
pub fn try_update<T: Default + Serialize + DeserializeOwned + Send + 'static>(
    rows: &mut Overlay,
    key: &str,
    change: impl FnOnce(&mut T) -> Result<(), FoldError>,
) -> Result<(), FoldError> {
    let mut changed = Ok(());
    rows.update::<T>(key, |row| changed = change(row))?;
    changed
}

/// Adds to an amount that is written out.
pub fn add(sum: &mut String, amount: Money) -> Result<(), FoldError> {
    let after = Money::parse(sum, amount.currency).and_then(|before| before.plus(amount)).map_err(|why| impossible(format!("'{sum}' and {amount}: {why}")))?;
    *sum = after.to_string();
    Ok(())
}

/// One step of an aggregate's history.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct StepRow {
    /// the aggregate's version after it
    pub version: u64,
    /// what happened
    pub event: String,
    /// to which line, if to one
    pub line: Option<u32>,
    /// when, in log time
    pub at: String,
}

impl StepRow {
    /// The step that an event is.
    pub fn of(seen: &Seen<'_>, line: Option<u32>) -> Self {
        let envelope = seen.envelope;
        let at = envelope.time.unwrap_or(seen.record.recorded_at).to_string();
        Self { version: envelope.version.unwrap_or_default(), event: envelope.kind.name.to_string(), line, at }
    }

    /// Before the keys of the steps of an aggregate's history.
    pub fn prefix(key: &str) -> String {
        format!("h/{key}/")
    }

    /// Adds it to the history of an aggregate.
    pub fn put(self, rows: &mut Overlay, key: &str) {
        rows.put(format!("{}{:0>20}", Self::prefix(key), self.version), self);
    }
}
