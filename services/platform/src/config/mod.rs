//! Settings: flag over environment over file over default. Unknown keys are refused, secrets are never shown.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
pub use toml::Table;

use crate::args::address;
use crate::budget;
use crate::client::connection::CA;
use crate::client::signed_in::{TOKEN, TOKEN_FILE};
use crate::http::gate::hosts::Name;
use crate::misuse::{Misuse, misused};
use crate::telemetry::LogFormat;

#[cfg(not(feature = "kafka"))]
#[path = "alone.rs"]
mod cluster;
#[cfg(feature = "kafka")]
mod cluster;

mod identity;
mod listen;
mod sealing;
mod secret;
mod store;
mod tls;
mod traces;

pub use cluster::Cluster;
pub use identity::IdentityConfig;
use listen::Listen;
pub use sealing::SealingConfig;
pub use secret::{KeySetting, Secret};
pub use store::StoreSetting;
pub use tls::TlsConfig;
pub use traces::TracesConfig;

/// Settings that an application adds to the platform's own.
pub trait AppSettings: Args + Clone + fmt::Debug {
    /// Its keys. What the settings file says of them is taken out of `file`; flags and variables go before it.
    fn keys(&self, file: &mut toml::Table) -> anyhow::Result<Vec<KeySetting>>;

    /// The stores that services of its live in, named or not; the settings file is read as for keys.
    fn stores(&self, file: &mut toml::Table) -> anyhow::Result<Vec<StoreSetting>> {
        let _none = file;
        Ok(vec![])
    }
}

/// No settings but the platform's.
#[derive(Args, Clone, Debug, Default)]
pub struct NoSettings {}

impl AppSettings for NoSettings {
    fn keys(&self, _: &mut toml::Table) -> anyhow::Result<Vec<KeySetting>> {
        Ok(vec![])
    }
}

/// What `up` and `serve` can be told.
#[derive(Args, Clone, Debug)]
pub struct Flags<S: AppSettings = NoSettings> {
    /// Where everything is kept [default: ./daybook-data]
    #[arg(long, env = "DAYBOOK_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where HTTP is served: an address or a name, and a port; the port alone is loopback's [default: 127.0.0.1:8080]
    #[arg(long, env = "DAYBOOK_LISTEN", value_name = "HOST:PORT")]
    listen: Option<Listen>,
    /// Partitions of a new log; settled when it is created [default: 8]
    #[arg(long, env = "DAYBOOK_PARTITIONS", value_name = "N")]
    partitions: Option<u16>,
    /// Memory that this process stays within: caches, write buffers and queues follow from it; 320MiB or more [default: 1GiB]
    #[arg(long, env = "DAYBOOK_MEMORY", value_name = "SIZE", value_parser = budget::parse)]
    memory: Option<usize>,
    /// Seconds that a stop may take before the process ends anyway [default: 20]
    #[arg(long, env = "DAYBOOK_SHUTDOWN_SECONDS", value_name = "S")]
    shutdown_seconds: Option<u64>,
    /// What is logged, as tracing's filter [default: info]
    #[arg(long, env = "DAYBOOK_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// How it is logged [default: text on a terminal, json otherwise]
    #[arg(long, env = "DAYBOOK_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Logs every HTTP request: method, path, status, how long it took, and whose it was
    #[arg(long, env = "DAYBOOK_ACCESS_LOG")]
    access_log: bool,
    #[command(flatten)]
    identity: identity::IdentityFlags,
    #[command(flatten)]
    sealing: sealing::SealingFlags,
    #[command(flatten)]
    tls: tls::TlsFlags,
    #[command(flatten)]
    traces: traces::TracesFlags,
    #[command(flatten)]
    application: S,
    /// Opens a log in the data directory that is damaged, or has lost what was folded from it, as far as it can be read: the rest is lost,
    /// and what was folded of it is set aside. For one start
    #[arg(long)]
    accept_loss: bool,
    #[command(flatten)]
    cluster: Cluster,
    /// Where other instances reach this one's HTTP [default: the address it listens on]
    #[arg(long, env = "DAYBOOK_ADVERTISE", value_name = "URL")]
    advertise: Option<String>,
    /// A name under which callers and their pages reach this process, besides its addresses; can be given more than once
    #[arg(long, env = "DAYBOOK_ALLOW_HOST", value_name = "NAME[:PORT]", value_delimiter = ',')]
    allow_host: Vec<Name>,
    /// Settings file (TOML)
    #[arg(long, env = "DAYBOOK_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The same in a file.
#[derive(Default, Deserialize)]
struct File {
    data: Option<PathBuf>,
    listen: Option<Listen>,
    partitions: Option<u16>,
    memory: Option<Size>,
    shutdown_seconds: Option<u64>,
    log: Option<String>,
    log_format: Option<LogFormat>,
    access_log: Option<bool>,
    advertise: Option<String>,
    allow_host: Option<Vec<String>>,
    #[serde(flatten)]
    identity: identity::File,
    #[serde(flatten)]
    sealing: sealing::File,
    #[serde(flatten)]
    tls: tls::File,
    #[serde(flatten)]
    traces: traces::File,
    #[serde(flatten)]
    cluster: cluster::File,
    /// the application's, and mistakes
    #[serde(flatten)]
    rest: toml::Table,
}

/// An amount of memory in a file: as flags have it, or a number of bytes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    Bytes(usize),
    Text(String),
}

