//! The metrics themselves: what each is called, what it tells, and its labels.

use prometheus::core::Collector;
use prometheus::{Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// Upper bounds of the histograms' buckets.
const SECONDS: [f64; 15] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// The same for what a disk does, and for folds in memory.
const FINE_SECONDS: [f64; 15] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// All of a process's metrics.
pub struct Families {
    pub(super) registry: Registry,
    pub(super) commands: IntCounterVec,
    pub(super) stale: IntCounterVec,
    pub(super) events: IntCounterVec,
    pub(super) money: CounterVec,
    pub(super) dead_letters: IntCounterVec,
    pub(super) discarded: IntCounterVec,
    pub(super) passed_over: IntCounterVec,
    pub(super) thrown_away: IntCounterVec,
    pub(super) commits: IntCounterVec,
    pub(super) commit_seconds: HistogramVec,
    pub(super) committed_records: IntCounterVec,
    pub(super) sync_seconds: Histogram,
    pub(super) stopped: IntGaugeVec,
    pub(super) troubled: IntGaugeVec,
    pub(super) topics_wrong: IntGauge,
    pub(super) owned: IntGaugeVec,
    pub(super) lag: IntGaugeVec,
    pub(super) position: IntGaugeVec,
    pub(super) fold_failed: IntGaugeVec,
    pub(super) fold_seconds: HistogramVec,
    pub(super) folded_records: IntCounterVec,
    pub(super) replayed_records: IntCounterVec,
    pub(super) replay_progress: GaugeVec,
    pub(super) time_ahead: Gauge,
    pub(super) cpu: Counter,
    pub(super) ready: IntGauge,
    pub(super) log_reachable: IntGauge,
    pub(super) spans: IntCounterVec,
    /// what a look at the log and the disk finds every few seconds
    pub sampled: Sampled,
    /// durations of requests, by route
    pub requests: HistogramVec,
    /// durations of commands that were waited for, by type
    pub command_seconds: HistogramVec,
}

/// What is looked at every few seconds.
pub struct Sampled {
    /// commands that no worker here has decided, of partitions that are owned here
    pub backlog: IntGaugeVec,
    /// the age of the oldest of them
    pub backlog_seconds: GaugeVec,
    /// events of other services that a worker or a router here has not read
    pub reader_lag: IntGaugeVec,
    /// the age of the oldest of them
    pub reader_lag_seconds: GaugeVec,
    /// the age of the oldest event that a view has not folded
    pub fold_lag_seconds: GaugeVec,
    /// dead letters that are not discarded
    pub letters: IntGaugeVec,
    /// sagas that have not ended
    pub sagas: IntGaugeVec,
    /// those that should have
    pub sagas_overdue: IntGaugeVec,
    /// by how much the one that is furthest behind should have
    pub saga_seconds: IntGaugeVec,
    /// space that is left where a directory is
    pub disk_free: IntGaugeVec,
    /// all space there
    pub disk_size: IntGaugeVec,
    /// what the parts of a process keep
    pub kept: IntGaugeVec,
    /// of databases: memory of rows that are not in tables yet
    pub memtables: IntGaugeVec,
    /// of databases: tables
    pub tables: IntGaugeVec,
    /// of databases: what compactions have to rewrite
    pub compactions_pending: IntGaugeVec,
    /// of databases: compactions at work
    pub compactions: IntGaugeVec,
    /// of databases: writes wait
    pub write_stopped: IntGaugeVec,
    /// of databases: errors in the background
    pub background_errors: IntGaugeVec,
    /// blocks and write buffers of all databases
    pub cache: IntGauge,
    /// how the memory of a process is divided
    pub budget: IntGaugeVec,
    /// connections of Kafka's client to its brokers
    pub brokers: IntGaugeVec,
    /// how long a broker takes to answer
    pub round_trips: GaugeVec,
}

/// Makes metrics, and registers them.
struct Made<'r>(&'r Registry);

