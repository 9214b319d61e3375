//! The access log: a line for every request that was answered, whatever answered it. Off unless it is asked for; never
//! more of a request than its line.

use std::net::SocketAddr;
use std::time::Instant;

use axum::body::HttpBody;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::Response;
use schemas::TraceContext;

use crate::telemetry::ACCESS;

/// Longest path that is logged, which is ASCII.
const PATH_BYTES_MAX: usize = 500;

/// Logs a request once it is answered.
pub async fn log(request: Request, next: Next) -> Response {
    if !tracing::enabled!(target: ACCESS, tracing::Level::INFO) {
        return next.run(request).await;
    }
    let (began, method) = (Instant::now(), request.method().to_string());
    let mut path = request.uri().path_and_query().map_or_else(|| request.uri().to_string(), ToString::to_string);
    if path.len() > PATH_BYTES_MAX {
        path = path.chars().take(PATH_BYTES_MAX).collect();
    }
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(from)| from.to_string());
    let response = next.run(request).await;
    let (status, bytes, ms) = (response.status().as_u16(), response.body().size_hint().exact(), began.elapsed().as_secs_f64() * 1_000.0);
    let trace_id = response.extensions().get::<TraceContext>().map(|context| format!("{:032x}", context.trace));
    tracing::info!(target: ACCESS, from, method, path, status, bytes, ms, trace_id, "request");
    response
}