impl Size {
    fn bytes(self) -> anyhow::Result<usize> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Text(text) => Ok(budget::parse(&text).map_err(|why| Misuse::new(format!("memory: {why}")))?),
        }
    }
}

/// What holds.
#[derive(Clone, Debug)]
pub struct Config {
    /// where everything is kept
    pub data: PathBuf,
    /// where HTTP is served
    pub listen: SocketAddr,
    /// who calls, and how that is known
    pub identity: IdentityConfig,
    /// whether personal data is sealed, and where its keys are
    pub sealing: SealingConfig,
    /// TLS, and where operators' routes are
    pub tls: TlsConfig,
    /// partitions of a new log
    pub partitions: Option<u16>,
    /// bytes of memory that the process stays within
    pub memory: usize,
    /// where traces go
    pub traces: TracesConfig,
    /// seconds that a stop may take
    pub shutdown_seconds: u64,
    /// what is logged
    pub log: String,
    /// how it is logged; by where it goes if not said
    pub log_format: Option<LogFormat>,
    /// every request is logged
    pub access_log: bool,
    /// the application's keys
    pub keys: Vec<KeySetting>,
    /// where services are kept that live in a store
    pub stores: Vec<StoreSetting>,
    /// a damaged log is opened as far as it can be read
    pub accept_loss: bool,
    /// where the log is
    pub cluster: Cluster,
    /// where others reach this instance
    pub advertise: Option<String>,
    /// names it is called by, besides its addresses
    pub allow_host: Vec<Name>,
}

