//! What operators ask of a running marketplace: one aggregate, sagas that wait, topics and their records, and the two
//! things they may do: end a saga through a command of its own, and trim commands that are decided. Knows no noun of
//! the marketplace.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use eventstore::rows::Rows;
use eventstore::service::Service;
use schemas::{Partition, Topic};

use super::App;
use super::failure::Failure;

mod disk;
mod inspect;
mod records;
mod sagas;
mod stopped;
mod topics;
mod trim;

/// What is looked at: all services as data, and what this process keeps.
pub struct Operated {
    /// every service, run here or not
    pub services: BTreeMap<&'static str, Arc<Service>>,
    /// the saved heads of those that are run here
    pub heads: BTreeMap<&'static str, Arc<Rows>>,
    /// components, their directories, and whether each holds one for each of its parts
    kept: Vec<(&'static str, PathBuf, bool)>,
}

impl Operated {
    /// Of a process that keeps its data there; services are added as they start.
    pub fn at(kept: Vec<(&'static str, PathBuf, bool)>) -> Self {
        Self { services: BTreeMap::new(), heads: BTreeMap::new(), kept }
    }

    /// The service that owns an aggregate type.
    fn owner_of(&self, aggregate: &str) -> Result<&Arc<Service>, Failure> {
        self.services.values().find(|service| service.handler(aggregate).is_some()).ok_or_else(|| {
            let names: Vec<&str> = self.services.values().flat_map(|service| service.aggregates.iter().map(|handler| handler.name())).collect();
            Failure::not_found(format!("no aggregate '{aggregate}': one of {}", names.join(", ")))
        })
    }
}

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/inspect/{aggregate}/{id}", get(inspect::show))
        .route("/sagas", get(sagas::list))
        .route("/sagas/{aggregate}/{id}/end", post(sagas::end))
        .route("/partitions", get(stopped::list))
        .route("/partitions/{topic}/{partition}/{offset}", get(stopped::show))
        .route("/partitions/{topic}/{partition}/{offset}/retry", post(stopped::retry))
        .route("/partitions/{topic}/{partition}/{offset}/skip", post(stopped::skip))
        .route("/topics", get(topics::list))
        .route("/topics/{topic}", get(topics::extents))
        .route("/topics/{topic}/{partition}", get(records::page))
        .route("/trim", post(trim::trim))
}

/// Every partition number of the log.
fn partitions(app: &App) -> impl Iterator<Item = Partition> + use<> {
    (0..app.log.partitions()).map(Partition)
}

/// A topic of this log by its name.
pub(super) fn topic_of(app: &App, name: &str) -> Result<Topic, Failure> {
    let all = topics::all(app);
    all.iter().find(|topic| topic.as_str() == name).cloned().ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(Topic::as_str).collect();
        Failure::not_found(format!("no topic '{name}': one of {}", names.join(", ")))
    })
}

/// A partition of this log.
fn partition_in(app: &App, number: u16) -> Result<Partition, Failure> {
    if number < app.log.partitions() {
        Ok(Partition(number))
    } else {
        Err(Failure::not_found(format!("no partition {number}: they are numbered from 0 to {}", app.log.partitions() - 1)))
    }
}
