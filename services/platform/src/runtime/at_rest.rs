//! A data directory that no process has open. Nothing in it changes.

use std::path::Path;
use std::sync::Arc;

use eventstore::control::Control;
use eventstore::memory::Memory;
use eventstore::rows::Rows;

use crate::application::Application;
use crate::capability::Capability;
use crate::location::{Layout, LogLocation};
use crate::prover::Prover;

/// What proves its folds.
pub fn prover(data: &Path, at: LogLocation, application: &Application) -> anyhow::Result<Prover> {
    let (layout, memory) = (Layout::of(data), Memory::default());
    let all = at.is_here();
    let there = if all { layout.log() } else { layout.views() };
    anyhow::ensure!(there.is_dir(), "{} holds no Daybook data: name the directory that `daybook up --data` was given", data.display());
    let control = Control::look(at.look(&layout, &memory, application.rules)?)?;
    let log = Some(control.id()).filter(|id| !id.is_empty());
    let (mut views, mut heads, mut unseen) = (vec![], vec![], vec![]);
    // On Kafka an instance has the folds of the services it ran; with a log of its own it ran all of them.
    let here = |capability: &Capability| {
        let views = capability.views.iter().any(|view| layout.views().join(&view.name).is_dir());
        all || views || layout.heads(capability.service.name).is_dir()
    };
    for capability in application.services().into_iter().filter(here) {
        let service = Arc::new(capability.service);
        // One on Kafka folds the views of accounts whatever it runs, and no others of a service that it does not run.
        for view in capability.views.into_iter().filter(|view| all || layout.views().join(&view.name).is_dir()) {
            match Rows::look(&layout.views().join(&view.name), &view.shape(), log, &memory) {
                Ok(rows) => views.push((view, Arc::new(rows), None)),
                Err(fault) => unseen.push((format!("view {}", view.name), fault.to_string())),
            }
        }
        if !all && !layout.heads(service.name).is_dir() {
            continue;
        }
        match Rows::look(&layout.heads(service.name), &eventstore::heads::shape(&service), log, &memory) {
            Ok(rows) => heads.push((service, Arc::new(rows))),
            Err(fault) => unseen.push((format!("heads {}", service.name), fault.to_string())),
        }
    }
    anyhow::ensure!(!heads.is_empty() || !unseen.is_empty(), "{} holds no folds: there is nothing to prove", data.display());
    let scratch = std::env::temp_dir().join(format!("daybook-verify-{}", std::process::id()));
    Ok(Prover::at_rest(control, scratch, views, heads, unseen))
}
