//! A service as data: its aggregates and policies, with their types erased so that one worker runs them all.
//! Knows how to decide and evolve by name; does no IO.

use std::any::Any;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use kernel::{Aggregate, CLEAR_IN_ROWS, Context, Money, Origin, Policy, Routing, SEALED_IN_ROWS, Sealed, Source, Timestamp};
use schemas::envelope::{Kind, Malformed};
use schemas::wire::Shape;
use schemas::{Codec, Readable, Stream, Topic, topic};

use crate::actor::{Actor, OPERATOR};
use crate::log::{Begin, Fault, Input, Log, Member};

/// A day, in seconds.
const DAY: i64 = 24 * 60 * 60;
/// How long a client's command id is remembered, if its service does not say.
pub(crate) const REMEMBERED: i64 = 7 * DAY;

/// A command or event of a type that only its aggregate's handler knows.
pub type Erased = Box<dyn Any>;

/// A state behind a count, so that decisions can look at it without copying it.
pub type State = Rc<dyn Any>;

/// An event as decided: its bytes, itself, and whom it answers.
pub struct Decided {
    /// its type
    pub kind: Kind,
    /// its body
    pub body: Vec<u8>,
    /// the caller whose command ends here
    pub answers: Option<Origin>,
    /// what changes hands with it
    pub money: Option<Money>,
    /// itself
    pub event: Erased,
}

/// A business no.
pub struct Refused {
    /// its stable name
    pub code: &'static str,
    /// for people
    pub detail: String,
}

/// One aggregate type of a service.
pub trait Handler: Send + Sync {
    /// See [`Aggregate::NAME`].
    fn name(&self) -> &'static str;
    /// See [`Aggregate::ROUTING`].
    fn routing(&self) -> Routing;
    /// See [`Aggregate::STATE_VERSION`].
    fn state_version(&self) -> u8;
    /// That a text is one of its ids, in its one spelling; or what it should be.
    fn check_id(&self, id: &str) -> Result<(), String>;
    /// A state without events.
    fn blank(&self) -> State;
    /// A state and its version from a saved row; none if the row is of another shape.
    fn load(&self, row: &[u8]) -> Result<Option<(u64, State)>, String>;
    /// The row to save.
    fn save(&self, version: u64, state: &State) -> Result<Vec<u8>, String>;
    /// A command from its body.
    fn decode_command(&self, kind: &Kind, body: &[u8]) -> Result<Erased, Malformed>;
    /// A command's type and body.
    fn encode_command(&self, command: &Erased) -> Option<(Kind, Vec<u8>)>;
    /// An event from its body.
    fn decode_event(&self, kind: &Kind, body: &[u8]) -> Result<Erased, Malformed>;
    /// See [`Aggregate::answered_later`].
    fn answered_later(&self, command: &Erased) -> bool;
    /// See [`Aggregate::made_inside`].
    fn made_inside(&self, command: &Erased) -> bool;
    /// See [`Aggregate::decide`].
    fn decide(&self, state: &State, command: Erased, context: &Context<'_>) -> Result<Vec<Decided>, Refused>;
    /// The state with its personal data opened, if it is decided by: see [`Aggregate::OPENS`].
    fn opened(&self, state: &State, open: &mut dyn FnMut(&Sealed) -> Option<serde_json::Value>) -> Option<State>;
    /// See [`Aggregate::evolve`].
    fn evolve(&self, state: &mut State, event: &Erased);
    /// See [`Aggregate::invariant`].
    fn invariant(&self, state: &State) -> Result<(), String>;
    /// See [`Aggregate::deadline`].
    fn deadline(&self, state: &State) -> Option<(Timestamp, Erased)>;
    /// See [`Aggregate::awaits`].
    fn awaits(&self, state: &State) -> Option<String>;
    /// Type and body of [`Aggregate::abandon`].
    fn abandon(&self) -> Option<(Kind, Vec<u8>)>;
    /// The shapes of its events and commands, for documents.
    fn shapes(&self) -> Vec<Shape>;
    /// The state as JSON, for people.
    fn show(&self, state: &State) -> serde_json::Value;
    /// Whether the state waits: for others, or for its deadline.
    fn waits(&self, state: &State) -> bool {
        self.deadline(state).is_some() || self.awaits(state).is_some()
    }
}

struct Typed<A, W>(PhantomData<fn() -> (A, W)>);

/// The handler's own types; anything else in their place is a mistake of the worker, not of its input.
fn own<T: 'static>(erased: &dyn Any) -> &T {
    erased.downcast_ref().unwrap_or_else(|| unreachable!("a handler is only given what it made"))
}

