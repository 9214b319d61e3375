//! A value that only one may have: claimed first, confirmed or released then, and given up by itself where neither comes in time.
//! Knows values by their keyed hash alone: never what they are.
//!
//! Any aggregate of any service may have its values unique. A policy turns the event that wants one into [`Command::Claim`], a
//! second one tells the claimant what became of it; `identity::policies` does so for e-mail addresses.

use std::marker::PhantomData;

use kernel::{Aggregate, Context, Timestamp};
use schemas::Codec;
use schemas::envelope::{Kind, Malformed};
use schemas::wire::{Instant, Shape, text};
use serde::{Deserialize, Serialize};

use crate::hex::Hex;

/// How long a claim holds that nobody confirms, in seconds of log time.
pub const HELD_SECONDS: i64 = 15 * 60;

/// A kind of values that are unique among themselves.
pub trait Unique: Clone + std::fmt::Debug + Default + PartialEq + Send + Sync + 'static {
    /// The name of their reservations as an aggregate, unique on the platform. Never changes.
    const NAME: &'static str;

    /// The id of a value's reservation. Whoever has not the key cannot tell what it is of, nor try values out.
    fn id(key: &[u8; 32], value: &str) -> String {
        let key = blake3::derive_key("daybook 2026-11-26 unique values", key);
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(&(Self::NAME.len() as u64).to_be_bytes()).update(Self::NAME.as_bytes()).update(value.as_bytes());
        hasher.finalize().to_hex()[..32].to_owned()
    }
}

/// Who has a value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Reservation<U: Unique> {
    /// the holder, as the claim named it
    owner: Option<String>,
    /// until when it holds unconfirmed; for good without
    until: Option<Timestamp>,
    #[serde(skip)]
    of: PhantomData<fn() -> U>,
}

/// What can be asked of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// `owner` wants it
    Claim {
        /// who
        owner: String,
    },
    /// `owner`, who has claimed it, keeps it
    Confirm {
        /// who
        owner: String,
    },
    /// `owner` does not want it any more
    Release {
        /// who
        owner: String,
    },
    /// nobody confirmed it
    Expire,
}

/// What became of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// it is `owner`'s until then, or until it is confirmed
    Claimed {
        /// whose
        owner: String,
        /// how long
        until: Timestamp,
    },
    /// it is another's
    Denied {
        /// who asked
        owner: String,
    },
    /// it is `owner`'s for good
    Confirmed {
        /// whose
        owner: String,
    },
    /// it is free
    Released {
        /// whose it was
        owner: String,
    },
    /// it is free, since nobody confirmed it
    Expired,
}

impl<U: Unique> Aggregate for Reservation<U> {
    const NAME: &'static str = U::NAME;
    const STATE_VERSION: u8 = 1;
    const REFUSALS: &'static [&'static str] = &[];
    type Id = Hex;
    type Command = Command;
    type Event = Event;
    type Refusal = std::convert::Infallible;

    /// Never refuses: whoever asks is a policy, and hears the answer as an event.
    fn decide(&self, command: Command, context: &Context<'_>) -> Result<Vec<Event>, Self::Refusal> {
        let is_holder = |owner: &String| self.owner.as_ref() == Some(owner);
        Ok(match command {
            Command::Claim { owner } if self.owner.is_none() || (is_holder(&owner) && self.until.is_some()) => {
                vec![Event::Claimed { owner, until: context.now.plus_seconds(HELD_SECONDS) }]
            }
            Command::Claim { owner } | Command::Confirm { owner } if is_holder(&owner) => vec![Event::Confirmed { owner }],
            Command::Claim { owner } | Command::Confirm { owner } => vec![Event::Denied { owner }],
            Command::Release { owner } if is_holder(&owner) => vec![Event::Released { owner }],
            Command::Expire if self.until.is_some_and(|until| until <= context.now) => vec![Event::Expired],
            Command::Release { .. } | Command::Expire => vec![],
        })
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Claimed { owner, until } => (self.owner, self.until) = (Some(owner.clone()), Some(*until)),
            Event::Denied { .. } => {}
            Event::Confirmed { .. } => self.until = None,
            Event::Released { .. } | Event::Expired => (self.owner, self.until) = (None, None),
        }
    }

    fn refusal_code(refusal: &Self::Refusal) -> &'static str {
        match *refusal {}
    }

    fn deadline(&self) -> Option<(Timestamp, Command)> {
        self.until.map(|until| (until, Command::Expire))
    }
}

