//! The proof that a live fold equals one from zero: both at one saved position vector, row by row, byte for byte.
//! Changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use eventstore::fold::{Fold, replay_to};
use eventstore::memory::Memory;
use eventstore::rows::{Frozen, KeyedRow, Rows};
use eventstore::{Fault, Limits, Log, Offset, Positions};
use kernel::SEALED_IN_ROWS;
use schemas::{Partition, Topic};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Fields of rows that hold log times, log positions and what is made with the log's keys: another log has others.
pub const OF_THE_LOG: [&str; 4] = ["at", "created_at", "next", "prints"];
/// Tables of rows that are the log's: histories, whose order is that of what happened at once elsewhere, and queues by
/// log time.
const TABLES_OF_THE_LOG: [&[u8]; 2] = [b"h/", b"u/"];
/// Pauses before a read that met a passing fault is tried again, in one partition.
const PAUSES: [Duration; 5] = [Duration::from_millis(100), Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5)];
/// How many of the shortest pauses a fold that runs may take for its next record.
const ADVANCES: u32 = 100;
/// Differing keys that are named.
const NAMED_MAX: usize = 10;

/// A row that is not the same in both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// which
    pub key: String,
    /// as it stands live; none if it is missing there
    pub live: Option<String>,
    /// as it is folded from zero; none if it should not exist
    pub rebuilt: Option<String>,
}

/// What became of one fold's proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// the fold's name
    pub name: String,
    /// rows compared
    pub rows: u64,
    /// Digest of the live rows: 256 bits, independent of their order.
    pub live: String,
    /// digest of the rows folded from zero
    pub rebuilt: String,
    /// Digest of what the live rows say of the business, the same on every log; empty where rows are no JSON.
    pub business: String,
    /// records folded for it
    pub records: u64,
    /// Whether these were all there are, from zero, and every row was compared. Else they are what was written since a fold
    /// from zero that was proven before, and the digests were compared that the folds keep.
    #[serde(default = "yes")]
    pub full: bool,
    /// the first rows that differ, at most ten
    pub differences: Vec<Difference>,
    /// why it proves nothing, although the rows may be the same
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong: Option<String>,
}

fn yes() -> bool {
    true // as a version before proves
}

impl Verdict {
    /// Whether both are the same, and nothing else is wrong.
    pub fn matches(&self) -> bool {
        self.live == self.rebuilt && self.differences.is_empty() && self.wrong.is_none()
    }

    /// Of a fold that cannot be looked at.
    pub fn of_none(name: &str, wrong: String) -> Self {
        let none = Digest::default().hex();
        let (name, rebuilt) = (name.to_owned(), none.clone());
        Self { name, rows: 0, live: none, rebuilt, business: String::new(), records: 0, full: true, differences: vec![], wrong: Some(wrong) }
    }
}

/// Adds a row without what is the log's: see [`OF_THE_LOG`]. False if it is no JSON.
fn add_business(digest: &mut Digest, (key, row): &KeyedRow) -> bool {
    if TABLES_OF_THE_LOG.iter().any(|table| key.starts_with(table)) {
        return true;
    }
    let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(row) else { return false };
    leave_out_sealed(&mut value);
    if let Some(fields) = value.as_object_mut() {
        OF_THE_LOG.iter().for_each(|field| drop(fields.remove(*field)));
        fields.sort_keys();
    }
    digest.add(key, value.to_string().as_bytes());
    true
}

/// What is sealed looks different each time, wherever it stands.
fn leave_out_sealed(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            fields.remove(SEALED_IN_ROWS);
            fields.values_mut().for_each(leave_out_sealed);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(leave_out_sealed),
        _ => {}
    }
}

/// Where a proven fold is kept, and what it must be of to be gone on from.
pub struct Kept<'a> {
    /// its directory
    pub dir: PathBuf,
    /// the shape of its rows
    pub shape: String,
    /// the log that it was folded from
    pub log: &'a str,
    /// the records that it passed over
    pub skips: Positions,
}

