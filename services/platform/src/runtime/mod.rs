//! A process: the log, and a thread for each worker, router and view of its services. Starts them, watches them, stops
//! them; decides nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use eventstore::control::Control;
use eventstore::log::{Rules, TopicSpec};
use eventstore::memory::Memory;
use eventstore::rows::Rows;
use eventstore::sealing::Sealer;
use eventstore::service::{Service, inputs};
use eventstore::{Fault, Log, Offset};
use projections::{Projection, View};
use schemas::{Partition, Stream, topic};
use tokio::sync::Notify;

use crate::accounts::{
    self,
    mailer::{FileSink, Mailer, Outgoing},
};
use crate::application::Application;
use crate::budget::{Budget, Sharers};
use crate::capability::{Capability, shapes};
use crate::erasure::{self, eraser::Eraser};
use crate::gateway::CommandGateway;
use crate::gateway::replies::Replies;
use crate::gateway::sender::Sender;
use crate::http::app::{App, AppState, Operator, Views};
use crate::http::discarded::Discarded;
use crate::http::elsewhere::Forward;
use crate::http::route::Routes;
use crate::identity::limits::Limits as Rates;
use crate::identity::{IDENTITY_KEY, Identity, Role, SIGNING_KEYS};
use crate::keys::{KeyOrigin, KeySpec, Keys};
use crate::location::{Layout, LogLocation, Synced};
use crate::patience::Patience;
use crate::prover::Prover;
use crate::sealing::SealingStart;
use crate::telemetry::{Folder, Metrics, Spans};
use crate::tls::Tls;

pub mod at_rest;
mod erased;
mod identity;
mod lost;
mod sampler;
mod threads;
mod trouble;

use sampler::Sampler;
pub use threads::Signals;
use threads::Threads;

/// Replies are kept this long.
const REPLIES_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// A running process.
pub struct Platform {
    /// what routes use
    pub app: App,
    signals: Signals,
    threads: Vec<JoinHandle<()>>,
}

/// What a process is started with.
pub struct Start {
    /// where everything is kept
    pub data: PathBuf,
    /// where the log is
    pub log: LogLocation,
    /// what holds for all its records
    pub rules: Rules,
    /// the services that run here, if not all of them
    pub runs: Option<Vec<String>>,
    /// services that cannot run here since the store that they live in is not named, and what would name it
    pub homeless: Vec<(&'static str, &'static str)>,
    /// where the application's keys come from
    pub keys: Vec<(KeySpec, KeyOrigin)>,
    /// every service of the application, and those of accounts
    pub capabilities: Vec<Capability>,
    /// how personal data is kept
    pub sealing: SealingStart,
    /// what callers are known by
    pub identity: IdentityStart,
    /// bytes of memory that the process stays within
    pub memory: usize,
    /// the program's version, as `--version` says it
    pub version: &'static str,
    /// where spans of traces go
    pub spans: Spans,
}

/// What a process knows its callers by.
pub struct IdentityStart {
    /// the application's name
    pub application: &'static str,
    /// its roles
    pub roles: &'static [Role],
    /// whether routes ask who calls
    pub required: bool,
    /// callers' addresses are those that a proxy tells
    pub behind_proxy: bool,
    /// the keys of access tokens, if they are not kept in the data directory
    pub signing_keys: Option<PathBuf>,
    /// the installation's key
    pub key: KeyOrigin,
    /// how often a caller may ask
    pub limits: Rates,
    /// what the listener speaks, if it is TLS: its files are looked at while it serves
    pub tls: Option<Arc<Tls>>,
    /// authorities of other instances' certificates
    pub tls_ca: Option<PathBuf>,
}

impl IdentityStart {
    /// Of an application, where nobody is asked who calls.
    pub fn of(application: &Application) -> Self {
        let (application, roles) = (application.name, application.roles);
        Self {
            application,
            roles,
            required: false,
            behind_proxy: false,
            signing_keys: None,
            key: KeyOrigin::Kept,
            limits: Rates::new(0, 0),
            tls: None,
            tls_ca: None,
        }
    }

