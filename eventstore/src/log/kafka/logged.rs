//! What librdkafka's clients say, in our log.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::statistics::{Broker, Statistics};

use super::fault::is_stranger;
use crate::log::BrokerFigures;

/// Passes librdkafka's log on to ours, and keeps the most telling error that was no call's.
#[derive(Default)]
pub struct Logged {
    told: Mutex<Option<(Code, String)>>,
    brokers: Mutex<Vec<BrokerFigures>>,
}

impl Logged {
    /// The most telling error that was no call's, in librdkafka's words: of a connection, or of signing in. Told when the client is polled.
    pub fn told(&self) -> Option<(Code, String)> {
        self.told.lock().clone()
    }

    /// The brokers, as they were when the client looked last; nothing of a client that does not look.
    pub fn brokers(&self) -> Vec<BrokerFigures> {
        self.brokers.lock().clone()
    }
}

impl ClientContext for Logged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }
    fn stats(&self, found: Statistics) {
        // The rest are names: of the group's coordinator, and of those that were given to begin with.
        let brokers = found.brokers.into_values().filter(|broker| broker.nodeid >= 0);
        let figures = |broker: Broker| BrokerFigures {
            up: broker.state == "UP",
            round_trip_seconds: broker.rtt.map_or(0.0, |rtt| rtt.avg as f64 / 1e6),
            name: broker.name,
        };
        *self.brokers.lock() = brokers.map(figures).collect();
    }
    fn error(&self, error: KafkaError, text: &str) {
        stranger(&error, text);
        // That no broker is left says less than why.
        let says_why = |code: Code| is_stranger(code) || code == Code::SSL;
        let mut told = self.told.lock();
        if let Some(code) = error.rdkafka_error_code().filter(|code| says_why(*code) || !told.as_ref().is_some_and(|(code, _)| says_why(*code))) {
            *told = Some((code, text.to_owned()));
        }
    }
}

/// What librdkafka says. A broker that is away is said by the calls that fail, not ten times a second by this.
pub fn log(level: RDKafkaLogLevel, facility: &str, text: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => tracing::error!(facility, "{text}"),
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => tracing::debug!(facility, "{text}"),
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => tracing::trace!(facility, "{text}"),
    }
}

/// When a refused sign-in was said last: every client meets it, many times.
static SAID: Mutex<Option<Instant>> = Mutex::new(None);
/// And how long it is not said again.
const SAY_AGAIN: Duration = Duration::from_secs(5);

/// A sign-in that is refused shows in calls only as a broker that does not answer: it is said here.
pub fn stranger(error: &KafkaError, text: &str) {
    if error.rdkafka_error_code().is_some_and(is_stranger) {
        let mut said = SAID.lock();
        if said.is_none_or(|said| said.elapsed() > SAY_AGAIN) {
            *said = Some(Instant::now());
            tracing::error!("Kafka refuses the sign-in: {text}");
        }
    }
}
