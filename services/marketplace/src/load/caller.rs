//! The load's way to the marketplace: each request is repeated under its id, at the next instance, until it is answered
//! or the load is over. Counts why; decides nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::time::Instant;

use super::tally::{Measure, Tally};

/// Longest that one request may take; longer than the marketplace waits for an answer.
const REQUEST: Duration = Duration::from_secs(30);
/// What a command's answer is waited for, in seconds.
const WAIT: &str = "wait=20";
/// First pause before a request is repeated; it doubles.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// A marketplace, at one instance or several.
pub struct Caller {
    client: Client,
    urls: Vec<String>,
    turn: AtomicUsize,
}

/// How a request ended.
#[derive(Debug)]
pub enum Ended {
    /// with the answer's body and position
    Accepted(Value, Option<String>),
    /// with the refusal's stable name
    Refused(String),
    /// with an error under this name: whether anything happened is not known
    Broken(String),
    /// it was not answered before the load was over: whether anything happened is not known
    Unanswered,
}

/// A command: sent as often as it takes, done once.
pub struct Call<'a> {
    /// as what its repeats are counted
    pub what: Measure,
    /// how
    pub method: Method,
    /// where
    pub path: &'a str,
    /// its idempotency key
    pub id: &'a str,
    /// what
    pub body: &'a Value,
}

enum Answer {
    Given(StatusCode, Value, Option<String>),
    Again(&'static str),
}

impl Caller {
    /// At these instances.
    pub fn at(urls: &[String]) -> anyhow::Result<Self> {
        let client = Client::builder().timeout(REQUEST).pool_max_idle_per_host(1_024).build()?;
        Ok(Self { client, urls: urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect(), turn: AtomicUsize::new(0) })
    }

    /// The instances in turn.
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.urls[self.turn.fetch_add(1, Ordering::Relaxed) % self.urls.len()])
    }

    /// Sends a command and waits for its end.
    pub async fn command(&self, tally: &Tally, call: &Call<'_>, deadline: Instant) -> Ended {
        let send = || {
            let request = self.client.request(call.method.clone(), self.url(call.path)).json(call.body);
            request.header("idempotency-key", format!("\"{}\"", call.id)).header("prefer", WAIT)
        };
        let mut ended = self.answered(tally, call.what, &send, deadline).await;
        while let Ended::Accepted(answer, _) = &ended {
            let Some(path) = pending(answer) else { break };
            let look = || self.client.get(self.url(&path)).header("prefer", WAIT);
            tally.repeated(call.what, "pending");
            ended = self.answered(tally, call.what, &look, deadline).await;
        }
        ended
    }

    /// Reads a row, behind `position` never.
    pub async fn read(&self, tally: &Tally, what: Measure, path: &str, position: Option<&str>, deadline: Instant) -> Ended {
        let ask = || position.iter().fold(self.client.get(self.url(path)), |request, position| request.header("daybook-position", *position));
        self.answered(tally, what, &ask, deadline).await
    }

    async fn answered(&self, tally: &Tally, what: Measure, request: &impl Fn() -> RequestBuilder, deadline: Instant) -> Ended {
        let mut pause = PAUSE;
        loop {
            let asked = tokio::time::timeout_at(deadline, once(request()));
            match asked.await {
                Err(_) => return Ended::Unanswered,
                Ok(Answer::Given(status, answer, position)) => return ended(status, answer, position),
                Ok(Answer::Again(why)) => tally.repeated(what, why),
            }
            if Instant::now() + pause >= deadline {
                return Ended::Unanswered;
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }
}

async fn once(request: RequestBuilder) -> Answer {
    let again = |why: &reqwest::Error| Answer::Again(if why.is_timeout() { "time-out" } else { "connection" });
    let answer = match request.send().await {
        Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => return Answer::Again("unavailable"),
        Ok(answer) => answer,
        Err(why) => return again(&why),
    };
    let position = answer.headers().get("daybook-position").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let status = answer.status();
    match answer.text().await {
        Ok(text) => Answer::Given(status, serde_json::from_str(&text).unwrap_or(Value::String(text)), position),
        Err(why) => again(&why),
    }
}

fn ended(status: StatusCode, answer: Value, position: Option<String>) -> Ended {
    let code = answer.get("code").and_then(Value::as_str).unwrap_or_default().to_owned();
    match status {
        status if status.is_success() => Ended::Accepted(answer, position),
        // Ids are ours alone, and every row that is asked for by its id is there: these are no business's answers.
        _ if ["", "not-found", "id-used", "bad-request"].contains(&code.as_str()) => Ended::Broken(format!("{}-{code}", status.as_u16())),
        StatusCode::CONFLICT | StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PRECONDITION_FAILED => Ended::Refused(code),
        status => Ended::Broken(format!("{}-{code}", status.as_u16())),
    }
}

/// Where the outcome of a command is found that has none yet.
fn pending(answer: &Value) -> Option<String> {
    (answer.get("outcome")? == "pending").then(|| answer.get("location")?.as_str().map(str::to_owned))?
}
