//! The outcomes of clients' commands, one view for each service, folded from its events and markers.

use eventstore::heads::Outcome;
use eventstore::service::Service;
use projections::{Overlay, Seen, Unfolded, View};
use schemas::Partition;
use serde::{Deserialize, Serialize};

/// What became of a command.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutcomeRow {
    /// `accepted` or `refused`
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
}

/// The view of a service.
pub fn of(service: &Service) -> View {
    View { name: name(service.name), shape: 1, topic: service.events(), fold, queue: None }
}

/// The view's name.
pub fn name(service: &str) -> String {
    format!("outcomes-{service}")
}

/// The row of a command.
pub fn key(partition: Partition, command_id: &str) -> String {
    format!("{:05}/{command_id}", partition.0)
}

fn fold(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), Unfolded> {
    let envelope = seen.envelope;
    let caused = envelope.body_hash.as_ref().and(envelope.causation.as_deref());
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
        ..OutcomeRow::default()
    };
    match marker {
        Some(Outcome::Refused { code, detail }) => (row.outcome, row.code, row.detail) = ("refused".into(), Some(code), Some(detail)),
        Some(Outcome::Accepted { version }) => row.version = Some(version),
        None => {}
    }
    for id in caused.into_iter().chain(envelope.answers.as_deref()) {
        rows.put(key(seen.record.partition, id), row.clone());
    }
    Ok(())
}
