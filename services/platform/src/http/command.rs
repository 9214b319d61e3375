//! Commands over HTTP: written durably first, answered from what the log says then. A lost answer costs nothing;
//! the same id asks for it again.

use std::marker::PhantomData;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use eventstore::Message;
use eventstore::actor::Actor;
use eventstore::bounds::ACTOR_BYTES_MAX;
use eventstore::fingerprint::{self, REQUEST};
use eventstore::inside::vouch;
use eventstore::turn::{TELL, TELL_DECISION, UNSCOPED};
use kernel::Aggregate;
use schemas::envelope::{Kind, time};
use schemas::{Codec, Envelope, Stream, TraceContext, topic};
use tokio::time::Instant;

use super::app::App;
use super::conditions::{self, Expected};
pub use super::failure::Failure;
use super::outcome::OutcomeAddress;
use super::personal::{self, Kept};
use super::prefer::Prefer;
use super::scope::{self, Caller};
use crate::fresh;

/// Longest part of a command's id that shows its name; the rest of it is a hash.
const SHOWN_BYTES_MAX: usize = 100;

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Failure> {
    if headers.get_all(name).iter().nth(1).is_some() {
        return Err(Failure::bad(&format!("/headers/{name}"), "given twice"));
    }
    headers.get(name).map(|value| value.to_str().map_err(|_| Failure::bad(&format!("/headers/{name}"), "visible ASCII only"))).transpose()
}

/// Who acts: the account that has signed in; where nobody is asked who it is, whoever the caller says.
fn actor(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let named = text(headers, "daybook-actor")?;
    let wrong = |why: String| Failure::bad("/headers/daybook-actor", why);
    match named {
        Some(actor) if actor.len() > ACTOR_BYTES_MAX => return Err(wrong(format!("at most {ACTOR_BYTES_MAX} bytes"))),
        Some(actor) if Actor::is_one(actor) => return Err(wrong("an account is shown by its token, and not named".to_owned())),
        _ => {}
    }
    Ok(match scope::caller() {
        Caller::Account(_) => scope::actor().map(|actor| actor.to_string()),
        Caller::Open => named.map(str::to_owned),
        Caller::Unknown => None,
    })
}

/// How long a caller that names its command and does not wait is kept, to be told if it was another one's name.
const DECIDED_WAIT: Duration = Duration::from_secs(2);

/// What a command's id is made of.
enum Name {
    /// the client's key
    Key(String),
    /// an id of another sort
    Of(&'static str, String),
    /// nothing: it is asked once
    Anew,
}

impl Name {
    /// The command's id, and what it was when ids had no scope. A name is good for one method, route and resource; two kinds
    /// of names cannot meet.
    fn id(&self, service: &str, kind: &Kind, subject: &str) -> (String, Option<String>) {
        let (sort, plain) = match self {
            Self::Key(key) => ("key", key.clone()),
            Self::Of(sort, id) => (*sort, format!("{}:{id}", kind.name)),
            Self::Anew => return (fresh::id().to_string(), None),
        };
        let scope = scope::route();
        let hash = fingerprint::of(&[sort, &scope, service, subject, &plain].map(str::as_bytes));
        let shown: String =
            plain.chars().scan(0, |bytes, char| (*bytes + char.len_utf8() <= SHOWN_BYTES_MAX).then(|| (*bytes += char.len_utf8(), char).1)).collect();
        (format!("{shown}~{hash}"), Some(plain))
    }
}

/// A command on its way from a request to the log.
pub struct CommandRequest<A> {
    service: &'static str,
    subject: String,
    name: Name,
    wait: Option<Duration>,
    at_once: bool,
    accepted: StatusCode,
    occurred_at: Option<kernel::Timestamp>,
    expected: Expected,
    trace: Option<TraceContext>,
    actor: Option<String>,
    owner: Option<String>,
    of: PhantomData<fn() -> A>,
}

/// A command as it will be written.
pub struct Written {
    /// its type
    pub kind: Kind,
    /// its body
    pub body: Vec<u8>,
    /// whether another aggregate's event answers it, at its process's end
    pub later: bool,
}

impl<A> CommandRequest<A> {
    /// Of one of our own routes: the id is the `Idempotency-Key`, or made here.
    pub fn own(service: &'static str, subject: String, headers: &HeaderMap) -> Result<Self, Failure> {
        let given = text(headers, "idempotency-key")?.map(|key| key.trim().trim_matches('"').to_owned());
        if given.as_ref().is_some_and(|key| key.is_empty() || key.len() > 200 || key.chars().any(char::is_control)) {
            return Err(Failure::bad("/headers/idempotency-key", "1 to 200 visible ASCII characters"));
        }
        let wrong = || Failure::bad("/headers/occurred-at", "a time as RFC 3339 writes it, in UTC within the years 0000 to 9999");
        let occurred_at = text(headers, "occurred-at")?.map(|text| time(text).ok_or_else(wrong)).transpose()?;
        let prefer = Prefer::of(headers);
        let actor = actor(headers)?;
        Ok(Self {
            service,
            subject,
            name: given.map_or(Name::Anew, Name::Key),
            wait: prefer.wait,
            at_once: prefer.at_once,
            accepted: StatusCode::OK,
            occurred_at,
            expected: conditions::of_command(headers)?,
            trace: headers.get("traceparent").and_then(|value| TraceContext::parse(value.to_str().ok()?)),
            actor,
            owner: None,
            of: PhantomData,
        })
    }

