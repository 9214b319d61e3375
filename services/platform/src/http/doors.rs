//! What answers from the first moment on: liveness at once, everything else that the process is starting, until its
//! routes are there. Knows no route of theirs.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tower::ServiceExt;

use super::failure::Failure;

/// What is measured before there is anything to measure.
const STARTING: &str = "# HELP daybook_starting The process opens its log and its folds.\n# TYPE daybook_starting gauge\ndaybook_starting 1\n";

/// The routes, once they are there.
#[derive(Clone, Default)]
pub struct Doors(Arc<OnceLock<Router>>);

impl Doors {
    /// All routes answer from now on.
    pub fn open(&self, routes: Router) {
        let _once = self.0.set(routes);
    }

    /// What is served.
    pub fn router(&self) -> Router {
        Router::new().fallback(inside).with_state(self.clone())
    }
}

async fn inside(State(doors): State<Doors>, request: Request) -> Response {
    let plainly = matches!(*request.method(), Method::GET | Method::HEAD) && request.uri().query().is_none();
    match doors.0.get() {
        _ if plainly && request.uri().path() == "/livez" => "ok\n".into_response(), // whatever the rest does, and whoever asks
        Some(routes) => routes.clone().oneshot(request).await.unwrap_or_else(|never| match never {}),
        None if matches!(request.uri().path(), "/readyz" | "/startupz") => {
            (StatusCode::SERVICE_UNAVAILABLE, "[-] the log and the folds are being opened\nnot ready\n").into_response()
        }
        None if request.uri().path() == "/metrics" => STARTING.into_response(),
        None => Failure::unavailable("the process is starting").into_response(),
    }
}
