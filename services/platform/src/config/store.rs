//! Stores among the settings: what a service lives in, if it is said where that is.

use std::fmt;
use std::sync::Arc;

use eventstore::service::Store;

use super::Secret;
use crate::capability::Capability;
use crate::misuse::misused;

/// What is said of a service's store.
#[derive(Clone)]
pub struct StoreSetting {
    /// the service that lives there
    pub service: &'static str,
    /// what names it in the settings file; on the command line with `--` before it
    pub name: &'static str,
    /// itself, if it is named
    pub store: Option<Arc<dyn Store>>,
}

impl fmt::Debug for StoreSetting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} in {}: {}", self.service, self.name, if self.store.is_some() { "(redacted)" } else { "(not named)" })
    }
}

impl StoreSetting {
    /// An address from a flag, or else from the settings file.
    pub fn address(name: &str, flag: Option<Secret>, file: &mut toml::Table) -> anyhow::Result<Option<Secret>> {
        Ok(match (flag, file.remove(name)) {
            (Some(flag), _) => Some(flag),
            (None, None) => None,
            (None, Some(toml::Value::String(text))) => Some(text.into()),
            (None, Some(_)) => misused!("{name} in the settings file must be a text"),
        })
    }

    /// Its service is kept there, if it is among these and the store is named.
    pub fn keep(&self, capabilities: &mut [Capability]) {
        if let (Some(store), Some(capability)) = (&self.store, capabilities.iter_mut().find(|capability| capability.service.name == self.service)) {
            capability.service.store = Some(Arc::clone(store));
        }
    }
}
