//! How the clients are configured: what the caller may set, what we settle, and what is checked on what librdkafka
//! made of both. Secrets are never shown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use schemas::{Stream, Topic, topic};

use super::credentials::Credentials;
use crate::log::clock::{Clock, SystemClock};
use crate::log::{Fault, Rules};
use crate::memory::NEWEST_BYTES;

/// Largest batch that a topic takes: Kafka's own default, so that no topic of an earlier version is refused.
const MESSAGE_BYTES: usize = 1_048_588;
/// How long a member may be silent before its partitions are given away: the least that brokers allow by default.
pub const SESSION_MS: u32 = 6_000;
/// A transaction that is open for longer is aborted by the broker.
pub const TRANSACTION_MS: u32 = 20_000;

/// What a client fetches ahead where nothing else is said.
const FETCHED_BYTES: usize = 8 * 1024 * 1024;
/// Brokers forget positions in topics that a group is not subscribed to when they were not committed for this long (a week
/// by default), whether the group lives or not: they are committed again in time.
const COMMITS_AGAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// Settings that decide whether a record can be lost or doubled, or that only one client can have: not for callers.
const SETTLED: [&str; 23] = [
    "acks",
    "request.required.acks",
    "allow.auto.create.topics",
    "auto.commit.enable",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "isolation.level",
    "log.connection.close",
    "max.in.flight.requests.per.connection",
    "max.in.flight",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "partitioner",
    "transactional.id",
    "transaction.timeout.ms",
];

/// How a log on Kafka is opened.
#[derive(Clone)]
pub struct Settings {
    /// `host:port`, several separated by commas
    pub brokers: String,
    /// Any other setting of librdkafka: TLS, SASL, sizes, times.
    pub client: BTreeMap<String, String>,
    /// More of them, and above all what clients sign in with, in a file that is looked at while they run. They go before `client`.
    pub credentials: Arc<Credentials>,
    /// Put before every topic, group and transactional id, so that several installations can share a cluster.
    pub namespace: String,
    /// Partitions of every topic. Settled when the log is created: another number is refused later; none takes what is there.
    pub partitions: Option<u16>,
    /// Copies of each partition of new topics; by default three, or as many as there are brokers.
    pub replication: Option<u16>,
    /// Where this process's HTTP can be reached by the others.
    pub advertised: Option<String>,
    /// what holds for all its records
    pub rules: Rules,
    /// Only to be read: a log that is not there is not made.
    pub looks: bool,
    /// bytes that are kept in memory of each topic's newest records
    pub newest_bytes: usize,
    /// bytes of records that each client fetches ahead
    pub fetched_bytes: usize,
    /// where the time comes from
    pub clock: Arc<dyn Clock>,
    /// Holds each transaction open this long before its commit, for tests that kill and freeze its owner there.
    #[doc(hidden)]
    pub held: Option<Duration>,
    /// How often positions that stand are committed again. Shorter only in tests.
    #[doc(hidden)]
    pub commits_again: Duration,
}

