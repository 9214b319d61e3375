//! Logs and metrics: what operators see. Names follow Prometheus' rules; no label takes an id, a key or an offset.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::BTreeMap;
use std::io::IsTerminal;

use clap::ValueEnum;
use eventstore::Log;
use eventstore::caught::said;
use eventstore::clock::{Clock, SystemClock};
use eventstore::dead_letters::Reason;
use eventstore::log::Stuck;
use eventstore::observer::{Note, Observer};
use eventstore::service::Service;
use kernel::Timestamp;
use parking_lot::Mutex;
use prometheus::{Gauge, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Registry, histogram_opts, opts};
use schemas::Partition;
use schemas::envelope::Kind;
use schemas::wire::Shape;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use crate::cpu;
use crate::misuse::Misuse;

/// Under what every request is logged, where that is asked for.
pub const ACCESS: &str = "daybook::access";
/// Upper bounds of the histograms' buckets.
const SECONDS: [f64; 15] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// How it is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// for people
    Text,
    /// for programs, one object a line
    Json,
}

/// What is logged, as tracing's filter, and every request besides, or none.
pub fn filter(filter: &str, access: bool) -> anyhow::Result<EnvFilter> {
    let made = EnvFilter::try_new(filter).map_err(|why| Misuse::new(format!("log filter '{filter}': {why}")))?;
    Ok(made.add_directive(format!("{}={}", ACCESS, if access { "info" } else { "off" }).parse()?))
}

/// Logs to standard error, panics as well: for people on a terminal, JSON otherwise, unless told how.
pub fn logs(filter: EnvFilter, format: Option<LogFormat>) -> anyhow::Result<()> {
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let set = if format == LogFormat::Text { builder.try_init() } else { builder.json().flatten_event(true).try_init() };
    set.map_err(|why| anyhow::anyhow!("logs: {why}"))?;
    // Of a thread that ends there would be nothing in the log otherwise, but three lines that are none of its own.
    std::panic::set_hook(Box::new(|panic| {
        let (thread, place) = (std::thread::current(), panic.location().map(ToString::to_string).unwrap_or_default());
        let trace = Backtrace::capture();
        let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
        tracing::error!(thread = thread.name().unwrap_or("?"), place, why = said(panic.payload()), trace, "panicked");
    }));
    Ok(())
}

