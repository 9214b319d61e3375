//! Golden records: the bytes of every kind, written once and never edited. For the tests of a service's own shapes too.

use std::path::Path;

use crate::codec::Codec;
use crate::envelope::Kind;
use crate::wire::Shape;

/// Set to write the golden records that are missing.
pub const UPDATE: &str = "UPDATE";

/// Holds an aggregate's shapes to their golden records in `dir`: each decodes to its sample and the sample encodes to
/// it, and every kind has one. Missing ones are written where `UPDATE` is set; existing ones never.
pub fn check<A: Codec>(dir: &Path, shapes: &[Shape], events: &[A::Event], commands: &[A::Command]) -> Result<(), String> {
    let mut seen = vec![];
    for event in events {
        let (kind, body) = A::encode_event(event);
        let golden = golden(dir, "events", &kind, &body)?;
        if A::decode_event(&kind, &golden).as_ref() != Ok(event) {
            return Err(format!("{kind}: its golden record does not decode to the sample any more; released shapes are frozen: add a version"));
        }
        seen.push(("events", kind));
    }
    for command in commands {
        let (kind, body) = A::encode_command(command);
        let golden = golden(dir, "commands", &kind, &body)?;
        if A::decode_command(&kind, &golden).as_ref() != Ok(command) {
            return Err(format!("{kind}: its golden record does not decode to the sample any more; released shapes are frozen: add a version"));
        }
        seen.push(("commands", kind));
    }
    for shape in shapes {
        if !seen.iter().any(|(group, kind)| *group == shape.group && *kind == shape.kind) {
            return Err(format!("{} has no sample, and so no golden record", shape.kind));
        }
    }
    Ok(())
}

/// The golden record of a kind, held against what is written today.
pub fn golden(dir: &Path, group: &str, kind: &Kind, body: &[u8]) -> Result<Vec<u8>, String> {
    let file = dir.join(group).join(format!("{}.{}.v{}.json", kind.aggregate, kind.name, kind.version));
    let known = match std::fs::read(&file) {
        Ok(known) => known,
        Err(_) if std::env::var_os(UPDATE).is_some() => {
            file.parent()
                .map(std::fs::create_dir_all)
                .transpose()
                .and_then(|_| std::fs::write(&file, body))
                .map_err(|why| format!("{}: {why}", file.display()))?;
            body.to_vec()
        }
        Err(_) => return Err(format!("{kind} has no golden record: run the test with {UPDATE}=1 and commit {}", file.display())),
    };
    if known == body {
        Ok(known)
    } else {
        Err(format!("{kind} is written otherwise than its golden record {}; released shapes are frozen: add a version", file.display()))
    }
}
