//! What every instance knows of erasures: how each stands, and which keys are gone.

use std::str::FromStr;

use eventstore::Fault;
use eventstore::keystore::{KeyId, Tombstone};
use projections::{FoldError, Overlay, Projection, Seen};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DestroyedKey, Erasure, Event, Report, Status};

/// The view, which every instance folds.
pub const ERASURES: &str = "erasures";
/// Before the keys of erasures.
pub const ERASURE_PREFIX: &str = "e/";
/// Before those of keys.
const KEY_PREFIX: &str = "k/";
/// Rows of a page.
const PAGE: usize = 1_000;

/// What readers see of an erasure.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ErasureRow {
    /// whose data
    pub subject: String,
    /// which of theirs it is, from 1
    pub number: u64,
    /// where it stands
    pub status: Status,
    /// why
    pub reason: String,
    /// since when, in log time
    pub requested_at: String,
    /// the keys that it destroyed
    pub keys: Vec<DestroyedKey>,
    /// what was found, once it was looked for
    pub report: Option<Report>,
    /// the aggregate's version
    pub revision: u64,
}

/// The key of an erasure's row.
pub fn erasure_key(subject: &str) -> String {
    format!("{ERASURE_PREFIX}{subject}")
}

/// Folds erasures.
pub fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let Some(event) = seen.event::<Erasure, _>()? else { return Ok(()) };
    let subject = &seen.envelope.subject;
    if let Event::Destroyed { keys, .. } = &event {
        keys.iter().for_each(|key| rows.put(format!("{KEY_PREFIX}{}", key.key), key.clone()));
    }
    rows.update::<ErasureRow>(&erasure_key(subject), |row| {
        row.revision = seen.envelope.version.unwrap_or_default();
        match event {
            Event::Requested { number, reason } => {
                let requested_at = seen.envelope.time.unwrap_or(seen.record.recorded_at).to_string();
                *row = ErasureRow {
                    subject: subject.clone(),
                    number,
                    status: Status::Requested,
                    reason,
                    requested_at,
                    revision: row.revision,
                    ..ErasureRow::default()
                };
            }
            Event::Destroyed { keys, .. } => (row.status, row.keys) = (Status::Destroyed, keys),
            Event::Completed { report, .. } => (row.status, row.report) = (Status::Completed, Some(report)),
        }
    })?;
    Ok(())
}

/// All keys that the log says are gone.
pub fn tombstones(view: &Projection) -> Result<Vec<Tombstone>, Fault> {
    let (mut all, mut from) = (vec![], None);
    loop {
        let (page, next) = view.page::<DestroyedKey>(KEY_PREFIX, from.as_deref(), PAGE, usize::MAX)?;
        for DestroyedKey { key, at } in page {
            let id = KeyId::from_str(&key).map_err(|why| Fault::Fatal(format!("erasures: {why}")))?;
            all.push(Tombstone { key: id, at_ms: u64::try_from(at.0 / 1_000).unwrap_or_default() });
        }
        match next {
            Some(next) => from = Some(next),
            None => return Ok(all),
        }
    }
}
