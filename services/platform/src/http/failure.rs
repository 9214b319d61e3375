//! What went wrong, as RFC 9457 problem details. The one place where errors become answers; causes are logged, not sent.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use eventstore::Fault;
use projections::ReadError;
use serde_json::{Value, json};

use super::elsewhere::Elsewhere;
use crate::gateway::sender::NotSent;

/// An answer that is not the one asked for.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    /// last part of the problem's type URI
    code: String,
    detail: String,
    /// JSON Pointer of the field at fault
    pointer: Option<String>,
    retry_after: Option<u64>,
    /// who has the answer
    elsewhere: Option<Box<Elsewhere>>,
}

impl Failure {
    fn new(status: StatusCode, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { status, code: code.into(), detail: detail.into(), pointer: None, retry_after: None, elsewhere: None }
    }

    /// The request cannot be understood; `pointer` names the field.
    pub fn bad(pointer: &str, detail: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.to_owned()), ..Self::new(StatusCode::BAD_REQUEST, "bad-request", detail) }
    }

    /// Nothing there.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// The route is there, the method is not.
    pub fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this route has other methods: see the Allow header")
    }

    /// A body too large.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    }

    /// A body of another kind than JSON.
    pub fn media_type() -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "a body is JSON: say Content-Type: application/json")
    }

    /// The caller takes too long.
    pub fn slow(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "too-slow", detail)
    }

    /// Meant for somebody else.
    pub fn misdirected(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::MISDIRECTED_REQUEST, "other-host", detail)
    }

    /// From somebody who may not.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "other-origin", detail)
    }

    /// From somebody who has not shown who they are, or not so that it is believed.
    pub fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "sign in, and send the access token as Authorization: Bearer <token>")
    }

    /// From an account that may not.
    pub fn denied(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// Too often; in so many seconds it may be tried again.
    pub fn too_often(detail: impl Into<String>, seconds: u64) -> Self {
        Self { retry_after: Some(seconds.max(1)), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail) }
    }

    /// The field at fault.
    #[must_use]
    pub fn at(self, pointer: &str) -> Self {
        Self { pointer: Some(pointer.to_owned()), ..self }
    }

    /// A name of which there is none of its kind.
    pub fn unknown_name(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown-name", detail)
    }

    /// The same, of a part of the body that stands below this field.
    #[must_use]
    pub fn below(mut self, field: &str) -> Self {
        self.pointer = self.pointer.map(|pointer| format!("/{field}{pointer}"));
        self
    }

    /// Whether this is its code.
    pub fn is(&self, code: &str) -> bool {
        self.code == code
    }

    /// What it is answered with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The status of a problem's code; of a business no by what its name says.
    pub fn status_of(code: &str) -> StatusCode {
        match code {
            "bad-request" => StatusCode::BAD_REQUEST,
            "unauthenticated" | "sign-in-failed" | "session-over" | "reset-over" => StatusCode::UNAUTHORIZED,
            "other-origin" | "forbidden" => StatusCode::FORBIDDEN,
            "too-many-requests" => StatusCode::TOO_MANY_REQUESTS,
            "not-found" | "unknown-name" => StatusCode::NOT_FOUND,
            "method-not-allowed" => StatusCode::METHOD_NOT_ALLOWED,
            "too-slow" => StatusCode::REQUEST_TIMEOUT,
            "version-conflict" => StatusCode::PRECONDITION_FAILED,
            "too-large" => StatusCode::PAYLOAD_TOO_LARGE,
            "not-json" => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "other-host" => StatusCode::MISDIRECTED_REQUEST,
            "id-used" | "malformed" | "unknown-type" | "newer-version" | "misrouted" | "panicked" => StatusCode::UNPROCESSABLE_ENTITY,
            "internal" => StatusCode::INTERNAL_SERVER_ERROR,
            "unavailable" => StatusCode::SERVICE_UNAVAILABLE,
            unknown if unknown.starts_with("unknown-") => StatusCode::NOT_FOUND,
            range if range.ends_with("-out-of-range") => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::CONFLICT,
        }
    }

    /// A business no, under its stable name.
    pub fn refused(code: &str, detail: impl Into<String>) -> Self {
        Self::new(Self::status_of(code), code, detail)
    }

    /// The command id was used for another command.
    pub fn id_used() -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "id-used", "this Idempotency-Key (or instanceId) was used before, for another command")
    }

    /// The command became a dead letter.
    pub fn dead(reason: &str, detail: &str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, reason, format!("{detail}; the command is kept as a dead letter"))
    }

    /// Not now.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail) }
    }

    /// Another instance has the answer.
    pub fn elsewhere(elsewhere: Elsewhere) -> Self {
        Self { elsewhere: Some(Box::new(elsewhere)), ..Self::unavailable("another instance answers this") }
    }

    /// Our fault; the cause is logged.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        let id = crate::fresh::id();
        tracing::error!(%id, %cause, "request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", format!("something broke here; the log has it under {id}"))
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Retry(why) => Self::unavailable(why),
            Fault::Abort(why) | Fault::Fatal(why) => Self::internal(why),
            Fault::Stop(stuck) => Self::internal(stuck),
        }
    }
}

impl From<NotSent> for Failure {
    fn from(why: NotSent) -> Self {
        match why {
            NotSent::Fault(fault) => fault.into(),
            NotSent::Stopping => Self::unavailable("the process is stopping: ask again with the same id"),
            NotSent::Full => Self::unavailable("too many commands are waiting for the log"),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(why: ReadError) -> Self {
        match why {
            ReadError::Fault(fault) => fault.into(),
            ReadError::Rebuilding(_) | ReadError::Behind(_) | ReadError::Stopped { .. } => Self::unavailable(why.to_string()),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut problem = json!({
            "type": format!("https://daybook.dev/problems/{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
            "retryable": self.retry_after.is_some(),
        });
        if let (Some(pointer), Value::Object(fields)) = (&self.pointer, &mut problem) {
            fields.insert("errors".to_owned(), json!([{ "pointer": pointer, "detail": self.detail }]));
        }
        let mut response = (self.status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))], problem.to_string()).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(elsewhere) = self.elsewhere {
            response.extensions_mut().insert(*elsewhere);
        }
        response
    }
}
