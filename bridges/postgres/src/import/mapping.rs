//! Where the events of a table go: a file of the importer's.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use daybook::misuse::misused;
use serde::Deserialize;

/// The aggregate types of a table, and where each goes.
pub type Mapping = BTreeMap<String, Target>;

/// Where an aggregate type's events go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The route of one's events: `/accounts/{id}/events`. Types with an empty one are left out.
    pub events: String,
    /// What its ids begin with in the table and not here.
    #[serde(default)]
    pub strip: String,
    /// Event types that are called otherwise here.
    #[serde(default)]
    pub types: BTreeMap<String, String>,
}

/// Reads the file.
pub fn read(file: &Path) -> anyhow::Result<Mapping> {
    let about = || format!("mapping {}", file.display());
    let text = std::fs::read_to_string(file).with_context(about)?;
    let mapping: Mapping = match toml::from_str(&text) {
        Ok(mapping) => mapping,
        Err(why) => misused!("{}: {why}\nFor each aggregate_type: [account], events = \"/accounts/{{id}}/events\"", about()),
    };
    for (aggregate_type, Target { events, .. }) in &mapping {
        if !events.is_empty() && (!events.starts_with('/') || events.matches("{id}").count() != 1) {
            misused!("{}: [{aggregate_type}] events = '{events}': a route with {{id}} in it once, or empty to leave the type out", about());
        }
    }
    Ok(mapping)
}

impl Target {
    /// The route of an aggregate's events, and its id here; none if its id does not begin as it should.
    pub fn route<'i>(&self, id: &'i str) -> Option<(String, &'i str)> {
        let own = id.strip_prefix(self.strip.as_str()).filter(|own| !own.is_empty())?;
        Some((self.events.replace("{id}", &daybook::uri::part(own).to_string()), own))
    }

    /// What an event type is called here.
    pub fn type_of<'t>(&'t self, event_type: &'t str) -> &'t str {
        self.types.get(event_type).map_or(event_type, String::as_str)
    }
}
