//! What goes into the audit trail, on its way there: operators' acts one by one, denials gathered, since whoever is denied may
//! come back a thousand times.

use std::collections::BTreeMap;

use eventstore::{Log, Message};
use parking_lot::Mutex;
use schemas::{Codec, Envelope, Stream, topic};

use super::trail::{Command, Entry, Trail};

/// The service that keeps the trail.
pub const SERVICE: &str = "audit";
/// The id of the one trail there is.
pub const TRAIL: &str = "0";
/// Different denials that are gathered at once; more are counted as one.
const GATHERED_MAX: usize = 200;

/// Denials that are not written down yet: who, what, and why, and how often.
#[derive(Default)]
pub struct Denials(Mutex<BTreeMap<(String, String, String), u64>>);

impl Denials {
    /// There was one.
    pub fn add(&self, actor: String, act: String, why: &str) {
        tracing::info!(target: "daybook::audit", actor, act, why, "denied");
        let mut gathered = self.0.lock();
        let full = gathered.len() >= GATHERED_MAX;
        let key = (actor, act, why.to_owned());
        let key = if full && !gathered.contains_key(&key) { ("(several)".to_owned(), "(several)".to_owned(), why.to_owned()) } else { key };
        *gathered.entry(key).or_default() += 1;
    }

    /// All of them, as entries.
    pub fn take(&self) -> Vec<Entry> {
        let gathered = std::mem::take(&mut *self.0.lock());
        gathered.into_iter().map(|((actor, act, outcome), times)| Entry { kind: "denial".to_owned(), actor, act, outcome, times }).collect()
    }
}

/// The command that writes an entry down.
pub fn message(log: &dyn Log, entry: &Entry) -> Message {
    let (kind, body) = Trail::encode_command(&Command::Record(entry.clone().bounded()));
    let envelope = Envelope::new(crate::fresh::id().to_string(), format!("/{SERVICE}/guard"), kind, TRAIL);
    Message {
        topic: topic(Stream::Commands(SERVICE)),
        partition: log.partition_of(TRAIL),
        key: (log.rules().routing_key)(TRAIL).as_bytes().to_vec(),
        headers: envelope.headers(),
        value: Some(body),
    }
}