impl Settings {
    /// With nothing but the brokers.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            client: BTreeMap::new(),
            credentials: Arc::default(),
            namespace: String::new(),
            partitions: None,
            replication: None,
            advertised: None,
            rules: Rules::default(),
            looks: false,
            newest_bytes: NEWEST_BYTES,
            fetched_bytes: FETCHED_BYTES,
            clock: Arc::new(SystemClock::default()),
            held: None,
            commits_again: COMMITS_AGAIN,
        }
    }

    /// Fatal, naming the setting, where the caller set what is ours to settle.
    pub fn check(&self) -> Result<(), Fault> {
        self.rules.check()?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !self.namespace.bytes().all(allowed) || self.namespace.len() > 100 {
            return Err(Fault::Fatal(format!("namespace '{}': at most 100 of letters, digits, '.', '_', '-'", self.namespace)));
        }
        self.credentials.check()?;
        let of_file = self.credentials.settings();
        match self.client.keys().chain(of_file.keys()).find(|key| SETTLED.contains(&key.as_str())) {
            Some(key) => Err(Fault::Fatal(format!("Kafka setting {key} is settled by Daybook, since no record may be lost or doubled: leave it out"))),
            None => Ok(()),
        }
    }

    /// A topic's name on the cluster.
    pub(super) fn named(&self, topic: &Topic) -> String {
        format!("{}{topic}", self.namespace)
    }

    /// The topic behind a name on the cluster, if it is one of ours.
    pub(super) fn topic(&self, name: &str) -> Option<Topic> {
        name.strip_prefix(&self.namespace).map(Topic::named)
    }

    fn client(&self, role: &str, defaults: &[(&str, &str)], ours: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", format!("daybook-{role}"));
        // A broker that restarts is found again within a second.
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "1000").set("log.connection.close", "false");
        config.set("allow.auto.create.topics", "false");
        for (key, value) in defaults {
            config.set(*key, *value);
        }
        config.extend(self.client.clone());
        config.extend(self.credentials.settings());
        for (key, value) in ours {
            config.set(*key, *value);
        }
        config
    }

    /// Asks for metadata and ends; sees what is not committed yet.
    pub(super) fn probe(&self) -> ClientConfig {
        self.client("probe", &[], &[("group.id", &self.named_group("probe")), ("isolation.level", "read_uncommitted"), ("enable.auto.commit", "false")])
    }

    /// Reads committed records from places it is told.
    pub(super) fn reader(&self, role: &str) -> ClientConfig {
        let scans = role == "scan";
        let fetched = (2 * self.fetched_kbytes()).to_string();
        self.client(
            role,
            &[
                ("fetch.wait.max.ms", if scans { "10" } else { "500" }),
                ("queued.min.messages", if scans { "20000" } else { "5000" }),
                ("queued.max.messages.kbytes", &fetched),
                ("fetch.queue.backoff.ms", "5"),
                ("fetch.message.max.bytes", "4194304"),
                // What the client knows of its brokers: of the one that lives as long as the process.
                ("statistics.interval.ms", if scans { "0" } else { "5000" }),
            ],
            &[
                ("group.id", &self.named_group(role)),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "error"),
                ("isolation.level", "read_committed"),
                ("enable.partition.eof", if scans { "true" } else { "false" }),
            ],
        )
    }

    /// A member of a group, which is subscribed to one topic. Range gives neighbours to one member; the classic protocol, since this
    /// librdkafka's newer one stalls (its issues 5488, 5541).
    pub(super) fn member(&self, group: &str) -> ClientConfig {
        let (session, fetched) = (SESSION_MS.to_string(), self.fetched_kbytes().to_string());
        self.client(
            group,
            &[
                ("heartbeat.interval.ms", "250"),
                ("session.timeout.ms", &session),
                ("max.poll.interval.ms", "60000"),
                ("fetch.wait.max.ms", "100"),
                ("queued.min.messages", "2000"),
                ("queued.max.messages.kbytes", &fetched),
                ("fetch.queue.backoff.ms", "5"),
            ],
            &[
                ("group.id", &self.named_group(group)),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "error"),
                ("isolation.level", "read_committed"),
                ("partition.assignment.strategy", "range"),
                ("group.protocol", "classic"),
            ],
        )
    }

    /// At least the largest record there can be, or nobody would ever take it.
    fn fetched_kbytes(&self) -> usize {
        (self.fetched_bytes.max(2 * self.rules.record_bytes) / 1024).max(1)
    }

    /// Writes records that each stand for themselves.
    pub(super) fn sender(&self) -> Result<ClientConfig, Fault> {
        let bytes = self.message_bytes().to_string();
        let settled = [("enable.idempotence", "true"), ("acks", "all"), ("message.timeout.ms", "15000"), ("message.max.bytes", &bytes)];
        asserted(self.client("sender", &BUFFERS, &settled))
    }

    /// Writes transactions under `id`.
    pub(super) fn transactional(&self, id: &str) -> Result<ClientConfig, Fault> {
        let (timeout, bytes) = (TRANSACTION_MS.to_string(), self.message_bytes().to_string());
        let mut config = self.client(
            id,
            &BUFFERS,
            &[
                ("transactional.id", id),
                ("transaction.timeout.ms", &timeout),
                ("message.timeout.ms", &timeout),
                ("enable.idempotence", "true"),
                ("acks", "all"),
                ("message.max.bytes", &bytes),
                // A connection that broke under a request must be heard of.
                ("log.connection.close", "true"),
            ],
        );
        asserted(config.set_log_level(RDKafkaLogLevel::Info).clone())
    }

    /// Largest batch of one record that brokers must take, and the client: the record, and what its format adds to it.
    pub(super) fn message_bytes(&self) -> usize {
        MESSAGE_BYTES.max(2 * self.rules.record_bytes)
    }

    /// A group's name on the cluster.
    pub(super) fn named_group(&self, group: &str) -> String {
        format!("{}{group}", self.namespace)
    }
}

