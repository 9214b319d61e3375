//! Settings: flag over environment over file over default. Unknown keys are refused, secrets are never shown.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args;
use eventstore::kafka;
use serde::Deserialize;

use crate::http::gate::hosts::Name;

/// Where the log is, if not in the data directory.
#[derive(Args, Clone, Debug, Default)]
pub struct Cluster {
    /// Kafka's brokers, separated by commas; without any the log lies in the data directory
    #[arg(long, env = "DAYBOOK_BROKERS", value_name = "HOST:PORT")]
    pub brokers: Option<String>,
    /// A setting of librdkafka, as security.protocol=SASL_SSL; can be given more than once (in the variable: separated by ;)
    #[arg(long, env = "DAYBOOK_KAFKA", value_name = "KEY=VALUE", value_delimiter = ';', hide_env_values = true)]
    pub kafka: Vec<Pair>,
    /// Put before every topic, group and transactional id on Kafka, so that installations can share a cluster
    #[arg(long, env = "DAYBOOK_NAMESPACE", value_name = "TEXT")]
    pub namespace: Option<String>,
    /// Copies of each partition of new topics on Kafka [default: 3, or as many as there are brokers]
    #[arg(long, env = "DAYBOOK_REPLICATION", value_name = "N")]
    pub replication: Option<u16>,
}

impl Cluster {
    /// How the log on Kafka is opened; none if it is not there.
    pub fn settings(&self) -> Option<kafka::Settings> {
        let mut settings = kafka::Settings::new(self.brokers.clone()?);
        settings.client = self.kafka.iter().map(|Pair(key, value)| (key.clone(), value.clone())).collect();
        settings.namespace = self.namespace.clone().unwrap_or_default();
        settings.replication = self.replication;
        Some(settings)
    }
}

/// A setting of librdkafka.
#[derive(Clone)]
pub struct Pair(String, String);

impl fmt::Debug for Pair {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}={}", self.0, kafka::shown(&self.0, &self.1))
    }
}

impl std::str::FromStr for Pair {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
        Ok(Self(key.trim().to_owned(), value.to_owned()))
    }
}

/// What `up` and `serve` can be told.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// Where everything is kept [default: ./daybook-data]
    #[arg(long, env = "DAYBOOK_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where HTTP is served [default: 127.0.0.1:8080]
    #[arg(long, env = "DAYBOOK_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Allow an address other than loopback, although there is no sign-in yet
    #[arg(long, env = "DAYBOOK_INSECURE_LISTEN")]
    insecure_listen: bool,
    /// Partitions of a new log; settled when it is created [default: 8]
    #[arg(long, env = "DAYBOOK_PARTITIONS", value_name = "N")]
    partitions: Option<u16>,
    /// Seconds that a stop may take before the process ends anyway [default: 20]
    #[arg(long, env = "DAYBOOK_SHUTDOWN_SECONDS", value_name = "S")]
    shutdown_seconds: Option<u64>,
    /// What is logged, as tracing's filter [default: info]
    #[arg(long, env = "DAYBOOK_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// Key of card tokens, 64 hex digits; made and kept in the data directory if not given
    #[arg(long, env = "DAYBOOK_CARD_KEY", value_name = "HEX", hide_env_values = true)]
    card_key: Option<Secret>,
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

/// The variables that are known; any other `DAYBOOK_…` is a typing error.
const VARIABLES: [&str; 15] = [
    "DAYBOOK_DATA",
    "DAYBOOK_LISTEN",
    "DAYBOOK_INSECURE_LISTEN",
    "DAYBOOK_PARTITIONS",
    "DAYBOOK_SHUTDOWN_SECONDS",
    "DAYBOOK_LOG",
    "DAYBOOK_CARD_KEY",
    "DAYBOOK_CONFIG",
    "DAYBOOK_URL",
    "DAYBOOK_BROKERS",
    "DAYBOOK_KAFKA",
    "DAYBOOK_NAMESPACE",
    "DAYBOOK_REPLICATION",
    "DAYBOOK_ADVERTISE",
    "DAYBOOK_ALLOW_HOST",
];

