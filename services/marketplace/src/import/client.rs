//! The importer's way to the marketplace: public routes, each request repeated under its id until it is answered.

use std::time::Duration;

use anyhow::{Context, bail};
use daybook::client::connection::{Command, Connection, Method, Retry};
use domain::Timestamp;
use serde_json::Value;

/// Longest that one request may take.
const REQUEST: Duration = Duration::from_secs(90);
/// Pause before a request is repeated.
const PAUSE: Duration = Duration::from_millis(200);
/// What a command's answer is waited for, in seconds.
const WAIT: u32 = 30;
/// How long a command's end is waited for: an order that cannot end gives up sooner.
const PATIENCE: Duration = Duration::from_secs(300);
/// Rows of a page.
const PAGE: usize = 500;

/// A marketplace.
#[derive(Clone)]
pub struct Marketplace {
    connection: Connection,
    retry: Retry<'static>,
}

/// A command's end.
#[derive(Debug)]
pub enum CommandEnd {
    /// with the answer's body and position
    Accepted(Value, Option<String>),
    /// with the refusal's stable name
    Refused(String),
}

impl Marketplace {
    /// At this address; waited for so long while it cannot be reached.
    pub fn at(url: &str, give_up: Duration) -> Self {
        let retry = Retry { wait: WAIT, patience: Some(PATIENCE), ..Retry::every(PAUSE, give_up) };
        Self { connection: Connection::to([url]).within(REQUEST), retry }
    }

    /// Sends a command and waits for its end, however often the marketplace goes away meanwhile.
    pub async fn command(&self, method: Method, path: &str, id: &str, at: Timestamp, body: &Value) -> anyhow::Result<CommandEnd> {
        let command = Command { method, path, id, occurred_at: Some(at), body };
        let answer = self.connection.command(&command, &self.retry).await?;
        let (status, body) = (answer.status, answer.body());
        match body.get("code") {
            _ if status.is_success() => Ok(CommandEnd::Accepted(body, answer.position)),
            // Whatever is wrong with a command is wrong with its lines, and with no others.
            Some(code) if status.is_client_error() => Ok(CommandEnd::Refused(code.as_str().unwrap_or_default().to_owned())),
            _ => bail!("{} {path}: {status} {body}", command.method),
        }
    }

    /// Reads a route, behind `position` never.
    pub async fn get(&self, path: &str, position: Option<&str>) -> anyhow::Result<Value> {
        self.find(path, position).await?.with_context(|| format!("GET {path}: there is no such thing"))
    }

    /// Reads a route that may have nothing.
    pub async fn find(&self, path: &str, position: Option<&str>) -> anyhow::Result<Option<Value>> {
        self.connection.find(path, position, &self.retry).await
    }

    /// All items of a listing.
    pub async fn all(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let listing = self.connection.list(path, PAGE, &self.retry).await?;
        Ok(listing.with_context(|| format!("GET {path}: there is no such thing"))?.items)
    }
}