/// All counters and gauges, and what readiness goes by.
pub struct Metrics {
    registry: Registry,
    /// the types of the application's events and commands
    kinds: Vec<(Kind, &'static str)>,
    commands: IntCounterVec,
    events: IntCounterVec,
    dead_letters: IntCounterVec,
    discarded: IntCounterVec,
    passed_over: IntCounterVec,
    thrown_away: IntCounterVec,
    stopped: IntGaugeVec,
    topics_wrong: IntGauge,
    owned: IntGaugeVec,
    lag: IntGaugeVec,
    position: IntGaugeVec,
    time_ahead: Gauge,
    cpu: Gauge,
    /// durations of requests, by route
    pub requests: HistogramVec,
    /// durations of commands that were waited for, by type
    pub command_seconds: HistogramVec,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// the partitions a service owns here, possibly none; nothing while its group has not decided
    owned: BTreeMap<&'static str, Option<Vec<Partition>>>,
    failed: BTreeMap<String, String>,
    /// partitions of readers that stand still, and since when
    stops: BTreeMap<(String, Partition), (Stuck, Timestamp)>,
    /// what operators should know, although the process is ready
    notes: BTreeMap<String, String>,
    /// what is wrong with topics
    topics: Vec<String>,
    /// parts whose turns fail by now
    troubled: BTreeMap<String, String>,
}

impl Metrics {
    /// For these services.
    pub fn new(services: Vec<&'static str>, shapes: Vec<Shape>) -> anyhow::Result<Self> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| -> anyhow::Result<IntCounterVec> {
            let counter = IntCounterVec::new(opts!(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| -> anyhow::Result<IntGaugeVec> {
            let gauge = IntGaugeVec::new(opts!(name, help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let command_seconds = HistogramVec::new(
            histogram_opts!("daybook_command_duration_seconds", "Durations from a command's arrival to its answer", SECONDS.to_vec()),
            &["service", "type"],
        )?;
        registry.register(Box::new(command_seconds.clone()))?;
        let requests = HistogramVec::new(
            histogram_opts!("daybook_http_request_duration_seconds", "Durations of HTTP requests", SECONDS.to_vec()),
            &["method", "route", "status"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        let time_ahead = Gauge::new("daybook_log_time_ahead_seconds", "Log time minus this machine's clock: a clock is or was wrong where it is not about 0")?;
        registry.register(Box::new(time_ahead.clone()))?;
        // The collector of processes counts whole seconds.
        let cpu = Gauge::new("daybook_process_cpu_seconds", "Processor time of this process since its start")?;
        registry.register(Box::new(cpu.clone()))?;
        gauge("daybook_build_info", "Always 1; the version is a label", &["version"])?.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let topics_wrong = IntGauge::new("daybook_topics_wrong", "Settings of topics that are not as they were made: records may be lost")?;
        registry.register(Box::new(topics_wrong.clone()))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self {
            commands: counter("daybook_commands_total", "Commands answered, by type and outcome", &["service", "type", "outcome"])?,
            events: counter("daybook_events_appended_total", "Events committed, by type", &["service", "type"])?,
            dead_letters: counter("daybook_dead_letters_total", "Records that became dead letters, by reason", &["service", "reason"])?,
            discarded: counter("daybook_dead_letters_discarded_total", "Dead letters that an operator discarded here", &["service"])?,
            passed_over: counter("daybook_events_passed_over_total", "Foreign events that no policy here follows", &["service", "type"])?,
            thrown_away: counter("daybook_batches_thrown_away_total", "Batches whose commit did not end committed", &["service"])?,
            stopped: gauge("daybook_partition_stopped", "1 for a partition that stopped at a record it must not skip", &["reader", "partition"])?,
            topics_wrong,
            owned: gauge("daybook_partitions_owned", "Partitions owned", &["service", "role"])?,
            lag: gauge("daybook_projection_lag_records", "Offsets between a view and its topic's end", &["projection", "partition"])?,
            position: gauge("daybook_projection_position", "The next offset a view folds", &["projection", "partition"])?,
            time_ahead,
            cpu,
            requests,
            command_seconds,
            registry,
            kinds: shapes.into_iter().map(|shape| (shape.kind, shape.group)).collect(),
            state: Mutex::new(State { owned: services.into_iter().map(|service| (service, None)).collect(), ..State::default() }),
        })
    }

    fn knows(&self, name: &str) -> bool {
        self.kinds.iter().any(|(kind, _)| name.split_once('.') == Some((&kind.aggregate, &kind.name)))
    }

    /// An operator discarded a dead letter of a service.
    pub fn discarded(&self, service: &str) {
        self.discarded.with_label_values(&[service]).inc();
    }

    /// A part cannot go on.
    pub fn fail(&self, part: &str, why: &str) {
        self.state.lock().failed.insert(part.to_owned(), why.to_owned());
    }

    /// Each check of readiness with what is wrong, if anything.
    pub fn checks(&self) -> Vec<(String, Option<String>)> {
        let state = self.state.lock();
        let owned = state
            .owned
            .iter()
            .map(|(service, owned)| (format!("{service} knows its partitions and its heads are current"), owned.is_none().then(|| "not yet".to_owned())));
        let failed = state.failed.iter().map(|(part, why)| (part.clone(), Some(why.clone())));
        let topics = ("topics are as they were made".to_owned(), Some(state.topics.join("; ")).filter(|wrong| !wrong.is_empty()));
        let troubled = state.troubled.iter().map(|(part, why)| (format!("{part}'s turns"), Some(why.clone())));
        owned.chain(failed).chain(troubled).chain(std::iter::once(topics)).collect()
    }

    /// What does not take the process out, and must not pass unseen: stopped partitions above all.
    pub fn notes(&self) -> Vec<(String, String)> {
        let state = self.state.lock();
        let stops = state.stops.iter().map(|((reader, _), (stuck, _))| (reader.clone(), stuck.to_string()));
        stops.chain(state.notes.iter().map(|(part, why)| (part.clone(), why.clone()))).collect()
    }

    /// Something of a part that operators should know; none once it is over.
    pub fn note(&self, part: &str, what: Option<&str>) {
        let notes = &mut self.state.lock().notes;
        match what {
            Some(what) => drop(notes.insert(part.to_owned(), what.to_owned())),
            None => drop(notes.remove(part)),
        }
    }

    /// What is wrong with topics by now.
    pub fn reviewed(&self, wrong: Vec<String>) {
        self.topics_wrong.set(i64::try_from(wrong.len()).unwrap_or(i64::MAX));
        let state = &mut self.state.lock();
        if state.topics != wrong {
            wrong.iter().for_each(|wrong| tracing::error!("{wrong}"));
            state.topics = wrong;
        }
    }

    /// The readers' partitions that stand still, and since when.
    pub fn stops(&self) -> Vec<(String, Stuck, Timestamp)> {
        self.state.lock().stops.iter().map(|((reader, _), (stuck, since))| (reader.clone(), stuck.clone(), *since)).collect()
    }

    /// The partitions whose commands a service decides here, and whose heads are current here.
    pub fn owned(&self, service: &str) -> Vec<Partition> {
        self.state.lock().owned.get(service).cloned().flatten().unwrap_or_default()
    }

    /// Whether every check passes.
    pub fn ready(&self) -> bool {
        self.checks().iter().all(|(_, wrong)| wrong.is_none())
    }

    /// What is counted of a service is there from the start, at zero.
    pub fn born(&self, service: &Service) {
        let (name, ours) = (service.name, |kind: &Kind| service.handler(&kind.aggregate).is_some());
        for (kind, group) in self.kinds.iter().filter(|(kind, _)| ours(kind)) {
            let kind = format!("{}.{}", kind.aggregate, kind.name);
            if *group == "events" {
                self.events.with_label_values(&[name, &kind]);
            } else {
                for outcome in ["accepted", "refused", "repeated", "conflict"] {
                    self.commands.with_label_values(&[name, &kind, outcome]);
                }
            }
        }
        for reason in Reason::ALL {
            self.dead_letters.with_label_values(&[name, reason.as_str()]);
        }
        self.thrown_away.with_label_values(&[name]);
        self.discarded.with_label_values(&[name]);
    }

    /// The exposition text, with the views' positions and the log's time of now. Asks nobody: it is there while the log is away.
    pub fn text(&self, log: &dyn Log, views: impl Iterator<Item = std::sync::Arc<projections::Projection>>) -> anyhow::Result<String> {
        self.time_ahead.set(log.ahead() as f64 / 1e6);
        self.cpu.set(cpu::seconds(None).unwrap_or_default());
        for view in views {
            for (partition, lag) in view.lag_seen() {
                self.lag.with_label_values(&[view.name(), &partition.to_string()]).set(i64::try_from(lag)?);
            }
            for (_, partition, next) in view.positions() {
                self.position.with_label_values(&[view.name(), &partition.to_string()]).set(i64::try_from(next.0)?);
            }
        }
        // The log counts for itself; what it counts has no labels.
        let counted: String = log
            .counts()
            .into_iter()
            .map(|(name, count)| format!("# HELP daybook_log_{name}_total What the log did to stay sound\n# TYPE daybook_log_{name}_total counter\ndaybook_log_{name}_total {count}\n"))
            .collect();
        Ok(prometheus::TextEncoder::new().encode_to_string(&self.registry.gather())? + &counted)
    }
}

impl Observer for Metrics {
    fn noted(&self, service: &'static str, notes: &[Note]) {
        for note in notes {
            match note {
                Note::Command(kind, outcome) => self.commands.with_label_values(&[service, kind, outcome]).inc(),
                Note::Appended(kind) => self.events.with_label_values(&[service, kind]).inc(),
                Note::DeadLetter(reason) => self.dead_letters.with_label_values(&[service, reason]).inc(),
                // Whoever writes events of no known type makes no new label.
                Note::PassedOver(kind) => self.passed_over.with_label_values(&[service, if self.knows(kind) { kind } else { "other" }]).inc(),
            }
        }
    }
    fn owns(&self, service: &'static str, router: bool, partitions: Option<&[Partition]>) {
        let owned = i64::try_from(partitions.map_or(0, <[Partition]>::len)).unwrap_or(i64::MAX);
        self.owned.with_label_values(&[service, if router { "router" } else { "worker" }]).set(owned);
        if !router {
            self.state.lock().owned.insert(service, partitions.map(<[Partition]>::to_vec));
        }
    }
    fn stopped(&self, reader: &str, stuck: &Stuck) {
        self.stopped.with_label_values(&[reader, &stuck.partition.to_string()]).set(1);
        self.state.lock().stops.insert((reader.to_owned(), stuck.partition), (stuck.clone(), SystemClock::default().wall()));
    }
    fn goes_on(&self, reader: &str, partition: Partition) {
        self.stopped.with_label_values(&[reader, &partition.to_string()]).set(0);
        self.state.lock().stops.remove(&(reader.to_owned(), partition));
    }
    fn troubled(&self, part: &str, why: Option<&str>) {
        let mut state = self.state.lock();
        match why {
            Some(why) => drop(state.troubled.insert(part.to_owned(), why.to_owned())),
            None => drop(state.troubled.remove(part)),
        }
    }
    fn thrown_away(&self, service: &'static str, _: &str) {
        self.thrown_away.with_label_values(&[service]).inc();
    }
}
