//! A process: the log, and a thread for each worker, router and view of its services. Starts them, watches them, stops
//! them; decides nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use eventstore::caught::caught;
use eventstore::control::Control;
use eventstore::log::{Rules, Stuck, TopicSpec};
use eventstore::memory::Memory;
use eventstore::observer::{Observer, view as reader};
use eventstore::router::Router;
use eventstore::rows::Rows;
use eventstore::service::{Service, inputs};
use eventstore::worker::{Progress, Worker};
use eventstore::{Fault, Limits, Log, Offset};
use projections::Projection;
use schemas::{Partition, Stream, topic};
use tokio::sync::Notify;

use crate::capability::{Capability, shapes};
use crate::gateway::CommandGateway;
use crate::gateway::replies::Replies;
use crate::gateway::sender::Sender;
use crate::http::app::{App, AppState, Operator, Views};
use crate::http::discarded::Discarded;
use crate::http::elsewhere::Forward;
use crate::http::route::Routes;
use crate::keys::{KeyOrigin, KeySpec, Keys};
use crate::location::{Layout, LogLocation};
use crate::patience::Patience;
use crate::prover::Prover;
use crate::telemetry::Metrics;

pub mod at_rest;
mod lost;
mod trouble;

/// Memory of all databases together: block cache, and the part of it that write buffers may take.
const CACHE_BYTES: usize = 256 * 1024 * 1024;
const BUFFER_BYTES: usize = 128 * 1024 * 1024;
/// How long an idle loop waits before it looks at its timers and at the stop flag.
const IDLE_WAIT: Duration = Duration::from_millis(200);
/// Pause before a faulty turn is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How often the settings of topics are looked at.
const REVIEW: Duration = Duration::from_secs(60);
/// Replies are kept this long.
const REPLIES_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What the parts of a process tell each other.
#[derive(Clone, Default)]
pub struct Signals {
    /// every part ends after its current turn
    stop: Arc<AtomicBool>,
    /// told when a part of the process cannot go on
    pub failed: Arc<Notify>,
}

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
    /// where the application's keys come from
    pub keys: Vec<(KeySpec, KeyOrigin)>,
    /// every service of the application
    pub capabilities: Vec<Capability>,
}

impl Start {
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
    specs: Vec<TopicSpec>,
}

impl Opened {
    fn open(start: &Start, patience: &Patience) -> anyhow::Result<Self> {
        let (data, layout) = (&start.data, Layout::of(&start.data));
        eventstore::directory::make(data).map_err(|why| anyhow::anyhow!("data directory {}: {why}", data.display()))?;
        // Before a log is there: from then on a directory without its keys has lost them. One on Kafka was there before.
        let (used, here) = (layout.used(), start.log.is_here());
        let keys_of = |log: Option<&dyn Log>| -> anyhow::Result<Keys> {
            let used = || Ok(used || log.map(|log| patience.with(|| holds_commands(log, &start.capabilities))).transpose()?.unwrap_or(false));
            let keys: anyhow::Result<Vec<_>> = start.keys.iter().map(|(spec, origin)| Ok((spec.name, origin.key(*spec, data, used)?))).collect();
            Ok(Keys::new(keys?))
        };
        let known = here.then(|| keys_of(None)).transpose()?;
        let memory = Memory::new(CACHE_BYTES, BUFFER_BYTES).files(crate::http::gate::files::of_a_database());
        let (log, specs) = (start.log.open(&layout, &memory, start.rules)?, specs(&start.capabilities));
        patience.with(|| log.provision(&specs))?;
        let keys = known.map_or_else(|| keys_of(Some(log.as_ref())), Ok)?;
        let control = patience.with(|| Control::open(Arc::clone(&log)))?;
        if start.log.accepts_loss() {
            lost::accept(&layout, &control, &start.capabilities, &memory)?;
        }
        Ok(Self { layout, memory, log, keys, control, specs })
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
        let Opened { layout, memory, log, control, .. } = opened;
        let service = Arc::new(capability.service);
        self.services.insert(service.name, Arc::clone(&service));
        self.owners.extend(service.aggregates.iter().map(|aggregate| (aggregate.name(), service.name)));
        self.routes = std::mem::take(&mut self.routes).merge(capability.routes);
        self.answered_by.extend(capability.answered_by.iter().map(|(event, by)| ((service.name, *event), *by)));
        if !runs {
            self.elsewhere.extend(capability.views.iter().map(|view| (view.name.clone(), service.name)));
            return Ok(());
        }
        threads.metrics.born(&service);
        // What heads must pass over they drop by themselves, partition by partition.
        let rows = Arc::new(Rows::open_of(&layout.heads(service.name), &eventstore::heads::shape(&service), control.id(), &[], memory)?);
        threads.worker(&service, log, &rows)?;
        threads.router(&service, log)?;
        for view in capability.views {
            let folded = Arc::new(Notify::new());
            let open = || {
                let folded = Arc::clone(&folded);
                Projection::open(Arc::clone(&view), control, &layout.views(), memory, Box::new(move || folded.notify_waiters()))
            };
            let projection = Arc::new(patience.with(open)?);
            threads.view(&projection)?;
            let name = projection.name().to_owned();
            anyhow::ensure!(self.views.insert(name, (projection, folded)).is_none(), "two views have the same name");
        }
        self.heads.insert(service.name, rows);
        Ok(())
    }
}