impl<A: Codec<W>, W: 'static> Handler for Typed<A, W> {
    fn name(&self) -> &'static str {
        A::NAME
    }
    fn routing(&self) -> Routing {
        A::ROUTING
    }
    fn state_version(&self) -> u8 {
        A::STATE_VERSION
    }
    fn check_id(&self, id: &str) -> Result<(), String> {
        id.parse::<A::Id>().map(|_| ()).map_err(|why| why.to_string())
    }
    fn blank(&self) -> State {
        Rc::new(A::default())
    }
    fn load(&self, row: &[u8]) -> Result<Option<(u64, State)>, String> {
        Ok(schemas::codec::load::<(u64, A)>(A::STATE_VERSION, row)?.map(|(version, state)| (version, Rc::new(state) as State)))
    }
    fn save(&self, version: u64, state: &State) -> Result<Vec<u8>, String> {
        schemas::codec::save(A::STATE_VERSION, &(version, own::<A>(state.as_ref())))
    }
    fn decode_command(&self, kind: &Kind, body: &[u8]) -> Result<Erased, Malformed> {
        Ok(Box::new(A::decode_command(kind, body)?))
    }
    fn encode_command(&self, command: &Erased) -> Option<(Kind, Vec<u8>)> {
        command.downcast_ref().map(A::encode_command)
    }
    fn decode_event(&self, kind: &Kind, body: &[u8]) -> Result<Erased, Malformed> {
        Ok(Box::new(A::decode_event(kind, body)?))
    }
    fn answered_later(&self, command: &Erased) -> bool {
        A::answered_later(own(command.as_ref()))
    }
    fn made_inside(&self, command: &Erased) -> bool {
        A::made_inside(own(command.as_ref()))
    }
    fn decide(&self, state: &State, command: Erased, context: &Context<'_>) -> Result<Vec<Decided>, Refused> {
        let command = command.downcast::<A::Command>().unwrap_or_else(|_| unreachable!("a handler is only given what it made"));
        let events = own::<A>(state.as_ref()).decide(*command, context);
        let events = events.map_err(|refusal| Refused { code: A::refusal_code(&refusal), detail: refusal.to_string() })?;
        let decided = |event: A::Event| {
            let (kind, body) = A::encode_event(&event);
            Decided { kind, body, answers: A::answers(&event).cloned(), money: A::money(&event), event: Box::new(event) }
        };
        Ok(events.into_iter().map(decided).collect())
    }
    fn opened(&self, state: &State, open: &mut dyn FnMut(&Sealed) -> Option<serde_json::Value>) -> Option<State> {
        if !A::OPENS {
            return None;
        }
        let mut value = serde_json::to_value(own::<A>(state.as_ref())).ok()?;
        // What was sealed in another shape than the state has now stays sealed: it is another thing.
        if unseal(&mut value, open) { serde_json::from_value::<A>(value).ok().map(|state| Rc::new(state) as State) } else { None }
    }
    fn evolve(&self, state: &mut State, event: &Erased) {
        if Rc::get_mut(state).is_none() {
            *state = Rc::new(own::<A>(state.as_ref()).clone()); // somebody still looks at it: they keep what they saw
        }
        if let Some(state) = Rc::get_mut(state).and_then(|state| state.downcast_mut::<A>()) {
            state.evolve(own(event.as_ref()));
        }
    }
    fn invariant(&self, state: &State) -> Result<(), String> {
        own::<A>(state.as_ref()).invariant()
    }
    fn deadline(&self, state: &State) -> Option<(Timestamp, Erased)> {
        own::<A>(state.as_ref()).deadline().map(|(at, command)| (at, Box::new(command) as Erased))
    }
    fn awaits(&self, state: &State) -> Option<String> {
        own::<A>(state.as_ref()).awaits()
    }
    fn abandon(&self) -> Option<(Kind, Vec<u8>)> {
        A::abandon().as_ref().map(A::encode_command)
    }
    fn shapes(&self) -> Vec<Shape> {
        A::shapes()
    }
    fn show(&self, state: &State) -> serde_json::Value {
        crate::show::show(own::<A>(state.as_ref()))
    }
}

/// Opens what is sealed in a state; says whether there was anything that opened.
fn unseal(value: &mut serde_json::Value, open: &mut dyn FnMut(&Sealed) -> Option<serde_json::Value>) -> bool {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            let sealed = fields.get(SEALED_IN_ROWS).and_then(|sealed| serde_json::from_value(sealed.clone()).ok());
            if let Some(clear) = sealed.and_then(|sealed| open(&sealed)) {
                *value = serde_json::json!({ CLEAR_IN_ROWS: clear });
                return true;
            }
            fields.values_mut().fold(false, |any, field| any | unseal(field, open)) // all of them, and not up to the first
        }
        Value::Array(items) => items.iter_mut().fold(false, |any, item| any | unseal(item, open)),
        _ => false,
    }
}

