//! The load's way to the marketplace: each request is repeated under its id, at the next instance, until it is answered
//! or the load is over. Counts why; decides nothing.

use std::time::Duration;

use daybook::client::connection::{Command, Connection, Response, Retry};
use serde_json::Value;
use tokio::time::Instant;

use super::tally::{Measure, Tally};

/// Longest that one request may take; longer than the marketplace waits for an answer.
const REQUEST: Duration = Duration::from_secs(30);
/// Until whoever calls ends it.
const RETRY: Retry<'static> =
    Retry { pause: Duration::from_millis(20), pause_max: Duration::from_millis(500), give_up: None, wait: 20, patience: None, on_repeat: &|_| {} };

/// A marketplace, at one instance or several.
pub struct Caller(Connection);

/// How a request ended.
#[derive(Debug)]
pub enum CommandEnd {
    /// with the answer's body and position
    Accepted(Value, Option<String>),
    /// with the refusal's stable name
    Refused(String),
    /// with an error under this name: whether anything happened is not known
    Broken(String),
    /// it was not answered before the load was over: whether anything happened is not known
    Unanswered,
}

impl Caller {
    /// At these instances, in turn.
    pub fn at(urls: &[String]) -> Self {
        Self(Connection::to(urls).within(REQUEST).in_turn())
    }

    /// Sends a command and waits for its end.
    pub async fn command(&self, tally: &Tally, what: Measure, command: &Command<'_>, deadline: Instant) -> CommandEnd {
        let retry = Retry { on_repeat: &|why| tally.repeated(what, why), ..RETRY };
        ended(self.0.command(command, &retry), deadline).await
    }

    /// Reads a row, behind `position` never.
    pub async fn read(&self, tally: &Tally, what: Measure, path: &str, position: Option<&str>, deadline: Instant) -> CommandEnd {
        let retry = Retry { on_repeat: &|why| tally.repeated(what, why), ..RETRY };
        ended(self.0.answered(|| self.0.get_at(path, position), &retry), deadline).await
    }
}

async fn ended(answered: impl Future<Output = anyhow::Result<Response>>, deadline: Instant) -> CommandEnd {
    let Ok(Ok(answer)) = tokio::time::timeout_at(deadline, answered).await else { return CommandEnd::Unanswered };
    let body = answer.body();
    let code = body.get("code").and_then(Value::as_str).unwrap_or_default().to_owned();
    match answer.status.as_u16() {
        200..=299 => CommandEnd::Accepted(body, answer.position),
        // Ids are ours alone, and every row that is asked for by its id is there: these are no business's answers.
        status if ["", "not-found", "id-used", "bad-request"].contains(&code.as_str()) => CommandEnd::Broken(format!("{status}-{code}")),
        404 | 409 | 412 | 422 => CommandEnd::Refused(code),
        status => CommandEnd::Broken(format!("{status}-{code}")),
    }
}
