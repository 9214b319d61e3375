//! The store of a service: which aggregate types live in it, with their views.

use std::collections::BTreeMap;
use std::sync::Arc;

use daybook::Service;
use daybook::eventstore::log::{Fault, Log, Member};
use daybook::eventstore::service::Store;
use daybook_cqrs_es::Hosted;
use sqlx::migrate::Migrator;

use crate::database::Database;
use crate::held::Views;
use crate::listener::Heard;
use crate::member::{All, KeptMember, State};
use crate::settings::Settings;
use crate::views::InTransaction;

/// Keeps a service's events in PostgreSQL; for [`Service::kept_in`]. One service has one, and nobody else writes into the log for it.
pub struct PostgresStore {
    settings: Settings,
    held: All,
    migrations: Vec<Arc<Migrator>>,
}

impl PostgresStore {
    /// There, with nothing in it. It is reached, and its tables are made, when the service first owns a partition.
    pub fn new(settings: Settings) -> Self {
        Self { settings, held: BTreeMap::new(), migrations: vec![] }
    }

    /// Its views' own tables are made by these, after its own: `sqlx::migrate!()`. Their numbers are no others'.
    #[must_use]
    pub fn migrated(mut self, migrations: Migrator) -> Self {
        self.migrations.push(Arc::new(migrations));
        self
    }

    /// Aggregates of this type live here; each event's transaction tells these views.
    #[must_use]
    pub fn holds<A: Hosted>(mut self, views: Vec<Box<dyn InTransaction<A>>>) -> Self {
        self.held.insert(A::NAME, Arc::new(Views(views)));
        self
    }
}

impl Store for PostgresStore {
    fn keeping(self: Arc<Self>, service: &Arc<Service>, log: &Arc<dyn Log>, inner: Box<dyn Member>) -> Result<Box<dyn Member>, Fault> {
        if let Some(elsewhere) = service.aggregates.iter().find(|aggregate| !self.held.contains_key(aggregate.name())) {
            return Err(Fault::Fatal(format!(
                "{} lives in PostgreSQL, and its aggregate {} does not: PostgresStore::holds it",
                service.name,
                elsewhere.name()
            )));
        }
        let heard = Heard::new(&self.settings).map_err(|why| Fault::Fatal(format!("a thread cannot be started: {why}")))?;
        let database = Database::new(&self.settings, &self.migrations)?;
        let (service, log, held) = (Arc::clone(service), Arc::clone(log), self.held.clone());
        Ok(Box::new(KeptMember { service, log, inner, database, held, heard, state: State::default() }))
    }
}
