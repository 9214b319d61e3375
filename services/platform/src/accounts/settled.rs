//! Commands that a route needs decided before it goes on, and rows as they stand after that. Answers no request.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use projections::Projection;
use schemas::Codec;
use serde::de::DeserializeOwned;

use crate::http::app::App;
use crate::http::command::CommandRequest;
use crate::http::failure::Failure;
use crate::http::read::view_of;
use crate::http::token::POSITION;

/// How long a decision is waited for.
const WAIT: Duration = Duration::from_secs(30);

/// What of a request's head concerns its commands: under which name they are known again.
fn of_command(headers: &HeaderMap) -> HeaderMap {
    let kept = ["idempotency-key", "traceparent", "daybook-actor"];
    headers.iter().filter(|(name, _)| kept.contains(&name.as_str())).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Sends a command and waits until it, and the process that it begins, has ended. Gives where a reader must stand to see it.
pub async fn decided<A: Codec<W>, W>(app: &App, service: &'static str, id: &str, headers: &HeaderMap, command: &A::Command) -> Result<HeaderMap, Failure> {
    let answer = CommandRequest::<A>::own(service, id.to_owned(), &of_command(headers))?.waiting(WAIT).send(app, command).await?;
    if answer.status() != StatusCode::OK {
        return Err(Failure::unavailable("this is written, and not decided yet: ask again under the same Idempotency-Key"));
    }
    let position = answer.headers().get(POSITION).map(|position| [(axum::http::HeaderName::from_static(POSITION), position.clone())]);
    Ok(position.into_iter().flatten().collect())
}

/// A view, once it stands where `headers` say, for what `subject` says.
pub async fn standing<'a>(app: &'a App, view: &'static str, subject: &str, headers: &HeaderMap) -> Result<&'a Arc<Projection>, Failure> {
    view_of(app, view, Some(app.log.partition_of(subject)), headers).await
}

/// A row as it stands after what `headers` say.
pub async fn row<T: DeserializeOwned>(app: &App, view: &'static str, (subject, key): (&str, &str), headers: &HeaderMap) -> Result<Option<T>, Failure> {
    Ok(standing(app, view, subject, headers).await?.get(key)?)
}
