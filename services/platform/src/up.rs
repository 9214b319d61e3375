//! `daybook up` and `daybook serve`: services in one process, until it is told to stop. What was accepted is finished before it ends.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use eventstore::clock::{Clock, SystemClock};
use kernel::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::application::Application;
use crate::capability::Capability;
use crate::config::{AppSettings, Config, Flags};
use crate::http::doors::Doors;
use crate::identity::limits::Limits;
use crate::location::LogLocation;
use crate::misuse::misused;
use crate::runtime::{IdentityStart, Platform, Signals, Start};
use crate::telemetry::{Exporter, Spans};
use crate::{documents, http, out, telemetry};

/// Worker threads of HTTP: routes do little, the log's threads do the rest.
const HTTP_THREADS: usize = 2;
/// Connections of operators at once, where they have a listener of their own.
const ADMIN_CONNECTIONS: usize = 64;

/// A clock that has come to here is wrong. What it dates would keep the log's time there for good.
const CLOCK_MAX: Timestamp = Timestamp(32_503_680_000_000_000); // the year 3000
/// How long callers still wait for what they asked when the process is told to stop.
const WAITS_END: Duration = Duration::from_secs(2);
/// How long a broken process's threads get to end.
const BROKEN: Duration = Duration::from_secs(3);
/// How often a long start says how far it is.
const PROGRESS: Duration = Duration::from_secs(2);

/// Which services run here, and how.
#[derive(clap::Args)]
pub struct Args<S: AppSettings> {
    /// The services that this process runs
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
    #[command(flatten)]
    flags: Flags<S>,
}

/// Runs some services, on a log that other processes share.
pub fn some<S: AppSettings>(args: Args<S>, application: &Application) -> anyhow::Result<ExitCode> {
    let config = Config::from(args.flags)?;
    let known: Vec<&str> = application.services().iter().map(|capability| capability.service.name).collect();
    if let Some(other) = args.services.iter().find(|service| !known.contains(&service.as_str())) {
        misused!("there is no service '{other}': {}", known.join(", "));
    }
    if let Some(homeless) = config.stores.iter().find(|setting| setting.store.is_none() && args.services.iter().any(|service| service == setting.service)) {
        misused!("{} lives in a store that is not named: add --{}", homeless.service, homeless.name);
    }
    if config.cluster.brokers().is_none() {
        misused!("serve needs --brokers: a log in a directory belongs to one process, which is what `up` is for");
    }
    // Two that differ in it would each let an address be somebody's.
    let identity = Some(&config.identity.key);
    if config.identity.required && config.identity.signing_keys.is_none() {
        misused!("serve with --auth required needs --signing-keys (or DAYBOOK_SIGNING_KEYS): a file that every instance reads, made by `keys rotate`");
    }
    if let Some(key) = config.keys.iter().chain(identity).find(|key| key.given.is_none()) {
        let name = key.spec.name;
        misused!(
            "serve needs --{name}-key (or DAYBOOK_{}_KEY), the same for every instance, since each makes {}: 64 hex digits, as openssl rand -hex 32 gives them",
            name.to_ascii_uppercase(),
            key.spec.makes
        );
    }
    run(&config, Some(args.services), application)
}

