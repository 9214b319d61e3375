//! What became of a command: told to the caller that waits for it, and to whoever asks later. Believes a reply at its own
//! address, and what the outcomes' views have folded; where neither says anything, the log itself tells what never was.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use eventstore::actor::{AUDITOR, OPERATOR, SELF};
use eventstore::fingerprint::Fingerprints;
use eventstore::{Limits, Offset};
use schemars::JsonSchema;
use schemas::envelope::{DLT_DETAIL, DLT_REASON};
use schemas::wire::ReplyV1;
use schemas::{Partition, Stream, Topic, topic};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use super::app::{App, blocking};
use super::elsewhere::Elsewhere;
use super::extract::{Path, Query};
use super::failure::Failure;
use super::prefer::Prefer;
use super::scope::{self, Caller};
use super::token;
use crate::gateway::outcomes::{self, DEAD, OutcomeRow};
use crate::gateway::replies::Waiter;
use crate::identity::access::NOT_YOURS;
use crate::uri::part;

/// How often a waiting caller looks at the outcome itself, should its reply have been lost.
const LOOK: Duration = Duration::from_millis(200);
/// How long a view may take to fold what was committed before it was asked.
const FOLDED_WAIT: Duration = Duration::from_secs(2);
/// Records among which a command without an outcome is looked for: those not decided yet, and dead letters.
const SOUGHT_MAX: usize = 20_000;
const SOUGHT: Limits = Limits { records: 1_000, bytes: 1024 * 1024 };

/// What the caller is told of an answered command.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Answered<'a> {
    /// its name, under which its outcome is found
    command: String,
    /// `accepted`
    outcome: &'a str,
    /// the type of the aggregate that answers
    aggregate: &'a str,
    /// its id
    id: &'a str,
    /// its version after the command
    version: Option<u64>,
    /// how the process ended that the command began, where it began one
    ended: Option<&'a str>,
}

/// What the caller is told of a command without an outcome.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Pending {
    /// its name
    command: String,
    /// `pending`
    outcome: &'static str,
    /// where its outcome is found
    location: String,
}

