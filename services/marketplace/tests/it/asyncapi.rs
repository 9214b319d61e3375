//! The AsyncAPI document in the repository: what the program generates, whole, and nothing that is not there.

use std::path::Path;

use serde_json::Value;

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) if fields.contains_key("$id") => {} // its references are its own
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match (name.as_str(), value.as_str()) {
            ("$ref", Some(to)) => found.push(to.to_owned()),
            _ => references(value, found),
        }),
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn the_document_describes_every_topic_and_does_not_drift() {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/marketplace");
    let (path, document) = (schemas.join("asyncapi.json"), daybook::documents::asyncapi::document(&marketplace::APPLICATION));
    let text = format!("{document:#}\n");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "{} is not what the services say: run UPDATE=1 cargo test --release -p marketplace --test it asyncapi and commit it",
        path.display()
    );

    let channels = document["channels"].as_object().unwrap();
    for capability in marketplace::APPLICATION.services() {
        let service = capability.service;
        for topic in [service.commands(), service.events(), service.dead_letters()] {
            assert!(channels.contains_key(topic.as_str()), "{topic} is not described");
        }
    }
    let described = document["components"]["messages"].as_object().unwrap();
    for shape in shapes::shapes() {
        let key = format!("{}.{}.v{}", shape.kind.aggregate, shape.kind.name, shape.kind.version);
        assert!(described.contains_key(&key), "no topic holds {key}");
    }
    let mut all = vec![];
    references(&document, &mut all);
    for to in all {
        let there = match to.strip_prefix('#') {
            Some(pointer) => document.pointer(pointer).is_some(),
            None => schemas.join(&to).is_file(),
        };
        assert!(there, "{to} leads nowhere");
    }
}
