//! A look for what is left of somebody: first for what was sealed under their keys, then for the values that were in it. Tells
//! where something is, never what.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventstore::memory::Memory;
use eventstore::rows::Rows;
use eventstore::sealing::{Opened, Sealer};
use eventstore::service::Service;
use eventstore::{Fault, Limits, Log, Record};
use schemas::wire::{PERSONAL, Personal};
use schemas::{Partition, Topic};
use serde_json::Value;

use super::{Found, Looked, Report};

/// Finds that a report names one by one.
const FOUND_MAX: usize = 100;
/// What somebody else's record may hold by chance: names of towns, for one.
const CHANCE_BYTES_MAX: usize = 5;

/// Something that may hold personal data: it gives everything in it to be looked at, with where that is, and its key.
///
/// Exports are such places as well, once there are any.
pub trait Place {
    /// As a report calls it.
    fn name(&self) -> String;
    /// Gives all of it.
    fn each(&self, look: &mut dyn FnMut(Piece<'_>)) -> Result<(), Fault>;
}

/// A record, a row or a line.
pub struct Piece<'p> {
    /// where, within its place
    pub at: &'p dyn Fn() -> String,
    /// whose personal data is in it, where that is known
    pub whose: &'p dyn Fn() -> Option<String>,
    /// itself: its body first
    pub bytes: &'p [&'p [u8]],
}

/// A topic of a service.
pub struct InTopic<'l> {
    /// the log
    pub log: &'l dyn Log,
    /// which
    pub topic: Topic,
    /// whose
    pub service: &'l Service,
}

impl Place for InTopic<'_> {
    fn name(&self) -> String {
        self.topic.to_string()
    }

    fn each(&self, look: &mut dyn FnMut(Piece<'_>)) -> Result<(), Fault> {
        for partition in (0..self.log.partitions()).map(Partition) {
            let (mut next, end) = (self.log.start(&self.topic, partition)?, self.log.end(&self.topic, partition)?);
            while next < end {
                let page = self.log.read(&self.topic, partition, next, Limits::default())?;
                page.records.iter().for_each(|record| piece(self.service, self.log.rules().routing_key, record, look));
                if page.next <= next {
                    return Err(Fault::Retry(format!("{}/{partition}: nothing to read from {next} below its end {end}", self.topic)));
                }
                next = page.next;
            }
        }
        Ok(())
    }
}

