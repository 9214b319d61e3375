//! Dead letters that nothing is done about any more. The letter stays, as the log keeps everything; a record behind it, in
//! the same partition, says that it is discarded, why, and who said so.

use std::collections::BTreeMap;

use eventstore::inside::is_signed;
use eventstore::{Fault, Limits, Log, Offset, Record};
use parking_lot::Mutex;
use schemas::envelope::{DLT_DETAIL, DLT_DISCARDS};
use schemas::{Partition, Topic};
use serde_json::{Value, json};

/// Why and by whom a letter was discarded, and when.
#[derive(Clone, Debug)]
pub struct Discard {
    reason: String,
    actor: Option<String>,
    at: String,
}

impl Discard {
    /// The letter that a record discards, if it is such a mark.
    pub fn of(record: &Record, secret: &[u8; 32]) -> Option<(Offset, Self)> {
        if !is_signed(secret, &record.key, &record.headers, record.body()) {
            return None; // an operator's word is one that the inside wrote
        }
        let discards = record.headers.text(DLT_DISCARDS)?.parse().ok()?;
        let text = |name: &str| record.headers.text(name).map(str::to_owned);
        Some((Offset(discards), Self { reason: text(DLT_DETAIL).unwrap_or_default(), actor: text("ce_actor"), at: record.recorded_at.to_string() }))
    }

    /// As readers see it.
    pub fn shown(&self) -> Value {
        json!({ "reason": self.reason, "actor": self.actor, "at": self.at })
    }
}

/// What is known of one partition of letters.
#[derive(Default)]
struct Known {
    /// everything before was looked at
    next: Offset,
    marks: BTreeMap<Offset, Discard>,
    /// letters, the discarded ones too
    letters: usize,
}

/// The marks that were read so far: each record of letters is looked at once.
#[derive(Default)]
pub struct Discarded(Mutex<BTreeMap<(Topic, Partition), Known>>);

impl Discarded {
    /// The marks of a partition as it stands now.
    pub fn marks(&self, log: &dyn Log, letters: &Topic, partition: Partition) -> Result<BTreeMap<Offset, Discard>, Fault> {
        self.known(log, letters, partition, |known| known.marks.clone())
    }

    /// How many letters of a partition nobody has discarded.
    pub fn left(&self, log: &dyn Log, letters: &Topic, partition: Partition) -> Result<usize, Fault> {
        self.known(log, letters, partition, |known| known.letters.saturating_sub(known.marks.len()))
    }

    fn known<T>(&self, log: &dyn Log, letters: &Topic, partition: Partition, of: impl FnOnce(&Known) -> T) -> Result<T, Fault> {
        let mut all = self.0.lock();
        let known = all.entry((letters.clone(), partition)).or_default();
        known.next = known.next.max(log.start(letters, partition)?);
        let end = log.end(letters, partition)?;
        while known.next < end {
            let page = log.read(letters, partition, known.next, Limits::default())?;
            let marks: Vec<_> = page.records.iter().filter_map(|record| Discard::of(record, &log.secret())).collect();
            known.letters += page.records.len() - marks.len();
            known.marks.extend(marks);
            if page.next <= known.next {
                return Err(Fault::Retry(format!("{letters}/{partition}: the record at offset {} is not given yet", page.next)));
            }
            known.next = page.next;
        }
        Ok(of(known))
    }
}
