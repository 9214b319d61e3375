//! The outcomes of clients' commands, one view for each service, folded from its events and markers.

use eventstore::fingerprint::Fingerprints;
use eventstore::outcome::Outcome;
use eventstore::service::Service;
use projections::{FoldError, Overlay, Seen, View};
use schemas::Partition;
use serde::{Deserialize, Serialize};

/// What became of a command.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutcomeRow {
    /// `accepted`, `refused` or [`DEAD`]
    pub outcome: String,
    /// the refusal's stable name
    pub code: Option<String>,
    /// the refusal, for people
    pub detail: Option<String>,
    /// the deciding aggregate's type
    pub aggregate: String,
    /// its id
    pub subject: String,
    /// its version after the command
    pub version: Option<u64>,
    /// the last event the command caused, or the one that ended its process
    pub event: Option<String>,
    /// where a reader must stand to see it
    pub next: u64,
    /// what makes another command the same: `ce_bodyhash` and `ce_fingerprints`
    pub prints: Option<(String, Option<String>)>,
}

impl OutcomeRow {
    /// Whether this command is another than that with these fingerprints.
    pub fn is_another(&self, prints: &Fingerprints) -> bool {
        self.prints.as_ref().and_then(|(sent, more)| Fingerprints::read(Some(sent), more.as_deref())).is_some_and(|own| !own.same(prints))
    }

    /// Whether it was decided when an id's scope was the whole service.
    pub fn is_unscoped(&self) -> bool {
        self.prints.as_ref().is_some_and(|(_, more)| more.is_none())
    }
}

/// [`OutcomeRow::outcome`] of a dead letter: a later attempt under the same id may end otherwise.
pub const DEAD: &str = "dead-lettered";

/// The view of a service.
pub fn of(service: &Service) -> View {
    View { name: name(service.name), shape: 2, topic: service.events(), fold, queue: None, readable_from: 2 }
}

/// The view's name.
pub fn name(service: &str) -> String {
    format!("outcomes-{service}")
}

/// The row of a command.
pub fn key(partition: Partition, command_id: &str) -> String {
    format!("{:05}/{command_id}", partition.0)
}

fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let envelope = seen.envelope;
    let caused = envelope.body_hash.as_ref().or(envelope.dead_letter.as_ref()).and(envelope.causation.as_deref());
    if caused.is_none() && envelope.answers.is_none() {
        return Ok(());
    }
    let marker = Outcome::of_marker(&envelope.kind, seen.body())?;
    let event = marker.is_none().then(|| envelope.kind.name.to_string());
    let mut row = OutcomeRow {
        outcome: "accepted".into(),
        aggregate: envelope.kind.aggregate.to_string(),
        subject: envelope.subject.clone(),
        version: envelope.version,
        event,
        next: seen.record.offset.next().0,
        prints: envelope.body_hash.clone().map(|sent| (sent, envelope.fingerprints.clone())),
        ..OutcomeRow::default()
    };
    match marker {
        Some(Outcome::Refused { code, detail }) => (row.outcome, row.code, row.detail) = ("refused".into(), Some(code), Some(detail)),
        Some(Outcome::Accepted { version }) => row.version = Some(version),
        None => {}
    }
    if envelope.dead_letter.is_some() {
        row.outcome = DEAD.into();
        let dead = caused.map(|id| key(seen.record.partition, id)).unwrap_or_default();
        // What an id was once answered stays its answer.
        let put = |known: &mut OutcomeRow| *known = if known.outcome.is_empty() || known.outcome == DEAD { row } else { std::mem::take(known) };
        return Ok(rows.update(&dead, put)?);
    }
    for id in caused.into_iter().chain(envelope.answers.as_deref()) {
        rows.put(key(seen.record.partition, id), row.clone());
    }
    Ok(())
}
