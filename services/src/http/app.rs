//! The state that every route reaches: the parts of a process, made and kept by others.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use eventstore::Log;
use eventstore::control::Control;
use eventstore::rows::Rows;
use eventstore::service::Service;
use projections::Projection;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::card::Cards;
use super::discarded::Discarded;
use super::elsewhere::Forward;
use super::failure::Failure;
use super::recently::Recently;
use crate::gateway::replies::Replies;
use crate::gateway::sender::Sender;
use crate::prover::Prover;
use crate::telemetry::Metrics;

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
    pub forward: Forward,
    /// each view's: told whenever it has folded something
    pub folded: BTreeMap<String, Arc<Notify>>,
    /// never told: stands for views that are folded elsewhere
    pub untold: Notify,
    /// makes tokens of card numbers
    pub cards: Cards,
    /// what was handed out a moment ago
    pub recently: Recently,
    /// (service, event) -> the service that answers the command behind that event
    pub answered_by: BTreeMap<(&'static str, &'static str), &'static str>,
    /// all services, run here or not
    pub services: Vec<&'static str>,
    /// aggregate -> the service that owns it
    pub owners: BTreeMap<&'static str, &'static str>,
    /// counters, and what readiness goes by
    pub metrics: Arc<Metrics>,
    /// for proofs: folds anew beside the live ones
    pub prover: Prover,
    /// what operators look at
    pub operated: Operated,
    /// dead letters that nothing is done about any more
    pub discarded: Discarded,
    /// when nothing is waited for any more: the process stops
    pub waits_end: watch::Sender<Option<Instant>>,
}

impl Shell {
    /// Completes when this view folds something after the call.
    pub fn folded(&self, view: &str) -> Notified<'_> {
        self.folded.get(view).map_or(&self.untold, Arc::as_ref).notified()
    }

    /// Nothing is waited for past this instant, whatever callers asked for.
    pub fn end_waits(&self, at: Instant) {
        self.waits_end.send_replace(Some(at));
    }

    /// Until when a caller is kept waiting that would wait until `wanted`.
    pub fn deadline(&self, wanted: Instant) -> Instant {
        self.waits_end.borrow().map_or(wanted, |at| wanted.min(at))
    }

    /// What comes of `work`, if that is in time.
    pub async fn in_time<T>(&self, wanted: Instant, work: impl Future<Output = T>) -> Option<T> {
        let mut told = self.waits_end.subscribe();
        tokio::select! {
            done = work => Some(done),
            () = sleep_until(wanted) => None,
            () = async {
                let at = told.wait_for(Option::is_some).await.ok().and_then(|at| *at);
                sleep_until(at.unwrap_or(wanted)).await;
            } => None,
        }
    }
}

/// What is looked at: all services as data, and what this process keeps.
pub struct Operated {
    /// every service, run here or not
    pub services: BTreeMap<&'static str, Arc<Service>>,
    /// the saved heads of those that are run here
    pub heads: BTreeMap<&'static str, Arc<Rows>>,
    /// components, their directories, and whether each holds one for each of its parts
    pub kept: Vec<(&'static str, PathBuf, bool)>,
}

impl Operated {
    /// Of a process that keeps its data there; services are added as they start.
    pub fn at(kept: Vec<(&'static str, PathBuf, bool)>) -> Self {
        Self { services: BTreeMap::new(), heads: BTreeMap::new(), kept }
    }

    /// The service that owns an aggregate type.
    pub fn owner_of(&self, aggregate: &str) -> Result<&Arc<Service>, Failure> {
        self.services.values().find(|service| service.handler(aggregate).is_some()).ok_or_else(|| {
            let names: Vec<&str> = self.services.values().flat_map(|service| service.aggregates.iter().map(|handler| handler.name())).collect();
            Failure::unknown_name(format!("no aggregate '{aggregate}': one of {}", names.join(", ")))
        })
    }
}

/// An id of two numbers from a path, in its one spelling.
pub fn id_of<T: std::str::FromStr<Err = String> + ToString>(text: &str) -> Result<String, Failure> {
    text.parse::<T>().map(|id| id.to_string()).map_err(|why| Failure::bad("/id", why))
}

/// Runs what may block, the log's calls above all, off the async threads.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(Failure::internal)?
}