/// Runs until SIGINT, SIGTERM or SIGHUP, or until a part cannot go on.
pub fn run(config: &Config, runs: Option<Vec<String>>, application: &Application) -> anyhow::Result<ExitCode> {
    telemetry::logs(telemetry::filter(&config.log, config.access_log)?, config.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(HTTP_THREADS).enable_all().build()?;
    let ended = runtime.block_on(serve(config, runs, application));
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn serve(config: &Config, runs: Option<Vec<String>>, application: &Application) -> anyhow::Result<ExitCode> {
    let connections = http::gate::files::raise()?;
    let wall = SystemClock::default().wall();
    anyhow::ensure!(
        (Timestamp(0)..CLOCK_MAX).contains(&wall),
        "this machine's clock stands at {wall}: set it, since what is written now is dated by it for ever (1970 to {CLOCK_MAX} is believed)"
    );
    let listener = tokio::net::TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}: is another daybook running there? name another with --listen", config.listen))?;
    let address = listener.local_addr()?;
    let tls = config.tls.open()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let advertised = config.advertise.clone().unwrap_or_else(|| format!("{scheme}://{address}"));
    let admin = match config.tls.admin_listen {
        Some(admin) => Some(tokio::net::TcpListener::bind(admin).await.with_context(|| format!("cannot listen on {admin} for operators"))?),
        None => None,
    };
    let gate = http::gate::Gate::new(http::gate::Hosts::new(address, Some(&advertised), &config.allow_host));
    let on_kafka = config.cluster.location(config.partitions, Some(advertised.clone()));
    let Some(log) = on_kafka.or_else(|| LogLocation::here(config.partitions, config.accept_loss)) else {
        misused!("this program was built without a log of its own (the feature embedded): name Kafka's brokers with --brokers");
    };
    let keys = config.keys.iter().map(|key| Ok((key.spec, key.origin()?))).collect::<anyhow::Result<_>>()?;
    let identity = IdentityStart {
        required: config.identity.required,
        behind_proxy: config.identity.behind_proxy,
        signing_keys: config.identity.signing_keys.clone(),
        key: config.identity.key.origin()?,
        limits: Limits::new(config.identity.rate_limit, config.identity.rate_limit_unknown),
        tls: tls.clone(),
        tls_ca: config.tls.ca.clone(),
        ..IdentityStart::of(application)
    };
    let sealing = config.sealing.start(&config.data, runs.is_some())?;
    let mut capabilities = application.services();
    config.stores.iter().for_each(|setting| setting.keep(&mut capabilities));
    if runs.is_none() {
        homeless(config).for_each(|(service, setting)| tracing::info!("{service} does not run here: it lives in a store that is not named, with --{setting}"));
    }
    let runs = runs.or_else(|| all_but_homeless(config, &capabilities));
    let system = if log.is_here() { "daybook" } else { "kafka" };
    let spans = match &config.traces.otlp {
        Some(otlp) => Spans::to(Exporter::start(otlp, application.name, &advertised, tokio::runtime::Handle::current())?, config.traces.ratio, system),
        None => Spans::default(),
    };
    let start = Start {
        data: config.data.clone(),
        log,
        rules: application.rules,
        runs,
        keys,
        capabilities,
        homeless: homeless(config).collect(),
        sealing,
        identity,
        memory: config.memory,
        version: application.version,
        spans,
    };
    let memory = start.budget()?.said();
    let (mut interrupted, mut terminated) = (signal(SignalKind::interrupt())?, Terminated::heard()?);
    let (doors, signals) = (Doors::default(), Signals::default());
    let (stopping, stop) = tokio::sync::watch::channel(false);
    let router = doors.router().layer(axum::middleware::from_fn(http::access::log));
    let server = tokio::spawn(http::gate::serve(listener, tls.clone(), router, connections, stop.clone()));
    let operators = Doors::default();
    let admin = admin.map(|listener| {
        let address = listener.local_addr().ok();
        let router = operators.router().layer(axum::middleware::from_fn(http::access::log));
        (address, tokio::spawn(http::gate::serve(listener, tls.clone(), router, ADMIN_CONNECTIONS, stop)))
    });
    let of_start = signals.clone();
    let starting = tokio::task::spawn_blocking(move || Platform::start(start, &of_start));
    let (platform, routes) = tokio::select! {
        started = starting => started??,
        () = signals.failed.notified() => return ended_in_start(true),
        _ = interrupted.recv() => return ended_in_start(false),
        _ = terminated.recv() => return ended_in_start(false),
    };
    let (app, routes) = (std::sync::Arc::clone(&platform.app), documents::routes(application, routes));
    let whose = if admin.is_some() { http::Whose::Callers } else { http::Whose::Everyone };
    doors.open(http::router(std::sync::Arc::clone(&app), &routes, gate, whose));
    if let Some(address) = admin.as_ref().and_then(|(address, _)| *address) {
        let gate = http::gate::Gate::new(http::gate::Hosts::new(address, None, &config.allow_host));
        operators.open(http::router(app, &routes, gate, http::Whose::Operators));
    }
    let admin_at = admin.as_ref().and_then(|(address, _)| *address);
    let ready = async {
        until_ready(&platform.app).await;
        let operators = admin_at.map(|address| format!("{scheme}://{address}"));
        greet(config, application, &format!("{scheme}://{address}"), operators.as_deref(), &memory);
        std::future::pending::<()>().await;
    };
    let broken = tokio::select! {
        _ = interrupted.recv() => false,
        _ = terminated.recv() => false,
        () = signals.failed.notified() => true,
        () = ready => true, // never ends
    };
    out::note("stopping: finishing what was accepted (again to stop at once)");
    // What cannot go on has nothing to finish: its threads get a moment, so that no database is torn down under them.
    let deadline = if broken { BROKEN } else { Duration::from_secs(config.shutdown_seconds) };
    stopping.send_replace(true);
    platform.app.end_waits(tokio::time::Instant::now() + WAITS_END);
    let drained = async {
        // Handlers first: they still need workers for their answers.
        let servers = async {
            (
                server.await,
                if let Some((_, admin)) = admin {
                    drop(admin.await)
                },
            )
        };
        if tokio::time::timeout(deadline, servers).await.is_err() {
            tracing::warn!("requests were still open at the deadline; their commands are safe in the log");
        }
        // On a thread of its own: a second signal is heard meanwhile, and nothing waits for it then.
        let (ended, end) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || ended.send(platform.stop(deadline)));
        end.await.unwrap_or_else(|_| Err(anyhow::anyhow!("the end of the process panicked; what was acknowledged is safe in the log")))
    };
    let stopped = tokio::select! {
        stopped = drained => stopped,
        _ = interrupted.recv() => Err(anyhow::anyhow!("stopped at once; what was acknowledged is safe in the log")),
    };
    if broken {
        stopped.err().into_iter().for_each(out::note);
        return Ok(ExitCode::FAILURE);
    }
    stopped.map(|()| ExitCode::SUCCESS)
}

