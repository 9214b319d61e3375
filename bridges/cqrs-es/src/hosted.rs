//! What a cqrs-es aggregate says of itself, beside its own trait, to live on the log.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use cqrs_es::Aggregate;
use cqrs_es::persist::{EventUpcaster, SerializedEvent};
use daybook::Context;
use serde::Serialize;
use serde::de::{DeserializeOwned, Error};
use serde_json::Value;

/// What an append is refused with whose aggregate does not stand where it was loaded.
pub const CONFLICT: &str = "version-conflict";

/// A cqrs-es aggregate that lives on the log.
pub trait Hosted: Aggregate<Command: Serialize + DeserializeOwned> + 'static {
    /// Its name on the platform: lower case, unique there, part of every record's type. Never changes.
    const NAME: &'static str = Self::TYPE;
    /// The shape of its saved state; see [`daybook::Aggregate::STATE_VERSION`].
    const STATE_VERSION: u8;
    /// The stable names of its refusals, which [`Hosted::refusal_code`] gives, and [`CONFLICT`] if commits are taken.
    const REFUSALS: &'static [&'static str];
    /// Every event type there ever was, with every version of it in the order of their release, the last one as
    /// `event_version` gives it now. A record's version is its place here, from 1: what stands here stays.
    const EVENTS: &'static [(&'static str, &'static [&'static str])];
    /// Whether each command is decided twice, which finds most of what is not deterministic.
    const RUN_TWICE: bool = true;
    /// Its ids, each in the one spelling that parses.
    type Id: FromStr<Err: Display>;

    /// What a command is decided with: nothing but what `context` says, and what never changes.
    fn services(context: &Context<'_>) -> Self::Services;

    /// A refusal's stable name, kebab case: callers match on it.
    fn refusal_code(error: &Self::Error) -> &'static str;

    /// Whether only policies make this command, which is as serde writes it; see [`daybook::Aggregate::made_inside`].
    fn made_inside(_command: &Value) -> bool {
        false
    }

    /// What holds of every state, after each of its events; see [`daybook::Aggregate::invariant`].
    fn invariant(&self) -> Result<(), String> {
        Ok(())
    }

    /// What brings the payloads of older versions to the newest one.
    fn upcasters() -> &'static [Box<dyn EventUpcaster>] {
        &[]
    }

    /// A copy of the state. The given one goes by way of JSON; where the type is `Clone`, `self.clone()` is faster.
    fn copy(&self) -> Self {
        copied(self).unwrap_or_else(|why| panic!("{} cannot be read back from what it is written as: {why}", Self::TYPE))
    }
}

fn copied<T: Serialize + DeserializeOwned>(state: &T) -> serde_json::Result<T> {
    serde_json::from_slice(&serde_json::to_vec(state)?)
}

/// An event of `A` from a payload of any version that it knows.
pub fn upcast<A: Hosted>(event_type: &str, event_version: &str, payload: Value) -> serde_json::Result<A::Event> {
    let (event_type, event_version) = (event_type.to_owned(), event_version.to_owned());
    let event = SerializedEvent::new(String::new(), 0, A::TYPE.to_owned(), event_type, event_version, payload, Value::Null);
    // As cqrs-es does it, whose own function is private: each of them once, in their order. What a payload must not be, an upcaster
    // may answer with a panic: that is a payload that cannot be read, whoever wrote it.
    let all = || {
        A::upcasters().iter().fold(
            event,
            |event, upcaster| {
                if upcaster.can_upcast(&event.event_type, &event.event_version) { upcaster.upcast(event) } else { event }
            },
        )
    };
    let upcast = catch_unwind(AssertUnwindSafe(all)).map_err(|_| serde_json::Error::custom("its upcaster panicked"))?;
    serde_json::from_value(upcast.payload)
}