impl Made<'_> {
    fn of<T: Collector + Clone + 'static>(&self, made: prometheus::Result<T>) -> prometheus::Result<T> {
        let made = made?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }
    fn counter(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.of(IntCounterVec::new(Opts::new(format!("daybook_{name}"), help), labels))
    }
    fn sum(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<CounterVec> {
        self.of(CounterVec::new(Opts::new(format!("daybook_{name}"), help), labels))
    }
    fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.of(IntGaugeVec::new(Opts::new(format!("daybook_{name}"), help), labels))
    }
    fn fraction(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
        self.of(GaugeVec::new(Opts::new(format!("daybook_{name}"), help), labels))
    }
    fn one(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.of(IntGauge::with_opts(Opts::new(format!("daybook_{name}"), help)))
    }
    fn histogram(&self, name: &str, help: &str, seconds: [f64; 15], labels: &[&str]) -> prometheus::Result<HistogramVec> {
        self.of(HistogramVec::new(HistogramOpts::new(format!("daybook_{name}"), help).buckets(seconds.to_vec()), labels))
    }
}

impl Families {
    /// All of them, and those of the process itself.
    /// `version` is the application's, as `--version` says it: with the revision in brackets.
    pub fn new(version: &str) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let made = Made(&registry);
        let (number, revision) = version.split_once(" (").unwrap_or((version, "unknown"));
        let sync = HistogramOpts::new("daybook_log_sync_duration_seconds", "Durations of the embedded log's writes until they are on the disk");
        made.gauge("build_info", "Always 1; version and revision are labels", &["version", "revision"])?
            .with_label_values(&[number, revision.trim_end_matches(')')])
            .set(1);
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self {
            commands: made.counter("commands_total", "Commands answered, by type and outcome", &["service", "type", "outcome"])?,
            stale: made.counter("optimistic_conflicts_total", "Commands refused since they were for another version of their aggregate", &["service"])?,
            events: made.counter("events_appended_total", "Events committed, by type", &["service", "type"])?,
            money: made.sum(
                "money_total",
                "Money that changed hands with events committed, by type, in units of the currency",
                &["service", "type", "currency"],
            )?,
            dead_letters: made.counter("dead_letters_total", "Records that became dead letters, by reason", &["service", "reason"])?,
            discarded: made.counter("dead_letters_discarded_total", "Dead letters that an operator discarded here", &["service"])?,
            passed_over: made.counter("events_passed_over_total", "Foreign events that no policy here follows", &["service", "type"])?,
            thrown_away: made.counter("batches_thrown_away_total", "Batches whose commit did not end committed", &["service"])?,
            commits: made.counter("commits_total", "Transactions, by how they ended", &["service", "role", "outcome"])?,
            commit_seconds: made.histogram("commit_duration_seconds", "Durations of transactions until they are durable", SECONDS, &["service", "role"])?,
            committed_records: made.counter("committed_records_total", "Records written by transactions that were committed", &["service", "role"])?,
            sync_seconds: made.of(Histogram::with_opts(sync.buckets(FINE_SECONDS.to_vec())))?,
            stopped: made.gauge("partition_stopped", "1 for a partition that stopped at a record it must not skip", &["reader", "partition"])?,
            troubled: made.gauge("part_troubled", "1 for a part whose turns have failed for a while", &["part"])?,
            topics_wrong: made.one("topics_wrong", "Settings of topics that are not as they were made: records may be lost")?,
            owned: made.gauge("partitions_owned", "Partitions owned", &["service", "role"])?,
            lag: made.gauge("projection_lag_records", "Offsets between a view and its topic's end", &["projection", "partition"])?,
            position: made.gauge("projection_position", "The next offset a view folds", &["projection", "partition"])?,
            fold_failed: made.gauge("projection_failed", "1 for a view of which nothing goes on until the next start", &["projection"])?,
            fold_seconds: made.histogram("projection_apply_duration_seconds", "Durations of folding a batch of events", FINE_SECONDS, &["projection"])?,
            folded_records: made.counter("projection_records_total", "Events folded since the start", &["projection"])?,
            replayed_records: made.counter("replay_records_total", "Events folded before the view had caught up", &["projection"])?,
            replay_progress: made.fraction("replay_progress_ratio", "How much of what was there at the start a view has folded", &["projection"])?,
            time_ahead: made
                .of(Gauge::new("daybook_log_time_ahead_seconds", "Log time minus this machine's clock: a clock is or was wrong where it is not about 0"))?,
            // The collector of processes counts whole seconds.
            cpu: made.of(Counter::new("daybook_process_cpu_seconds_total", "Processor time of this process since its start"))?,
            ready: made.one("ready", "1 if requests can be served")?,
            log_reachable: made.one("log_reachable", "1 if the log has answered within the last seconds")?,
            spans: made.counter("trace_spans_total", "Spans of traces, by what became of them", &["outcome"])?,
            sampled: Sampled::new(&made)?,
            requests: made.histogram("http_request_duration_seconds", "Durations of HTTP requests", SECONDS, &["method", "route", "status"])?,
            command_seconds: made.histogram("command_duration_seconds", "Durations from a command's arrival to its answer", SECONDS, &["service", "type"])?,
            registry,
        })
    }
}

