//! `POST /dead-letters/{service}/{partition}/{offset}/discard`: an operator settles that nothing will be done about a dead
//! letter. Never a letter less, and never a command more.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use eventstore::Message;
use eventstore::dead_letters::masked;
use eventstore::inside::sign;
use schemars::JsonSchema;
use schemas::envelope::{DLT_DETAIL, DLT_DISCARDS};
use schemas::{Headers, Stream, topic};
use serde::Deserialize;
use serde_json::{Value, json};

use super::app::{App, blocking};
use super::body::Body;
use super::discarded::Discard;
use super::extract::Path;
use super::failure::Failure;
use super::letters::letter;

/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 1_000;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// why
    #[schemars(length(min = 1, max = 1000))]
    reason: String,
}

pub(super) async fn discard(
    State(app): State<App>,
    Path((service, partition, offset)): Path<(String, u16, u64)>,
    headers: HeaderMap,
    Body(asked): Body<Asked>,
) -> Result<Json<Value>, Failure> {
    if asked.reason.trim().is_empty() || asked.reason.len() > REASON_BYTES_MAX {
        return Err(Failure::bad("/reason", format!("why, in at most {REASON_BYTES_MAX} bytes: the log keeps it")));
    }
    let actor = headers.get("daybook-actor").and_then(|actor| actor.to_str().ok()).map(str::to_owned);
    let discarded = blocking(move || {
        let (record, mark) = letter(&app, &service, partition, offset)?;
        let id = format!("{service}/{partition}/{offset}");
        if let Some(mark) = mark {
            return Ok(json!({ "id": id, "discarded": mark.shown() })); // as it was settled before
        }
        let letters = topic(Stream::DeadLetters(&service));
        let mut headers = Headers::default();
        headers.push(DLT_DISCARDS, offset.to_string());
        headers.push(DLT_DETAIL, masked(asked.reason.as_bytes()));
        actor.into_iter().for_each(|actor| headers.push("ce_actor", actor));
        sign(&app.log.secret(), &record.key, &mut headers, b"{}");
        app.log.append(vec![Message { topic: letters.clone(), partition: record.partition, key: record.key.clone(), headers, value: Some(b"{}".to_vec()) }])?;
        app.metrics.discarded(&service);
        let marks = app.operator.discarded.marks(app.log.as_ref(), &letters, record.partition)?;
        Ok(json!({ "id": id, "discarded": marks.get(&record.offset).map(Discard::shown) }))
    });
    Ok(Json(discarded.await?))
}