/// The same in a file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    listen: Option<SocketAddr>,
    insecure_listen: Option<bool>,
    partitions: Option<u16>,
    shutdown_seconds: Option<u64>,
    log: Option<String>,
    card_key: Option<Secret>,
    brokers: Option<String>,
    kafka: Option<BTreeMap<String, String>>,
    namespace: Option<String>,
    replication: Option<u16>,
    advertise: Option<String>,
    allow_host: Option<Vec<String>>,
}

/// A text that is never printed.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(redacted)")
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl Secret {
    /// As a key of 32 bytes.
    pub fn key(&self) -> anyhow::Result<[u8; 32]> {
        let wrong = "card_key must be 64 hex digits";
        ensure!(self.0.len() == 64 && self.0.is_ascii(), wrong);
        let mut key = [0; 32];
        for (at, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&self.0[2 * at..2 * at + 2], 16).map_err(|_| anyhow::anyhow!(wrong))?;
        }
        Ok(key)
    }
}

/// What holds.
#[derive(Clone, Debug)]
pub struct Config {
    /// where everything is kept
    pub data: PathBuf,
    /// where HTTP is served
    pub listen: SocketAddr,
    /// partitions of a new log
    pub partitions: Option<u16>,
    /// seconds that a stop may take
    pub shutdown_seconds: u64,
    /// what is logged
    pub log: String,
    /// key of card tokens
    pub card_key: Option<Secret>,
    /// where the log is
    pub cluster: Cluster,
    /// where others reach this instance
    pub advertise: Option<String>,
    /// names it is called by, besides its addresses
    pub allow_host: Vec<Name>,
}

impl Config {
    /// From flags and environment (which `clap` has merged), then the file, then defaults.
    pub fn from(flags: Flags) -> anyhow::Result<Self> {
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            ensure!(
                !name.starts_with("DAYBOOK_") || VARIABLES.contains(&name.as_str()),
                "environment variable {name} is none of Daybook's: {}",
                VARIABLES.join(", ")
            );
        }
        let file = flags.config.as_deref().map(read).transpose()?.unwrap_or_default();
        let given = flags.cluster;
        let of_file = file.kafka.unwrap_or_default().into_iter().map(|(key, value)| Pair(key, value));
        let cluster = Cluster {
            brokers: given.brokers.or(file.brokers),
            kafka: of_file.chain(given.kafka).collect(),
            namespace: given.namespace.or(file.namespace),
            replication: given.replication.or(file.replication),
        };
        let config = Self {
            data: flags.data.or(file.data).unwrap_or_else(|| PathBuf::from("./daybook-data")),
            listen: flags.listen.or(file.listen).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
            partitions: flags.partitions.or(file.partitions),
            shutdown_seconds: flags.shutdown_seconds.or(file.shutdown_seconds).unwrap_or(20),
            log: flags.log.or(file.log).unwrap_or_else(|| "info".to_owned()),
            card_key: flags.card_key.or(file.card_key),
            cluster,
            advertise: flags.advertise.or(file.advertise),
            allow_host: if flags.allow_host.is_empty() {
                let named = file.allow_host.unwrap_or_default();
                named.iter().map(|name| name.parse().map_err(|why: String| anyhow::anyhow!("allow_host: {why}"))).collect::<anyhow::Result<_>>()?
            } else {
                flags.allow_host
            },
        };
        if config.cluster.brokers.is_none() && (!config.cluster.kafka.is_empty() || config.cluster.namespace.is_some()) {
            bail!("there are settings for Kafka, and no --brokers");
        }
        if config.cluster.brokers.is_some() && config.advertise.is_none() && config.listen.ip().is_unspecified() {
            bail!("{} is no address that other instances can call: add --advertise http://<this host>:{}", config.listen, config.listen.port());
        }
        config.card_key.as_ref().map(Secret::key).transpose()?;
        if !config.listen.ip().is_loopback() && !flags.insecure_listen && file.insecure_listen != Some(true) {
            bail!(
                "{} is reachable by others, and there is no sign-in yet: listen on 127.0.0.1, or add --insecure-listen if the network keeps strangers out",
                config.listen
            );
        }
        Ok(config)
    }
}

fn read(file: &Path) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(file).with_context(|| format!("settings file {}", file.display()))?;
    toml::from_str(&text).with_context(|| format!("settings file {}", file.display()))
}
