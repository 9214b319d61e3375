//! `provision`: makes what services find: all topics, the log's identity, and the keys of personal data. For an administrator, where services may make
//! nothing. What is there already is checked, and stays.

use std::process::ExitCode;
use std::sync::Arc;

use eventstore::control::Control;
use eventstore::memory::Memory;
use schemas::{Stream, topic};

use crate::application::Application;
use crate::budget::{Budget, Sharers};
use crate::config::Config;
use crate::location::Layout;
use crate::misuse::misused;
use crate::patience::Patience;
use crate::runtime::{holds_commands, specs};
use crate::{out, telemetry};

/// Makes them.
pub fn run(config: &Config, application: &Application) -> anyhow::Result<ExitCode> {
    let Some(location) = config.cluster.location(config.partitions, None) else {
        misused!("provision needs --brokers: a log in a directory is made by whoever opens it");
    };
    telemetry::logs(telemetry::filter(&config.log, false)?, config.log_format)?;
    let specs = specs(&application.services());
    let budget = Budget::of(config.memory, Sharers { topics: specs.len(), services: 1, on_kafka: true })?;
    let log = location.open(&Layout::of(&config.data), &Memory::default(), application.rules, &budget, Arc::new(|_| {}))?;
    let patience = Patience::default();
    patience.with(|| log.provision(&specs))?;
    let control = patience.with(|| Control::open(Arc::clone(&log)))?;
    let own = || application.services().into_iter().map(|capability| capability.service.name);
    let used = || Ok(patience.with(|| holds_commands(log.as_ref(), own()))?);
    let sealer = config.sealing.start(&config.data, true)?.open(&config.data, &control, false, used)?;
    // That of claims is the log's own.
    out::line(format!(
        "{} topics of {} partitions are as they must be, {} among them; the log is {}, and {} personal data",
        specs.len() + 1,
        log.partitions(),
        topic(Stream::Claims),
        control.id(),
        if sealer.is_some() { "seals" } else { "does not seal" }
    ));
    Ok(ExitCode::SUCCESS)
}