type React = fn(&str, &Kind, &[u8]) -> Result<Vec<(String, Erased)>, Malformed>;

/// A policy, and where it listens.
pub struct Reaction {
    /// see [`Policy::NAME`]
    pub policy: &'static str,
    /// the foreign events topic it reads
    pub input: Topic,
    /// the aggregate whose events it reads
    pub source: &'static str,
    /// the aggregate it commands
    pub target: &'static str,
    /// from an event's subject, type and body to commands with their targets' ids
    pub react: React,
}

fn react<P: Policy<Source: Readable<W>>, W>(subject: &str, kind: &Kind, body: &[u8]) -> Result<Vec<(String, Erased)>, Malformed> {
    let Some(event) = P::Source::read(kind, body)? else { return Ok(vec![]) };
    Ok(P::react(subject, &event).into_iter().map(|(target, command)| (target, Box::new(command) as Erased)).collect())
}

/// Where a service's events are kept before the log has them: a database that has its aggregates in tables of its own.
pub trait Store: Send + Sync {
    /// The place of the service's worker in its group, as one whose commits are kept here first. What was kept and did not reach
    /// the log is written there, in the order in which it was kept, before the worker decides anything; and what it is given to
    /// decide has not been decided here before.
    fn keeping(self: Arc<Self>, service: &Arc<Service>, log: &Arc<dyn Log>, member: Box<dyn Member>) -> Result<Box<dyn Member>, Fault>;
}

/// A service: who owns what and reacts to what. Everything else is the worker's.
///
/// A version that follows one service more may join beside running instances of the version before: these go on without
/// that input, and each partition's new owner reads it. From where? A policy on a newly followed topic reacts to all of
/// it, its whole past, unless its author chooses otherwise with [`Service::from_now_on`].
///
/// ```
/// use daybook_eventstore::service::Service;
///
/// // Of what `catalog` has written before this service first saw it, nothing is reacted to.
/// let service = Service::new("stock").from_now_on("catalog");
/// ```
pub struct Service {
    /// its name, the first part of its topics' names
    pub name: &'static str,
    /// its aggregates
    pub aggregates: Vec<Box<dyn Handler>>,
    /// Policies over events with the same routing key: read by the worker itself, partition by partition.
    pub direct: Vec<Reaction>,
    /// Policies over events with another routing key: read by the router, which writes commands.
    pub routed: Vec<Reaction>,
    /// Events topics whose past, as this service finds it, is not reacted to.
    pub from_now_on: Vec<Topic>,
    /// How long, in seconds of log time, a client's command id is remembered.
    pub remembers: i64,
    /// aggregate -> the role of the accounts whose own they are
    pub owners: BTreeMap<&'static str, &'static str>,
    /// types of its records that hold personal data
    personal: Vec<Kind>,
    /// what its records hold is shown to nobody
    pub private: bool,
    /// where its events are kept first, if elsewhere than in the log
    pub store: Option<Arc<dyn Store>>,
}

