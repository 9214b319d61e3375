//! An added service costs few lines; and the house rules that a machine can hold.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// Rust files below a folder of the repository.
pub fn sources(folder: &str) -> Vec<(String, String)> {
    let (mut folders, mut files) = (vec![root().join(folder)], vec![]);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            // A file of tests beside its module is no product.
            if path.file_stem().is_some_and(|stem| stem == "tests") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push((path.strip_prefix(root()).unwrap().display().to_string(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}

/// Lines of code: what is neither blank nor a comment.
fn lines(text: &str) -> usize {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

/// Another team's business, whole: what it costs to have one.
#[test]
fn the_bank_is_small() {
    let all = sources("services/examples/bank/src");
    let (wiring, own): (Vec<_>, Vec<_>) = all.iter().partition(|(file, _)| file.ends_with("lib.rs") || file.ends_with("main.rs"));
    let [wiring, own] = [wiring, own].map(|files| files.iter().map(|(_, text)| lines(text)).sum::<usize>());
    println!("bank: {own} lines of its own and {wiring} of wiring");
    assert!(own <= 300 && wiring <= 40, "{own} lines of its own, {wiring} of wiring");
    let manifest: toml::Table = read("services/examples/bank/Cargo.toml").parse().unwrap();
    let dependencies: Vec<&String> = manifest["dependencies"].as_table().unwrap().keys().collect();
    assert_eq!(dependencies, ["daybook", "schemars", "serde", "serde_json"], "of ours it depends on the facade alone");
}

/// Without it a program on Kafka may end by SIGSEGV when its broker starts: see `eventstore/src/log/kafka/ffi.rs`.
#[test]
fn programs_on_kafka_are_linked_without_what_ends_them() {
    for folder in ["services/marketplace", "services/examples/bank", "bridges/cqrs-es", "bridges/postgres", "eventstore", "benches"] {
        assert!(read(&format!("{folder}/build.rs")).contains("-Wl,--wrap=rd_kafka_metadata_update_op"), "{folder}");
    }
}

/// Our crates: their folders, packages, and what each may depend on of ours. The platform's never name the marketplace's.
const CRATES: [(&str, &str, &[&str]); 12] = [
    ("domain/kernel", "daybook-kernel", &[]),
    ("domain/marketplace", "marketplace-domain", &["kernel"]),
    ("schemas/record", "daybook-schemas", &["kernel"]),
    ("schemas/marketplace", "marketplace-schemas", &["domain", "schemas"]),
    ("eventstore", "daybook-eventstore", &["kernel", "schemas"]),
    ("projections", "daybook-projections", &["eventstore", "kernel", "schemas"]),
    ("services/platform", "daybook", &["eventstore", "kernel", "projections", "schemas"]),
    ("services/reviews", "marketplace-reviews", &["daybook", "daybook-cqrs-es", "daybook-postgres", "domain", "shapes"]),
    ("services/marketplace", "marketplace", &["daybook", "daybook-postgres", "domain", "reviews", "shapes"]),
    ("bridges/cqrs-es", "daybook-cqrs-es", &["daybook"]),
    ("bridges/postgres", "daybook-postgres", &["daybook", "daybook-cqrs-es"]),
    ("benches", "benches", &[]),
];

fn product_sources() -> Vec<(String, String)> {
    CRATES.iter().flat_map(|(folder, ..)| sources(&format!("{folder}/src"))).collect()
}

/// A file without its unit tests, which stand at its end: `#[cfg(test)]`, perhaps an `allow`, `mod tests`.
pub fn product(text: &str) -> &str {
    let is_tests = |at: usize| text[at..].lines().take(3).any(|line| line.starts_with("mod tests"));
    let tests = text.match_indices("#[cfg(test)]\n").map(|(at, _)| at).find(|at| is_tests(*at));
    tests.map_or(text, |at| &text[..at])
}

/// The code of a file without its unit tests and comments.
fn code(text: &str) -> String {
    product(text).lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Names under which our own crates are known in the workspace.
const OURS: [&str; 12] = [
    "kernel",
    "domain",
    "schemas",
    "shapes",
    "eventstore",
    "projections",
    "daybook",
    "marketplace",
    "reviews",
    "daybook-cqrs-es",
    "daybook-postgres",
    "benches",
];

/// Every table of dependencies of a manifest: also those of some targets alone.
fn tables<'m>(manifest: &'m toml::Table, kinds: &[&str]) -> Vec<&'m toml::Table> {
    let targets = manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(|targets| targets.values()).filter_map(toml::Value::as_table);
    let all = std::iter::once(manifest).chain(targets);
    all.flat_map(|table| kinds.iter().filter_map(|kind| table.get(*kind)?.as_table())).collect()
}

/// What is wrong with what a manifest depends on: our crates in it that it may not name, under any name.
fn not_allowed(manifest: &str, allowed: &[&str], kinds: &[&str]) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().unwrap();
    let packages = CRATES.map(|(_, package, _)| package);
    let named = tables(&manifest, kinds).into_iter().flat_map(|table| table.iter());
    let named = named.flat_map(|(name, what)| [Some(name.as_str()), what.get("package").and_then(toml::Value::as_str)]);
    named.flatten().filter(|name| (OURS.contains(name) || packages.contains(name)) && !allowed.contains(name)).map(str::to_owned).collect()
}

/// The arrows of the architecture; and nothing of the platform on anything of the marketplace.
#[test]
fn crates_depend_in_one_direction() {
    for (folder, package, allowed) in CRATES {
        let text = read(&format!("{folder}/Cargo.toml"));
        let mut wrong = not_allowed(&text, allowed, &["dependencies", "build-dependencies"]);
        if !folder.ends_with("marketplace") && folder != "benches" {
            // Its tests know no shop either; they may use any of the platform, and the crate itself.
            let platform: Vec<&str> = ["kernel", "schemas", "eventstore", "projections", "daybook", package].into();
            wrong.extend(not_allowed(&text, &platform, &["dev-dependencies"]));
        }
        assert!(wrong.is_empty(), "{folder}/Cargo.toml must not depend on {}: it may on {allowed:?}", wrong.join(", "));
        let manifest: toml::Table = text.parse().unwrap();
        assert_eq!(manifest["package"]["name"].as_str(), Some(package));
    }
    let workspace: toml::Table = read("Cargo.toml").parse().unwrap();
    let members: Vec<&str> = workspace["workspace"]["members"].as_array().unwrap().iter().map(|member| member.as_str().unwrap()).collect();
    assert_eq!(members, CRATES.map(|(folder, ..)| folder), "another crate needs a written reason");
    // In the workspace each of ours has its one name, and nothing else stands for it.
    for (name, what) in workspace["workspace"]["dependencies"].as_table().unwrap() {
        let package = what.get("package").and_then(toml::Value::as_str).unwrap_or(name);
        let ours = CRATES.iter().any(|(_, known, _)| *known == package);
        assert_eq!(ours, OURS.contains(&name.as_str()), "{name} = {package} in the root manifest: crates of ours have their own names, and no others");
    }
    // The check finds what it should, under any name.
    let wrong = |manifest: &str| not_allowed(manifest, &["kernel"], &["dependencies"]);
    assert_eq!(wrong("[dependencies]\nkernel.workspace = true\ndomain.workspace = true\n"), ["domain"]);
    assert_eq!(wrong("[dependencies]\nshop = { package = \"marketplace-domain\", path = \"..\" }\n"), ["marketplace-domain"]);
    assert_eq!(wrong("[target.'cfg(unix)'.dependencies]\nshop = { package = \"marketplace-domain\" }\n"), ["marketplace-domain"]);
}

#[test]
fn the_domain_stays_pure() {
    const ALLOWED: [&str; 5] = ["chrono", "iso_currency", "kernel", "serde", "thiserror"];
    for folder in ["domain/kernel", "domain/marketplace"] {
        let manifest: toml::Table = read(&format!("{folder}/Cargo.toml")).parse().unwrap();
        for name in manifest["dependencies"].as_table().unwrap().keys() {
            assert!(ALLOWED.contains(&name.as_str()), "{folder} stays pure: drop {name}");
        }
    }
    for (file, text) in sources("domain/kernel/src").into_iter().chain(sources("domain/marketplace/src")) {
        for banned in ["Utc::now", "SystemTime", "Instant::now", "HashMap", "async ", "std::fs", "std::net", "rand::", "f32", "f64"] {
            assert!(!code(&text).contains(banned), "{file}: {banned} has no place in the domain");
        }
    }
}

#[test]
fn what_is_folded_knows_no_clock() {
    for (file, text) in sources("projections/src") {
        assert!(!code(&text).contains("now()"), "{file}: a fold reads no clock");
    }
}

#[test]
fn libraries_are_named_where_they_belong() {
    for (file, text) in product_sources() {
        let text = code(&text);
        assert!(!text.contains("bincode::") || file == "schemas/record/src/codec.rs", "{file}: bincode is schemas/record/src/codec.rs's");
        let rocks = ["eventstore/src/rows.rs", "eventstore/src/memory.rs", "eventstore/src/log/embedded"];
        assert!(!text.contains("rocksdb::") || rocks.iter().any(|home| file.starts_with(home)), "{file}: RocksDB is named in {rocks:?} only");
        assert!(!text.contains("rdkafka") || file.starts_with("eventstore/src/log/kafka"), "{file}: rdkafka is named in eventstore/src/log/kafka only");
        assert!(!text.contains("unsafe") || file == "eventstore/src/log/kafka/ffi.rs", "{file}: unsafe code is eventstore/src/log/kafka/ffi.rs's");
        let client = "services/platform/src/client/";
        let asks = [client, "services/platform/src/http/elsewhere.rs", "services/platform/src/telemetry/exporter.rs"];
        assert!(!text.contains("reqwest") || asks.iter().any(|home| file.starts_with(home)), "{file}: reqwest is named in {asks:?} only");
        for log in ["eventstore", "projections", "schemas"] {
            let named = [format!("{log}::"), format!("{log}.")].iter().any(|named| text.contains(named));
            assert!(!named || !file.starts_with(client), "{file}: a client knows no log and no rows: {log} has no place in it");
        }
        for banned in [".unwrap()", ".expect(", "println!", "eprintln!", "dbg!", "todo!", "unimplemented!", "#[ignore"] {
            assert!(!text.contains(banned), "{file}: {banned} has no place outside tests");
        }
        for literal in [".commands\"", ".events\"", ".dlt\""] {
            assert!(
                !text.contains(literal) || file == "schemas/record/src/topic.rs" || file == "services/platform/src/http/admin.rs",
                "{file}: topic names are schemas/record/src/topic.rs's"
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
