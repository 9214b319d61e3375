//! What a route does not take is refused: nobody would read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::HttpBody;
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::extract::pairs;
use super::failure::Failure;
use super::route::{Route, Routes};

/// A body that says nothing: `null`, or an object without fields.
const NOTHING_BYTES_MAX: u64 = 4;

/// What routes take, by method and path: whether a query, whether a body.
pub struct Takings(BTreeMap<(String, &'static str), (bool, bool)>);

impl Takings {
    /// As it is declared.
    pub fn of(routes: &Routes) -> Self {
        let of = |route: &Route| ((route.method.to_string(), route.path), (route.operation.query.is_some(), route.operation.body.is_some()));
        Self(routes.iter().map(of).collect())
    }

    /// Of a request: nothing is known of a route that is not there.
    fn taken(&self, request: &Request) -> Option<(bool, bool)> {
        let path = request.extensions().get::<MatchedPath>()?.as_str();
        let method = if *request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
        self.0.iter().find(|((known, route), _)| *known == method.as_str() && *route == path).map(|(_, taken)| *taken)
    }
}

/// Refuses parameters and bodies where a route has none: nobody would read them.
pub async fn nothing_unread(State(takings): State<Arc<Takings>>, request: Request, next: Next) -> Response {
    let Some((query, body)) = takings.taken(&request) else { return next.run(request).await };
    if !query {
        match pairs(request.uri()) {
            Err(failure) => return failure.into_response(),
            Ok(pairs) => {
                if let Some((name, _)) = pairs.first() {
                    return Failure::bad(&format!("/query/{name}"), format!("'{name}' is no parameter of this route: it has none")).into_response();
                }
            }
        }
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !body && !reads && request.body().size_hint().lower() > NOTHING_BYTES_MAX {
        return Failure::bad("", "this route takes no body").into_response();
    }
    next.run(request).await
}
