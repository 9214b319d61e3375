//! The HTTP shell: public routes over commands and views. Decides nothing; what it promises it read from the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use axum::{Router, middleware};
use eventstore::Log;
use eventstore::control::Control;
use projections::Projection;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tower_http::catch_panic::CatchPanicLayer;

use crate::http::command::Failure;
use crate::runtime::replies::Replies;
use crate::runtime::sender::Sender;
use crate::telemetry::Metrics;

pub mod access;
pub mod admin;
pub mod body;
pub mod card;
pub mod command;
pub mod conditions;
pub mod discarded;
pub mod doors;
pub mod failure;
pub mod forward;
pub mod gate;
pub mod given;
pub mod health;
pub mod json;
pub mod operate;
pub mod outcome;
pub mod place;
pub mod prefer;
pub mod read;
pub mod recently;
pub mod scope;
pub mod token;

/// Largest request body. A cart's 2,000 lines fit.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Longest a caller may wait for a command's answer or for a view.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// What every route reaches.
pub type App = Arc<Shell>;

/// The parts of a process that routes use.
pub struct Shell {
    /// the log
    pub log: Arc<dyn Log>,
    /// what operators settle
    pub control: Arc<Control>,
    /// writes commands
    pub sender: Sender,
    /// hears answers
    pub replies: Replies,
    /// the views, by name
    pub views: BTreeMap<String, Arc<Projection>>,
    /// asks other instances
    pub forward: forward::Forward,
    /// each view's: told whenever it has folded something
    pub folded: BTreeMap<String, Arc<Notify>>,
    /// never told: stands for views that are folded elsewhere
    pub untold: Notify,
    /// makes tokens of card numbers
    pub cards: card::Cards,
    /// what was handed out a moment ago
    pub recently: recently::Recently,
    /// (service, event) -> the service that answers the command behind that event
    pub answered_by: BTreeMap<(&'static str, &'static str), &'static str>,
    /// all services, run here or not
    pub services: Vec<&'static str>,
    /// aggregate -> the service that owns it
    pub owners: BTreeMap<&'static str, &'static str>,
    /// counters, and what readiness goes by
    pub metrics: Arc<Metrics>,
    /// for proofs: folds anew beside the live ones
    pub prover: crate::runtime::Prover,
    /// what operators look at
    pub operated: operate::Operated,
    /// dead letters that nothing is done about any more
    pub discarded: discarded::Discarded,
}

impl Shell {
    /// Completes when this view folds something after the call.
    pub fn folded(&self, view: &str) -> Notified<'_> {
        self.folded.get(view).map_or(&self.untold, Arc::as_ref).notified()
    }
}

/// All routes: those of the capabilities, and the shell's own; behind the gate.
pub fn router(app: App, capabilities: Router<App>, gate: Arc<gate::Gate>) -> Router {
    capabilities
        .route("/commands/{id}", get(outcome::show))
        .merge(admin::routes())
        .merge(operate::routes())
        .merge(health::routes())
        .fallback(|| async { Failure::not_found("no such route: GET / lists them") })
        .method_not_allowed_fallback(|| async { Failure::method() })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(scope::known))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), forward::elsewhere))
        .layer(middleware::from_fn(place::nothing_unread))
        .layer(middleware::from_fn(prefer::told))
        .layer(middleware::from_fn(token::carried))
        .layer(middleware::from_fn_with_state(gate, gate::enter))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), health::measure))
        .layer(CatchPanicLayer::custom(|_| axum::response::IntoResponse::into_response(Failure::internal("a handler panicked"))))
        .with_state(app)
}

/// An id of two numbers from a path, in its one spelling.
pub fn id_of<T: std::str::FromStr<Err = String> + ToString>(text: &str) -> Result<String, Failure> {
    text.parse::<T>().map(|id| id.to_string()).map_err(|why| Failure::bad("/id", why))
}

/// Runs what may block, the log's calls above all, off the async threads.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(Failure::internal)?
}
