//! Its records: what stands in the log for ever. An event's body has its payload as cqrs-es writes it, and its metadata.

use std::collections::BTreeMap;

use cqrs_es::DomainEvent;
use daybook::schemas::Codec;
use daybook::schemas::codec::{from_json, to_json};
use daybook::schemas::envelope::{Kind, Malformed};
use daybook::schemas::wire::Shape;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::hosted::{Hosted, upcast};
use crate::on_log::{Command, OnLog, Recorded};

/// One of its own commands: `<name>.handle`.
const HANDLE: &str = "handle";
/// Events that were decided elsewhere: `<name>.append`.
const APPEND: &str = "append";

/// The body of an event.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventV1 {
    /// as `serde` writes the event
    pub payload: Value,
    /// what its committer said of it
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// The body of an append, and that of its route.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppendV1 {
    /// how many events the aggregate had when it was loaded
    pub expected: u64,
    /// what is appended
    pub events: Vec<AppendedV1>,
}

/// One of its events.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppendedV1 {
    /// its `event_type`
    #[serde(rename = "type")]
    pub event_type: String,
    /// its `event_version`
    pub version: String,
    /// as `serde` writes the event
    pub payload: Value,
    /// what its committer says of it
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// The version that a record's type says, from 1, and all that cqrs-es calls it.
fn place<A: Hosted>(event_type: &str, event_version: &str) -> Option<(&'static str, u16)> {
    let (name, versions) = A::EVENTS.iter().find(|(name, _)| *name == event_type)?;
    let place = versions.iter().position(|version| *version == event_version)?;
    Some((name, u16::try_from(place + 1).ok()?))
}

/// What cqrs-es calls a record's version.
pub fn version_of<A: Hosted>(kind: &Kind) -> Result<&'static str, Malformed> {
    let versions = A::EVENTS.iter().find(|(name, _)| *name == kind.name).map(|(_, versions)| *versions);
    let versions = versions.ok_or_else(|| Malformed::UnknownKind(kind.to_string()))?;
    versions.get(usize::from(kind.version) - 1).copied().ok_or_else(|| Malformed::FromTheFuture(kind.to_string()))
}

/// An event of whichever version, upcast to the newest.
fn recorded<A: Hosted>(
    kind: &Kind,
    event_type: &str,
    version: &str,
    payload: Value,
    metadata: BTreeMap<String, String>,
) -> Result<Recorded<A::Event>, Malformed> {
    let newest = A::EVENTS.iter().any(|(name, versions)| *name == event_type && versions.last() == Some(&version));
    let was = (!newest).then(|| (version.to_owned(), payload.clone()));
    let wrong = |why: serde_json::Error| Malformed::Body { kind: kind.to_string(), why: format!("'payload': {why}") };
    Ok(Recorded { event: upcast::<A>(event_type, version, payload).map_err(wrong)?, metadata, was })
}

/// An event as it is written.
#[derive(Serialize)]
struct Written<'e, P> {
    payload: &'e P,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'e BTreeMap<String, String>,
}

impl<A: Hosted> Codec for OnLog<A> {
    fn encode_event(Recorded { event, metadata, was }: &Recorded<A::Event>) -> (Kind, Vec<u8>) {
        let event_type = event.event_type();
        let event_version = was.as_ref().map_or_else(|| event.event_version(), |(version, _)| version.clone());
        let (name, version) = place::<A>(&event_type, &event_version)
            .unwrap_or_else(|| panic!("{} does not say in EVENTS that it has {event_type} in version {event_version}", A::TYPE));
        let body = match was {
            Some((_, payload)) => to_json(&Written { payload, metadata }),
            None => to_json(&Written { payload: event, metadata }),
        };
        (Kind::of(A::NAME, name, version), body)
    }

    fn decode_event(kind: &Kind, body: &[u8]) -> Result<Recorded<A::Event>, Malformed> {
        let version = version_of::<A>(kind)?;
        let EventV1 { payload, metadata } = from_json(kind, body)?;
        recorded::<A>(kind, &kind.name, version, payload, metadata)
    }

