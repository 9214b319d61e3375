//! The JSON Schema documents: generated from the types, held against drift, true of every golden record.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jsonschema::Validator;
use schemas::envelope::Kind;
use schemas::wire::Shape;
use serde_json::Value;
use shapes::shapes;

use crate::golden::dir;

fn file(group: &str, kind: &Kind) -> String {
    format!("{group}/{}.{}.v{}.json", kind.aggregate, kind.name, kind.version)
}

fn of(kind: &Kind, group: &str) -> Shape {
    shapes().into_iter().find(|shape| shape.kind == *kind && shape.group == group).unwrap()
}

/// Where golden records are: the platform's are its own.
pub fn records(group: &str) -> PathBuf {
    dir(if group == "platform" { "../record/golden" } else { "golden" })
}

fn record(shape: &Shape) -> Value {
    serde_json::from_slice(&std::fs::read(records(shape.group).join(file(shape.group, &shape.kind))).unwrap()).unwrap()
}

fn validator(shape: &Shape) -> Validator {
    jsonschema::options().should_validate_formats(true).build(shape.schema.as_value()).unwrap()
}

#[test]
fn documents_follow_the_types() {
    for shape in shapes() {
        let path = dir("json").join(file(shape.group, &shape.kind));
        let mut schema = serde_json::to_value(&shape.schema).unwrap();
        schema["$id"] = Value::String(format!("https://daybook.dev/schemas/{}", file(shape.group, &shape.kind)));
        let text = format!("{schema:#}\n");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "{} is not what the type says: run UPDATE=1 cargo test --release -p marketplace-schemas and commit it", path.display());
    }
}

#[test]
fn golden_records_are_valid_and_broken_ones_are_not() {
    for shape in shapes() {
        let validator = validator(&shape);
        let record = record(&shape);
        assert!(validator.is_valid(&record), "{}: {:?}", shape.kind, validator.iter_errors(&record).map(|error| error.to_string()).collect::<Vec<_>>());
        assert!(!validator.is_valid(&Value::Bool(true)), "{}: its schema takes anything", shape.kind);
    }
}

/// Every file is somebody's: what was written once is read, and described, for ever.
#[test]
fn no_file_is_without_its_kind() {
    let known: BTreeSet<String> = shapes().iter().map(|shape| file(shape.group, &shape.kind)).collect();
    assert_eq!(known.len(), shapes().len(), "two shapes of one kind");
    for group in ["events", "commands", "platform"] {
        for folder in [dir("json"), records(group)] {
            for entry in std::fs::read_dir(folder.join(group)).unwrap() {
                let found = format!("{group}/{}", entry.unwrap().file_name().to_string_lossy());
                assert!(known.contains(&found), "{}: {found} has no shape", folder.display());
            }
        }
    }
}

/// What is written as text says how: a wrong id, time or currency is found by the schema already.
#[test]
fn schemas_know_ids_times_and_currencies() {
    let placed = of(&Kind::of("order", "placed", 1), "events");
    let (placed, good) = (validator(&placed), record(&placed));
    for (place, wrong) in [
        ("/checkout/order", "17"),
        ("/checkout/order", "017-1"),
        ("/checkout/lines/0/product", "lantern"),
        ("/checkout/lines/0/currency", "pounds"),
        ("/checkout/dropped/0/why", "Withdrawn"),
        ("/deadline", "yesterday"),
    ] {
        let mut record = good.clone();
        *record.pointer_mut(place).unwrap() = wrong.into();
        assert!(!placed.is_valid(&record), "{place}: {wrong}");
    }
}

/// Personal data stands in one field, clear or sealed; of a card there are no more than three fields.
#[test]
fn personal_data_stands_apart_and_cards_are_stubs() {
    let registered = ["customer", "seller"].map(|who| record(&of(&Kind::of(who, "registered", 1), "events")));
    let fields = registered.iter().flat_map(|registered| registered["personal"]["clear"].as_object().unwrap().keys());
    let person: BTreeSet<&String> = fields.filter(|field| *field != "name").collect(); // products have one too
    let mut sealed_places = 0;
    for shape in shapes() {
        let mut record = record(&shape);
        stands_apart(&record, &person, &shape.kind);
        for place in ["/personal", "/checkout/personal", "/checkout/checkout/personal"] {
            let Some(personal) = record.pointer_mut(place) else { continue };
            *personal = serde_json::json!({ "sealed": { "key": "customer-17", "data": "AAECAw==" } });
            assert!(validator(&shape).is_valid(&record), "{}: sealed {place}", shape.kind);
            sealed_places += 1;
        }
    }
    assert_eq!(sealed_places, 10, "register, registered of customers and sellers, check-out, checked-out, record, recorded, place, placed");
}

fn stands_apart(value: &Value, person: &BTreeSet<&String>, kind: &Kind) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                assert!(!person.contains(name), "{kind}: '{name}' is personal, and stands outside of 'personal'");
                if let (true, Some(card)) = (name == "card", value.as_object()) {
                    assert_eq!(card.keys().collect::<Vec<_>>(), ["brand", "last4", "token"], "{kind}: no card data in the log");
                }
                if name != "personal" {
                    stands_apart(value, person, kind);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| stands_apart(item, person, kind)),
        _ => {}
    }
}
