//! What operators run against a running marketplace, one small file for each verb. Clients only: every answer comes over
//! HTTP, and nothing here opens a log or a directory.

use anyhow::Context;
use serde_json::Value;

use crate::cli::Target;

pub mod inspect;
pub mod partitions;
pub mod sagas;
pub mod tail;
pub mod topics;
pub mod trim;

/// The marketplace's answer; what it says against the request becomes the error.
async fn answer(target: &Target, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
    let answer = request.send().await.with_context(|| format!("no marketplace at {}: start one with `daybook up`", target.url))?;
    let (status, body) = (answer.status(), answer.text().await?);
    let body: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
    let said = body.get("detail").and_then(Value::as_str).map_or_else(|| format!("{} answered {status}", target.url), str::to_owned);
    anyhow::ensure!(status.is_success(), "{said}");
    Ok(body)
}

/// One part of a path.
fn part(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// An aggregate as people name it: `<aggregate>/<id>`.
#[derive(Clone, Debug)]
pub struct Name {
    aggregate: String,
    id: String,
}

impl std::str::FromStr for Name {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((aggregate, id)) if !aggregate.is_empty() && !id.is_empty() => Ok(Self { aggregate: aggregate.to_owned(), id: id.to_owned() }),
            _ => Err("an aggregate is named <aggregate>/<id>, as order/17-3".to_owned()),
        }
    }
}

impl Name {
    /// As a path.
    fn path(&self) -> String {
        format!("{}/{}", part(&self.aggregate), part(&self.id))
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.aggregate, self.id)
    }
}

/// A field as people read it: nothing for null.
fn text(value: &Value, field: &str) -> String {
    match value.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A field that is a list.
fn items<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A field that is a number.
fn number(value: &Value, field: &str) -> u64 {
    value.get(field).and_then(Value::as_u64).unwrap_or_default()
}
