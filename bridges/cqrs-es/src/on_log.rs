//! A cqrs-es aggregate as the platform has aggregates.

use std::collections::BTreeMap;
use std::fmt;

use daybook::{Aggregate, Context};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::deciding::decide;
use crate::hosted::{CONFLICT, Hosted};

/// `A`, and how many events it has.
#[derive(Default)]
pub struct OnLog<A> {
    /// the state
    pub state: A,
    /// its version
    pub version: u64,
}

/// What can be asked of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Command<E> {
    /// one of its own commands, as JSON: `handle` decides
    Handle(Value),
    /// events that were decided elsewhere, by a `CqrsFramework` over [`crate::LogStore`]: they are appended if the aggregate
    /// stands where it was loaded
    Append {
        /// its version then
        expected: u64,
        /// in their order
        events: Vec<Recorded<E>>,
    },
}

/// An event, and what its committer says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded<E> {
    /// itself
    pub event: E,
    /// cqrs-es' metadata
    pub metadata: BTreeMap<String, String>,
    /// The `event_version` and payload that it was upcast from, if it was: a history that is brought here stays what it was.
    pub was: Option<(String, Value)>,
}

impl<E> Recorded<E> {
    /// Of the newest version, and nothing said of it.
    pub fn of(event: E) -> Self {
        Self { event, metadata: BTreeMap::new(), was: None }
    }
}

/// A business no.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// its stable name
    pub code: &'static str,
    /// what its error says
    pub detail: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.detail)
    }
}

impl<A: Hosted> Aggregate for OnLog<A> {
    const NAME: &'static str = A::NAME;
    const STATE_VERSION: u8 = A::STATE_VERSION;
    const REFUSALS: &'static [&'static str] = A::REFUSALS;
    type Id = A::Id;
    type Command = Command<A::Event>;
    type Event = Recorded<A::Event>;
    type Refusal = Refused;

    fn decide(&self, command: Command<A::Event>, context: &Context<'_>) -> Result<Vec<Recorded<A::Event>>, Refused> {
        match command {
            Command::Handle(command) => match decide(&self.state, &command, context) {
                Ok(events) => Ok(events.into_iter().map(Recorded::of).collect()),
                Err((code, detail)) => Err(Refused { code, detail }),
            },
            Command::Append { expected, .. } if expected != self.version => {
                Err(Refused { code: CONFLICT, detail: format!("it is at version {}, and was loaded at {expected}", self.version) })
            }
            Command::Append { events, .. } => Ok(events),
        }
    }

    fn evolve(&mut self, recorded: &Recorded<A::Event>) {
        self.state.apply(recorded.event.clone());
        self.version += 1;
    }

    fn invariant(&self) -> Result<(), String> {
        self.state.invariant()
    }

    fn made_inside(command: &Command<A::Event>) -> bool {
        matches!(command, Command::Handle(command) if A::made_inside(command))
    }

    fn refusal_code(refusal: &Refused) -> &'static str {
        refusal.code
    }
}

impl<A: Hosted> OnLog<A> {
    /// One of its own commands.
    pub fn handle(command: &A::Command) -> serde_json::Result<Command<A::Event>> {
        serde_json::to_value(command).map(Command::Handle)
    }
}

// Derives would ask of `A` what cqrs-es does not.

impl<A: Hosted> Clone for OnLog<A> {
    fn clone(&self) -> Self {
        Self { state: self.state.copy(), version: self.version }
    }
}

impl<A: Hosted> PartialEq for OnLog<A> {
    fn eq(&self, other: &Self) -> bool {
        let json = |one: &Self| serde_json::to_value(&one.state).ok();
        self.version == other.version && json(self) == json(other)
    }
}

impl<A: Hosted> fmt::Debug for OnLog<A> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = serde_json::to_string(&self.state).map_err(|_| fmt::Error)?;
        write!(out, "{} at {}: {state}", A::TYPE, self.version)
    }
}

/// As people and tools read it.
#[derive(Serialize, Deserialize)]
struct Shown<S> {
    state: S,
    version: u64,
}

/// JSON within what is not: the compact format of saved heads cannot hold every shape that JSON can.
impl<A: Hosted> Serialize for OnLog<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return Shown { state: &self.state, version: self.version }.serialize(serializer);
        }
        let state = serde_json::to_string(&self.state).map_err(serde::ser::Error::custom)?;
        (state, self.version).serialize(serializer)
    }
}

impl<'de, A: DeserializeOwned> Deserialize<'de> for OnLog<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Shown::deserialize(deserializer).map(|Shown { state, version }| Self { state, version });
        }
        let (state, version) = <(String, u64)>::deserialize(deserializer)?;
        Ok(Self { state: serde_json::from_str(&state).map_err(D::Error::custom)?, version })
    }
}