    fn open(self, data: &Path, log: &dyn Log, patience: &Patience) -> anyhow::Result<Identity> {
        let used = || patience.with(|| holds_commands(log, [accounts::IDENTITY, accounts::SECRETS]));
        let key = self.key.key(IDENTITY_KEY, data, used)?;
        let signing_keys = self.signing_keys.unwrap_or_else(|| data.join(SIGNING_KEYS));
        let mut identity = Identity::open(self.application, self.roles, &signing_keys, key, self.limits)?;
        (identity.required, identity.behind_proxy, identity.tls) = (self.required, self.behind_proxy, self.tls);
        Ok(identity)
    }
}

impl Start {
    /// How the memory is divided.
    pub fn budget(&self) -> anyhow::Result<Budget> {
        let services = self.capabilities.iter().filter(|capability| self.runs(capability.service.name)).count();
        Budget::of(self.memory, Sharers { topics: specs(&self.capabilities).len(), services, on_kafka: !self.log.is_here() })
    }

    fn runs(&self, service: &str) -> bool {
        self.runs.as_ref().is_none_or(|runs| runs.iter().any(|run| run == service))
    }
}

/// What is opened before a part is started: the log, and what all parts share.
struct Opened {
    layout: Layout,
    memory: Memory,
    log: Arc<dyn Log>,
    keys: Keys,
    control: Arc<Control>,
    sealer: Option<Sealer>,
    specs: Vec<TopicSpec>,
}

impl Opened {
    fn open(start: &Start, budget: &Budget, synced: Synced, patience: &Patience) -> anyhow::Result<Self> {
        let (data, layout) = (&start.data, Layout::of(&start.data));
        eventstore::directory::make(data).map_err(|why| anyhow::anyhow!("data directory {}: {why}", data.display()))?;
        // Before a log is there: from then on a directory without its keys has lost them. One on Kafka was there before.
        let (used, here) = (layout.used(), start.log.is_here());
        let keys_of = |log: Option<&dyn Log>| -> anyhow::Result<Keys> {
            let own = || start.capabilities.iter().map(|capability| capability.service.name);
            let used = || Ok(used || log.map(|log| patience.with(|| holds_commands(log, own()))).transpose()?.unwrap_or(false));
            let keys: anyhow::Result<Vec<_>> = start.keys.iter().map(|(spec, origin)| Ok((spec.name, origin.key(*spec, data, used)?))).collect();
            Ok(Keys::new(keys?))
        };
        let known = here.then(|| keys_of(None)).transpose()?;
        let memory = Memory::new(budget.databases, budget.write_buffers).newest(budget.newest_records).files(crate::http::gate::files::of_a_database());
        let (log, specs) = (start.log.open(&layout, &memory, start.rules, budget, synced)?, specs(&start.capabilities));
        patience.with(|| log.provision(&specs))?;
        let keys = known.map_or_else(|| keys_of(Some(log.as_ref())), Ok)?;
        let control = patience.with(|| Control::open(Arc::clone(&log)))?;
        if start.log.accepts_loss() {
            lost::accept(&layout, &control, &start.capabilities, &memory)?;
        }
        let own = || start.capabilities.iter().map(|capability| capability.service.name);
        let sealer = start.sealing.open(data, &control, start.log.accepts_loss(), || Ok(patience.with(|| holds_commands(log.as_ref(), own()))?))?;
        Ok(Self { layout, memory, log, keys, control, sealer, specs })
    }
}

/// What the services of a process come to: a part of each of what routes use.
#[derive(Default)]
struct Parts {
    routes: Routes,
    services: BTreeMap<&'static str, Arc<Service>>,
    answered_by: BTreeMap<(&'static str, &'static str), &'static str>,
    owners: BTreeMap<&'static str, &'static str>,
    /// views that are folded by other instances, and whose they are
    elsewhere: BTreeMap<String, &'static str>,
    views: BTreeMap<String, (Arc<Projection>, Arc<Notify>)>,
    heads: BTreeMap<&'static str, Arc<Rows>>,
}

