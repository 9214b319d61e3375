//! Looks every few seconds at what nobody tells by itself: whether the log answers, how old what views have not folded is,
//! what waits, and how much room is left. What it finds stays as it is while the log is away: `daybook_log_reachable` says so.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use eventstore::control::Control;
use eventstore::memory::{Figures, Memory};
use eventstore::{Fault, Limits};
use schemas::Partition;

use crate::http::app::App;
use crate::http::operate::{disk, sagas};
use crate::telemetry::Sampled;

/// How often it looks.
pub const EVERY: Duration = Duration::from_secs(5);
/// How often it looks at what takes longer: directories, sagas, dead letters.
const SLOWLY: Duration = Duration::from_secs(15);

/// Looks at the parts of a process.
pub struct Sampler {
    app: App,
    memory: Memory,
    /// the directories whose file systems are looked at
    places: Vec<(&'static str, PathBuf)>,
    looked: Option<Instant>,
}

impl Sampler {
    /// Of a process whose databases share this memory, and which keeps its files in `places`.
    pub fn new(app: App, memory: Memory, places: Vec<(&'static str, PathBuf)>) -> Self {
        Self { app, memory, places, looked: None }
    }

    /// Looks once.
    pub fn turn(&mut self) -> Result<(), Fault> {
        let slowly = self.looked.is_none_or(|at| at.elapsed() >= SLOWLY);
        self.machine(slowly);
        self.app.log.end(&Control::spec().topic, Partition(0))?;
        self.app.metrics.answered();
        self.folds()?;
        if slowly {
            self.waiting()?;
            self.looked = Some(Instant::now());
        }
        Ok(())
    }

    fn sampled(&self) -> &Sampled {
        &self.app.metrics.families.sampled
    }

    /// Views: the first of what each partition has that is not folded. The log is asked only where there is something, and gives
    /// it from memory unless a view is far behind.
    fn folds(&self) -> Result<(), Fault> {
        let (log, one) = (&self.app.log, Limits { records: 1, ..Limits::default() });
        for view in self.app.views.all() {
            let (mut oldest, positions) = (None, view.positions());
            for (partition, _) in view.lag_seen().into_iter().filter(|(_, lag)| *lag > 0) {
                let Some((topic, _, next)) = positions.iter().find(|(_, of, _)| *of == partition) else { continue };
                // Where there is no record, only a transaction's end lies ahead.
                let first = log.read(topic, partition, *next, one)?.records.first().map(|record| record.recorded_at);
                oldest = oldest.into_iter().chain(first).min();
            }
            let micros = oldest.map_or(0, |oldest| log.now().0.saturating_sub(oldest.0).max(0));
            self.sampled().fold_lag_seconds.with_label_values(&[view.name()]).set(micros as f64 / 1e6);
        }
        Ok(())
    }

    /// Sagas and dead letters.
    fn waiting(&self) -> Result<(), Fault> {
        let (app, sampled) = (&self.app, self.sampled());
        for ((service, aggregate), waits) in sagas::counted(app)? {
            sampled.sagas.with_label_values(&[service, aggregate]).set(waits.open);
            sampled.sagas_overdue.with_label_values(&[service, aggregate]).set(waits.overdue);
            sampled.saga_seconds.with_label_values(&[service, aggregate]).set(waits.seconds);
        }
        for name in app.operator.heads.keys() {
            let Some(service) = app.operator.services.get(name) else { continue };
            let mut present = 0;
            for partition in (0..app.log.partitions()).map(Partition) {
                present += app.operator.discarded.left(app.log.as_ref(), &service.dead_letters(), partition)?;
            }
            sampled.letters.with_label_values(&[name]).set(i64::try_from(present).unwrap_or(i64::MAX));
        }
        Ok(())
    }

    /// Memory, databases, and the disk; the sizes of directories only now and then.
    fn machine(&self, sizes: bool) {
        let (app, sampled) = (&self.app, self.sampled());
        let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        sampled.cache.set(i64::try_from(self.memory.used()).unwrap_or(i64::MAX));
        let heads = app.operator.heads.iter().map(|(name, rows)| (format!("heads/{name}"), rows.figures()));
        let views = app.views.all().map(|view| (format!("views/{}", view.name()), view.rows().figures()));
        let log = app.log.figures().map(|figures| ("log".to_owned(), figures));
        for (database, figures) in heads.chain(views).chain(log) {
            let Figures { memtable_bytes, table_bytes, pending_compaction_bytes, running_compactions, write_stopped, background_errors } = figures;
            for (gauge, value) in [
                (&sampled.memtables, memtable_bytes),
                (&sampled.tables, table_bytes),
                (&sampled.compactions_pending, pending_compaction_bytes),
                (&sampled.compactions, running_compactions),
                (&sampled.write_stopped, u64::from(write_stopped)),
                (&sampled.background_errors, background_errors),
            ] {
                gauge.with_label_values(&[&database]).set(number(value));
            }
        }
        for broker in app.log.brokers() {
            sampled.brokers.with_label_values(&[&broker.name]).set(broker.up.into());
            sampled.round_trips.with_label_values(&[&broker.name]).set(broker.round_trip_seconds);
        }
        for (name, place) in &self.places {
            if let Some((free, size)) = room(place) {
                sampled.disk_free.with_label_values(&[name]).set(number(free));
                sampled.disk_size.with_label_values(&[name]).set(number(size));
            }
        }
        if sizes {
            for (component, bytes) in disk::sizes(&app.operator) {
                sampled.kept.with_label_values(&[&component]).set(number(bytes));
            }
        }
    }
}

/// Bytes that this process may still write where a directory is, and all there are.
fn room(place: &Path) -> Option<(u64, u64)> {
    let found = rustix::fs::statvfs(place).ok()?;
    Some((found.f_bavail.saturating_mul(found.f_frsize), found.f_blocks.saturating_mul(found.f_frsize)))
}