impl Kept<'_> {
    /// What is kept, as a copy in `scratch`; one of another shape, another log or other records is none, and one that cannot be read.
    fn copied(&self, scratch: &Path) -> bool {
        let copied = || Rows::open_of(&self.dir, &self.shape, self.log, &self.skips, &Memory::default())?.copy(scratch);
        match self.dir.exists().then(copied) {
            None => false,
            Some(Ok(())) => true,
            Some(Err(fault)) => {
                tracing::warn!(%fault, "what was proven before cannot be gone on from: all is folded from zero");
                let _whatever_is_left = std::fs::remove_dir_all(scratch);
                false
            }
        }
    }

    /// Keeps these rows instead.
    fn keep(&self, proven: &Rows) -> Result<(), Fault> {
        let (new, failed) = (self.dir.with_extension("new"), |why: std::io::Error| Fault::Fatal(format!("{}: {why}", self.dir.display())));
        let remove = |dir: &PathBuf| if dir.is_dir() { std::fs::remove_dir_all(dir) } else { std::fs::remove_file(dir) };
        [&new, &self.dir].into_iter().filter(|dir| dir.exists()).try_for_each(remove).map_err(failed)?;
        if let Some(above) = self.dir.parent() {
            std::fs::create_dir_all(above).map_err(failed)?;
        }
        proven.copy(&new)?;
        std::fs::rename(&new, &self.dir).map_err(failed)
    }
}

/// What is proven.
pub struct Proof<'a> {
    /// the fold's name
    pub name: &'a str,
    /// what it was folded from
    pub log: &'a dyn Log,
    /// its rows
    pub live: &'a Rows,
    /// an empty directory to fold in
    pub scratch: &'a Path,
    /// where a fold from zero that was proven is kept, to go on from at the next proof
    pub kept: Option<&'a Kept<'a>>,
    /// all is folded from zero, whatever is kept
    pub full: bool,
    /// the topic it folds all partitions of; none if it has only those that it owns
    pub whole: Option<&'a Topic>,
    /// whether it goes on folding meanwhile
    pub runs: bool,
}

impl Proof<'_> {
    /// Folds anew up to where the rows stand, and compares; then goes on to the log's end, since a fold that cannot
    /// come there has stopped. `make` gives the same fold over other rows.
    pub fn verify(&self, make: impl FnOnce(Arc<Rows>) -> Box<dyn Fold>) -> Result<Verdict, Fault> {
        let (name, log) = (self.name, self.log);
        let live = self.live.freeze();
        let positions = live.positions()?;
        crate::generations::room(self.scratch)?;
        let further = !self.full && self.kept.is_some_and(|kept| kept.copied(self.scratch));
        let (shape, of) = self.kept.map_or((name, ""), |kept| (kept.shape.as_str(), kept.log));
        let fresh = Arc::new(Rows::open_of(self.scratch, shape, of, &[], &Memory::default())?);
        let mut fold = Counting { fold: make(Arc::clone(&fresh)), records: 0 };
        let mut ends = vec![];
        for (topic, partition, end) in &positions {
            if log.start(topic, *partition)?.0 > 0 {
                return Err(Fault::Fatal(format!("{topic}/{partition} does not begin at offset 0 any more: there is nothing to fold {name} from")));
            }
            let log_end = log.end(topic, *partition)?;
            if *end > log_end {
                return Err(Fault::Fatal(format!(
                    "{name} stands at {topic}/{partition} offset {end}, past the log's end {log_end}: it was not folded from this log"
                )));
            }
            patiently(log, (topic, *partition, *end), &mut fold)?;
            ends.push((topic, *partition, log_end));
        }
        let mut verdict = match further.then(|| digests(name, &live, &fresh.freeze(), fold.records)).transpose()?.flatten() {
            Some(same) => same,
            None => Verdict { full: !further, ..compare(name, &live, &fresh.freeze(), fold.records)? },
        };
        verdict.wrong = self.missing(&positions)?;
        // A proof is none the worse for not being kept.
        if let Some(kept) = self.kept.filter(|_| verdict.matches())
            && let Err(fault) = kept.keep(&fresh)
        {
            tracing::warn!(%fault, "what is proven cannot be kept: the next proof begins from zero");
        }
        for place in ends {
            match patiently(log, place, &mut fold) {
                Err(Fault::Stop(stuck)) => drop(verdict.wrong.get_or_insert(stuck.to_string())),
                other => other?,
            }
        }
        if verdict.wrong.is_none() && self.runs && self.whole.is_some() {
            verdict.wrong = self.stands_still(&positions)?;
        }
        Ok(verdict)
    }

    /// A partition that the rows know nothing of.
    fn missing(&self, positions: &Positions) -> Result<Option<String>, Fault> {
        let Some(topic) = self.whole else { return Ok(None) };
        for partition in (0..self.log.partitions()).map(Partition) {
            let known = positions.iter().any(|(of, known, _)| of == topic && *known == partition);
            if !known && self.log.end(topic, partition)? > self.log.start(topic, partition)? {
                return Ok(Some(format!("its rows say nothing of where they stand in {topic}/{partition}: they are not whole")));
            }
        }
        Ok(None)
    }

    /// A partition in which there is something to fold, and nothing is folded.
    fn stands_still(&self, before: &Positions) -> Result<Option<String>, Fault> {
        for (topic, partition, stood) in before {
            let next = Limits { records: 1, ..Limits::default() };
            let mut pauses = 0;
            while self.live.position(topic, *partition)? == *stood && !self.log.read(topic, *partition, *stood, next)?.records.is_empty() {
                pauses += 1;
                if pauses > ADVANCES {
                    return Ok(Some(format!("it stands still at {topic}/{partition} offset {stood}, although there are records to fold")));
                }
                std::thread::sleep(PAUSES[0]);
            }
        }
        Ok(None)
    }
}

