//! The HTTP shell: public routes over commands and views. Decides nothing; what it promises it read from the log.

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::routing::MethodRouter;
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;

pub mod access;
pub mod admin;
pub mod app;
pub mod as_of;
pub mod body;
pub mod command;
pub mod conditions;
pub mod discard;
pub mod discarded;
pub mod doors;
pub mod elsewhere;
pub mod extract;
pub mod failure;
pub mod forward;
pub mod gate;
pub mod given;
pub mod guard;
pub mod health;
pub mod json;
pub mod letters;
pub mod limits;
pub mod operate;
pub mod outcome;
pub mod personal;
pub mod prefer;
pub mod read;
pub mod route;
pub mod scope;
pub mod token;
pub mod unread;

use app::App;
use failure::Failure;
use limits::BODY_BYTES_MAX;
use route::{Example, Kind, Routes};

use crate::identity::access::{Access, OPERATORS};

/// The platform's own routes.
pub fn routes(example: Example) -> Routes {
    health::routes(example).merge(admin::routes(example)).merge(operate::routes(example))
}

/// Whom a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// all routes, for everyone who may
    Everyone,
    /// all but operators' routes: those have a listener of their own, and other instances alone reach them here
    Callers,
    /// all of them; what this machine's Prometheus reads asks nobody
    Operators,
}

/// What serves these routes, behind the gate.
pub fn router(app: App, routes: &Routes, gate: Arc<gate::Gate>, whose: Whose) -> Router {
    let takes = Arc::new(unread::Takings::of(routes));
    let guard = |route: &route::Route, serve: MethodRouter<App>| {
        let said = &route.operation;
        let of_the_platform = said.kind != Kind::Command || ["operators", "identity", "erasure"].contains(&said.tag);
        let audited = route.method != Method::GET && of_the_platform;
        let hidden = whose == Whose::Callers && route.access == OPERATORS && of_the_platform;
        let access = if whose == Whose::Operators && route.path == "/metrics" { Access::Anyone } else { route.access };
        let guarded = guard::Guarded { app: Arc::clone(&app), path: route.path, access, secret: said.secret, audited, hidden };
        serve.layer(middleware::from_fn_with_state(Arc::new(guarded), guard::enter))
    };
    routes
        .router(guard)
        .fallback(|| async { Failure::not_found("no such route: GET / lists them") })
        .method_not_allowed_fallback(|| async { Failure::method() })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), forward::elsewhere))
        .layer(middleware::from_fn_with_state(takes, unread::nothing_unread))
        .layer(middleware::from_fn(prefer::applied))
        .layer(middleware::from_fn(token::carried))
        .layer(middleware::from_fn_with_state(gate, gate::enter))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), health::measure))
        .layer(CatchPanicLayer::custom(|_| axum::response::IntoResponse::into_response(Failure::internal("a handler panicked"))))
        .with_state(app)
}