impl Platform {
    /// Opens the log and starts every part of the services that run here. Ready when [`Metrics::ready`] says so.
    pub fn start(mut start: Start, signals: &Signals) -> anyhow::Result<(Self, Routes)> {
        let patience = Patience::default();
        let opened = Opened::open(&start, &patience)?;
        let here = start.capabilities.iter().map(|capability| capability.service.name).filter(|name| start.runs(name)).collect();
        let metrics = Arc::new(Metrics::new(here, shapes(&start.capabilities))?);
        let mut threads = Threads { signals: signals.clone(), metrics: Arc::clone(&metrics), control: Arc::clone(&opened.control), all: vec![] };
        threads.orders()?;
        threads.review(&opened.log, opened.specs.clone())?;
        let mut parts = Parts::default();
        for capability in std::mem::take(&mut start.capabilities) {
            let runs = start.runs(capability.service.name);
            parts.add(capability, runs, &opened, &mut threads, &patience)?;
        }
        let Opened { layout, log, keys, control, .. } = opened;
        let sender = Sender::start(Arc::clone(&log), &mut threads.all)?;
        let replies = Replies::start(Arc::clone(&log), &patience, Arc::clone(&signals.stop), &mut threads.all)?;
        let heads = parts.heads.iter().filter_map(|(name, rows)| Some((Arc::clone(parts.services.get(name)?), Arc::clone(rows)))).collect();
        let prover = Prover::new(Arc::clone(&control), layout.scratch(), parts.views.values().map(|(view, _)| view), heads);
        let app = Arc::new(AppState {
            log,
            commands: CommandGateway { sender, replies, answered_by: parts.answered_by, owners: parts.owners },
            views: Views::new(parts.views, Forward::new(parts.elsewhere)),
            operator: Operator {
                services: parts.services,
                heads: parts.heads,
                directories: layout.directories(),
                control,
                prover,
                discarded: Discarded::default(),
            },
            keys,
            metrics,
            waits_end: tokio::sync::watch::channel(None).0,
        });
        Ok((Self { app, signals: threads.signals, threads: threads.all }, parts.routes))
    }

    /// Stops every part after its current turn, at most `deadline` from now, and writes what is in memory to files.
    pub fn stop(self, deadline: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + deadline;
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
        Ok(())
    }
}

