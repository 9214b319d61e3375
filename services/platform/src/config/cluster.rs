//! Where the log is, if not in the data directory: Kafka's settings. Without the feature `kafka` there are none.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use eventstore::kafka;

use crate::location::LogLocation;
use crate::misuse::misused;

/// Where the log is, if not in the data directory.
#[derive(Args, Clone, Debug, Default)]
pub struct Cluster {
    /// Kafka's brokers, separated by commas; without any the log lies in the data directory
    #[arg(long, env = "DAYBOOK_BROKERS", value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// A setting of librdkafka, as security.protocol=SASL_SSL; can be given more than once, or several separated by ;
    #[arg(long, env = "DAYBOOK_KAFKA", value_name = "KEY=VALUE", value_delimiter = ';', hide_env_values = true)]
    kafka: Vec<Pair>,
    /// A file of such settings, one KEY=VALUE a line, looked at while the process runs: a new sasl.password there is taken up by every client
    #[arg(long, env = "DAYBOOK_KAFKA_FILE", value_name = "FILE")]
    kafka_file: Option<PathBuf>,
    /// Put before every topic, group and transactional id on Kafka, so that installations can share a cluster
    #[arg(long, env = "DAYBOOK_NAMESPACE", value_name = "TEXT")]
    namespace: Option<String>,
    /// Copies of each partition of new topics on Kafka [default: 3, or as many as there are brokers]
    #[arg(long, env = "DAYBOOK_REPLICATION", value_name = "N")]
    replication: Option<u16>,
}

/// The same in a settings file.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
pub struct File {
    brokers: Option<String>,
    kafka: Option<BTreeMap<String, String>>,
    kafka_file: Option<PathBuf>,
    namespace: Option<String>,
    replication: Option<u16>,
}

impl Cluster {
    /// Where the log is, if it is there; `partitions` are those of new topics, and others reach this instance at `advertised`.
    pub fn location(&self, partitions: Option<u16>, advertised: Option<String>) -> Option<LogLocation> {
        let mut settings = kafka::Settings::new(self.brokers.clone()?);
        settings.client = self.kafka.iter().map(|Pair(key, value)| (key.clone(), value.clone())).collect();
        settings.credentials = self.kafka_file.clone().map(kafka::Credentials::of).map(Arc::new).unwrap_or_default();
        settings.namespace = self.namespace.clone().unwrap_or_default();
        settings.replication = self.replication;
        (settings.partitions, settings.advertised) = (partitions, advertised);
        Some(LogLocation::Kafka(Box::new(settings)))
    }

    /// The brokers, if the log is there.
    pub fn brokers(&self) -> Option<&str> {
        self.brokers.as_deref()
    }

    /// These settings, and for what they do not say, the file's.
    pub(super) fn or(self, file: File) -> Self {
        let of_file = file.kafka.unwrap_or_default().into_iter().map(|(key, value)| Pair(key, value));
        Self {
            brokers: self.brokers.or(file.brokers),
            kafka: of_file.chain(self.kafka).collect(),
            kafka_file: self.kafka_file.or(file.kafka_file),
            namespace: self.namespace.or(file.namespace),
            replication: self.replication.or(file.replication),
        }
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.brokers.is_none() && (!self.kafka.is_empty() || self.kafka_file.is_some() || self.namespace.is_some()) {
            misused!("there are settings for Kafka, and no --brokers");
        }
        if let Some(LogLocation::Kafka(settings)) = self.location(None, None)
            && let Err(why) = settings.check()
        {
            misused!("{why}");
        }
        Ok(())
    }

    /// The lines of a settings file that say the same; `quoted` writes a text as the file has it.
    pub(super) fn lines(&self, quoted: impl Fn(&str) -> String) -> Vec<(&'static str, String)> {
        let own = [("brokers", self.brokers.as_deref().map(&quoted)), ("namespace", self.namespace.as_deref().map(&quoted))];
        let file = ("kafka_file", self.kafka_file.as_ref().map(|file| quoted(&file.to_string_lossy())));
        let replication = ("replication", self.replication.map(|number| number.to_string()));
        own.into_iter().chain([file, replication]).filter_map(|(key, value)| Some((key, value?))).collect()
    }

    /// The lines of its own part of a settings file, secrets as comments.
    pub(super) fn part(&self, quoted: impl Fn(&str) -> String) -> Vec<String> {
        // What is given twice holds as it was given last.
        let kafka: BTreeMap<&str, &str> = self.kafka.iter().map(|Pair(key, value)| (key.as_str(), value.as_str())).collect();
        let head = (!kafka.is_empty()).then(|| "\n[kafka]".to_owned());
        let line = |(key, value): (&str, &str)| {
            let shown = kafka::shown(key, value);
            format!("{}{} = {}", if shown == value { "" } else { "# " }, quoted(key), quoted(shown))
        };
        head.into_iter().chain(kafka.into_iter().map(line)).collect()
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
