//! The names of spans' attributes, by OpenTelemetry's conventions. They are still moving for messaging
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/>, here as of 1.44), so that all of them are here and nowhere else.

/// Kafka, or the log of a process's own directory.
pub const SYSTEM: &str = "messaging.system";
/// What was done, as the first word of the span's name.
pub const OPERATION: &str = "messaging.operation.name";
/// Its kind: `send`, `process`, `receive`, `settle`.
pub const OPERATION_TYPE: &str = "messaging.operation.type";
/// The topic.
pub const DESTINATION: &str = "messaging.destination.name";
/// The partition, as text.
pub const PARTITION: &str = "messaging.destination.partition.id";
/// The group, or the view that reads.
pub const GROUP: &str = "messaging.consumer.group.name";
/// The record's place.
pub const OFFSET: &str = "messaging.kafka.offset";
/// The record's id.
pub const MESSAGE: &str = "messaging.message.id";
/// The correlation id.
pub const CONVERSATION: &str = "messaging.message.conversation_id";
/// Records of a batch.
pub const BATCH: &str = "messaging.batch.message_count";
/// What went wrong, as a stable name.
pub const ERROR: &str = "error.type";
/// The request's method.
pub const METHOD: &str = "http.request.method";
/// The route it matched.
pub const ROUTE: &str = "http.route";
/// The answer's status.
pub const STATUS: &str = "http.response.status_code";
/// Ours: the type of a command or event.
pub const KIND: &str = "daybook.message.type";
/// Ours: how a command ended.
pub const OUTCOME: &str = "daybook.outcome";
/// Ours: the policy that made a command of an event.
pub const POLICY: &str = "daybook.policy";