fn piece(service: &Service, route: fn(&str) -> &str, record: &Record, look: &mut dyn FnMut(Piece<'_>)) {
    let bytes: Vec<&[u8]> = [record.body(), &record.key].into_iter().chain(record.headers.iter().map(|(_, value)| value)).collect();
    let whose = || {
        let envelope = record.envelope().ok()?;
        service.personal().find(|handler| handler.name() == envelope.kind.aggregate)?;
        Some(service.data_subject(&envelope.kind.aggregate, route(&envelope.subject), &envelope.subject))
    };
    look(Piece { at: &|| format!("{}/{}", record.partition, record.offset), whose: &whose, bytes: &bytes });
}

/// What an instance has folded: heads, or a view.
pub struct InRows(pub Arc<Rows>);

impl Place for InRows {
    fn name(&self) -> String {
        below_data(self.0.dir())
    }

    fn each(&self, look: &mut dyn FnMut(Piece<'_>)) -> Result<(), Fault> {
        each_row(&self.0, look)
    }
}

/// What it has folded and does not use now: what was served before, or proven. It is opened to be looked at.
pub struct InClosed(pub PathBuf);

impl Place for InClosed {
    fn name(&self) -> String {
        below_data(&self.0)
    }

    fn each(&self, look: &mut dyn FnMut(Piece<'_>)) -> Result<(), Fault> {
        let memory = Memory::default();
        // A proof that runs has it: it is over in a while.
        let in_use = |why: Fault| Fault::Retry(format!("erasure: {why}"));
        match Rows::shape_in(&self.0, &memory).map_err(in_use)? {
            Some(shape) => each_row(&Rows::look(&self.0, &shape, None, &memory).map_err(in_use)?, look),
            None => Ok(()), // it went meanwhile
        }
    }
}

fn each_row(rows: &Rows, look: &mut dyn FnMut(Piece<'_>)) -> Result<(), Fault> {
    for row in rows.freeze().rows() {
        let (key, row) = row?;
        look(Piece { at: &|| String::from_utf8_lossy(&key).escape_debug().to_string(), whose: &|| None, bytes: &[&row, &key] });
    }
    Ok(())
}

/// The last two names of a directory: `views/orders.1`.
fn below_data(dir: &Path) -> String {
    let names: Vec<_> = dir.iter().rev().take(2).map(|name| name.to_string_lossy()).collect();
    names.into_iter().rev().collect::<Vec<_>>().join("/")
}

/// A file of lines.
pub struct InFile(pub PathBuf);

impl Place for InFile {
    fn name(&self) -> String {
        self.0.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn each(&self, look: &mut dyn FnMut(Piece<'_>)) -> Result<(), Fault> {
        let unread = |why: std::io::Error| Fault::Retry(format!("{}: {why}", self.0.display()));
        let file = match File::open(&self.0) {
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(unread)?,
        };
        for (number, line) in BufReader::new(file).split(b'\n').enumerate() {
            look(Piece { at: &|| format!("line {}", number + 1), whose: &|| None, bytes: &[&line.map_err(unread)?] });
        }
        Ok(())
    }
}

/// What is looked for: the values of somebody's fields, and the keys they were sealed under.
#[derive(Default)]
pub struct Needles {
    /// the keys' ids
    keys: BTreeSet<String>,
    /// each field's value, as JSON and as it is
    values: Vec<(String, Vec<u8>)>,
    /// who they are
    subjects: Vec<String>,
}

impl Needles {
    /// Of these.
    pub fn of(subjects: Vec<String>) -> Self {
        Self { subjects, ..Self::default() }
    }

    /// The keys that anything of theirs was found to be sealed under.
    pub fn keys(&self) -> BTreeSet<String> {
        self.keys.clone()
    }

    /// Looks for what was sealed under these, too.
    pub fn sealed_under(&mut self, keys: impl IntoIterator<Item = String>) {
        self.keys.extend(keys);
    }

    /// How many fields' values are known.
    pub fn values(&self) -> u64 {
        self.values.len() as u64
    }

    /// Learns the values, while they can be opened, and those that were never sealed.
    ///
    /// # Errors
    /// If a place cannot be read, or a key is lost.
    pub fn learn(&mut self, sealer: &Sealer, places: &[Box<dyn Place + '_>]) -> Result<(), Fault> {
        let mut found = vec![];
        for place in places {
            place.each(&mut |piece| {
                let body = piece.bytes.first().copied().unwrap_or_default();
                let theirs = holds(body, PERSONAL.as_bytes()) && (piece.whose)().is_some_and(|whose| self.subjects.contains(&whose));
                let sealed_for = || self.subjects.iter().any(|subject| holds(body, format!("\"subject\":\"{subject}\"").as_bytes()));
                if (theirs || sealed_for())
                    && let Ok(value) = serde_json::from_slice::<Value>(body)
                {
                    collect(&value, &mut String::new(), theirs, &mut found);
                }
            })?;
        }
        for (field, theirs, personal) in found {
            match personal {
                Personal::Clear(value) => self.take(&field, &value),
                Personal::Sealed(sealed) => {
                    let named = sealed.about.as_ref().map(|about| self.subjects.contains(&about.subject));
                    if !named.unwrap_or(theirs) {
                        continue;
                    }
                    self.keys.insert(sealed.key.clone());
                    if let Ok(Opened::Clear(bytes)) = sealer.open(&sealed.into())
                        && let Ok(value) = serde_json::from_slice::<Value>(&bytes)
                    {
                        self.take(&field, &value);
                    }
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, field: &str, value: &Value) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| self.take(&format!("{field}/{name}"), value)),
            Value::Array(items) => items.iter().for_each(|item| self.take(field, item)),
            Value::String(text) if text.len() >= 3 => {
                let quoted = serde_json::to_vec(text).unwrap_or_default();
                let escaped = quoted[1..quoted.len().saturating_sub(1).max(1)].to_vec();
                for value in [text.clone().into_bytes(), escaped] {
                    if self.values.iter().all(|(_, known)| *known != value) {
                        self.values.push((field.to_owned(), value));
                    }
                }
            }
            _ => {}
        }
    }

    /// Looks through everything.
    ///
    /// # Errors
    /// If a place cannot be read.
    pub fn look(&self, places: &[Box<dyn Place + '_>]) -> Result<Report, Fault> {
        let mut report = Report { values: self.values(), ..Report::default() };
        for place in places {
            let mut looked = Looked { place: place.name(), ..Looked::default() };
            place.each(&mut |piece| {
                looked.looked_at += 1;
                looked.sealed += u64::from(self.keys.iter().any(|key| piece.bytes.iter().any(|bytes| holds(bytes, key.as_bytes()))));
                let readable = |value: &[u8]| piece.bytes.iter().any(|bytes| holds_word(bytes, value));
                let own = self.values.iter().any(|(_, value)| readable(value)) && (piece.whose)().is_some_and(|whose| self.subjects.contains(&whose));
                for (field, _) in self.values.iter().filter(|(_, value)| (own || telling(value)) && readable(value)) {
                    report.found_in_all += 1;
                    if report.found.len() < FOUND_MAX {
                        report.found.push(Found { place: looked.place.clone(), at: (piece.at)(), field: field.clone() });
                    }
                }
            })?;
            report.looked.push(looked);
        }
        Ok(report)
    }
}

/// Whether a value is somebody's, wherever it stands: longer than what stands there by chance, and no single word.
fn telling(value: &[u8]) -> bool {
    value.len() > CHANCE_BYTES_MAX && value.iter().any(|byte| matches!(byte, b'@' | b' ' | b'0'..=b'9'))
}

/// All personal data in a body, with the names of its fields: what is clear only of who is looked for.
fn collect(value: &Value, at: &mut String, theirs: bool, into: &mut Vec<(String, bool, Personal<Value>)>) {
    let before = at.len();
    let mut below = |name: &str, value: &Value| {
        at.push('/');
        at.push_str(name);
        let personal = Some(value).filter(|_| name == PERSONAL).and_then(|value| serde_json::from_value::<Personal<Value>>(value.clone()).ok());
        match personal {
            Some(Personal::Clear(_)) if !theirs => {}
            Some(personal) => into.push((at.clone(), theirs, personal)),
            None => collect(value, at, theirs, into),
        }
        at.truncate(before);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| below(name, value)),
        Value::Array(items) => items.iter().for_each(|item| below("-", item)),
        _ => {}
    }
}

/// The same of whole words: three letters are in what is sealed by chance.
fn holds_word(bytes: &[u8], part: &[u8]) -> bool {
    let letter = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    memchr::memmem::find_iter(bytes, part).any(|at| !letter(at.checked_sub(1).and_then(|before| bytes.get(before))) && !letter(bytes.get(at + part.len())))
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(bytes, part).is_some()
}
