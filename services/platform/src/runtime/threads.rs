//! The threads of a process: one for each worker, router and view, and those that keep house. Starts them and watches them;
//! decides nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use eventstore::caught::caught;
use eventstore::control::Control;
use eventstore::log::{Stuck, TopicSpec};
use eventstore::observer::{Observer, view as reader};
use eventstore::router::Router;
use eventstore::rows::Rows;
use eventstore::sealing::Sealer;
use eventstore::service::Service;
use eventstore::worker::{Progress, Worker};
use eventstore::{Fault, Limits, Log};
use projections::{BULK, Projection, Step, Why};
use tokio::sync::Notify;

use super::identity::{Watch, written_down};
use super::sampler::{EVERY, Sampler};
use super::trouble;
use crate::accounts::mailer::Outgoing;
use crate::erasure::eraser::Eraser;
use crate::http::app::App;
use crate::identity::trail::Entry;
use crate::patience::Patience;
use crate::telemetry::Metrics;

/// How long an idle loop waits before it looks at its timers and at the stop flag.
const IDLE_WAIT: Duration = Duration::from_millis(200);
/// Pause before a faulty turn is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How often it is looked whether a view is to be folded anew.
const REBUILDS: Duration = Duration::from_millis(50);
/// How often the settings of topics are looked at.
const REVIEW: Duration = Duration::from_secs(60);

/// What the parts of a process tell each other.
#[derive(Clone, Default)]
pub struct Signals {
    /// every part ends after its current turn
    pub(super) stop: Arc<AtomicBool>,
    /// told when a part of the process cannot go on
    pub failed: Arc<Notify>,
}

/// The threads of a process, and what they tell.
pub struct Threads {
    pub(super) signals: Signals,
    pub(super) metrics: Arc<Metrics>,
    control: Arc<Control>,
    /// bytes of states that each worker keeps
    heads: usize,
    pub(super) all: Vec<JoinHandle<()>>,
}

impl Threads {
    /// None yet.
    pub fn new(signals: &Signals, metrics: &Arc<Metrics>, control: &Arc<Control>, heads: usize) -> Self {
        Self { signals: signals.clone(), metrics: Arc::clone(metrics), control: Arc::clone(control), heads, all: vec![] }
    }

    /// Decides a service's commands.
    pub fn worker(&mut self, service: &Arc<Service>, log: &Arc<dyn Log>, rows: &Arc<Rows>, sealer: Option<&Sealer>) -> anyhow::Result<()> {
        let (service, log, rows, observer) = (Arc::clone(service), Arc::clone(log), Arc::clone(rows), Arc::clone(&self.metrics) as Arc<dyn Observer>);
        let (name, control, sealer, heads) = (format!("{} worker", service.name), Arc::clone(&self.control), sealer.cloned(), self.heads);
        // States are counted without atomics, so a worker is made in the thread it stays in.
        self.run(name, move |turning| {
            let join = || Worker::join(Arc::clone(&service), Arc::clone(&log), Arc::clone(&rows), "worker", Limits::default(), Arc::clone(&observer));
            let mut worker = Patience::default().with(join)?.under(&control).sealing(sealer).keeping(heads);
            turning.turn(|| worker.turn(IDLE_WAIT))?;
            worker.leave()
        })
    }

