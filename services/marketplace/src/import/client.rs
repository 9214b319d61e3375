//! The importer's way to the marketplace: public routes, each request repeated under its id until it is answered.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use domain::Timestamp;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::time::Instant;

/// Pause before a request is repeated.
const PAUSE: Duration = Duration::from_millis(200);
/// What a command's answer is waited for, in seconds.
const WAIT: &str = "wait=30";
/// How long a command's end is waited for: an order that cannot end gives up sooner.
const PATIENCE: Duration = Duration::from_secs(300);
/// Rows of a page.
const PAGE: usize = 500;

/// A marketplace.
#[derive(Clone)]
pub struct Marketplace {
    client: Client,
    url: String,
    /// how long it is waited for while it cannot be reached
    give_up: Duration,
}

/// A command's end.
#[derive(Debug)]
pub enum Ended {
    /// with the answer's body and position
    Accepted(Value, Option<String>),
    /// with the refusal's stable name
    Refused(String),
}

impl Marketplace {
    /// At this address; waited for so long while it cannot be reached.
    pub fn at(url: &str, give_up: Duration) -> anyhow::Result<Self> {
        let client = Client::builder().timeout(Duration::from_secs(90)).pool_max_idle_per_host(64).build()?;
        Ok(Self { client, url: url.trim_end_matches('/').to_owned(), give_up })
    }

    /// Sends a command and waits for its end, however often the marketplace goes away meanwhile.
    pub async fn command(&self, method: Method, path: &str, id: &str, at: Timestamp, body: &Value) -> anyhow::Result<Ended> {
        let request = || {
            self.client
                .request(method.clone(), format!("{}{path}", self.url))
                .header("idempotency-key", format!("\"{id}\""))
                .header("prefer", WAIT)
                .header("occurred-at", at.to_string())
                .json(body)
        };
        let deadline = Instant::now() + PATIENCE;
        let (mut status, mut answer, mut position) = self.answered(request).await?;
        while status == StatusCode::ACCEPTED || answer.get("outcome").and_then(Value::as_str) == Some("pending") {
            ensure!(Instant::now() < deadline, "{method} {path} has not been answered in {} s", PATIENCE.as_secs());
            let path = answer.get("location").and_then(Value::as_str).context("a pending command without its location")?.to_owned();
            (status, answer, position) = self.answered(|| self.client.get(format!("{}{path}", self.url)).header("prefer", WAIT)).await?;
        }
        let text = |field: &str| answer.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        match status {
            status if status.is_success() => Ok(Ended::Accepted(answer, position)),
            // Whatever is wrong with a command is wrong with its lines, and with no others.
            status if status.is_client_error() && answer.get("code").is_some() => Ok(Ended::Refused(text("code"))),
            status => bail!("{method} {path}: {status} {answer}"),
        }
    }

    /// Reads a route, behind `position` never.
    pub async fn get(&self, path: &str, position: Option<&str>) -> anyhow::Result<Value> {
        self.find(path, position).await?.with_context(|| format!("GET {path}: there is no such thing"))
    }

    /// Reads a route that may have nothing.
    pub async fn find(&self, path: &str, position: Option<&str>) -> anyhow::Result<Option<Value>> {
        let (status, answer, _) = self
            .answered(|| {
                position.iter().fold(self.client.get(format!("{}{path}", self.url)), |request, position| request.header("daybook-position", *position))
            })
            .await?;
        match status {
            status if status.is_success() => Ok(Some(answer)),
            StatusCode::NOT_FOUND => Ok(None),
            status => bail!("GET {path}: {status} {answer}"),
        }
    }

    /// All items of a listing.
    pub async fn all(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let (mut items, mut cursor) = (vec![], String::new());
        loop {
            let more = if path.contains('?') { '&' } else { '?' };
            let mut page = self.get(&format!("{path}{more}limit={PAGE}{cursor}"), None).await?;
            match page.get_mut("items").map(Value::take) {
                Some(Value::Array(more)) => items.extend(more),
                _ => bail!("GET {path}: a listing without items"),
            }
            match page.get("next").and_then(Value::as_str) {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(items),
            }
        }
    }

    /// The answer to a request, which is repeated while the marketplace is away or busy.
    async fn answered(&self, request: impl Fn() -> RequestBuilder) -> anyhow::Result<(StatusCode, Value, Option<String>)> {
        let deadline = Instant::now() + self.give_up;
        loop {
            let why = match self.once(request()).await {
                Ok((status, ..)) if status == StatusCode::SERVICE_UNAVAILABLE => anyhow::anyhow!("the marketplace is busy or starting"),
                Ok(answer) => return Ok(answer),
                Err(why) => why,
            };
            if Instant::now() > deadline {
                return Err(why.context(format!("no marketplace at {} for {} s: start one with `daybook up`", self.url, self.give_up.as_secs())));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn once(&self, request: RequestBuilder) -> anyhow::Result<(StatusCode, Value, Option<String>)> {
        let answer = request.send().await?;
        let position = answer.headers().get("daybook-position").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (status, text) = (answer.status(), answer.text().await?);
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text)), position))
    }
}
