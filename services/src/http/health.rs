//! Health, metrics and the list of routes.

use std::time::Instant;

use axum::extract::{MatchedPath, Query, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use eventstore::clock;
use serde_json::json;

use super::App;
use super::failure::Failure;

/// Health and metrics.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/", get(index))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/version", get(|| async { Json(json!({ "version": env!("CARGO_PKG_VERSION") })) }))
}

#[derive(serde::Deserialize)]
struct Verbose {
    verbose: Option<String>,
}

async fn ready(State(app): State<App>, Query(query): Query<Verbose>) -> Response {
    let checks = app.metrics.checks();
    let all = checks.iter().all(|(_, wrong)| wrong.is_none());
    let lines: String = checks
        .iter()
        .filter(|(_, wrong)| query.verbose.is_some() || wrong.is_some())
        .map(|(check, wrong)| {
            format!("{} {check}{}\n", if wrong.is_none() { "[+]" } else { "[-]" }, wrong.as_ref().map(|why| format!(": {why}")).unwrap_or_default())
        })
        .collect();
    let notes = clock::note(app.log.ahead()).filter(|_| query.verbose.is_some()).map(|note| format!("[i] {note}\n")).unwrap_or_default();
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{lines}{notes}{}\n", if all { "ready" } else { "not ready" })).into_response()
}

async fn metrics(State(app): State<App>) -> Result<String, Failure> {
    app.metrics.text(app.log.as_ref(), app.views.values().cloned()).map_err(Failure::internal) // waits for nobody
}

async fn index() -> Json<serde_json::Value> {
    Json(json!({
        "products": "/products", "stock": "/stock", "customers": "/customers/{id}", "carts": "/carts/{customer}",
        "orders": "/orders", "commands": "/commands/{id}", "dead letters": "/dead-letters", "health": ["/livez", "/readyz?verbose", "/metrics", "/version"],
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
