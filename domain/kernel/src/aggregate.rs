//! What owns state: the trait of every aggregate, and what a decision may look at.
//! Nothing here may know how events are stored or sent.

use std::any::Any;
use std::fmt::{Debug, Display};
use std::rc::Rc;
use std::str::FromStr;

use serde::{Serialize, de::DeserializeOwned};

use crate::{Money, Timestamp};

/// How an aggregate's records find their partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// By the part of its id before the first `-` (see [`routing_key`]).
    BySubject,
    /// One copy in every partition, under that partition's anchor key.
    EveryPartition,
}

/// A state that only its own events change.
///
/// `decide` answers a command with events, with nothing (already so), or with a refusal;
/// it never panics for a command it can be given. `evolve` takes any event `decide` gave and cannot fail.
pub trait Aggregate: Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The aggregate's name: lower case, unique on the platform, part of every record's type. Never changes.
    const NAME: &'static str;
    /// The shape of the saved state. Raise it with every change of the struct: saved heads of another
    /// shape are thrown away and folded again from the log.
    const STATE_VERSION: u8;
    /// The stable names of all its refusals, which [`Aggregate::refusal_code`] gives: documents list them.
    const REFUSALS: &'static [&'static str];
    /// Whether it decides by personal data in its state: that is sealed there, and is opened for it where there are keys.
    const OPENS: bool = false;
    /// How its records find their partition.
    const ROUTING: Routing = Routing::BySubject;
    /// Its ids. Each has one spelling, the one that parses: a command under another is put aside before it is decided.
    type Id: FromStr<Err: Display>;
    /// What can be asked of it.
    type Command: Clone + Debug + PartialEq + Send + Sync + 'static;
    /// What can have happened to it.
    type Event: Clone + Debug + PartialEq + Send + Sync + 'static;
    /// A business no.
    type Refusal: Clone + Debug + Display + PartialEq + Send + Sync + 'static;

    /// What `command` causes, given this state.
    fn decide(&self, command: Self::Command, context: &Context<'_>) -> Result<Vec<Self::Event>, Self::Refusal>;

    /// The state after `event`.
    fn evolve(&mut self, event: &Self::Event);

    /// What holds of every state, after each of its events: sums that agree, pieces that are not promised twice. Says what does
    /// not, with the numbers. `replay --dry-run` asks after every event of a history, to find before a release what a changed
    /// `evolve` makes of it; nothing that serves asks ever.
    fn invariant(&self) -> Result<(), String> {
        Ok(())
    }

    /// A refusal's stable name, kebab case: callers match on it.
    fn refusal_code(refusal: &Self::Refusal) -> &'static str;

    /// The caller whose command is answered by this event, when a process that began with that
    /// command ends here (a checkout ends in its order).
    fn answers(_event: &Self::Event) -> Option<&Origin> {
        None
    }

    /// Money that changes hands with this event, for operators to see how much does: sums by type and currency. What is only
    /// asked for, promised or refused is none.
    fn money(_event: &Self::Event) -> Option<Money> {
        None
    }

    /// Whether only services make this command, in what they do for others: a client's is refused as `forbidden`.
    fn made_inside(_command: &Self::Command) -> bool {
        false
    }

    /// Whether the answer to this accepted command is given later, by an event that [`Aggregate::answers`] it.
    fn answered_later(_command: &Self::Command) -> bool {
        false
    }

    /// When this state wants to be woken, in log time, and with what. The command must change the
    /// deadline or decide nothing; a state that asks again for the same instant is woken once.
    fn deadline(&self) -> Option<(Timestamp, Self::Command)> {
        None
    }

    /// What a process that has not ended waits for, in words for operators; none for one that has, and for what is
    /// no process. Changing it or [`Aggregate::deadline`] so that other states wait is a change of the saved shape.
    fn awaits(&self) -> Option<String> {
        None
    }

    /// What an operator sends to a process that waits for too long, to end it the way its own deadline would; none
    /// if it cannot be ended from outside.
    fn abandon() -> Option<Self::Command> {
        None
    }
}

/// The first cause of a process: the client's command, and where its answer is awaited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Origin {
    /// The id the client gave its command.
    pub command_id: String,
    /// The reply address the command carried, if its sender waits.
    pub reply_to: Option<String>,
}

/// Read-only access to the heads of other aggregates of the same service and partition.
pub trait Heads {
    /// The state of `aggregate`'s head `id`, type erased; none if it has no event yet.
    fn head(&self, aggregate: &'static str, id: &str) -> Option<Rc<dyn Any>>;
}

/// No other heads: for aggregates that look nowhere else, and for tests.
pub struct NoHeads;

impl Heads for NoHeads {
    fn head(&self, _: &'static str, _: &str) -> Option<Rc<dyn Any>> {
        None
    }
}

/// What a decision may look at besides its own state.
pub struct Context<'a> {
    /// Log time: never goes back; timers and expiry go by it.
    pub now: Timestamp,
    /// Business time, given by the caller; log time if the caller gave none.
    pub occurred_at: Timestamp,
    /// The aggregate's own id.
    pub subject: &'a str,
    /// The client command at the root of the chain that led here.
    pub origin: &'a Origin,
    /// Who acts, as the caller named itself.
    pub actor: Option<&'a str>,
    heads: &'a dyn Heads,
}

impl<'a> Context<'a> {
    /// A context over `heads`.
    pub fn new(subject: &'a str, now: Timestamp, occurred_at: Timestamp, origin: &'a Origin, heads: &'a dyn Heads) -> Self {
        Self { now, occurred_at, subject, origin, actor: None, heads }
    }

    /// The same, naming who acts.
    #[must_use]
    pub fn by(mut self, actor: Option<&'a str>) -> Self {
        self.actor = actor;
        self
    }

    /// Another aggregate's state in this service and partition, this batch's own events included.
    pub fn head<A: Aggregate>(&self, id: &str) -> Option<Rc<A>> {
        self.heads.head(A::NAME, id)?.downcast::<A>().ok()
    }
}

/// The routing key of an aggregate id: what stands before the first `-` (`17-3` is routed by `17`).
/// Aggregates that must meet without a hop begin with the same key.
pub fn routing_key(id: &str) -> &str {
    id.split_once('-').map_or(id, |(key, _)| key)
}
