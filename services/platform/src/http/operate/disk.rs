//! How much disk the parts of a process take. Reads directories, and nothing in them.

use std::path::Path;

use serde_json::{Value, json};

use super::super::app::Operator;

/// Deepest that directories of ours lie.
const DEPTH_MAX: usize = 4;

/// Bytes of each component that is there: the log, each service's heads, each view.
pub fn use_of(operator: &Operator) -> Vec<Value> {
    sizes(operator).into_iter().map(|(component, bytes)| json!({ "component": component, "bytes": bytes })).collect()
}

/// The same as numbers.
pub fn sizes(operator: &Operator) -> Vec<(String, u64)> {
    let mut all = vec![];
    for (component, dir, parts) in &operator.directories {
        if *parts {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            let mut found: Vec<_> = entries.filter(|entry| entry.path().is_dir()).collect();
            found.sort_by_key(std::fs::DirEntry::file_name);
            all.extend(found.iter().map(|part| (format!("{component}/{}", part.file_name().to_string_lossy()), bytes(&part.path(), DEPTH_MAX))));
        } else if dir.is_dir() {
            all.push(((*component).to_owned(), bytes(dir, DEPTH_MAX)));
        }
    }
    all
}

/// Of all files below. A file that goes meanwhile counts nothing.
fn bytes(path: &Path, depth: usize) -> u64 {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    if depth == 0 {
        return 0;
    }
    std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| bytes(&entry.path(), depth - 1)).sum()
}