/// Bounds of a producer's memory, and no waiting for company: who writes has collected its batch already.
const BUFFERS: [(&str, &str); 4] =
    [("linger.ms", "0"), ("queue.buffering.max.messages", "50000"), ("queue.buffering.max.kbytes", "65536"), ("compression.type", "lz4")];

/// Looks at what librdkafka made of the settings: idempotence must hold whatever else was set.
fn asserted(config: ClientConfig) -> Result<ClientConfig, Fault> {
    let wrong = |why: String| Fault::Fatal(format!("Kafka settings: {why}"));
    let native = config.create_native_config().map_err(|why| wrong(why.to_string()))?;
    for (key, wanted) in [("enable.idempotence", "true"), ("acks", "-1")] {
        let holds = native.get(key).map_err(|why| wrong(why.to_string()))?;
        if holds != wanted {
            return Err(wrong(format!("{key} is {holds} in effect, and must be {wanted}")));
        }
    }
    Ok(config)
}

/// A setting as it may be shown.
pub fn shown<'v>(key: &str, value: &'v str) -> &'v str {
    let secret = ["password", "secret", "key", "token", "jaas", "oauthbearer.config", "credential"];
    if secret.iter().any(|word| key.contains(word)) && !key.ends_with(".location") { "(redacted)" } else { value }
}

/// The assignments' topic.
pub fn assignments() -> Topic {
    topic(Stream::Claims)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn with(key: &str, value: &str) -> Settings {
        Settings { client: BTreeMap::from([(key.to_owned(), value.to_owned())]), ..Settings::new("127.0.0.1:1") }
    }

    #[test]
    fn what_keeps_records_safe_is_not_for_callers() {
        for key in SETTLED {
            let refused = with(key, "1").check().unwrap_err().to_string();
            assert!(refused.contains(key), "{refused}");
        }
        for (key, value) in [("security.protocol", "SASL_SSL"), ("linger.ms", "2"), ("compression.type", "zstd"), ("ssl.ca.location", "/ca.pem")] {
            with(key, value).check().unwrap();
        }
        assert!(Settings { namespace: "a/b".into(), ..Settings::new("x") }.check().is_err());
    }

    #[test]
    fn settings_pass_through_and_idempotence_holds_in_effect() {
        let settings = with("socket.timeout.ms", "1234");
        for config in [settings.sender().unwrap(), settings.transactional("id").unwrap()] {
            let native = config.create_native_config().unwrap();
            let effective = |key| native.get(key).unwrap();
            assert_eq!((effective("enable.idempotence"), effective("acks"), effective("socket.timeout.ms")), ("true".into(), "-1".into(), "1234".into()));
            // Never the defaults of a gigabyte.
            assert_eq!((effective("queue.buffering.max.kbytes"), effective("queue.buffering.max.messages")), ("65536".into(), "50000".into()));
        }
        for config in [settings.member("group"), settings.reader("tail"), settings.reader("scan"), settings.probe()] {
            let native = config.create_native_config().unwrap();
            assert!(native.get("queued.max.messages.kbytes").unwrap().parse::<u64>().unwrap() <= 65_536);
            assert_eq!(native.get("enable.auto.commit").unwrap(), "false");
        }
        let member = settings.member("group").create_native_config().unwrap();
        for (key, value) in [("auto.offset.reset", "error"), ("isolation.level", "read_committed"), ("partition.assignment.strategy", "range")] {
            assert_eq!(member.get(key).unwrap(), value);
        }
        let wrong = asserted(settings.sender().unwrap().set("enable.idempotence", "false").clone()).unwrap_err().to_string();
        assert!(wrong.contains("enable.idempotence is false in effect"), "{wrong}");
    }

    #[test]
    fn secrets_are_not_shown() {
        for key in ["sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret", "sasl.oauthbearer.config"] {
            assert_eq!(shown(key, "hunter2"), "(redacted)", "{key}");
        }
        assert_eq!(shown("ssl.key.location", "/key.pem"), "/key.pem");
        assert_eq!(shown("sasl.username", "daybook"), "daybook");
    }
}
