//! Commands over HTTP: written durably first, answered from what the log says then. A lost answer costs nothing;
//! the same id asks for it again.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::routing_key;
use eventstore::Message;
use eventstore::log::RECORD_BYTES_MAX;
use schemas::envelope::{Kind, time};
use schemas::wire::ReplyV1;
use schemas::{Codec, Envelope, Partition, Stream, partition_of, topic};
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::conditions::{self, Expected};
pub use super::failure::Failure;
use super::forward::Elsewhere;
use super::place::Path;
use super::prefer::Prefer;
use super::{App, blocking, token};
use crate::capabilities::outcomes::{self, OutcomeRow};
use crate::fresh;
use crate::runtime::replies::Waiter;

/// How long the benchmark's routes wait: they answer when the transaction has ended.
const BENCHMARK_WAIT: Duration = Duration::from_secs(30);
/// How often a waiting caller looks at the outcome itself, should its reply have been lost.
const LOOK: Duration = Duration::from_millis(200);

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Failure> {
    headers.get(name).map(|value| value.to_str().map_err(|_| Failure::bad(&format!("/headers/{name}"), "visible ASCII only"))).transpose()
}

/// A command on its way from a request to the log.
pub struct Ask<A> {
    service: &'static str,
    subject: String,
    id: String,
    /// the benchmark's transaction id: with the command's type it is the id
    instance: bool,
    wait: Option<Duration>,
    at_once: bool,
    accepted: StatusCode,
    occurred_at: Option<domain::Timestamp>,
    expected: Expected,
    trace: Option<String>,
    actor: Option<String>,
    of: PhantomData<fn() -> A>,
}

/// What the caller is told of an answered command.
#[derive(Debug, Serialize)]
struct Answered<'a> {
    command: String,
    outcome: &'a str,
    aggregate: &'a str,
    id: &'a str,
    version: Option<u64>,
    /// how the process ended that the command began, where it began one
    ended: Option<&'a str>,
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

impl<A> Ask<A> {
    /// Of one of our own routes: the id is the `Idempotency-Key`, or made here.
    pub fn own(service: &'static str, subject: String, headers: &HeaderMap) -> Result<Self, Failure> {
        let given = text(headers, "idempotency-key")?.map(|key| key.trim().trim_matches('"').to_owned());
        if given.as_ref().is_some_and(|key| key.is_empty() || key.len() > 200 || key.chars().any(char::is_control)) {
            return Err(Failure::bad("/headers/idempotency-key", "1 to 200 visible ASCII characters"));
        }
        let wrong = || Failure::bad("/headers/occurred-at", "a time as RFC 3339 writes it, in UTC within the years 0000 to 9999");
        let occurred_at = text(headers, "occurred-at")?.map(|text| time(text).ok_or_else(wrong)).transpose()?;
        let prefer = Prefer::of(headers);
        Ok(Self {
            service,
            subject,
            id: given.unwrap_or_else(|| fresh::id().to_string()),
            instance: false,
            wait: prefer.wait,
            at_once: prefer.at_once,
            accepted: StatusCode::OK,
            occurred_at,
            expected: conditions::of_command(headers)?,
            trace: text(headers, "traceparent")?.map(str::to_owned),
            actor: text(headers, "daybook-actor")?.map(str::to_owned),
            of: PhantomData,
        })
    }

    /// Of one of the benchmark's routes: the id is its transaction id, and the answer comes at the end.
    pub fn benchmark(service: &'static str, subject: String, headers: &HeaderMap, instance: Option<super::body::Text>) -> Result<Self, Failure> {
        let mut ask = Self::own(service, subject, headers)?;
        ask.wait = ask.wait.or(Some(BENCHMARK_WAIT).filter(|_| !ask.at_once));
        if let Some(super::body::Text(id)) = instance.filter(|given| !given.0.is_empty()) {
            if id.len() > 100 || id.chars().any(char::is_control) {
                return Err(Failure::bad("/instanceId", "at most 100 visible characters"));
            }
            (ask.id, ask.instance) = (id, true);
        }
        Ok(ask)
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
        (self.id, self.instance) = (fresh::id().to_string(), false);
        self
    }