/// Stands for all kinds where shapes are made, which are the same for all.
#[derive(Clone, Debug, Default, PartialEq)]
struct Any;
impl Unique for Any {
    const NAME: &'static str = "reservation";
}
type AnyReservation = Reservation<Any>;

use schemas::alias::*;
schemas::codec!(@half AnyReservation, Event, encode_event_of, decode_event_of, event_shapes, "events";
    Claimed { owner: String, #[serde(with = "text")] #[schemars(with = "Instant")] until: Timestamp } as ClaimedV1 = "claimed" 1;
    Denied { owner: String } as DeniedV1 = "denied" 1;
    Confirmed { owner: String } as ConfirmedV1 = "confirmed" 1;
    Released { owner: String } as ReleasedV1 = "released" 1;
    Expired = "expired" 1;
);
schemas::codec!(@half AnyReservation, Command, encode_command_of, decode_command_of, command_shapes, "commands";
    Claim { owner: String } as ClaimV1 = "claim" 1;
    Confirm { owner: String } as ConfirmV1 = "confirm" 1;
    Release { owner: String } as ReleaseV1 = "release" 1;
    Expire = "expire" 1;
);

impl<U: Unique> Codec<U> for Reservation<U> {
    fn encode_event(event: &Event) -> (Kind, Vec<u8>) {
        let (kind, body) = encode_event_of(event);
        (Kind { aggregate: U::NAME.into(), ..kind }, body)
    }
    fn decode_event(kind: &Kind, body: &[u8]) -> Result<Event, Malformed> {
        decode_event_of(kind, body)
    }
    fn encode_command(command: &Command) -> (Kind, Vec<u8>) {
        let (kind, body) = encode_command_of(command);
        (Kind { aggregate: U::NAME.into(), ..kind }, body)
    }
    fn decode_command(kind: &Kind, body: &[u8]) -> Result<Command, Malformed> {
        decode_command_of(kind, body)
    }
    fn shapes() -> Vec<Shape> {
        let named = |shape: Shape| Shape { kind: Kind { aggregate: U::NAME.into(), ..shape.kind }, ..shape };
        event_shapes().into_iter().chain(command_shapes()).map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use kernel::testing::given;

    use super::*;

    fn claimed(owner: &str) -> Event {
        Event::Claimed { owner: owner.into(), until: Timestamp(0).plus_seconds(HELD_SECONDS) }
    }
    fn owner(owner: &str) -> String {
        owner.to_owned()
    }

    #[test]
    fn one_has_it_until_it_is_given_back() {
        let value = |events: &[Event]| given::<AnyReservation>("5f3a0c1d2e4b69788796a5b4c3d2e1f0", events.to_vec());
        let confirmed = [claimed("a"), Event::Confirmed { owner: owner("a") }];
        value(&[]).when(Command::Claim { owner: owner("a") }).then(&[claimed("a")]);
        value(&[claimed("a")]).when(Command::Claim { owner: owner("a") }).then(&[claimed("a")]);
        value(&[claimed("a")]).when(Command::Claim { owner: owner("b") }).then(&[Event::Denied { owner: owner("b") }]);
        value(&[claimed("a")]).when(Command::Confirm { owner: owner("a") }).then(&confirmed[1..]);
        value(&[claimed("a"), Event::Expired]).when(Command::Confirm { owner: owner("a") }).then(&[Event::Denied { owner: owner("a") }]);
        value(&confirmed).when(Command::Claim { owner: owner("a") }).then(&confirmed[1..]);
        value(&confirmed).when(Command::Expire).then(&[]);
        value(&confirmed).when(Command::Release { owner: owner("b") }).then(&[]);
        let released = value(&confirmed).when(Command::Release { owner: owner("a") }).then(&[Event::Released { owner: owner("a") }]);
        assert_eq!(released, AnyReservation::default());
    }

    #[test]
    fn an_id_tells_nothing_without_the_key() {
        let id = Any::id(&[7; 32], "anna@example.com");
        assert!(id.parse::<Hex>().is_ok());
        assert_ne!(id, Any::id(&[8; 32], "anna@example.com"));
        assert_ne!(id, Any::id(&[7; 32], "anna@example.org"));
    }
}