/// What is told of a command to whoever asks.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only described")]
pub enum Told {
    /// it is decided
    Answered(Answered<'static>),
    /// it is not
    Pending(Pending),
}

/// What is known of a command's outcome.
enum Looked {
    /// by the view of this service
    Found(OutcomeRow, &'static str),
    /// it was accepted, and the process that it began has not ended
    Begun,
    /// nothing yet
    Pending,
    /// the view of this service is folded by other instances
    Elsewhere(&'static str),
}

/// Where a command's outcome is found.
#[derive(Clone)]
pub struct OutcomeAddress {
    /// whose it is
    pub service: &'static str,
    /// which partition decides it
    pub partition: Partition,
    /// its id
    pub id: String,
    /// What tells it from another one of its id, if its client named it.
    pub prints: Option<Fingerprints>,
    /// its id as it was when ids had no scope
    pub unscoped: Option<String>,
}

impl OutcomeAddress {
    fn name(&self) -> String {
        format!("{}.{}.{}", self.service, self.partition, self.id)
    }

    /// Where it is asked for: the name, percent-encoded, and which of the commands of that name is meant.
    fn path(&self) -> String {
        let which = self.prints.as_ref().map(|prints| {
            let more = prints.header().map(|more| format!(".{more}")).unwrap_or_default();
            format!("?of={}{more}", prints.sent)
        });
        format!("/commands/{}{}", part(&self.name()), which.unwrap_or_default())
    }

    fn location(&self) -> HeaderValue {
        HeaderValue::from_str(&self.path()).unwrap_or_else(|_| HeaderValue::from_static("/commands"))
    }

    /// What is said of a command without an outcome.
    fn pending(&self) -> Json<Pending> {
        Json(Pending { command: self.name(), outcome: "pending", location: self.path() })
    }

    /// The same command as it was decided under another id.
    fn decided_as(self, id: Option<&str>) -> Self {
        id.map(|id| Self { id: id.to_owned(), unscoped: None, ..self.clone() }).unwrap_or(self)
    }

    /// It will be decided, and this is where to look.
    pub fn accepted_for_later(&self) -> Response {
        (StatusCode::ACCEPTED, [(header::LOCATION, self.location())], self.pending()).into_response()
    }

    /// As soon as it is decided, or at the deadline: that it will be told later; unless its name is another command's.
    pub async fn taken(self, mut waiter: Waiter, deadline: Instant) -> Result<Response, Failure> {
        match timeout_at(deadline, waiter.reply()).await {
            Ok(Some(reply)) if reply.outcome == "conflict" => Err(Failure::id_used()),
            Ok(Some(reply)) => Ok(self.decided_as(reply.decided_as.as_deref()).accepted_for_later()),
            Ok(None) | Err(_) => Ok(self.accepted_for_later()),
        }
    }

    /// Its answer; at the deadline, that it will be told later.
    pub async fn answer(self, app: &App, mut waiter: Waiter, deadline: Instant, aggregate: &str, later: bool, status: StatusCode) -> Result<Response, Failure> {
        loop {
            let deadline = app.deadline(deadline);
            match timeout_at(deadline.min(Instant::now() + LOOK), waiter.reply()).await {
                // A process's first aggregate says the last word on an accepted command only where the process ends there.
                Ok(Some(reply))
                    if reply.outcome == "later" || (later && reply.ended.is_none() && reply.aggregate == aggregate && reply.outcome == "accepted") => {}
                Ok(Some(reply)) => return self.decided_as(reply.decided_as.as_deref()).respond(app, &reply, status).await,
                Ok(None) => return Err(Failure::unavailable("the process is stopping: ask again with the same id")),
                Err(_) => {}
            }
            // A dead letter may be that of an earlier attempt: this one's own is told at its address.
            if let (place, Looked::Found(row, service)) = self.outcome(app)?
                && row.outcome != DEAD
            {
                return place.found(app, &row, service, status);
            }
            if Instant::now() >= deadline {
                return Ok(self.accepted_for_later());
            }
        }
    }

    /// The outcome as its view has it, under the id it was decided under.
    fn outcome(&self, app: &App) -> Result<(Self, Looked), Failure> {
        let looked = self.look(app, |_| true)?;
        if let (Looked::Pending, Some(unscoped)) = (&looked, &self.unscoped) {
            let place = self.clone().decided_as(Some(unscoped));
            let before = place.look(app, OutcomeRow::is_unscoped)?;
            if matches!(before, Looked::Found(..)) {
                return Ok((place, before));
            }
        }
        Ok((self.clone(), looked))
    }

    /// What the view has, followed to the service that answers at the process's end.
    fn look(&self, app: &App, wanted: fn(&OutcomeRow) -> bool) -> Result<Looked, Failure> {
        let look = |service: &'static str| -> Result<Looked, Failure> {
            let name = outcomes::name(service);
            if app.views.forward.service_of(&name).is_some() {
                return Ok(Looked::Elsewhere(service));
            }
            let row = app.views.get(&name).map(|view| view.get(&outcomes::key(self.partition, &self.id))).transpose()?.flatten();
            Ok(row.map_or(Looked::Pending, |row| Looked::Found(row, service)))
        };
        let looked = look(self.service)?;
        let Looked::Found(row, _) = &looked else { return Ok(looked) };
        if !wanted(row) {
            return Ok(Looked::Pending);
        }
        if self.prints.as_ref().is_some_and(|prints| row.is_another(prints)) {
            return Err(Failure::id_used());
        }
        let Some(by) = row.event.as_deref().and_then(|event| app.commands.answerer_of(self.service, event)) else { return Ok(looked) };
        Ok(match look(by)? {
            Looked::Pending => Looked::Begun,
            // Where the process ends in the service it began in, the end takes the beginning's place.
            Looked::Found(..) if by == self.service => Looked::Begun,
            ended => ended,
        })
    }

    async fn respond(&self, app: &App, reply: &ReplyV1, status: StatusCode) -> Result<Response, Failure> {
        let detail = reply.detail.as_deref().unwrap_or_default();
        match reply.outcome.as_str() {
            "accepted" => {}
            "conflict" => return Err(Failure::id_used()),
            "failed" => return Err(Failure::dead(reply.code.as_deref().unwrap_or("failed"), detail)),
            _ => return Err(Failure::refused(reply.code.as_deref().unwrap_or("refused"), detail)),
        }
        let service = app.commands.owner(&reply.aggregate).unwrap_or(self.service);
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

    fn found(&self, app: &App, row: &OutcomeRow, service: &'static str, status: StatusCode) -> Result<Response, Failure> {
        if row.outcome == DEAD {
            return Err(Failure::dead(row.code.as_deref().unwrap_or("failed"), row.detail.as_deref().unwrap_or_default()));
        }
        if row.outcome != "accepted" {
            return Err(Failure::refused(row.code.as_deref().unwrap_or("refused"), row.detail.clone().unwrap_or_default()));
        }
        let ended = row.event.as_deref().filter(|_| service != self.service || app.commands.ends_where_it_begins(service));
        Ok(self.accepted(
            status,
            service,
            row.next,
            &Answered { command: self.name(), outcome: "accepted", aggregate: &row.aggregate, id: &row.subject, version: row.version, ended },
        ))
    }

    fn accepted(&self, status: StatusCode, service: &str, next: u64, answer: &Answered<'_>) -> Response {
        let mut response = (status, [(header::LOCATION, self.location())], Json(answer)).into_response();
        let position = token::write(&vec![(topic(Stream::Events(service)), self.partition, Offset(next))]);
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

/// Which of the commands of a name is meant, as its location says.
#[derive(Deserialize, JsonSchema)]
pub struct Which {
    of: Option<String>,
    /// it was accepted elsewhere, and its process has not ended as far as is known there
    begun: Option<bool>,
}

/// `GET /commands/{id}`: what became of a command; `pending` while it is not decided, and nothing if it never was written.
pub async fn show(State(app): State<App>, Path(name): Path<String>, Query(which): Query<Which>, headers: HeaderMap) -> Result<Response, Failure> {
    let wrong = || Failure::bad("/id", "a command is named <service>.<partition>.<id>, as the Location header gives it");
    let mut parts = name.splitn(3, '.');
    let (service, partition, id) = (parts.next().unwrap_or_default(), parts.next().ok_or_else(wrong)?, parts.next().ok_or_else(wrong)?);
    let service = app.operator.names().find(|known| *known == service).ok_or_else(wrong)?;
    let partition = Partition(partition.parse().ok().filter(|number| *number < app.log.partitions()).ok_or_else(wrong)?);
    let (sent, more) = which.of.as_deref().map(|of| of.split_once('.').map_or((of, None), |(sent, more)| (sent, Some(more)))).unzip();
    let place = OutcomeAddress { service, partition, id: id.to_owned(), prints: Fingerprints::read(sent, more.flatten()), unscoped: None };
    let mut deadline = Instant::now() + Prefer::of(&headers).wait.unwrap_or_default();
    let mut trace = None;
    loop {
        let (own, end) = (app.views.folded(&outcomes::name(service)), app.views.folded(&outcomes::name(app.commands.answerer(service))));
        match place.look(&app, |_| true)? {
            Looked::Found(row, service) => {
                whose(&app, &row, service)?;
                return place.found(&app, &row, service, StatusCode::OK);
            }
            Looked::Elsewhere(other) => {
                let path = OutcomeAddress { service: other, ..place.clone() }.path();
                let begun = if other == place.service { String::new() } else { format!("{}begun=true", if path.contains('?') { '&' } else { '?' }) };
                return Err(Failure::elsewhere(Elsewhere::of(other).at(format!("{path}{begun}"))));
            }
            Looked::Begun => trace = Some(Trace::Some),
            Looked::Pending if which.begun == Some(true) => trace = Some(Trace::Some),
            Looked::Pending => {}
        }
        if let Some(Trace::None(folded)) = &trace
            && place.is_folded(&app, *folded)
        {
            return place.never(&app).await;
        }
        let folded = async { tokio::select!(() = own => {}, () = end => {}) };
        if app.in_time(deadline, folded).await.is_some() {
            continue;
        }
        match trace {
            // Nothing of it waits to be decided. Once the view has folded what is decided, nothing of it ever did.
            None => {
                let sought = place.sought(&app).await?;
                if let Trace::None(_) = sought {
                    deadline = Instant::now() + FOLDED_WAIT;
                }
                trace = Some(sought);
            }
            Some(_) => return Ok(place.pending().into_response()),
        }
        if let Some(Trace::Some) = trace {
            return Ok(place.pending().into_response());
        }
    }
}

/// That an outcome is the caller's to know: of an aggregate that is their own, or nobody's. Whoever has not shown who they are
/// learns what became of a sign-up, whose name nobody else has.
fn whose(app: &App, row: &OutcomeRow, service: &str) -> Result<(), Failure> {
    let service = app.operator.services.get(service);
    let owner = service.and_then(|service| service.owners.get(row.aggregate.as_str()));
    let key = (app.log.rules().routing_key)(&row.subject);
    match scope::caller() {
        Caller::Account(actor) if owner.is_some_and(|role| !actor.is(OPERATOR) && !actor.is(AUDITOR) && !actor.owns(role, key)) => {
            Err(Failure::denied(NOT_YOURS))
        }
        Caller::Unknown if owner.is_none_or(|role| *role != SELF) => Err(Failure::unauthenticated()),
        Caller::Account(_) | Caller::Unknown | Caller::Open => Ok(()),
    }
}

/// Whether a command is in the log.
#[derive(Clone, Copy)]
enum Trace {
    /// it waits to be decided, or nobody can say
    Some,
    /// it does not; what is decided lies before here in the service's events
    None(Offset),
}

impl OutcomeAddress {
    fn is_folded(&self, app: &App, until: Offset) -> bool {
        let view = app.views.get(&outcomes::name(self.service));
        view.is_some_and(|view| view.positions().iter().any(|(_, partition, next)| *partition == self.partition && *next >= until))
    }

    /// Looks for it among the commands that are not decided yet.
    async fn sought(&self, app: &App) -> Result<Trace, Failure> {
        let (app, place) = (app.clone(), self.clone());
        blocking(move || {
            let (log, commands) = (app.log.as_ref(), topic(Stream::Commands(place.service)));
            let committed = log.committed(place.service)?;
            let decided = committed.into_iter().find(|(topic, partition, _)| (topic, *partition) == (&commands, place.partition)).map(|(.., next)| next);
            let from = decided.unwrap_or_default().max(log.start(&commands, place.partition)?);
            let there = |record: &eventstore::Record| record.headers.text("ce_id") == Some(&place.id);
            match seek(&app, &commands, place.partition, from, there)? {
                Sought::Nothing => Ok(Trace::None(log.end(&topic(Stream::Events(place.service)), place.partition)?)),
                Sought::Found(_) | Sought::TooMany => Ok(Trace::Some),
            }
        })
        .await
    }

    /// There is no word of it, decided or not. Dead letters of versions before this one left none.
    async fn never(self, app: &App) -> Result<Response, Failure> {
        let (app, name) = (app.clone(), self.name());
        blocking(move || {
            let letters = topic(Stream::DeadLetters(self.service));
            let there = |record: &eventstore::Record| record.headers.text("ce_id") == Some(&self.id);
            match seek(&app, &letters, self.partition, app.log.start(&letters, self.partition)?, there)? {
                Sought::Found(letter) => {
                    let text = |name: &str| letter.headers.text(name).unwrap_or_default();
                    Err(Failure::dead(text(DLT_REASON), text(DLT_DETAIL)))
                }
                Sought::Nothing | Sought::TooMany => Err(Failure::not_found(format!("no command of the name {name} was written to this log"))),
            }
        })
        .await
    }
}

/// What a search came to.
enum Sought {
    Found(Arc<eventstore::Record>),
    Nothing,
    /// there is more than is looked through
    TooMany,
}

fn seek(app: &App, topic: &Topic, partition: Partition, from: Offset, wanted: impl Fn(&eventstore::Record) -> bool) -> Result<Sought, Failure> {
    let (end, mut at, mut seen) = (app.log.end(topic, partition)?, from, 0);
    while at < end {
        let page = app.log.read(topic, partition, at, SOUGHT)?;
        if let Some(record) = page.records.iter().find(|record| wanted(record)) {
            return Ok(Sought::Found(Arc::clone(record)));
        }
        seen += page.records.len();
        if seen > SOUGHT_MAX || page.next <= at {
            return Ok(Sought::TooMany);
        }
        at = page.next;
    }
    Ok(Sought::Nothing)
}
