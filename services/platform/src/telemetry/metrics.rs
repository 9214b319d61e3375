//! What the parts of a process tell, counted: workers, routers, views, and the log below them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use eventstore::clock::{Clock, SystemClock};
use eventstore::dead_letters::Reason;
use eventstore::log::Stuck;
use eventstore::observer::{self, Note, Observer, router, worker};
use eventstore::service::{Service, inputs};
use eventstore::{Commit, Fault, Log, Page};
use kernel::Timestamp;
use parking_lot::Mutex;
use projections::{Projection, Watcher};
use prometheus::{Histogram, IntCounter};
use schemas::envelope::Kind;
use schemas::wire::Shape;
use schemas::{Partition, Stream, Topic};
use tokio::sync::Notify;

use super::families::Families;
use super::spans::{Batch, Spans};
use super::standing::Standing;
use crate::cpu;

/// How long ago the log may have answered last, and still be called reachable.
const REACHABLE: Duration = Duration::from_secs(15);
/// How commands end.
const OUTCOMES: [&str; 4] = ["accepted", "refused", "repeated", "conflict"];
/// How transactions end.
const ENDS: [&str; 4] = ["committed", "lost", "unknown", "failed"];

/// How often a part is asked how far it is behind.
const ASKED: Duration = Duration::from_secs(1);

/// What is known of a worker or a router.
struct Part {
    /// what it does now, or did last
    batch: Batch,
    /// when the oldest records of that were written, by topic
    oldest: Vec<(Topic, Timestamp)>,
    asked: Option<Instant>,
}