    /// Named by something else than `Idempotency-Key`: an id of another sort, good for one type of command.
    #[must_use]
    pub fn named(mut self, sort: &'static str, id: String) -> Self {
        self.name = Name::Of(sort, id);
        self
    }

    /// Whoever sends it owns what is routed by this key, and need not own its aggregate: that decides by who acts.
    #[must_use]
    pub fn by_owner_of(mut self, key: String) -> Self {
        self.owner = Some(key);
        self
    }

    /// Waits so long for the answer, unless its caller says otherwise.
    #[must_use]
    pub fn waiting(mut self, wait: Duration) -> Self {
        self.wait = self.wait.or(Some(wait).filter(|_| !self.at_once));
        self
    }

    /// Answers 201 where it would answer 200.
    #[must_use]
    pub fn created(mut self) -> Self {
        self.accepted = StatusCode::CREATED;
        self
    }

    /// Under an id of its own at each call, for commands whose aggregate knows repeats by itself.
    #[must_use]
    pub fn anew(mut self) -> Self {
        self.name = Name::Anew;
        self
    }

    /// Writes the command, and waits for its answer if the caller does.
    pub async fn write(self, app: &App, Written { kind, body, later }: Written) -> Result<Response, Failure> {
        let (began, aggregate, rules) = (Instant::now(), kind.aggregate.clone(), app.log.rules());
        let key = (rules.routing_key)(&self.subject);
        scope::owned(Some(self.owner.as_deref().unwrap_or(key)))?;
        app.is_somewhere(self.service)?;
        let service = app.operator.services.get(self.service);
        if let Some(why) = service.and_then(|service| service.forbids(&aggregate, key.as_bytes(), self.actor.as_deref())) {
            return Err(Failure::denied(why));
        }
        let name = format!("{}.{}", kind.aggregate, kind.name);
        let partition = app.log.partition_of(&self.subject);
        let (id, unscoped) = self.name.id(self.service, &kind, &self.subject);
        let commands = topic(Stream::Commands(self.service));
        let mut span = app.metrics.spans.command(self.trace, &commands, partition, &name, &id);
        let mut envelope = Envelope::new(&id, format!("/{}/http", self.service), kind, &self.subject);
        (envelope.occurred_at, envelope.trace, envelope.actor) = (self.occurred_at, span.causes(), self.actor);
        (envelope.expected_version, envelope.expected_versions) = (self.expected.version, self.expected.any);
        envelope.correlation.clone_from(&unscoped);
        // Whoever names a command is told at once if the name was another's, even without waiting for its own answer.
        let waiter = (self.wait.is_some() || unscoped.is_some()).then(|| app.commands.replies.wait());
        envelope.reply_to = waiter.as_ref().map(|waiter| waiter.address().to_owned());
        let request = scope::request(&self.subject, envelope.expected_version, envelope.expected_versions.as_deref());
        let Kept { body, prints } = personal::kept(app, self.service, key, &envelope, body, request).await?;
        let mut headers = envelope.headers();
        prints.request.iter().for_each(|request| headers.push(REQUEST, request));
        unscoped.iter().for_each(|unscoped| headers.push(UNSCOPED, unscoped));
        if self.wait.is_none() && waiter.is_some() {
            headers.push(TELL, TELL_DECISION);
        }
        if envelope.actor.is_some() {
            vouch(&app.log.secret(), key.as_bytes(), &mut headers, &body);
        }
        let place = OutcomeAddress { service: self.service, partition, id, prints: unscoped.is_some().then_some(prints), unscoped };
        let message = Message { topic: commands, partition, key: key.as_bytes().to_vec(), headers, value: Some(body) };
        if message.bytes() > rules.record_bytes {
            return Err(Failure::too_large(format!("the command would have {} bytes; a record has at most {}", message.bytes(), rules.record_bytes)));
        }
        app.commands.sender.send(message).await?;
        span.sent();
        super::gate::let_go();
        match (waiter, self.wait) {
            (None, _) => Ok(place.accepted_for_later()),
            (Some(waiter), None) => place.taken(waiter, Instant::now() + DECIDED_WAIT).await,
            (Some(waiter), Some(wait)) => {
                let answer = place.answer(app, waiter, began + wait, &aggregate, later, self.accepted).await;
                span.answered();
                app.metrics.families.command_seconds.with_label_values(&[self.service, &name]).observe(began.elapsed().as_secs_f64());
                answer
            }
        }
    }
}

impl<A: Aggregate> CommandRequest<A> {
    /// Writes the command, and waits for its answer if the caller does.
    pub async fn send<W>(self, app: &App, command: &A::Command) -> Result<Response, Failure>
    where
        A: Codec<W>,
    {
        let (kind, body) = A::encode_command(command);
        self.write(app, Written { kind, body, later: A::answered_later(command) }).await
    }
}
