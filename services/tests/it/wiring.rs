//! An added service costs few lines; and the house rules that a machine can hold.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// Rust files below a folder of the repository.
pub fn sources(folder: &str) -> Vec<(String, String)> {
    let (mut folders, mut files) = (vec![root().join(folder)], vec![]);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push((path.strip_prefix(root()).unwrap().display().to_string(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}

const CRATES: [&str; 6] = ["domain", "schemas", "eventstore", "projections", "services", "benches"];

fn product_sources() -> Vec<(String, String)> {
    CRATES.iter().flat_map(|name| sources(&format!("{name}/src"))).collect()
}

/// The code of a file without its unit tests and comments.
fn code(text: &str) -> String {
    let product = text.split("#[cfg(test)]").next().unwrap_or_default();
    product.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_added_service_costs_at_most_forty_lines_of_wiring() {
    let example = read("services/examples/popularity/main.rs");
    let wiring: Vec<&str> =
        example.split("// wiring: begin\n").nth(1).unwrap().split("// wiring: end").next().unwrap().lines().filter(|line| !line.trim().is_empty()).collect();
    println!("wiring of an added service: {} lines", wiring.len());
    assert!(wiring.len() <= 40, "{} lines", wiring.len());
}

/// What each crate may depend on of ours: the arrows of the architecture.
#[test]
fn crates_depend_in_one_direction() {
    for (at, name) in CRATES.iter().enumerate() {
        let manifest: toml::Table = read(&format!("{name}/Cargo.toml")).parse().unwrap();
        let dependencies = manifest["dependencies"].as_table().unwrap();
        for ours in CRATES.iter().filter(|ours| dependencies.contains_key(**ours)) {
            let below = CRATES.iter().position(|known| known == ours).unwrap() < at;
            assert!(below && *ours != "benches", "{name} must not depend on {ours}: domain <- schemas <- eventstore <- projections <- services");
        }
    }
    let workspace: toml::Table = read("Cargo.toml").parse().unwrap();
    let members: Vec<&str> = workspace["workspace"]["members"].as_array().unwrap().iter().map(|member| member.as_str().unwrap()).collect();
    assert_eq!(members, CRATES, "a seventh crate needs a written reason");
}

#[test]
fn the_domain_stays_pure() {
    const ALLOWED: [&str; 4] = ["chrono", "iso_currency", "serde", "thiserror"];
    let manifest: toml::Table = read("domain/Cargo.toml").parse().unwrap();
    for name in manifest["dependencies"].as_table().unwrap().keys() {
        assert!(ALLOWED.contains(&name.as_str()), "domain stays pure: drop {name}");
    }
    for (file, text) in sources("domain/src") {
        for banned in ["Utc::now", "SystemTime", "Instant::now", "HashMap", "async ", "std::fs", "std::net", "rand::", "f32", "f64"] {
            assert!(!code(&text).contains(banned), "{file}: {banned} has no place in the domain");
        }
    }
}

#[test]
fn what_is_folded_knows_no_clock_and_no_noun() {
    for folder in ["eventstore/src", "projections/src"] {
        for (file, text) in sources(folder) {
            for noun in ["Cart", "Product", "StockItem", "Payment", "Order {", "seller", "checkout"] {
                assert!(!code(&text).contains(noun), "{file}: '{noun}' is the marketplace's, and this crate knows none of it");
            }
        }
    }
    for (file, text) in sources("projections/src") {
        assert!(!code(&text).contains("now()"), "{file}: a fold reads no clock");
    }
}

#[test]
fn libraries_are_named_where_they_belong() {
    for (file, text) in product_sources() {
        let text = code(&text);
        assert!(!text.contains("bincode::") || file == "schemas/src/codec.rs", "{file}: bincode is schemas/src/codec.rs's");
        let rocks = ["eventstore/src/rows.rs", "eventstore/src/memory.rs", "eventstore/src/log/embedded"];
        assert!(!text.contains("rocksdb::") || rocks.iter().any(|home| file.starts_with(home)), "{file}: RocksDB is named in {rocks:?} only");
        assert!(!text.contains("rdkafka") || file.starts_with("eventstore/src/log/kafka"), "{file}: rdkafka is named in eventstore/src/log/kafka only");
        assert!(!text.contains("unsafe") || file == "eventstore/src/log/kafka/ffi.rs", "{file}: unsafe code is eventstore/src/log/kafka/ffi.rs's");
        for banned in [".unwrap()", ".expect(", "println!", "eprintln!", "dbg!", "todo!", "unimplemented!", "#[ignore"] {
            assert!(!text.contains(banned), "{file}: {banned} has no place outside tests");
        }
        for literal in [".commands\"", ".events\"", ".dlt\""] {
            assert!(
                !text.contains(literal) || file == "schemas/src/topic.rs" || file == "services/src/http/admin.rs",
                "{file}: topic names are schemas/src/topic.rs's"
            );
        }
    }
}

#[test]
fn files_are_small_and_begin_with_what_they_own() {
    for (file, text) in product_sources() {
        let lines = code(&text).lines().count();
        assert!(lines <= 400, "{file} has {lines} lines: split it by noun");
        assert!(text.starts_with("//! "), "{file} does not begin by saying what it owns");
        for name in ["utils", "common", "helpers", "manager"] {
            assert!(!file.contains(name), "{file}: named after nothing");
        }
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = read("Cargo.toml");
    let dependencies = manifest.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    for line in dependencies.lines().filter(|line| line.contains('=') && !line.contains("path =")) {
        assert!(line.contains("# "), "a dependency without a reason beside it: {line}");
    }
}