/// The ways to be told to stop that are no key on the terminal: SIGTERM, and SIGHUP, which a terminal that goes away sends.
struct Terminated {
    terminated: Signal,
    hung_up: Option<Signal>,
}

impl Terminated {
    /// Whoever started this process with SIGHUP ignored (nohup) wants it to outlive its terminal.
    fn heard() -> std::io::Result<Self> {
        let ignored = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| {
            let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
            u64::from_str_radix(mask.trim(), 16).ok()
        });
        let hung_up = SignalKind::hangup();
        let wanted = ignored.is_none_or(|mask| mask & (1 << (hung_up.as_raw_value() - 1)) == 0);
        Ok(Self { terminated: signal(SignalKind::terminate())?, hung_up: wanted.then(|| signal(hung_up)).transpose()? })
    }

    async fn recv(&mut self) {
        match &mut self.hung_up {
            Some(hung_up) => tokio::select!(_ = self.terminated.recv() => {}, _ = hung_up.recv() => {}),
            None => drop(self.terminated.recv().await),
        }
    }
}

/// The end of a process that was still opening its parts. They hold nothing that was acknowledged, and may take long.
fn ended_in_start(broken: bool) -> anyhow::Result<ExitCode> {
    out::note(if broken { "stopping: a part cannot go on" } else { "stopped while it was starting" });
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Services whose store is not named, and what would name it.
fn homeless(config: &Config) -> impl Iterator<Item = (&'static str, &'static str)> {
    config.stores.iter().filter(|setting| setting.store.is_none()).map(|setting| (setting.service, setting.name))
}

/// The services that run where nobody said which, if not all can.
fn all_but_homeless(config: &Config, capabilities: &[Capability]) -> Option<Vec<String>> {
    homeless(config).next()?;
    let names = capabilities.iter().map(|capability| capability.service.name);
    Some(names.filter(|name| homeless(config).all(|(service, _)| service != *name)).map(str::to_owned).collect())
}

/// Waits until everything is current, and says on the way how far it is.
async fn until_ready(app: &http::app::App) {
    let mut told = tokio::time::Instant::now();
    while !app.metrics.standing.ready() || app.views.all().any(|view| !view.is_ready() && view.failed().is_none()) {
        if told.elapsed() >= PROGRESS {
            let (done, all) = app.views.all().map(|view| view.progress()).fold((0, 0), |sum, view| (sum.0 + view.0, sum.1 + view.1));
            let wrong: Vec<String> = app.metrics.standing.checks().into_iter().filter_map(|(check, wrong)| Some(format!("{check}: {}", wrong?))).collect();
            out::note(format!(
                "starting: views have folded {done} of {all} offsets; {}",
                if wrong.is_empty() { "heads are current".to_owned() } else { wrong.join("; ") }
            ));
            told = tokio::time::Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn greet(config: &Config, application: &Application, url: &str, operators: Option<&str>, memory: &str) {
    let program = std::env::args().next().unwrap_or_else(|| application.name.to_owned());
    let data = std::fs::canonicalize(&config.data).unwrap_or_else(|_| config.data.clone());
    let log = config.cluster.brokers().map_or_else(
        || "with the data (durable: every answer is synced to disk first)".to_owned(),
        |brokers| format!("Kafka at {brokers} (durable: every answer is acknowledged by all replicas in sync first)"),
    );
    let admin = operators.map(|url| format!("  operators {url}\n")).unwrap_or_default();
    let missing: String = homeless(config).map(|(service, setting)| format!("  without  {service}, which lives elsewhere: --{setting} says where\n")).collect();
    let line = |line: &str, url: &str| format!("\n  {}", line.replace("{program}", &program).replace("{url}", url));
    let tried = application.try_next.iter().map(|tried| line(tried, url));
    let asked = operators.unwrap_or(url); // what operators alone may do
    let next: String = tried.chain([line("{program} verify --url {url}", asked)]).collect();
    let open = "open: everyone may do everything, since only this machine reaches it (--auth required asks who calls)";
    let auth = if config.identity.required { "required: sign in first (`login`)" } else { open };
    out::greeting(format!(
        "Daybook is ready.\n\n  HTTP     {url}\n  health   {url}/readyz?verbose\n  metrics  {asked}/metrics\n  data     {}\n  log      {log}\n  sign-in  {auth}\n  memory   {memory}\n{admin}{missing}\nTry next:{next}\n",
        data.display()
    ));
}