/// Folds a partition up to an offset, through passing faults.
fn patiently(log: &dyn Log, (topic, partition, end): (&Topic, Partition, Offset), fold: &mut Counting) -> Result<(), Fault> {
    let mut again = PAUSES.iter();
    while let Err(fault) = replay_to(log, topic, partition, fold, Limits { records: 5_000, ..Limits::default() }, end) {
        match (fault, again.next()) {
            // The fold stands where it came to, and goes on from there.
            (Fault::Retry(_), Some(pause)) => std::thread::sleep(*pause),
            (fault, _) => return Err(fault),
        }
    }
    Ok(())
}

/// Counts what it passes on.
struct Counting {
    fold: Box<dyn Fold>,
    records: u64,
}

impl Fold for Counting {
    fn next(&self, topic: &schemas::Topic, partition: schemas::Partition) -> Result<eventstore::Offset, Fault> {
        self.fold.next(topic, partition)
    }
    fn fold(&mut self, topic: &schemas::Topic, partition: schemas::Partition, page: eventstore::Page) -> Result<(), Fault> {
        self.records += page.records.len() as u64;
        self.fold.fold(topic, partition, page)
    }
}

/// By the digests that both folds keep, where they do and these are the same: those that are not are compared row by row.
fn digests(name: &str, live: &Frozen<'_>, rebuilt: &Frozen<'_>, records: u64) -> Result<Option<Verdict>, Fault> {
    let (Some(live), Some(rebuilt)) = (Digest::frozen(live)?, Digest::frozen(rebuilt)?) else { return Ok(None) };
    let (name, business, hex) = (name.to_owned(), String::new(), live.hex());
    let same = Verdict { name, rows: live.rows(), live: hex.clone(), rebuilt: hex, business, records, full: false, differences: vec![], wrong: None };
    Ok((live == rebuilt).then_some(same))
}

/// Row by row.
pub fn compare(name: &str, live: &Frozen<'_>, rebuilt: &Frozen<'_>, records: u64) -> Result<Verdict, Fault> {
    let (mut ours, mut theirs) = (live.rows().peekable(), rebuilt.rows().peekable());
    let (mut live, mut rebuilt, mut rows, mut differences) = (Digest::default(), Digest::default(), 0, vec![]);
    let (mut business, mut readable) = (Digest::default(), true);
    loop {
        let order = match (ours.peek(), theirs.peek()) {
            (None, None) => break,
            (Some(Ok(one)), Some(Ok(other))) => one.0.cmp(&other.0),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            _ => std::cmp::Ordering::Equal, // one of them failed: taking both meets the error
        };
        let one = if order.is_le() { ours.next().transpose()? } else { None };
        let other = if order.is_ge() { theirs.next().transpose()? } else { None };
        one.iter().for_each(|(key, row)| live.add(key, row));
        readable = readable && one.iter().all(|row| add_business(&mut business, row));
        other.iter().for_each(|(key, row)| rebuilt.add(key, row));
        rows += 1;
        if one != other && differences.len() < NAMED_MAX {
            differences.push(difference(one.as_ref(), other.as_ref()));
        }
    }
    Ok(Verdict {
        name: name.to_owned(),
        rows,
        live: live.hex(),
        rebuilt: rebuilt.hex(),
        business: if readable { business.hex() } else { String::new() },
        records,
        full: true,
        differences,
        wrong: None,
    })
}

fn difference(live: Option<&KeyedRow>, rebuilt: Option<&KeyedRow>) -> Difference {
    let key = live.or(rebuilt).map(|(key, _)| key.escape_ascii().to_string()).unwrap_or_default();
    let shown = |row: &KeyedRow| std::str::from_utf8(&row.1).map_or_else(|_| row.1.escape_ascii().to_string(), str::to_owned);
    Difference { key, live: live.map(shown), rebuilt: rebuilt.map(shown) }
}