    /// Writes the command, and waits for its answer if the caller does.
    pub async fn write(self, app: &App, Written { kind, body, later }: Written) -> Result<Response, Failure> {
        let (began, aggregate) = (Instant::now(), kind.aggregate.clone());
        let name = format!("{}.{}", kind.aggregate, kind.name);
        let id = if self.instance { format!("{}:{}", kind.name, self.id) } else { self.id };
        let partition = partition_of(routing_key(&self.subject).as_bytes(), app.log.partitions());
        let place = Place { service: self.service, partition, id: id.clone() };
        let mut envelope = Envelope::new(&id, format!("/{}/http", self.service), kind, &self.subject);
        (envelope.occurred_at, envelope.trace, envelope.actor) = (self.occurred_at, self.trace, self.actor);
        (envelope.expected_version, envelope.expected_versions) = (self.expected.version, self.expected.any);
        let waiter = self.wait.map(|wait| (app.replies.wait_for(&id), Instant::now() + wait));
        envelope.reply_to = waiter.is_some().then(|| app.replies.address());
        let message = Message {
            topic: topic(Stream::Commands(self.service)),
            partition,
            key: routing_key(&self.subject).as_bytes().to_vec(),
            headers: envelope.headers(),
            value: Some(body),
        };
        if message.bytes() > RECORD_BYTES_MAX {
            return Err(Failure::too_large(format!("the command would have {} bytes; a record has at most {RECORD_BYTES_MAX}", message.bytes())));
        }
        app.sender.send(message).await?;
        super::gate::let_go();
        match waiter {
            None => Ok(place.accepted_for_later()),
            Some((waiter, deadline)) => {
                let answer = place.answer(app, waiter, deadline, &aggregate, later, self.accepted).await;
                app.metrics.command_seconds.with_label_values(&[self.service, &name]).observe(began.elapsed().as_secs_f64());
                answer
            }
        }
    }
}

impl<A: Codec> Ask<A> {
    /// Writes the command, and waits for its answer if the caller does.
    pub async fn send(self, app: &App, command: &A::Command) -> Result<Response, Failure> {
        let (kind, body) = A::encode_command(command);
        self.write(app, Written { kind, body, later: A::answered_later(command) }).await
    }
}

/// What is known of a command's outcome.
enum Looked {
    /// by the view of this service
    Found(OutcomeRow, &'static str),
    /// nothing yet
    Pending,
    /// the view of this service is folded by other instances
    Elsewhere(&'static str),
}

/// Where a command's outcome is found.
struct Place {
    service: &'static str,
    partition: Partition,
    id: String,
}

impl Place {
    /// The service that may answer instead of its own.
    fn answered_by(&self, app: &App) -> &'static str {
        app.answered_by.iter().find(|((service, _), _)| *service == self.service).map_or(self.service, |(_, by)| *by)
    }

    fn name(&self) -> String {
        format!("{}.{}.{}", self.service, self.partition, self.id)
    }

    /// Where it is asked for: the name, percent-encoded.
    fn path(&self) -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
        let encoded: String = self.name().bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect();
        format!("/commands/{encoded}")
    }

    fn location(&self) -> HeaderValue {
        HeaderValue::from_str(&self.path()).unwrap_or_else(|_| HeaderValue::from_static("/commands"))
    }

    /// What is said of a command without an outcome.
    fn pending(&self) -> Json<serde_json::Value> {
        Json(json!({ "command": self.name(), "outcome": "pending", "location": self.path() }))
    }

    fn accepted_for_later(&self) -> Response {
        (StatusCode::ACCEPTED, [(header::LOCATION, self.location())], self.pending()).into_response()
    }

    async fn answer(self, app: &App, mut waiter: Waiter, deadline: Instant, aggregate: &str, later: bool, status: StatusCode) -> Result<Response, Failure> {
        loop {
            match timeout_at(deadline.min(Instant::now() + LOOK), waiter.reply()).await {
                // A process's first aggregate never says the last word on an accepted command.
                Ok(Some(reply)) if reply.outcome == "later" || (later && reply.aggregate == aggregate && reply.outcome == "accepted") => {}
                Ok(Some(reply)) => return self.told(app, &reply, status).await,
                Ok(None) => return Err(Failure::unavailable("the process is stopping: ask again with the same id")),
                Err(_) => {}
            }
            if let Looked::Found(row, service) = self.outcome(app)? {
                return self.found(&row, service, status);
            }
            if Instant::now() >= deadline {
                return Ok(self.accepted_for_later());
            }
        }
    }

