//! What librdkafka's clients say, in our log.

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

/// Passes librdkafka's log on to ours.
pub struct Logged;

impl ClientContext for Logged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }
    fn error(&self, _: KafkaError, _: &str) {} // every call answers for itself
}

/// What librdkafka says. A broker that is away is said by the calls that fail, not ten times a second by this.
pub fn log(level: RDKafkaLogLevel, facility: &str, text: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => tracing::error!(facility, "{text}"),
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => tracing::debug!(facility, "{text}"),
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => tracing::trace!(facility, "{text}"),
    }
}
