//! Health, metrics and the list of routes.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use eventstore::clock;
use serde_json::json;

use super::app::App;
use super::failure::Failure;
use super::place::Query;

/// Health and metrics.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/", get(index))
        .route("/startupz", get(started))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/version", get(|| async { Json(json!({ "version": env!("CARGO_PKG_VERSION") })) }))
}

#[derive(serde::Deserialize)]
struct Verbose {
    verbose: Option<String>,
}

/// Ready or not, by the checks; what stands still beside that is named, and takes nothing else out.
async fn ready(State(app): State<App>, Query(query): Query<Verbose>) -> Response {
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
async fn started(State(app): State<App>) -> Response {
    let (ready, lines): (bool, String) = (app.metrics.ready(), folding(&app).collect());
    let all = ready && lines.is_empty();
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{lines}{}\n", if all { "started" } else { "starting" })).into_response()
}

async fn metrics(State(app): State<App>) -> Result<String, Failure> {
    app.metrics.text(app.log.as_ref(), app.views.all().cloned()).map_err(Failure::internal) // waits for nobody
}

async fn index() -> Json<serde_json::Value> {
    Json(json!({
        "products": "/products", "stock": "/stock", "customers": "/customers/{id}", "carts": "/carts/{customer}",
        "orders": "/orders", "commands": "/commands/{id}", "dead letters": "/dead-letters", "health": ["/livez", "/startupz", "/readyz?verbose", "/metrics", "/version"],
    }))
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