    fn encode_command(command: &Command<A::Event>) -> (Kind, Vec<u8>) {
        match command {
            Command::Handle(command) => (Kind::of(A::NAME, HANDLE, 1), to_json(command)),
            Command::Append { expected, events } => {
                let appended = |Recorded { event, metadata, was }: &Recorded<A::Event>| {
                    let now = || serde_json::to_value(event).unwrap_or_else(|why| panic!("{} is no event: {why}", event.event_type()));
                    let (version, payload) = was.clone().unwrap_or_else(|| (event.event_version(), now()));
                    AppendedV1 { event_type: event.event_type(), version, payload, metadata: metadata.clone() }
                };
                (Kind::of(A::NAME, APPEND, 1), to_json(&AppendV1 { expected: *expected, events: events.iter().map(appended).collect() }))
            }
        }
    }

    fn decode_command(kind: &Kind, body: &[u8]) -> Result<Command<A::Event>, Malformed> {
        match (kind.name.as_ref(), kind.version) {
            (HANDLE, 1) => {
                let command: Value = from_json(kind, body)?;
                let wrong = |why: serde_json::Error| Malformed::Body { kind: kind.to_string(), why: why.to_string() };
                A::Command::deserialize(&command).map_err(wrong)?;
                Ok(Command::Handle(command))
            }
            (APPEND, 1) => Ok(appended::<A>(kind, from_json(kind, body)?)?),
            (HANDLE | APPEND, _) => Err(Malformed::FromTheFuture(kind.to_string())),
            _ => Err(Malformed::UnknownKind(kind.to_string())),
        }
    }

    fn shapes() -> Vec<Shape> {
        let shape = |name, version, group, schema| Shape { kind: Kind::of(A::NAME, name, version), group, schema, beside: false };
        let versions = |versions: &[&str]| 1..=u16::try_from(versions.len()).unwrap_or(u16::MAX);
        let events = A::EVENTS.iter().flat_map(|(name, all)| versions(all).map(move |version| shape(*name, version, "events", schema_for!(EventV1))));
        let commands = [shape(HANDLE, 1, "commands", Schema::default()), shape(APPEND, 1, "commands", schema_for!(AppendV1))];
        events.chain(commands).collect()
    }
}

/// An event as postgres-es keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvent {
    /// its `event_type`
    pub event_type: String,
    /// its `event_version`
    pub event_version: String,
    /// as serde writes the event
    pub payload: Value,
    /// what its committer said of it
    pub metadata: BTreeMap<String, String>,
}

impl StoredEvent {
    /// Of an aggregate's record.
    pub fn of<A: Hosted>(kind: &Kind, body: &[u8]) -> Result<Self, Malformed> {
        let event_version = version_of::<A>(kind)?.to_owned();
        let EventV1 { payload, metadata } = from_json(kind, body)?;
        Ok(Self { event_type: kind.name.to_string(), event_version, payload, metadata })
    }

    /// Its record. One that could not be folded is none.
    pub fn record<A: Hosted>(self) -> Result<(Kind, Vec<u8>), Malformed> {
        let Some((name, version)) = place::<A>(&self.event_type, &self.event_version) else {
            return Err(Malformed::UnknownKind(format!("{} of version {} of {}", self.event_type, self.event_version, A::TYPE)));
        };
        let kind = Kind::of(A::NAME, name, version);
        recorded::<A>(&kind, &self.event_type, &self.event_version, self.payload.clone(), BTreeMap::new())?;
        Ok((kind, to_json(&Written { payload: &self.payload, metadata: &self.metadata })))
    }
}

/// An append, from its body.
pub fn appended<A: Hosted>(kind: &Kind, AppendV1 { expected, events }: AppendV1) -> Result<Command<A::Event>, Malformed> {
    let one = |(at, AppendedV1 { event_type, version, payload, metadata }): (usize, AppendedV1)| {
        if place::<A>(&event_type, &version).is_none() {
            let why = format!("'events/{at}': {} knows no {event_type} of version {version}", A::TYPE);
            return Err(Malformed::Body { kind: kind.to_string(), why });
        }
        recorded::<A>(kind, &event_type, &version, payload, metadata)
    };
    Ok(Command::Append { expected, events: events.into_iter().enumerate().map(one).collect::<Result<_, _>>()? })
}

/// The kind of an append.
pub const fn append_kind<A: Hosted>() -> Kind {
    Kind::of(A::NAME, APPEND, 1)
}