impl Config {
    /// From flags and environment (which `clap` has merged), then the file, then defaults. What is wrong in them is misuse.
    pub fn from<S: AppSettings>(flags: Flags<S>) -> anyhow::Result<Self> {
        let path = flags.config;
        let mut file = path.as_deref().map(read).transpose()?.unwrap_or_default();
        let (keys, stores) = (flags.application.keys(&mut file.rest)?, flags.application.stores(&mut file.rest)?);
        let listen = flags.listen.or(file.listen.take()).map(|listen| listen.address()).transpose()?;
        let listen = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
        let admin_listen = flags.tls.admin_listen.clone().or(file.tls.admin_listen.take()).map(|listen| listen.address()).transpose()?;
        let config = Self {
            data: flags.data.or(file.data).unwrap_or_else(|| PathBuf::from("./daybook-data")),
            listen,
            identity: flags.identity.or(file.identity, &mut file.rest, listen)?,
            sealing: flags.sealing.or(file.sealing, &mut file.rest)?,
            tls: flags.tls.or(file.tls, admin_listen)?,
            partitions: flags.partitions.or(file.partitions),
            memory: flags.memory.map_or_else(|| file.memory.take().map_or(Ok(budget::USUAL), Size::bytes), Ok)?,
            traces: flags.traces.or(file.traces)?,
            shutdown_seconds: flags.shutdown_seconds.or(file.shutdown_seconds).unwrap_or(20),
            log: flags.log.or(file.log).unwrap_or_else(|| "info".to_owned()),
            log_format: flags.log_format.or(file.log_format),
            access_log: flags.access_log || file.access_log == Some(true),
            keys,
            stores,
            accept_loss: flags.accept_loss,
            cluster: flags.cluster.or(file.cluster),
            advertise: flags.advertise.or(file.advertise),
            allow_host: if flags.allow_host.is_empty() {
                let named = file.allow_host.unwrap_or_default();
                named.iter().map(|name| name.parse().map_err(|why: String| Misuse::new(format!("allow_host: {why}")))).collect::<Result<_, _>>()?
            } else {
                flags.allow_host
            },
        };
        if let (Some(unknown), Some(path)) = (file.rest.keys().next(), &path) {
            misused!("settings file {}: {}unknown setting '{unknown}'", path.display(), line_of(path, unknown));
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> anyhow::Result<()> {
        let (listen, on_kafka) = (self.listen, self.cluster.brokers().is_some());
        self.cluster.check()?;
        if on_kafka && self.accept_loss {
            misused!("--accept-loss is for a log in the data directory, and this one is on Kafka");
        }
        if on_kafka && self.advertise.is_none() && listen.ip().is_unspecified() {
            misused!("{listen} is no address that other instances can call: add --advertise http://<this host>:{}", listen.port());
        }
        if let Some(why) = self.advertise.as_deref().and_then(|url| address(url).err()) {
            misused!("advertise: {why}");
        }
        budget::check(self.memory)?;
        if self.partitions == Some(0) {
            misused!("a log has at least 1 partition");
        }
        crate::telemetry::filter(&self.log, self.access_log)?;
        self.keys.iter().try_for_each(|key| key.origin().map(|_| ()))?;
        self.tls.admin_listen.map_or(Ok(()), |admin| self.identity.check(admin, self.tls.certificates.is_some()))?;
        self.identity.check(listen, self.tls.certificates.is_some())
    }

    /// As a settings file that says the same, but for secrets: those stand there as comments.
    pub fn as_file(&self) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let mut lines = vec![];
        let mut set = |key: &str, value: Option<String>| lines.extend(value.map(|value| format!("{key} = {value}")));
        set("data", Some(quoted(&self.data.to_string_lossy())));
        set("listen", Some(quoted(&self.listen.to_string())));
        self.tls.lines(quoted).into_iter().for_each(|(key, value)| set(key, value));
        self.identity.lines(quoted).into_iter().for_each(|(key, value)| set(key, value));
        self.sealing.lines(quoted).into_iter().for_each(|(key, value)| set(key, value));
        set("partitions", self.partitions.map(|number| number.to_string()));
        set("memory", Some(self.memory.to_string()));
        self.traces.lines(quoted).into_iter().for_each(|(key, value)| set(key, value));
        set("shutdown_seconds", Some(self.shutdown_seconds.to_string()));
        set("log", Some(quoted(&self.log)));
        set("log_format", self.log_format.map(|format| quoted(if format == LogFormat::Text { "text" } else { "json" })));
        set("access_log", Some(self.access_log.to_string()));
        for key in &self.keys {
            set(&format!("# {}_key", key.spec.name), key.given.as_ref().map(|_| quoted("(redacted)")));
        }
        for setting in &self.stores {
            set(&format!("# {}", setting.name), setting.store.as_ref().map(|_| quoted("(redacted)")));
        }
        self.cluster.lines(quoted).into_iter().for_each(|(key, value)| set(key, Some(value)));
        set("advertise", self.advertise.as_deref().map(quoted));
        let named: Vec<String> = self.allow_host.iter().map(|name| quoted(&name.to_string())).collect();
        set("allow_host", (!named.is_empty()).then(|| format!("[{}]", named.join(", "))));
        lines.extend(self.cluster.part(quoted));
        lines.join("\n")
    }
}

fn read(file: &Path) -> anyhow::Result<File> {
    let wrong = |why: &dyn fmt::Display| Misuse::new(format!("settings file {}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|why| wrong(&why))?;
    // Without the line itself: it may hold a password.
    let line = |why: &toml::de::Error| why.span().map_or_else(String::new, |at| format!("line {}: ", text[..at.start.min(text.len())].lines().count().max(1)));
    toml::from_str(&text).map_err(|why| wrong(&format!("{}{}", line(&why), why.message())).into())
}

/// Where a setting stands in a file, to be put before what is wrong with it.
fn line_of(file: &Path, setting: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let names = |line: &str| {
        line.trim_start()
            .trim_start_matches(['[', '"'])
            .strip_prefix(setting)
            .is_some_and(|rest| !rest.starts_with(|sign: char| sign.is_alphanumeric() || sign == '_'))
    };
    text.lines().position(names).map(|at| format!("line {}: ", at + 1)).unwrap_or_default()
}

/// That every variable that begins as the platform's do is one that a command knows: anything else is a typing error.
pub fn check_variables(command: &clap::Command) -> anyhow::Result<()> {
    let mut known: Vec<String> = variables(command);
    known.extend([TOKEN, TOKEN_FILE, CA].map(str::to_owned)); // every client looks at these
    known.sort();
    known.dedup();
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("DAYBOOK_") && !known.contains(&name) {
            misused!("environment variable {name} is none of Daybook's: {}", known.join(", "));
        }
    }
    Ok(())
}

fn variables(command: &clap::Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(|argument| Some(argument.get_env()?.to_string_lossy().into_owned()));
    let own = own.filter(|name| name.starts_with("DAYBOOK_"));
    own.chain(command.get_subcommands().flat_map(variables)).collect()
}
