//! What operators run against a running marketplace, one small file for each verb. Clients only: every answer comes over
//! HTTP, and nothing here opens a log or a directory.

use reqwest::StatusCode;
use serde_json::Value;

use crate::args::Target;
use crate::misuse::Misuse;

pub mod inspect;
pub mod partitions;
pub mod sagas;
pub mod tail;
pub mod topics;
pub mod trim;

/// Why there is no answer that can be used.
enum Trouble {
    /// nobody is there, or cannot serve now: it may pass
    Away(anyhow::Error),
    /// what the marketplace says against it
    Said(anyhow::Error),
}

/// The marketplace's answer; what it says against the request becomes the error.
pub(crate) async fn answer(target: &Target, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
    asked(target, request).await.map_err(|(Trouble::Away(why) | Trouble::Said(why))| why)
}

async fn asked(target: &Target, request: reqwest::RequestBuilder) -> Result<Value, Trouble> {
    let away = |why: reqwest::Error| Trouble::Away(anyhow::Error::new(why).context(format!("no marketplace at {}: start one with `daybook up`", target.url)));
    let answer = request.send().await.map_err(away)?;
    let status = answer.status();
    let body = answer.text().await.map_err(away)?;
    let body: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
    if status.is_success() {
        return Ok(body);
    }
    let said = body.get("detail").and_then(Value::as_str).map_or_else(|| format!("{} answered {status}", target.url), str::to_owned);
    let unknown = body.get("code").is_some_and(|code| code == "unknown-name");
    Err(match status {
        _ if unknown => Trouble::Said(Misuse::new(said).into()),
        StatusCode::BAD_REQUEST => Trouble::Said(Misuse::new(said).into()),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Trouble::Away(anyhow::Error::msg(said)),
        _ => Trouble::Said(anyhow::Error::msg(said)),
    })
}

/// One part of a path.
pub(crate) fn part(text: &str) -> String {
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
pub(crate) fn text(value: &Value, field: &str) -> String {
    match value.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A field that is a list.
pub(crate) fn items<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A field that is a number.
pub(crate) fn number(value: &Value, field: &str) -> u64 {
    value.get(field).and_then(Value::as_u64).unwrap_or_default()
}