/// Whether anybody was ever asked anything.
fn holds_commands(log: &dyn Log, capabilities: &[Capability]) -> Result<bool, Fault> {
    for capability in capabilities {
        for partition in (0..log.partitions()).map(Partition) {
            if log.end(&capability.service.commands(), partition)? > Offset(0) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The topics of all services, as one declaration, and those of services elsewhere that they follow: whoever comes first makes them.
fn specs(capabilities: &[Capability]) -> Vec<TopicSpec> {
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

struct Threads {
    signals: Signals,
    metrics: Arc<Metrics>,
    control: Arc<Control>,
    all: Vec<JoinHandle<()>>,
}

impl Threads {
    fn worker(&mut self, service: &Arc<Service>, log: &Arc<dyn Log>, rows: &Arc<Rows>) -> anyhow::Result<()> {
        let (service, log, rows, observer) = (Arc::clone(service), Arc::clone(log), Arc::clone(rows), Arc::clone(&self.metrics) as Arc<dyn Observer>);
        let (name, control) = (format!("{} worker", service.name), Arc::clone(&self.control));
        // States are counted without atomics, so a worker is made in the thread it stays in.
        self.run(name, move |turning| {
            let join = || Worker::join(Arc::clone(&service), Arc::clone(&log), Arc::clone(&rows), "worker", Limits::default(), Arc::clone(&observer));
            let mut worker = Patience::default().with(join)?.under(&control);
            turning.turn(|| worker.turn(IDLE_WAIT))?;
            worker.leave()
        })
    }

    fn router(&mut self, service: &Arc<Service>, log: &Arc<dyn Log>) -> anyhow::Result<()> {
        let observer = Arc::clone(&self.metrics) as Arc<dyn Observer>;
        let join = || Router::join(Arc::clone(service), log.as_ref(), "router", Limits::default(), Arc::clone(&observer));
        let Some(router) = Patience::default().with(join)? else { return Ok(()) };
        let mut router = router.under(&self.control);
        self.run(format!("{} router", service.name), move |turning| {
            turning.turn(|| router.turn(IDLE_WAIT))?;
            router.leave()
        })
    }

    /// Turns a view; one view's trouble is not the process's.
    fn view(&mut self, projection: &Arc<Projection>) -> anyhow::Result<()> {
        let (projection, metrics) = (Arc::clone(projection), Arc::clone(&self.metrics));
        let (stop, name) = (Arc::clone(&self.signals.stop), format!("view {}", projection.name()));
        let run = move || {
            let mut stood = vec![];
            while !stop.load(Ordering::Acquire) {
                let turned = caught(|| projection.turn(IDLE_WAIT, Limits::default())).unwrap_or_else(|panic| {
                    let why = format!("the view's thread panicked: {panic}");
                    projection.fail(&why);
                    Err(Fault::Fatal(why))
                });
                stops(&metrics, &projection, &mut stood);
                match turned {
                    Ok(_) => {}
                    Err(fault @ (Fault::Fatal(_) | Fault::Stop(_))) => {
                        tracing::error!(view = projection.name(), %fault, "view stopped: it answers 503 until the next start");
                        metrics.note(&reader(projection.name()), Some(&fault.to_string()));
                        return;
                    }
                    Err(fault) => {
                        tracing::warn!(view = projection.name(), %fault, "turn failed");
                        std::thread::sleep(RETRY_PAUSE);
                    }
                }
            }
        };
        self.all.push(std::thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }

    /// Takes in what operators settle at other instances.
    fn orders(&mut self) -> anyhow::Result<()> {
        let control = Arc::clone(&self.control);
        // One that cannot be honoured here ends the process: going on would fold what must be passed over. Whatever else
        // keeps orders from being heard passes.
        let mut hear = move || match control.follow(IDLE_WAIT) {
            Ok(heard) => Ok(if heard { Progress::Worked } else { Progress::Idle }),
            Err(Fault::Fatal(why)) if !control.is_newer() => Err(Fault::Retry(why)),
            Err(fault) => Err(fault),
        };
        self.run("orders".to_owned(), move |turning| turning.turn(&mut hear))
    }

    /// Looks whether the topics are still what they were made as.
    fn review(&mut self, log: &Arc<dyn Log>, specs: Vec<TopicSpec>) -> anyhow::Result<()> {
        let (log, metrics, mut looked) = (Arc::clone(log), Arc::clone(&self.metrics), Instant::now());
        self.quietly("review", REVIEW, move || {
            if looked.elapsed() >= REVIEW {
                metrics.reviewed(log.review(&specs)?);
                looked = Instant::now();
            }
            std::thread::sleep(IDLE_WAIT);
            Ok(())
        })
    }

    /// Repeats something on a thread of its own; where it fails it is tried again after a pause.
    fn quietly(&mut self, name: &'static str, pause: Duration, mut work: impl FnMut() -> Result<(), Fault> + Send + 'static) -> anyhow::Result<()> {
        let stop = Arc::clone(&self.signals.stop);
        let run = move || {
            while !stop.load(Ordering::Acquire) {
                if let Err(fault) = work() {
                    tracing::warn!(part = name, %fault, "it is tried again");
                    let again = Instant::now() + pause;
                    while !stop.load(Ordering::Acquire) && Instant::now() < again {
                        std::thread::sleep(RETRY_PAUSE);
                    }
                }
            }
        };
        self.all.push(std::thread::Builder::new().name(name.into()).spawn(run)?);
        Ok(())
    }

    fn run(&mut self, name: String, body: impl FnOnce(&Turning) -> Result<(), Fault> + Send + 'static) -> anyhow::Result<()> {
        let turning = Turning { stop: Arc::clone(&self.signals.stop), name: name.clone(), metrics: Arc::clone(&self.metrics) };
        let (failed, metrics) = (Arc::clone(&self.signals.failed), Arc::clone(&self.metrics));
        let run = move || {
            let why = match caught(|| body(&turning)) {
                Ok(Ok(())) => return,
                Ok(Err(fault)) => fault.to_string(),
                Err(panic) => format!("panicked: {panic}"),
            };
            tracing::error!(part = turning.name, why, "cannot go on: the process stops");
            metrics.fail(&turning.name, &why);
            failed.notify_one();
        };
        self.all.push(std::thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }
}

/// Tells where a view's partitions stand still, when that changes.
fn stops(metrics: &Metrics, projection: &Projection, stood: &mut Vec<Stuck>) {
    let stands = projection.stops();
    if stands != *stood {
        let name = reader(projection.name());
        for gone in stood.iter().filter(|stuck| !stands.contains(stuck)) {
            metrics.goes_on(&name, gone.partition);
        }
        for stuck in stands.iter().filter(|stuck| !stood.contains(stuck)) {
            tracing::error!(view = projection.name(), why = %stuck, "partition stopped");
            metrics.stopped(&name, stuck);
        }
        *stood = stands;
    }
}

/// Turns a loop until the process stops.
struct Turning {
    stop: Arc<AtomicBool>,
    name: String,
    metrics: Arc<Metrics>,
}

impl Turning {
    fn turn(&self, mut turn: impl FnMut() -> Result<Progress, Fault>) -> Result<(), Fault> {
        let mut trouble = trouble::Trouble::of(&self.name);
        while !self.stop.load(Ordering::Acquire) {
            let turned = turn();
            trouble.turned(&turned, self.metrics.as_ref());
            match turned {
                Ok(_) => {}
                Err(fault @ (Fault::Fatal(_) | Fault::Stop(_))) => return Err(fault),
                Err(fault) => {
                    tracing::warn!(part = self.name, %fault, "turn failed");
                    std::thread::sleep(RETRY_PAUSE);
                }
            }
        }
        Ok(())
    }
}
