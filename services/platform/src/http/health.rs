//! Health, metrics, and what became of commands.

use std::time::Instant;

use axum::Json;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use eventstore::clock;
use schemars::JsonSchema;
use schemas::TraceContext;
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
    let checks = app.metrics.standing.checks();
    let all = checks.iter().all(|(_, wrong)| wrong.is_none());
    let shown = checks.iter().filter(|(_, wrong)| query.verbose.is_some() || wrong.is_some());
    let mut lines: String = shown
        .map(|(check, wrong)| {
            format!("{} {check}{}\n", if wrong.is_none() { "[+]" } else { "[-]" }, wrong.as_ref().map(|why| format!(": {why}")).unwrap_or_default())
        })
        .collect();
    lines.extend(app.metrics.standing.notes().into_iter().map(|(part, what)| format!("[!] {part}: {what}\n")));
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
    let (ready, lines): (bool, String) = (app.metrics.standing.ready(), folding(&app).collect());
    let all = ready && lines.is_empty();
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{lines}{}\n", if all { "started" } else { "starting" })).into_response()
}

async fn metrics(State(app): State<App>) -> Result<Response, Failure> {
    let text = app.metrics.text(app.log.as_ref(), app.views.all()).map_err(Failure::internal)?; // waits for nobody
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}

/// The header of a W3C trace context.
const TRACEPARENT: &str = "traceparent";
/// Routes that are asked all the time, by programs.
const QUIET: [&str; 5] = ["/livez", "/startupz", "/readyz", "/metrics", "/version"];

/// Measures every request by its route, never by its path; and begins its trace, or a part of its caller's.
pub async fn measure(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    // Callers may make methods up: those are one label.
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    let method = known.into_iter().find(|known| known == request.method());
    let method = method.as_ref().map_or("other", Method::as_str);
    let given = request.headers().get(TRACEPARENT).and_then(|value| TraceContext::parse(value.to_str().ok()?));
    // What only tells how the process is begins no trace.
    let traced = if QUIET.contains(&route.as_str()) { None } else { app.metrics.spans.request(given) };
    if let Some(header) = traced.and_then(|traced| HeaderValue::try_from(traced.own.to_string()).ok()) {
        request.headers_mut().insert(TRACEPARENT, header);
    }
    let began = Instant::now();
    let mut response = next.run(request).await;
    let status = response.status();
    app.metrics.families.requests.with_label_values(&[method, &route, status.as_str()]).observe(began.elapsed().as_secs_f64());
    if let Some(traced) = traced {
        app.metrics.spans.answered(&traced, method, &route, status.as_u16());
    }
    // For the access log, which stands before all this.
    if let Some(context) = traced.map(|traced| traced.own).or(given) {
        response.extensions_mut().insert(context);
    }
    response
}