    /// Routes to a service what it follows across keys, if it does.
    pub fn router(&mut self, service: &Arc<Service>, log: &Arc<dyn Log>) -> anyhow::Result<()> {
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
    pub fn view(&mut self, projection: &Arc<Projection>) -> anyhow::Result<()> {
        let (projection, metrics) = (Arc::clone(projection), Arc::clone(&self.metrics));
        let (stop, name) = (Arc::clone(&self.signals.stop), format!("view {}", projection.name()));
        let run = move || {
            let mut stood = vec![];
            while !stop.load(Ordering::Acquire) {
                let turned = caught(|| projection.turn(IDLE_WAIT, if projection.is_ready() { Limits::default() } else { BULK })).unwrap_or_else(|panic| {
                    let why = format!("the view's thread panicked: {panic}");
                    projection.fail(&why);
                    Err(Fault::Fatal(why))
                });
                stops(&metrics, &projection, &mut stood);
                match turned {
                    Ok(_) => {}
                    Err(fault @ (Fault::Fatal(_) | Fault::Stop(_))) => {
                        tracing::error!(view = projection.name(), %fault, "view stopped: it answers 503 until the next start");
                        metrics.standing.note(&reader(projection.name()), Some(&fault.to_string()));
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

    /// Folds views anew beside what they serve, one after the other: each takes what memory there is for it.
    pub fn rebuilds(&mut self, app: &App) -> anyhow::Result<()> {
        let (app, stop) = (Arc::clone(app), Arc::clone(&self.signals.stop));
        self.quietly("rebuilds", RETRY_PAUSE, move || {
            let mut idle = true;
            for view in app.views.all() {
                while !stop.load(Ordering::Acquire) {
                    let step = view.step(Instant::now())?;
                    idle &= step == Step::Idle;
                    if let Some(entry) = rebuilt(view.name(), &step) {
                        written_down(&app, &entry)?;
                    }
                    if step != Step::Worked {
                        break;
                    }
                }
            }
            if idle {
                std::thread::sleep(REBUILDS);
            }
            Ok(())
        })
    }

    /// Takes in what operators settle at other instances.
    pub fn orders(&mut self) -> anyhow::Result<()> {
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
    pub fn review(&mut self, log: &Arc<dyn Log>, specs: Vec<TopicSpec>) -> anyhow::Result<()> {
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

    /// Looks at what nobody tells by itself.
    pub fn sample(&mut self, mut sampler: Sampler) -> anyhow::Result<()> {
        let stop = Arc::clone(&self.signals.stop);
        self.quietly("sampler", RETRY_PAUSE, move || {
            let again = Instant::now() + EVERY;
            let looked = sampler.turn();
            while !stop.load(Ordering::Acquire) && Instant::now() < again {
                std::thread::sleep(IDLE_WAIT);
            }
            looked
        })
    }

    /// Keeps what is known of callers current.
    pub fn identity(&mut self, app: &App) -> anyhow::Result<()> {
        let mut watch = Watch::new(Arc::clone(app));
        self.quietly("identity", IDLE_WAIT, move || {
            watch.turn()?;
            std::thread::sleep(IDLE_WAIT);
            Ok(())
        })
    }

    /// Sends what is to be sent to people.
    pub fn mail(&mut self, outgoing: Outgoing) -> anyhow::Result<()> {
        self.quietly("mail", RETRY_PAUSE, move || outgoing.turn(IDLE_WAIT))
    }

    /// Does what erasures ask for.
    pub fn erasures(&mut self, mut eraser: Eraser) -> anyhow::Result<()> {
        self.quietly("erasures", RETRY_PAUSE, move || eraser.turn(IDLE_WAIT))
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
        self.metrics.troubled(&name, None);
        let turning = Turning { stop: Arc::clone(&self.signals.stop), name: name.clone(), metrics: Arc::clone(&self.metrics) };
        let (failed, metrics) = (Arc::clone(&self.signals.failed), Arc::clone(&self.metrics));
        let run = move || {
            let why = match caught(|| body(&turning)) {
                Ok(Ok(())) => return,
                Ok(Err(fault)) => fault.to_string(),
                Err(panic) => format!("panicked: {panic}"),
            };
            tracing::error!(part = turning.name, why, "cannot go on: the process stops");
            metrics.standing.fail(&turning.name, &why);
            failed.notify_one();
        };
        self.all.push(std::thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }
}

/// What the audit trail says of the end of a rebuild.
fn rebuilt(view: &str, step: &Step) -> Option<Entry> {
    let (actor, outcome) = match step {
        Step::Idle | Step::Worked => return None,
        Step::Swapped(asked, found) => {
            let found = match (found, asked.why) {
                (Some(0), _) => "equal to what was served, row by row and by digest".to_owned(),
                (Some(differing), _) => format!("{differing} or more rows differ, which was accepted"),
                (None, Why::Asked) => "not compared: whatever differs was accepted beforehand".to_owned(),
                (None, Why::Shape) => "not compared: what was served is of an earlier shape".to_owned(),
                (None, Why::Rollback) => "not compared: it was served before".to_owned(),
            };
            let kept = if asked.keeps { "" } else { "; what was served until then is deleted" };
            tracing::info!(view, found, "what was folded beside is served");
            (asked.actor.clone(), format!("generation {}: {found}{kept}", asked.number))
        }
        Step::Failed(why) => {
            tracing::error!(view, why, "what was folded beside is given up");
            (None, format!("given up: {why}"))
        }
    };
    let actor = actor.unwrap_or_else(|| "machine".to_owned());
    Some(Entry { kind: "act".to_owned(), actor, act: format!("swap of projection {view}"), outcome, times: 1 })
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
