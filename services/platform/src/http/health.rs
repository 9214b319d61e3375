//! Health, metrics, and what became of commands.

use std::time::Instant;

use axum::Json;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use eventstore::clock;
use schemars::JsonSchema;
use serde::Serialize;

use super::app::App;
use super::extract::Query;
use super::failure::Failure;
use super::outcome::{self, Told};
use super::route::{Example, Kind, Operation, Routes};
use crate::identity::access::{Access, OPERATORS};

/// Health and metrics.
pub fn routes(example: Example) -> Routes {
    let started = Operation::new("Says whether every part has come up").text(200, "It has").text(503, "Not yet: how far it is");
    let told = Operation { kind: Kind::Command, ..Operation::new("Tells what became of a command; waits for it where Prefer says so") };
    let told = told.answers::<Told>(200, "What it came to, or that it is not decided yet");
    let told = told.text_part("id", example.command, r"^[a-z-]+\.(0|[1-9][0-9]*)\..+$").fails(&["not-found"]).any_refusal();
    let ready = Operation::new("Says whether requests can be served").text(200, "They can").text(503, "Not now: which checks fail");
    Routes::of("platform", Access::Anyone)
        .get("/livez", async || "ok\n", Operation::new("Says that the process runs").text(200, "It does"))
        .get("/startupz", start_up, started)
        .get("/readyz", ready_now, ready)
        .get("/metrics", metrics, Operation::new("Shows all metrics, as Prometheus reads them").text(200, "The metrics").by(OPERATORS))
        .get("/version", version, Operation::new("Shows the version").answers::<Version>(200, "The version"))
        .get("/commands/{id}", outcome::show, told)
}

/// Which version this is.
#[derive(Serialize, JsonSchema)]
struct Version {
    version: &'static str,
}

async fn version() -> Json<Version> {
    Json(Version { version: env!("CARGO_PKG_VERSION") })
}

#[derive(serde::Deserialize, JsonSchema)]
struct Verbose {
    verbose: Option<String>,
}

/// Ready or not, by the checks; what stands still beside that is named, and takes nothing else out.
async fn ready_now(State(app): State<App>, Query(query): Query<Verbose>) -> Response {
    let checks = app.metrics.checks();
    let all = checks.iter().all(|(_, wrong)| wrong.is_none());
    let shown = checks.iter().filter(|(_, wrong)| query.verbose.is_some() || wrong.is_some());
    let mut lines: String = shown
        .map(|(check, wrong)| {
            format!("{} {check}{}\n", if wrong.is_none() { "[+]" } else { "[-]" }, wrong.as_ref().map(|why| format!(": {why}")).unwrap_or_default())
        })
        .collect();
    lines.extend(app.metrics.notes().into_iter().map(|(part, what)| format!("[!] {part}: {what}\n")));
    if query.verbose.is_some() {
        lines.extend(folding(&app));
        lines.extend(clock::note(app.log.ahead()).map(|note| format!("[i] {note}\n")));
    }
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{lines}{}\n", if all { "ready" } else { "not ready" })).into_response()
}

/// How far the views are that have not caught up since the start.
fn folding(app: &App) -> impl Iterator<Item = String> {
    app.views.all().filter(|view| !view.is_ready()).map(|view| {
        let (done, all) = view.progress();
        format!("[ ] view:{} has folded {done} of {all} offsets\n", view.name())
    })
}

/// Whether every part has come up: heads current, every view caught up once, or told why it is not.
async fn start_up(State(app): State<App>) -> Response {
    let (ready, lines): (bool, String) = (app.metrics.ready(), folding(&app).collect());
    let all = ready && lines.is_empty();
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{lines}{}\n", if all { "started" } else { "starting" })).into_response()
}

async fn metrics(State(app): State<App>) -> Result<String, Failure> {
    app.metrics.text(app.log.as_ref(), app.views.all().cloned()).map_err(Failure::internal) // waits for nobody
}

/// Measures every request by its route, never by its path.
pub async fn measure(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    // Callers may make methods up: those are one label.
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    let method = known.into_iter().find(|known| known == request.method());
    let began = Instant::now();
    let response = next.run(request).await;
    app.metrics
        .requests
        .with_label_values(&[method.as_ref().map_or("other", Method::as_str), &route, response.status().as_str()])
        .observe(began.elapsed().as_secs_f64());
    response
}