impl Parts {
    /// Takes in a service, and starts its parts if it `runs` here.
    fn add(&mut self, capability: Capability, runs: bool, opened: &Opened, threads: &mut Threads, patience: &Patience) -> anyhow::Result<()> {
        let Opened { layout, memory, log, control, sealer, .. } = opened;
        let service = Arc::new(capability.service);
        self.services.insert(service.name, Arc::clone(&service));
        self.owners.extend(service.aggregates.iter().map(|aggregate| (aggregate.name(), service.name)));
        self.routes = std::mem::take(&mut self.routes).merge(capability.routes);
        self.answered_by.extend(capability.answered_by.iter().map(|(event, by)| ((service.name, *event), *by)));
        let (everywhere, elsewhere): (Vec<_>, Vec<_>) =
            capability.views.into_iter().partition(|view| runs || capability.everywhere.contains(&view.name.as_str()));
        self.elsewhere.extend(elsewhere.iter().map(|view| (view.name.clone(), service.name)));
        self.views(everywhere, opened, threads, patience)?;
        if !runs {
            return Ok(());
        }
        threads.metrics.born(&service);
        if service.store.is_some() {
            threads.metrics.standing.apart(service.name);
        }
        let shape = eventstore::heads::shape(&service);
        // What heads must pass over they drop by themselves, partition by partition.
        let rows = Arc::new(Rows::open_of(&layout.heads_of(service.name, &shape, memory)?, &shape, control.id(), &[], memory)?);
        threads.worker(&service, log, &rows, sealer.as_ref())?;
        threads.router(&service, log)?;
        self.heads.insert(service.name, rows);
        Ok(())
    }

    /// Starts views.
    fn views(&mut self, views: Vec<Arc<View>>, opened: &Opened, threads: &mut Threads, patience: &Patience) -> anyhow::Result<()> {
        let Opened { layout, memory, control, .. } = opened;
        for view in views {
            let folded = Arc::new(Notify::new());
            let open = || {
                let watcher = Folder::of(&view.name, &view.topic, &threads.metrics, &folded);
                Projection::open(Arc::clone(&view), control, &layout.views(), memory, Box::new(watcher))
            };
            let projection = Arc::new(patience.with(open)?);
            threads.view(&projection)?;
            let name = projection.name().to_owned();
            anyhow::ensure!(self.views.insert(name, (projection, folded)).is_none(), "two views have the same name");
        }
        Ok(())
    }
}