impl Sampled {
    fn new(made: &Made<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            backlog: made.gauge("command_backlog_records", "Offsets of commands that are not decided yet, in partitions owned here", &["service"])?,
            backlog_seconds: made.fraction("command_backlog_seconds", "Age of the oldest command that is not decided yet", &["service"])?,
            reader_lag: made.gauge("reader_lag_records", "Offsets between a worker or router and the end of a topic that it follows", &["reader", "topic"])?,
            reader_lag_seconds: made.fraction("reader_lag_seconds", "Age of the oldest event that a worker or router has not read", &["reader", "topic"])?,
            fold_lag_seconds: made.fraction("projection_lag_seconds", "Age of the oldest event that a view has not folded", &["projection"])?,
            letters: made.gauge("dead_letters_present", "Dead letters that are not discarded", &["service"])?,
            sagas: made.gauge("sagas_open", "Processes that have not ended, in partitions owned here", &["service", "aggregate"])?,
            sagas_overdue: made.gauge(
                "sagas_overdue",
                "Those that should have gone on: a minute past their deadline, or without an answer for a minute",
                &["service", "aggregate"],
            )?,
            saga_seconds: made.gauge("saga_overdue_seconds", "Time since the saga that is furthest behind should have gone on", &["service", "aggregate"])?,
            disk_free: made.gauge("disk_free_bytes", "Space left where a directory is", &["directory"])?,
            disk_size: made.gauge("disk_size_bytes", "All space where a directory is", &["directory"])?,
            kept: made.gauge("data_bytes", "Bytes of files that a part of this process keeps", &["component"])?,
            memtables: made.gauge("rocksdb_memtable_bytes", "Memory of rows that are not in tables yet", &["database"])?,
            tables: made.gauge("rocksdb_sst_bytes", "Bytes of tables on the disk", &["database"])?,
            compactions_pending: made.gauge("rocksdb_pending_compaction_bytes", "Bytes that compactions have to rewrite", &["database"])?,
            compactions: made.gauge("rocksdb_running_compactions", "Compactions at work", &["database"])?,
            write_stopped: made.gauge("rocksdb_write_stopped", "1 if writes wait for compactions", &["database"])?,
            background_errors: made.gauge("rocksdb_background_errors", "Errors of work in the background since the start", &["database"])?,
            cache: made.one("rocksdb_block_cache_bytes", "Blocks and write buffers of all databases in memory")?,
            budget: made.gauge("memory_budget_bytes", "How the memory of --memory is divided", &["part"])?,
            brokers: made.gauge("kafka_broker_up", "1 for a broker that clients here are connected to", &["broker"])?,
            round_trips: made.fraction("kafka_round_trip_seconds", "Mean time a broker took to answer", &["broker"])?,
        })
    }
}