/// All counters and gauges, and what readiness goes by.
pub struct Metrics {
    /// the metrics by themselves
    pub families: Families,
    /// what readiness goes by
    pub standing: Standing,
    /// traces
    pub spans: Spans,
    /// the types of the application's events and commands
    kinds: Vec<(Kind, &'static str)>,
    /// workers and routers, by service and whether it is the router
    parts: Mutex<HashMap<(&'static str, bool), Part>>,
    /// when the log answered last
    answered: Mutex<Option<Instant>>,
}

impl Metrics {
    /// For these services of a program of this version, whose spans go there.
    pub fn new(version: &str, services: Vec<&'static str>, shapes: Vec<Shape>, spans: Spans) -> anyhow::Result<Self> {
        let families = Families::new(version)?;
        for outcome in ["exported", "dropped"] {
            families.spans.with_label_values(&[outcome]);
        }
        Ok(Self {
            families,
            standing: Standing::of(services),
            spans,
            kinds: shapes.into_iter().map(|shape| (shape.kind, shape.group)).collect(),
            parts: Mutex::default(),
            answered: Mutex::default(),
        })
    }

    fn knows(&self, name: &str) -> bool {
        self.kinds.iter().any(|(kind, _)| name.split_once('.') == Some((&kind.aggregate, &kind.name)))
    }

    /// An operator discarded a dead letter of a service.
    pub fn discarded(&self, service: &str) {
        self.families.discarded.with_label_values(&[service]).inc();
    }

    /// What is wrong with topics by now.
    pub fn reviewed(&self, wrong: Vec<String>) {
        self.families.topics_wrong.set(i64::try_from(wrong.len()).unwrap_or(i64::MAX));
        self.standing.reviewed(wrong);
    }

    /// The log has answered.
    pub fn answered(&self) {
        *self.answered.lock() = Some(Instant::now());
    }

    /// A group of writes of the embedded log took so long.
    pub fn synced(&self, took: Duration) {
        self.families.sync_seconds.observe(took.as_secs_f64());
    }

    /// What is counted of a service is there from the start, at zero.
    pub fn born(&self, service: &Service) {
        let (name, ours, families) = (service.name, |kind: &Kind| service.handler(&kind.aggregate).is_some(), &self.families);
        for (kind, group) in self.kinds.iter().filter(|(kind, _)| ours(kind)) {
            let kind = format!("{}.{}", kind.aggregate, kind.name);
            if *group == "events" {
                families.events.with_label_values(&[name, &kind]);
            } else {
                OUTCOMES.iter().for_each(|outcome| drop(families.commands.with_label_values(&[name, &kind, outcome])));
            }
        }
        for reason in Reason::ALL {
            families.dead_letters.with_label_values(&[name, reason.as_str()]);
        }
        for counter in [&families.thrown_away, &families.discarded, &families.stale] {
            counter.with_label_values(&[name]);
        }
        for role in ["worker", "router"].into_iter().take(if service.routed.is_empty() { 1 } else { 2 }) {
            ENDS.iter().for_each(|end| drop(families.commits.with_label_values(&[name, role, end])));
            families.commit_seconds.with_label_values(&[name, role]);
            families.committed_records.with_label_values(&[name, role]);
        }
        families.sampled.backlog.with_label_values(&[name]);
        families.sampled.backlog_seconds.with_label_values(&[name]);
        let followed = [(worker(name), inputs(&service.direct)), (router(name), inputs(&service.routed))];
        for (reader, topic) in followed.iter().flat_map(|(reader, topics)| topics.iter().map(move |topic| (reader, topic))) {
            families.sampled.reader_lag.with_label_values(&[reader, topic.as_str()]);
            families.sampled.reader_lag_seconds.with_label_values(&[reader, topic.as_str()]);
        }
    }

    /// The exposition text, with the views' positions and the log's time of now. Asks nobody: it is there while the log is away.
    pub fn text<'v>(&self, log: &dyn Log, views: impl Iterator<Item = &'v Arc<Projection>>) -> anyhow::Result<String> {
        let families = &self.families;
        families.time_ahead.set(log.ahead() as f64 / 1e6);
        // The only writer of it, one scrape after the other or not: it never falls.
        families.cpu.inc_by((cpu::seconds(None).unwrap_or_default() - families.cpu.get()).max(0.0));
        families.ready.set(self.standing.ready().into());
        families.log_reachable.set(self.answered.lock().is_some_and(|at| at.elapsed() < REACHABLE).into());
        for view in views {
            let name = view.name();
            for (partition, lag) in view.lag_seen() {
                families.lag.with_label_values(&[name, &partition.to_string()]).set(i64::try_from(lag)?);
            }
            for (_, partition, next) in view.positions() {
                families.position.with_label_values(&[name, &partition.to_string()]).set(i64::try_from(next.0)?);
            }
            let (done, all) = view.progress();
            let progress = if all == 0 || view.is_ready() { 1.0 } else { done as f64 / all as f64 };
            families.replay_progress.with_label_values(&[name]).set(progress);
            families.fold_failed.with_label_values(&[name]).set(view.failed().is_some().into());
        }
        let now = SystemClock::default().wall();
        for ((service, router), part) in &*self.parts.lock() {
            for (topic, oldest) in &part.oldest {
                self.waits(service, *router, topic, now.0.saturating_sub(oldest.0).max(0) as f64 / 1e6);
            }
        }
        for (outcome, count) in self.spans.counts() {
            let counter = families.spans.with_label_values(&[outcome]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        // The log counts for itself; what it counts has no labels.
        let counted: String = log
            .counts()
            .into_iter()
            .map(|(name, count)| format!("# HELP daybook_log_{name}_total What the log did to stay sound\n# TYPE daybook_log_{name}_total counter\ndaybook_log_{name}_total {count}\n"))
            .collect();
        Ok(prometheus::TextEncoder::new().encode_to_string(&families.registry.gather())? + &counted)
    }
}

impl Metrics {
    /// The oldest record of a topic that a part has not dealt with was written so long ago.
    fn waits(&self, service: &str, router: bool, topic: &Topic, seconds: f64) {
        let sampled = &self.families.sampled;
        if *topic == schemas::topic(Stream::Commands(service)) {
            sampled.backlog_seconds.with_label_values(&[service]).set(seconds);
        } else {
            sampled.reader_lag_seconds.with_label_values(&[&reader(service, router), topic.as_str()]).set(seconds);
        }
    }
}

fn reader(service: &str, router: bool) -> String {
    if router { observer::router(service) } else { worker(service) }
}

fn role(router: bool) -> &'static str {
    if router { "router" } else { "worker" }
}

impl Observer for Metrics {
    fn began(&self, service: &'static str, router: bool, oldest: &[(&Topic, Timestamp)]) {
        let mut parts = self.parts.lock();
        let part = parts.entry((service, router)).or_insert_with(|| Part { batch: Batch::begun(), oldest: vec![], asked: None });
        part.batch = Batch::begun();
        for (topic, _) in part.oldest.drain(..) {
            self.waits(service, router, &topic, 0.0);
        }
        part.oldest.extend(oldest.iter().map(|(topic, at)| ((*topic).clone(), *at)));
    }
    fn asks(&self, service: &'static str, router: bool) -> bool {
        let mut parts = self.parts.lock();
        let Some(part) = parts.get_mut(&(service, router)).filter(|part| part.asked.is_none_or(|at| at.elapsed() >= ASKED)) else { return false };
        part.asked = Some(Instant::now());
        true
    }
    fn behind(&self, service: &'static str, router: bool, behind: &[(Topic, u64)]) {
        let sampled = &self.families.sampled;
        for (topic, offsets) in behind {
            let offsets = i64::try_from(*offsets).unwrap_or(i64::MAX);
            if *topic == schemas::topic(Stream::Commands(service)) {
                sampled.backlog.with_label_values(&[service]).set(offsets);
            } else {
                sampled.reader_lag.with_label_values(&[&reader(service, router), topic.as_str()]).set(offsets);
            }
        }
    }
    fn decided(&self, service: &'static str, router: bool, records: usize) {
        if let Some(Part { batch, .. }) = self.parts.lock().get_mut(&(service, router)) {
            (batch.decided, batch.records) = (SystemTime::now(), records);
            batch.commits = Instant::now();
        }
    }
    fn ended(&self, service: &'static str, router: bool, ended: &Result<Commit, Fault>) {
        let end = match ended {
            Ok(Commit::Committed(_)) => "committed",
            Ok(Commit::Lost) => "lost",
            Ok(Commit::Unknown) => "unknown",
            Err(_) => "failed",
        };
        self.families.commits.with_label_values(&[service, role(router), end]).inc();
        if let Some(Part { batch, .. }) = self.parts.lock().get_mut(&(service, router)) {
            batch.ended = SystemTime::now();
            self.families.commit_seconds.with_label_values(&[service, role(router)]).observe(batch.commits.elapsed().as_secs_f64());
            if end == "committed" {
                self.families.committed_records.with_label_values(&[service, role(router)]).inc_by(batch.records as u64);
            }
        }
    }
    fn noted(&self, service: &'static str, router: bool, notes: &[Note]) {
        let families = &self.families;
        for note in notes {
            match note {
                Note::Command(kind, outcome) => families.commands.with_label_values(&[service, kind, outcome]).inc(),
                Note::Stale => families.stale.with_label_values(&[service]).inc(),
                Note::Appended(kind) => families.events.with_label_values(&[service, kind]).inc(),
                // As a decimal, which no currency's decimals change. A negative one would be a correction, and a counter takes none.
                Note::Money(kind, money) if money.minor > 0 => {
                    let units = money.to_string().parse().unwrap_or_default();
                    families.money.with_label_values(&[service, kind, money.currency.code()]).inc_by(units);
                }
                Note::Money(..) => {}
                Note::DeadLetter(reason) => families.dead_letters.with_label_values(&[service, reason]).inc(),
                // Whoever writes events of no known type makes no new label.
                Note::PassedOver(kind) => families.passed_over.with_label_values(&[service, if self.knows(kind) { kind } else { "other" }]).inc(),
                Note::Traced(step) => {
                    let batch = self.parts.lock().get(&(service, router)).map(|part| part.batch);
                    batch.into_iter().for_each(|batch| self.spans.step(service, step, &batch));
                }
            }
        }
    }
    fn owns(&self, service: &'static str, router: bool, partitions: Option<&[Partition]>) {
        let owned = i64::try_from(partitions.map_or(0, <[Partition]>::len)).unwrap_or(i64::MAX);
        self.families.owned.with_label_values(&[service, role(router)]).set(owned);
        for partition in partitions.unwrap_or_default() {
            self.families.stopped.with_label_values(&[&reader(service, router), &partition.to_string()]);
        }
        if !router {
            self.standing.owns(service, partitions);
        }
    }
    fn stopped(&self, reader: &str, stuck: &Stuck) {
        self.families.stopped.with_label_values(&[reader, &stuck.partition.to_string()]).set(1);
        self.standing.stopped(reader, stuck);
    }
    fn goes_on(&self, reader: &str, partition: Partition) {
        self.families.stopped.with_label_values(&[reader, &partition.to_string()]).set(0);
        self.standing.goes_on(reader, partition);
    }
    fn troubled(&self, part: &str, why: Option<&str>) {
        self.families.troubled.with_label_values(&[part]).set(why.is_some().into());
        self.standing.troubled(part, why);
    }
    fn thrown_away(&self, service: &'static str, _: &str) {
        self.families.thrown_away.with_label_values(&[service]).inc();
    }
}

/// Watches one view: tells those who wait for it, counts and traces its folds.
pub struct Folder {
    name: String,
    topic: Topic,
    metrics: Arc<Metrics>,
    folded: Arc<Notify>,
    seconds: Histogram,
    records: IntCounter,
    replayed: IntCounter,
    /// when it began to fold what it folds
    began: Mutex<Instant>,
}

impl Folder {
    /// Of a view of this topic; `folded` is told of each step.
    pub fn of(name: &str, topic: &Topic, metrics: &Arc<Metrics>, folded: &Arc<Notify>) -> Self {
        let families = &metrics.families;
        Self {
            name: name.to_owned(),
            topic: topic.clone(),
            metrics: Arc::clone(metrics),
            folded: Arc::clone(folded),
            seconds: families.fold_seconds.with_label_values(&[name]),
            records: families.folded_records.with_label_values(&[name]),
            replayed: families.replayed_records.with_label_values(&[name]),
            began: Mutex::new(Instant::now()),
        }
    }

    fn took(&self) -> Duration {
        let took = self.began.lock().elapsed();
        self.seconds.observe(took.as_secs_f64());
        took
    }
}

impl Watcher for Folder {
    fn told(&self) {
        self.folded.notify_waiters();
    }
    fn begins(&self) {
        *self.began.lock() = Instant::now();
    }
    fn folded(&self, pages: &[(Partition, Page)]) {
        let took = self.took();
        let records = pages.iter().flat_map(|(_, page)| &page.records);
        self.records.inc_by(records.clone().count() as u64);
        records.for_each(|record| self.metrics.spans.fold(&self.name, &self.topic, record, took));
    }
    fn replayed(&self, records: u64) {
        _ = self.took();
        self.records.inc_by(records);
        self.replayed.inc_by(records); // and was traced when it was folded first
    }
}
