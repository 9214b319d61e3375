//! A data directory that no process has open. Nothing in it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventstore::control::Control;
use eventstore::memory::Memory;
use eventstore::rows::Rows;
use eventstore::{Fault, Offset};
use schemas::Partition;

use crate::application::Application;
use crate::capability::Capability;
use crate::location::{Layout, LogLocation};
use crate::prover::{Proven, Prover};

/// What proves its folds.
pub fn prover(data: &Path, at: LogLocation, application: &Application) -> anyhow::Result<Prover> {
    let (layout, memory) = (Layout::of(data), Memory::default());
    let all = at.is_here();
    let there = if all { layout.log() } else { layout.views() };
    anyhow::ensure!(there.is_dir(), "{} holds no Daybook data: name the directory that `daybook up --data` was given", data.display());
    let at_rest = at.look(&layout, &memory, application.rules)?;
    let control = Control::look(Arc::clone(&at_rest))?;
    let log = Some(control.id()).filter(|id| !id.is_empty());
    let (mut views, mut heads, mut unseen) = (vec![], vec![], vec![]);
    // On Kafka an instance has the folds of the services it ran. With a log of its own it ran all that ever did something, and
    // perhaps not those that live in a store.
    // What cannot be read is said below.
    let there = |dir: Result<PathBuf, Fault>| dir.map_or(true, |dir| dir.is_dir());
    let folded = |view: &str| there(layout.view(view));
    let here = |capability: &Capability| -> Result<bool, Fault> {
        let views = capability.views.iter().any(|view| folded(&view.name));
        let mut ends = (0..if all { at_rest.partitions() } else { 0 }).map(|partition| at_rest.end(&capability.service.events(), Partition(partition)));
        Ok(views || there(layout.heads(capability.service.name)) || ends.try_fold(false, |any, end| end.map(|end| any || end > Offset(0)))?)
    };
    for capability in application.services() {
        if !here(&capability)? {
            continue;
        }
        let service = Arc::new(capability.service);
        // One on Kafka folds the views of accounts whatever it runs, and no others of a service that it does not run.
        for view in capability.views.into_iter().filter(|view| all || folded(&view.name)) {
            match Rows::look(&layout.view(&view.name)?, &view.shape(), log, &memory) {
                Ok(rows) => views.push(Proven::AtRest(view, Arc::new(rows))),
                Err(fault) => unseen.push((format!("view {}", view.name), fault.to_string())),
            }
        }
        if !all && !there(layout.heads(service.name)) {
            continue;
        }
        match Rows::look(&layout.heads(service.name)?, &eventstore::heads::shape(&service), log, &memory) {
            Ok(rows) => heads.push((service, Arc::new(rows))),
            Err(fault) => unseen.push((format!("heads {}", service.name), fault.to_string())),
        }
    }
    anyhow::ensure!(!heads.is_empty() || !unseen.is_empty(), "{} holds no folds: there is nothing to prove", data.display());
    let scratch = std::env::temp_dir().join(format!("daybook-verify-{}", std::process::id()));
    Ok(Prover::at_rest(control, scratch, views, heads, unseen))
}
