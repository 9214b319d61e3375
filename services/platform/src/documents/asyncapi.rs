//! The AsyncAPI 3 document of every topic, generated from the services and their wire shapes. A test holds the file in
//! the repository to it, so neither drifts.

use std::collections::BTreeMap;

use eventstore::log::PARTITIONS;
use schemas::envelope::{DLT_DETAIL, DLT_OFFSET, DLT_PARTITION, DLT_REASON, DLT_TIMESTAMP, DLT_TOPIC, Kind};
use schemas::wire::Shape;
use schemas::{Stream, Topic, topic};
use serde_json::{Map, Value, json};

use crate::application;
use crate::application::Application;
use crate::capability::shapes;

/// The document. Payloads are the JSON Schemas beside it.
pub fn document(application: &Application) -> Value {
    let (mut channels, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
    let capabilities = application.services();
    let shapes = shapes(&capabilities);
    // The application's shapes have their schemas beside the document; those that every application has come with it.
    let of_all: Vec<&str> = application::of_all().iter().flat_map(|capability| capability.service.aggregates.iter().map(|of| of.name())).collect();
    let own = |shape: &Shape| shape.beside && !of_all.contains(&shape.kind.aggregate.as_ref());
    let mut channel = |topic: &Topic, description: String, retention_ms: i64, kinds: &[&Shape]| {
        let of_channel: Map<String, Value> =
            kinds.iter().map(|shape| (key(&shape.kind), json!({ "$ref": format!("#/components/messages/{}", key(&shape.kind)) }))).collect();
        let bindings = json!({ "kafka": {
            "partitions": PARTITIONS,
            "topicConfiguration": { "cleanup.policy": ["delete"], "retention.ms": retention_ms, "retention.bytes": -1 },
            "bindingVersion": "0.5.0",
        } });
        channels.insert(topic.to_string(), json!({ "address": topic.to_string(), "description": description, "messages": of_channel, "bindings": bindings }));
        messages.extend(kinds.iter().map(|shape| (key(&shape.kind), message(shape, own(shape)))));
    };
    for capability in &capabilities {
        let service = &capability.service;
        let owned = |group: &'static str| -> Vec<&Shape> {
            let own = |shape: &&Shape| shape.group == group && service.aggregates.iter().any(|aggregate| aggregate.name() == shape.kind.aggregate);
            shapes.iter().filter(own).collect()
        };
        let mut events = owned("events");
        events.extend(shapes.iter().filter(|shape| shape.group == "platform" && shape.kind.name != "reply"));
        let (commands, letters) = (service.commands(), service.dead_letters());
        channel(
            &commands,
            format!("Commands to {}: key = routing key, partition = murmur2 of the key. Anybody may write here.", service.name),
            -1,
            &owned("commands"),
        );
        channel(
            &service.events(),
            format!("What happened in {}, for ever. Written in transactions by its workers alone: read it with read_committed.", service.name),
            -1,
            &events,
        );
        channel(
            &letters,
            format!(
                "Commands and events that {} could not process: the record as it came, card numbers masked, with the headers {}.",
                service.name,
                [DLT_REASON, DLT_DETAIL, DLT_TOPIC, DLT_PARTITION, DLT_OFFSET, DLT_TIMESTAMP].join(", ")
            ),
            -1,
            &[],
        );
        for (action, topic) in [("receive", commands), ("send", service.events()), ("send", letters)] {
            operations.insert(format!("{action} {topic}"), json!({ "action": action, "channel": { "$ref": format!("#/channels/{topic}") } }));
        }
    }
    let replies = topic(Stream::Replies);
    let reply: Vec<&Shape> = shapes.iter().filter(|shape| shape.group == "platform" && shape.kind.name == "reply").collect();
    channel(
        &replies,
        "Answers to commands with a reply-to header, kept for a day. Losing one costs nothing: the outcome is in the events.".into(),
        86_400_000,
        &reply,
    );
    operations.insert(format!("send {replies}"), json!({ "action": "send", "channel": { "$ref": format!("#/channels/{replies}") } }));
    json!({
        "asyncapi": "3.0.0",
        "info": { "title": application.title, "version": env!("CARGO_PKG_VERSION"), "description": "Every topic of its log.", "license": { "name": "MIT OR Apache-2.0" } },
        "defaultContentType": "application/json",
        "servers": { "kafka": { "host": "127.0.0.1:9092", "protocol": "kafka", "description": "as infra/kafka/kafka start brings it up" } },
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages, "messageTraits": { "envelope": envelope() } },
    })
}

fn key(kind: &Kind) -> String {
    format!("{}.{}.v{}", kind.aggregate, kind.name, kind.version)
}

fn message(shape: &Shape, beside: bool) -> Value {
    let file = || json!({ "$ref": format!("json/{}/{}.json", shape.group, key(&shape.kind)) });
    let here = || {
        let mut schema = json!(shape.schema);
        schema["$id"] = json!(format!("https://daybook.dev/schemas/{}/{}.json", shape.group, key(&shape.kind))); // what its references begin at
        schema
    };
    let schema = if beside { file() } else { here() };
    json!({
        "name": shape.kind.to_string(),
        "title": format!("{} {}", shape.kind.aggregate, shape.kind.name),
        "traits": [{ "$ref": "#/components/messageTraits/envelope" }],
        "payload": { "schemaFormat": "application/schema+json;version=draft-2020-12", "schema": schema },
    })
}

/// The headers of every record: CloudEvents 1.0 in Kafka's binary mode, and ours.
fn envelope() -> Value {
    let required = BTreeMap::from([
        ("ce_specversion", "1.0"),
        ("ce_id", "a command's id from its client, or an event's: the same id is the same record"),
        ("ce_source", "who wrote it, as /shop/checkout"),
        ("ce_type", "dev.daybook.<aggregate>.<name>.v<version>"),
        ("ce_subject", "the aggregate's id"),
    ]);
    let optional = BTreeMap::from([
        ("content-type", "application/json"),
        ("ce_time", "log time of the decision, RFC 3339"),
        ("ce_occurredat", "business time, where it is not log time"),
        ("ce_sequence", "the aggregate's version after an event, 20 digits"),
        ("ce_expectedversion", "a command is refused unless the aggregate stands there"),
        ("ce_causationid", "the command or event that caused this"),
        ("ce_correlationid", "the client's command at the root of the chain"),
        ("ce_actor", "who acts, at most 500 bytes"),
        ("ce_answers", "the client's command that this event answers, where another caused it"),
        ("ce_bodyhash", "of the client's command behind this event"),
        ("reply-to", "<instance>@<partition>: an answer is written to that partition of daybook.replies, under the key <instance>"),
        ("traceparent", "W3C trace context; one that is none is passed over"),
        ("ce_fingerprints", "more of what makes a repeat of the client's command behind this event the same"),
        ("ce_deadletter", "why the client's command behind this marker became a dead letter"),
        ("ce_outsidecause", "what the client's command behind this event said it was caused by"),
    ]);
    let property = |(name, description): (&&str, &&str)| ((*name).to_owned(), json!({ "type": "string", "description": description }));
    let properties: Map<String, Value> = required.iter().chain(&optional).map(property).collect();
    json!({
        "contentType": "application/json",
        "headers": { "type": "object", "required": required.keys().collect::<Vec<_>>(), "properties": properties },
        "bindings": { "kafka": { "key": { "type": "string", "description": "the routing key: the subject up to its first -" }, "bindingVersion": "0.5.0" } },
    })
}