impl Service {
    /// A service that owns nothing yet.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            aggregates: vec![],
            direct: vec![],
            routed: vec![],
            from_now_on: vec![],
            remembers: REMEMBERED,
            owners: BTreeMap::new(),
            personal: vec![],
            private: false,
            store: None,
        }
    }

    /// What it commits is kept in this store first.
    #[must_use]
    pub fn kept_in(self, store: Arc<dyn Store>) -> Self {
        Self { store: Some(store), ..self }
    }

    /// It owns aggregates of this type; `W` (see [`Codec`]) is inferred: `owns::<Cart, _>()`.
    #[must_use]
    pub fn owns<A: Codec<W>, W: 'static>(mut self) -> Self {
        self.aggregates.push(Box::new(Typed::<A, W>(PhantomData)));
        self.personal.extend(A::shapes().into_iter().filter(Shape::is_personal).map(|shape| shape.kind));
        self
    }

    /// The aggregates that it was just said to own are accounts' own, of those who have this role: an account that has it for
    /// `17` may command those whose ids are routed by `17`, and no account but an operator's any other. It is looked at again
    /// where a command is decided, whichever route it came by.
    ///
    /// ```
    /// use daybook_eventstore::service::Service;
    ///
    /// // Service::new("carts").owns::<Cart, _>().belongs_to("customer")
    /// # let _ = Service::new("carts").belongs_to("customer");
    /// ```
    #[must_use]
    pub fn belongs_to(mut self, role: &'static str) -> Self {
        self.owners.extend(self.aggregates.last().map(|aggregate| (aggregate.name(), role)));
        self
    }

    /// What its records hold is shown to nobody, operators included: hashes of passwords, above all.
    #[must_use]
    pub fn private(self) -> Self {
        Self { private: true, ..self }
    }

    /// Why `actor` may not command the aggregate of this type that is routed by `key`, if so. What is made inside has no
    /// actor, and a name that somebody gave itself is no account.
    pub fn forbids(&self, aggregate: &str, key: &[u8], actor: Option<&str>) -> Option<String> {
        let (role, actor) = (self.owners.get(aggregate)?, actor?.parse::<Actor>().ok()?);
        let may = actor.is(OPERATOR) || std::str::from_utf8(key).is_ok_and(|key| actor.owns(role, key));
        (!may).then(|| format!("this account is not the {role} whose it is"))
    }

    /// Whether there is personal data in records of this type, in any version.
    pub fn is_personal(&self, kind: &Kind) -> bool {
        self.personal.iter().any(|known| (&known.aggregate, &known.name) == (&kind.aggregate, &kind.name))
    }

    /// Its aggregates of which any record holds personal data.
    pub fn personal(&self) -> impl Iterator<Item = &dyn Handler> {
        let holds = |handler: &&dyn Handler| self.personal.iter().any(|kind| kind.aggregate == handler.name());
        self.aggregates.iter().map(AsRef::as_ref).filter(holds)
    }

    /// Whose role the data of an aggregate of this type is by: its owner's, or else its own name.
    pub fn role_of(&self, aggregate: &'static str) -> &'static str {
        self.owners.get(aggregate).copied().unwrap_or(aggregate)
    }

    /// Whose personal data is in the records of an aggregate that is routed by `key`: its owner's, as `customer/17`, or its own.
    pub fn data_subject(&self, aggregate: &str, key: &str, id: &str) -> String {
        self.owners.get(aggregate).map_or_else(|| format!("{aggregate}/{id}"), |role| format!("{role}/{key}"))
    }

    /// It follows `service`'s events of the same routing key.
    #[must_use]
    pub fn follows<P: Policy<Source: Readable<W>>, W>(mut self, service: &str) -> Self {
        self.direct.push(reaction::<P, W>(service));
        self
    }

    /// It follows `service`'s events across routing keys.
    #[must_use]
    pub fn follows_across<P: Policy<Source: Readable<W>>, W>(mut self, service: &str) -> Self {
        self.routed.push(reaction::<P, W>(service));
        self
    }

    /// Of `service`'s events, which it follows, only those count that come after it has first seen the partition. Settled
    /// then, for each partition, once and for all: what comes while it does not run is reacted to later. Without this a
    /// newly followed topic is read from its beginning.
    #[must_use]
    pub fn from_now_on(mut self, service: &str) -> Self {
        self.from_now_on.push(topic(Stream::Events(service)));
        self
    }

    /// It remembers its clients' command ids for so many days, and answers a repeat as it answered first. Seven, unless it is
    /// told otherwise. What is remembered takes memory and disk; a repeat that comes later is another command.
    #[must_use]
    pub fn remembers_days(mut self, days: u16) -> Self {
        self.remembers = i64::from(days) * DAY;
        self
    }

    /// What its worker (or, for the routed ones, its router) reads for these policies.
    pub fn reads(&self, reactions: &[Reaction]) -> Vec<Input> {
        let begin = |topic: &Topic| if self.from_now_on.contains(topic) { Begin::Next } else { Begin::First };
        inputs(reactions).into_iter().map(|topic| Input { begin: begin(&topic), topic }).collect()
    }

    /// The handler of an aggregate type.
    pub fn handler(&self, aggregate: &str) -> Option<&dyn Handler> {
        self.aggregates.iter().map(AsRef::as_ref).find(|handler| handler.name() == aggregate)
    }

    /// Its command topic.
    pub fn commands(&self) -> Topic {
        topic(Stream::Commands(self.name))
    }

    /// Its events topic.
    pub fn events(&self) -> Topic {
        topic(Stream::Events(self.name))
    }

    /// Its dead letters' topic.
    pub fn dead_letters(&self) -> Topic {
        topic(Stream::DeadLetters(self.name))
    }
}

fn reaction<P: Policy<Source: Readable<W>>, W>(service: &str) -> Reaction {
    Reaction { policy: P::NAME, input: topic(Stream::Events(service)), source: P::Source::NAME, target: <P::Target as Aggregate>::NAME, react: react::<P, W> }
}

/// The distinct inputs of some reactions, in their order.
pub fn inputs(reactions: &[Reaction]) -> Vec<Topic> {
    let mut topics: Vec<Topic> = vec![];
    for reaction in reactions {
        if !topics.contains(&reaction.input) {
            topics.push(reaction.input.clone());
        }
    }
    topics
}
