//! The state that every route reaches: the parts of a process, made and kept by others.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use eventstore::control::Control;
use eventstore::rows::Rows;
use eventstore::sealing::Sealer;
use eventstore::service::Service;
use eventstore::{Fault, Log};
use projections::Projection;
use schemas::Topic;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::discarded::Discarded;
use super::elsewhere::Forward;
use super::failure::Failure;
use crate::gateway::CommandGateway;
use crate::identity::Identity;
use crate::keys::Keys;
use crate::prover::Prover;
use crate::telemetry::Metrics;

/// What every route reaches.
pub type App = Arc<AppState>;

/// The parts of a process that routes use.
pub struct AppState {
    /// the log
    pub log: Arc<dyn Log>,
    /// where commands go, and their answers come from
    pub commands: CommandGateway,
    /// what readers see
    pub views: Views,
    /// what operators look at and settle
    pub operator: Operator,
    /// the installation's secrets
    pub keys: Keys,
    /// seals personal data and opens it, if this log's is sealed
    pub sealer: Option<Sealer>,
    /// what callers are known by
    pub identity: Arc<Identity>,
    /// counters, and what readiness goes by
    pub metrics: Arc<Metrics>,
    /// Services that cannot run here, since the store that they live in is not named, and what would name it.
    pub homeless: BTreeMap<&'static str, &'static str>,
    /// the log is this process's alone
    pub alone: bool,
    /// when nothing is waited for any more: the process stops
    pub waits_end: watch::Sender<Option<Instant>>,
}

impl AppState {
    /// That a service runs somewhere, or may.
    pub fn is_somewhere(&self, service: &str) -> Result<(), Failure> {
        let why = |setting: &&str| Failure::unavailable(format!("{service} does not run: it lives in a store that is not named, start with --{setting}"));
        self.homeless.get(service).filter(|_| self.alone).map_or(Ok(()), |setting| Err(why(setting)))
    }

    /// Whether a service cannot run here, and never ran anywhere: nobody misses it.
    pub fn is_left_out(&self, service: &str) -> Result<bool, Fault> {
        Ok(self.homeless.contains_key(service) && self.log.committed(service)?.is_empty())
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

/// The views that are folded here, and the way to those of other instances.
pub struct Views {
    here: BTreeMap<String, (Arc<Projection>, Arc<Notify>)>,
    /// asks other instances
    pub forward: Forward,
    /// never told: stands for views that are folded elsewhere
    untold: Notify,
}

impl Views {
    /// These, each with what is told whenever it has folded something.
    pub fn new(here: BTreeMap<String, (Arc<Projection>, Arc<Notify>)>, forward: Forward) -> Self {
        Self { here, forward, untold: Notify::new() }
    }

    /// One that is folded here.
    pub fn get(&self, name: &str) -> Option<&Arc<Projection>> {
        self.here.get(name).map(|(view, _)| view)
    }

    /// All that are folded here.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Projection>> {
        self.here.values().map(|(view, _)| view)
    }

    /// Completes when this view folds something after the call.
    pub fn folded(&self, name: &str) -> Notified<'_> {
        self.here.get(name).map_or(&self.untold, |(_, folded)| folded.as_ref()).notified()
    }
}

/// What is looked at and settled: all services as data, what this process keeps, proofs.
pub struct Operator {
    /// every service, run here or not
    pub services: BTreeMap<&'static str, Arc<Service>>,
    /// the saved heads of those that are run here
    pub heads: BTreeMap<&'static str, Arc<Rows>>,
    /// components, their directories, and whether each holds one for each of its parts
    pub directories: Vec<(&'static str, PathBuf, bool)>,
    /// what operators settle
    pub control: Arc<Control>,
    /// folds anew beside the live folds
    pub prover: Prover,
    /// dead letters that nothing is done about any more
    pub discarded: Discarded,
}

/// What is shown in place of what a private service keeps.
pub const PRIVATE: &str = "(not shown: what this service keeps is nobody's to read)";

impl Operator {
    /// Whether a topic is of a service whose records are shown to nobody.
    pub fn is_private(&self, topic: &Topic) -> bool {
        let of = |service: &Service| [service.commands(), service.events(), service.dead_letters()].contains(topic);
        self.services.values().any(|service| service.private && of(service))
    }

    /// Whether this process may read a service's records: those that are nobody's to read it may where it runs the service.
    pub fn may_read(&self, service: &str) -> bool {
        self.heads.contains_key(service) || self.services.get(service).is_none_or(|service| !service.private)
    }

    /// The services' names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.services.keys().copied()
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
