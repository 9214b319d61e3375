//! The audit trail as it is read.

use projections::{FoldError, Overlay, Seen};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::route::{Operation, Routes};
use crate::identity::access::OPERATORS;
use crate::identity::trail::{Entry, Event, Link, Trail};

/// The routes.
pub fn routes() -> Routes {
    Routes::of("audit", OPERATORS).page::<LinkRow>(
        "/audit-log",
        "audit-trail",
        "",
        Operation::new("Lists what operators did and who was refused, in its order"),
    )
}

/// An entry in its place.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct LinkRow {
    /// its number, from 1
    pub number: u64,
    /// when, in log time
    pub at: String,
    /// `act` or `denial`
    pub kind: String,
    /// who: an account, this machine, or an address
    pub actor: String,
    /// method and path
    pub act: String,
    /// what came of it or why not
    pub outcome: String,
    /// how often
    pub times: u64,
    /// the hash of the entry before it
    pub previous: String,
    /// its own: BLAKE3 of the others, each with its length before it
    pub hash: String,
}

/// Folds it.
pub fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let Some(Event::Recorded(Link { number, at, entry, previous, hash })) = seen.event::<Trail, _>()? else { return Ok(()) };
    let Entry { kind, actor, act, outcome, times } = entry;
    rows.put(format!("{number:0>20}"), LinkRow { number, at: at.to_string(), kind, actor, act, outcome, times, previous, hash });
    Ok(())
}