impl Platform {
    /// Opens the log and starts every part of the services that run here. Ready when `Metrics::standing` says so.
    pub fn start(mut start: Start, signals: &Signals) -> anyhow::Result<(Self, Routes)> {
        let patience = Patience::default();
        let here = start.capabilities.iter().map(|capability| capability.service.name).filter(|name| start.runs(name)).collect();
        let metrics = Arc::new(Metrics::new(start.version, here, shapes(&start.capabilities), std::mem::take(&mut start.spans))?);
        let budget = start.budget()?;
        tracing::info!("memory of {}", budget.said());
        for (part, bytes) in budget.parts() {
            metrics.families.sampled.budget.with_label_values(&[part]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        let of_log = Arc::clone(&metrics);
        let alone = start.log.is_here();
        let opened = Opened::open(&start, &budget, Arc::new(move |took| of_log.synced(took)), &patience)?;
        metrics.answered();
        let mut threads = Threads::new(signals, &metrics, &opened.control, budget.heads);
        threads.orders()?;
        threads.review(&opened.log, opened.specs.clone())?;
        let mut parts = Parts::default();
        for capability in std::mem::take(&mut start.capabilities) {
            let runs = start.runs(capability.service.name);
            parts.add(capability, runs, &opened, &mut threads, &patience)?;
        }
        let between = match (&start.identity.tls, &start.identity.tls_ca) {
            (Some(tls), Some(ca)) => tls.client(ca)?,
            (None, Some(ca)) => crate::tls::client(None, ca)?,
            (_, None) => crate::tls::plain_client()?,
        };
        let identity = Arc::new(start.identity.open(&start.data, opened.log.as_ref(), &patience)?);
        let Opened { layout, memory, log, keys, control, sealer, .. } = opened;
        let sender = Sender::start(Arc::clone(&log), &mut threads.all)?;
        let replies = Replies::start(Arc::clone(&log), &patience, Arc::clone(&signals.stop), &mut threads.all)?;
        let heads = parts.heads.iter().filter_map(|(name, rows)| Some((Arc::clone(parts.services.get(name)?), Arc::clone(rows)))).collect();
        let prover = Prover::new(Arc::clone(&control), layout.scratch(), layout.proven(), parts.views.values().map(|(view, _)| view), heads);
        let app = Arc::new(AppState {
            log,
            commands: CommandGateway { sender, replies, answered_by: parts.answered_by, owners: parts.owners },
            views: Views::new(parts.views, Forward::new(parts.elsewhere, between)?),
            operator: Operator {
                services: parts.services,
                heads: parts.heads,
                directories: layout.directories(),
                control,
                prover,
                discarded: Discarded::default(),
            },
            keys,
            sealer,
            identity,
            metrics,
            homeless: start.homeless.into_iter().collect(),
            alone,
            waits_end: tokio::sync::watch::channel(None).0,
        });
        threads.identity(&app)?;
        threads.rebuilds(&app)?;
        let places = [Some(("data", start.data.clone())), app.sealer.is_some().then(|| ("keys", start.sealing.store.clone()))].into_iter().flatten().collect();
        threads.sample(Sampler::new(Arc::clone(&app), memory.clone(), places))?;
        let mailer = Arc::new(FileSink::new(&start.data));
        let follows = |dir: PathBuf, shape: &str| Rows::open_of(&dir, shape, app.operator.control.id(), &[], &memory);
        if app.operator.heads.contains_key(accounts::SECRETS) {
            threads.mail(Outgoing::new(Arc::clone(&app), Arc::clone(&mailer) as Arc<dyn Mailer>, follows(layout.mail(), "mail 1")?))?;
        }
        if let Some(sealer) = app.sealer.clone().filter(|_| app.operator.heads.contains_key(erasure::SERVICE)) {
            threads.erasures(Eraser::new(Arc::clone(&app), sealer, mailer, follows(layout.erasures(), "erasures 1")?, start.data.clone(), layout.folds()))?;
        }
        Ok((Self { app, signals: threads.signals, threads: threads.all }, parts.routes))
    }

    /// Stops every part after its current turn, at most `deadline` from now, and writes what is in memory to files.
    pub fn stop(self, deadline: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + deadline;
        identity::write_down(&self.app).err().into_iter().for_each(|why| tracing::error!(%why, "the last denials are not in the audit trail"));
        self.signals.stop.store(true, Ordering::Release);
        self.app.commands.sender.close();
        for thread in self.threads {
            while !thread.is_finished() {
                anyhow::ensure!(
                    Instant::now() < end,
                    "thread {} did not stop in {deadline:?}; what was acknowledged is safe in the log",
                    thread.thread().name().unwrap_or("?")
                );
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        self.app.operator.prover.flush()?;
        self.app.metrics.spans.stop();
        Ok(())
    }
}

/// Whether anybody was ever asked anything.
pub(crate) fn holds_commands(log: &dyn Log, services: impl IntoIterator<Item = &'static str>) -> Result<bool, Fault> {
    for service in services {
        for partition in (0..log.partitions()).map(Partition) {
            if log.end(&topic(Stream::Commands(service)), partition)? > Offset(0) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The topics of all services, as one declaration, and those of services elsewhere that they follow: whoever comes first makes them.
pub fn specs(capabilities: &[Capability]) -> Vec<TopicSpec> {
    let mut specs = vec![Control::spec(), TopicSpec { topic: topic(Stream::Replies), retention: Some(REPLIES_KEPT) }];
    for capability in capabilities {
        let service = &capability.service;
        specs.extend([service.commands(), service.events(), service.dead_letters()].map(|topic| TopicSpec { topic, retention: None }));
    }
    let followed = capabilities.iter().flat_map(|capability| [&capability.service.direct, &capability.service.routed]).flat_map(|reactions| inputs(reactions));
    for topic in followed {
        if specs.iter().all(|spec| spec.topic != topic) {
            specs.push(TopicSpec { topic, retention: None });
        }
    }
    specs
}