    /// The outcome as its view has it, followed to the service that answers at the process's end.
    fn outcome(&self, app: &App) -> Result<Looked, Failure> {
        let look = |service: &'static str| -> Result<Looked, Failure> {
            let name = outcomes::name(service);
            if app.forward.service_of(&name).is_some() {
                return Ok(Looked::Elsewhere(service));
            }
            let row = app.views.get(&name).map(|view| view.get(&outcomes::key(self.partition, &self.id))).transpose()?.flatten();
            Ok(row.map_or(Looked::Pending, |row| Looked::Found(row, service)))
        };
        let looked = look(self.service)?;
        let Looked::Found(row, _) = &looked else { return Ok(looked) };
        let answered_by =
            row.event.as_deref().and_then(|event| app.answered_by.iter().find(|((service, begins), _)| *service == self.service && *begins == event));
        answered_by.map_or(Ok(looked), |(_, by)| look(by))
    }

    async fn told(&self, app: &App, reply: &ReplyV1, status: StatusCode) -> Result<Response, Failure> {
        let detail = reply.detail.as_deref().unwrap_or_default();
        match reply.outcome.as_str() {
            "accepted" => {}
            "conflict" => return Err(Failure::id_used()),
            "failed" => return Err(Failure::dead(reply.code.as_deref().unwrap_or("failed"), detail)),
            _ => return Err(Failure::refused(reply.code.as_deref().unwrap_or("refused"), detail)),
        }
        let service = app.owners.get(reply.aggregate.as_str()).copied().unwrap_or(self.service);
        // The reply became visible with its events: the topic's end of now lies behind them.
        let (log, events, partition) = (Arc::clone(&app.log), topic(Stream::Events(service)), self.partition);
        let next = match log.end_known(&events, partition) {
            Some(end) => end.0,
            None => blocking(move || Ok(log.end(&events, partition)?.0)).await?,
        };
        Ok(self.accepted(
            status,
            service,
            next,
            &Answered {
                command: self.name(),
                outcome: "accepted",
                aggregate: &reply.aggregate,
                id: &reply.subject,
                version: reply.version,
                ended: reply.ended.as_deref(),
            },
        ))
    }

    fn found(&self, row: &OutcomeRow, service: &'static str, status: StatusCode) -> Result<Response, Failure> {
        if row.outcome != "accepted" {
            return Err(Failure::refused(row.code.as_deref().unwrap_or("refused"), row.detail.clone().unwrap_or_default()));
        }
        let ended = row.event.as_deref().filter(|_| service != self.service);
        Ok(self.accepted(
            status,
            service,
            row.next,
            &Answered { command: self.name(), outcome: "accepted", aggregate: &row.aggregate, id: &row.subject, version: row.version, ended },
        ))
    }

    fn accepted(&self, status: StatusCode, service: &str, next: u64, answer: &Answered<'_>) -> Response {
        let mut response = (status, [(header::LOCATION, self.location())], Json(answer)).into_response();
        let position = token::write(&vec![(topic(Stream::Events(service)), self.partition, eventstore::Offset(next))]);
        let mut set = |name: header::HeaderName, text: String| {
            if let Ok(value) = HeaderValue::from_str(&text) {
                response.headers_mut().insert(name, value);
            }
        };
        set(header::HeaderName::from_static(token::POSITION), position);
        answer.version.into_iter().for_each(|version| set(header::ETAG, format!("\"{version}\"")));
        response
    }
}

/// `GET /commands/{id}`: what became of a command; `pending` as long as nothing is known of it.
pub async fn show(State(app): State<App>, Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Failure> {
    let wrong = || Failure::bad("/id", "a command is named <service>.<partition>.<id>, as the Location header gives it");
    let mut parts = name.splitn(3, '.');
    let (service, partition, id) = (parts.next().unwrap_or_default(), parts.next().ok_or_else(wrong)?, parts.next().ok_or_else(wrong)?);
    let service = app.services.iter().copied().find(|known| *known == service).ok_or_else(wrong)?;
    let place = Place { service, partition: Partition(partition.parse().map_err(|_| wrong())?), id: id.to_owned() };
    let deadline = Instant::now() + Prefer::of(&headers).wait.unwrap_or_default();
    loop {
        let (own, end) = (app.folded(&outcomes::name(service)), app.folded(&outcomes::name(place.answered_by(&app))));
        match place.outcome(&app)? {
            Looked::Found(row, service) => return place.found(&row, service, StatusCode::OK),
            Looked::Elsewhere(service) => return Err(Failure::elsewhere(Elsewhere::of(service).at(Place { service, ..place }.path()))),
            Looked::Pending => {}
        }
        let folded = async { tokio::select!(() = own => {}, () = end => {}) };
        if timeout_at(deadline, folded).await.is_err() {
            return Ok(place.pending().into_response());
        }
    }
}
