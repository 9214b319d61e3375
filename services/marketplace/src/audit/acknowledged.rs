//! What a client was told is done: the file that a load writes and an audit reads. Says nothing of what the marketplace has.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// A checkout that was answered with its order's end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Checkout {
    /// the caller's own name for it, used once
    pub reference: String,
    /// the order it became
    pub order: String,
    /// how that ended
    pub ended: String,
    /// product -> pieces that were in the cart; none if the caller cannot know
    pub pieces: Option<BTreeMap<String, i64>>,
}

/// A product that only this caller writes to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Writes {
    /// the revisions that answers named: its registration, changes of its price, replacements
    pub revisions: Vec<u64>,
    /// writes that were never answered: each happened once or not at all
    pub in_doubt: u64,
}

/// All that one caller was told.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Acknowledged {
    /// names the caller's run
    pub run: String,
    /// every checkout that was answered
    pub checkouts: Vec<Checkout>,
    /// references of checkouts that were never answered: each happened once or not at all
    pub checkouts_in_doubt: Vec<String>,
    /// product -> what was written to it
    pub products: BTreeMap<String, Writes>,
    /// delivery updates by their transaction's id
    pub deliveries: Vec<String>,
}

impl Acknowledged {
    /// The customers that placed orders.
    pub fn customers(&self) -> impl Iterator<Item = u64> + '_ {
        self.checkouts.iter().filter_map(|checkout| checkout.order.split_once('-')?.0.parse().ok())
    }

    /// Reads the file.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(file).with_context(|| format!("{}: cannot be read", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{}: not a file that `daybook load --acknowledged` wrote", file.display()))
    }

    /// Writes the file, whole or not at all.
    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        let new = file.with_extension("new");
        std::fs::write(&new, serde_json::to_vec_pretty(self)?)
            .and_then(|()| std::fs::rename(&new, file))
            .with_context(|| format!("{}: cannot be written", file.display()))
    }
}
