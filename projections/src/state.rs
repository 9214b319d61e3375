//! A view that shows each aggregate's state as it is, by its id: what a view must know of an aggregate, it has from the
//! aggregate's own `evolve`.

use kernel::Aggregate;
use schemars::JsonSchema;
use schemas::Codec;
use serde::{Deserialize, Serialize};

use crate::overlay::Overlay;
use crate::view::{FoldError, Seen};

/// An aggregate's state. Its key is its id.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{A}")]
pub struct StateRow<A> {
    /// the aggregate's id
    pub id: String,
    /// as it is
    #[serde(flatten)]
    pub state: A,
    /// its version
    pub revision: u64,
}

/// Folds states: a view by `Capability::view("accounts", 1, states::<Account, _>)`.
pub fn states<A: Aggregate + Codec<W>, W>(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let Some(event) = seen.event::<A, W>()? else { return Ok(()) };
    let id = &seen.envelope.subject;
    rows.update::<StateRow<A>>(id, |row| {
        (row.id, row.revision) = (id.clone(), seen.envelope.version.unwrap_or_default());
        row.state.evolve(&event);
    })?;
    Ok(())
}
