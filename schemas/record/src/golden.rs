//! Golden records: the bytes of every kind, written once and never edited. For the tests of a service's own shapes too.

use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::codec::{Codec, Readable};
use crate::envelope::{Kind, Malformed, TYPE_PREFIX};
use crate::wire::Shape;

/// Set to write the golden records that are missing.
pub const UPDATE: &str = "UPDATE";

/// Holds an aggregate's shapes to their golden records in `dir`: each decodes to its sample and the sample encodes to
/// it, every kind has one, records of older versions are still read, and none has lost its kind. Missing ones are
/// written where `UPDATE` is set; existing ones never.
pub fn check<A: Codec<W>, W>(dir: &Path, events: &[A::Event], commands: &[A::Command]) -> Result<(), String> {
    let shapes = A::shapes();
    let events = events.iter().map(|event| (A::encode_event(event), event));
    half(dir, "events", A::NAME, &shapes, events.collect(), A::decode_event)?;
    let commands = commands.iter().map(|command| (A::encode_command(command), command));
    half(dir, "commands", A::NAME, &shapes, commands.collect(), A::decode_command)
}

/// Holds what a follower reads of another service's events to golden records of that service, in `dir`: each kind that is
/// named has one, as its writer has it, and it is read as its sample.
pub fn check_source<S: Readable<W, Event: PartialEq>, W>(dir: &Path, samples: &[S::Event]) -> Result<(), String> {
    let kinds = S::kinds();
    if kinds.len() != samples.len() {
        return Err(format!("{} kinds are named, and there are {} samples: one for each, in their order", kinds.len(), samples.len()));
    }
    for (kind, sample) in kinds.iter().zip(samples) {
        let file = dir.join(file_name(kind));
        let body = std::fs::read(&file).map_err(|why| format!("{}: {why}; copy the golden record of whoever writes it", file.display()))?;
        match S::read(kind, &body) {
            Ok(Some(event)) if event == *sample => {}
            Ok(_) => return Err(format!("{}: it is not read as its sample", file.display())),
            Err(why) => return Err(format!("{}: {why}", file.display())),
        }
    }
    Ok(())
}

type Decode<T> = fn(&Kind, &[u8]) -> Result<T, Malformed>;

fn half<T: PartialEq>(
    dir: &Path,
    group: &str,
    aggregate: &str,
    shapes: &[Shape],
    samples: Vec<((Kind, Vec<u8>), &T)>,
    decode: Decode<T>,
) -> Result<(), String> {
    for ((kind, body), sample) in &samples {
        if decode(kind, &golden(dir, group, kind, body)?).as_ref() != Ok(*sample) {
            return Err(format!("{kind}: its golden record does not decode to the sample any more; released shapes are frozen: add a version"));
        }
    }
    let shapes: Vec<&Kind> = shapes.iter().filter(|shape| shape.group == group).map(|shape| &shape.kind).collect();
    for kind in &shapes {
        let written = samples.iter().map(|((written, _), _)| written).find(|written| written.name == kind.name);
        let written = written.ok_or_else(|| format!("{kind} has no sample, and so no golden record"))?;
        if written.version != kind.version {
            let file = dir.join(group).join(file_name(kind));
            let old = std::fs::read(&file).map_err(|why| format!("{}: {why}; the record of an older version is kept for ever", file.display()))?;
            decode(kind, &old).map_err(|why| format!("{}: {why}; what was written once is read for ever", file.display()))?;
        }
    }
    for entry in std::fs::read_dir(dir.join(group)).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = name.strip_prefix(aggregate).is_some_and(|rest| rest.starts_with('.'));
        if ours && !shapes.iter().any(|kind| file_name(kind) == name) {
            return Err(format!(
                "{} has lost its kind; what was written once is read for ever: keep the row, or add `from {{ … }}` to it",
                entry.path().display()
            ));
        }
    }
    Ok(())
}

/// `<aggregate>.<name>.v<N>.json`: what the kind is called on the wire, less the prefix that all have.
fn file_name(kind: &Kind) -> String {
    format!("{}.json", kind.to_string().trim_start_matches(TYPE_PREFIX))
}

/// The golden record of a kind, held against what is written today.
pub fn golden(dir: &Path, group: &str, kind: &Kind, body: &[u8]) -> Result<Vec<u8>, String> {
    let file = dir.join(group).join(file_name(kind));
    let at = |why: std::io::Error| format!("{}: {why}", file.display());
    let known = match std::fs::read(&file) {
        Ok(known) => known,
        Err(why) if why.kind() != ErrorKind::NotFound => return Err(at(why)),
        Err(_) if std::env::var_os(UPDATE).is_some() => {
            std::fs::create_dir_all(dir.join(group)).map_err(at)?;
            // `create_new`: nothing that exists is ever written over.
            std::fs::File::create_new(&file).and_then(|mut new| new.write_all(body)).map_err(at)?;
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
