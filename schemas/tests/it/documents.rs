//! The JSON Schema documents: generated from the types, held against drift, true of every golden record.

use schemas::envelope::Kind;
use schemas::wire::shapes;
use serde_json::Value;

use crate::golden::dir;

fn file(group: &str, kind: &Kind) -> String {
    format!("{group}/{}.{}.v{}.json", kind.aggregate, kind.name, kind.version)
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
        assert!(found == text, "{} is not what the type says: run UPDATE=1 cargo test --release -p schemas and commit it", path.display());
    }
}

#[test]
fn golden_records_are_valid_and_broken_ones_are_not() {
    for shape in shapes() {
        let schema: Value = serde_json::to_value(&shape.schema).unwrap();
        let record: Value = serde_json::from_slice(&std::fs::read(dir("golden").join(file(shape.group, &shape.kind))).unwrap()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        assert!(validator.is_valid(&record), "{}: {:?}", shape.kind, validator.iter_errors(&record).map(|error| error.to_string()).collect::<Vec<_>>());
        assert!(!validator.is_valid(&Value::Bool(true)), "{}: its schema takes anything", shape.kind);
    }
}
