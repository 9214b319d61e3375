//! What a trial finds: the first of each kind by name, and how many there are of all.

use std::collections::{BTreeMap, HashSet};

use eventstore::log::{Record, Wrong};
use eventstore::{Offset, heads::Broken};
use schemas::{Partition, Topic};
use serde::Serialize;

/// How many are named of each kind.
const NAMED_MAX: usize = 20;

/// What is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// an event that this program cannot decode
    Undecodable,
    /// a fold or a state that panics
    Panic,
    /// a version that does not follow the one before
    Version,
    /// an event that lies where it may not
    Misplaced,
    /// a state of which something does not hold that its aggregate declares
    Invariant,
    /// rows that cannot be compared: another log's, or not whole
    Rows,
    /// a fold that fails as a whole, at this event if it is at one
    Stopped,
}

impl From<Wrong> for Kind {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::Undecodable => Self::Undecodable,
            Wrong::Panicked => Self::Panic,
            Wrong::Version => Self::Version,
            Wrong::Refused => Self::Misplaced,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Undecodable => "cannot be decoded",
            Self::Panic => "panics",
            Self::Version => "version",
            Self::Misplaced => "misplaced",
            Self::Invariant => "invariant",
            Self::Rows => "rows",
            Self::Stopped => "stopped",
        })
    }
}

/// One of them.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// what it is
    pub kind: Kind,
    /// `topic/partition offset`, if it is at an event
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// the event's type
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// the aggregate, as `order/17-1`, and its version
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<String>,
    /// the folds that met it
    pub folds: Vec<String>,
    /// what is wrong
    pub why: String,
}

/// All that a trial found.
#[derive(Default)]
pub struct Findings {
    named: Vec<Finding>,
    counts: BTreeMap<Kind, u64>,
    /// so that what several folds meet counts once
    places: HashSet<(Kind, Topic, Partition, Offset)>,
    /// An invariant that is broken stays so: each aggregate counts once.
    broken: HashSet<(&'static str, String)>,
}

impl Findings {
    /// At an event that a fold could not take.
    pub fn at(&mut self, fold: &str, record: &Record, kind: Kind, why: &str) {
        let place = place(&record.topic, record.partition, record.offset);
        if !self.places.insert((kind, record.topic.clone(), record.partition, record.offset)) {
            let same = self.named.iter_mut().find(|known| known.kind == kind && known.place.as_ref() == Some(&place));
            same.into_iter().for_each(|known| known.folds.push(fold.to_owned()));
            return;
        }
        let (event, aggregate) = match record.envelope() {
            Ok(envelope) => {
                let version = envelope.version.map(|version| format!(" version {version}")).unwrap_or_default();
                (Some(envelope.kind.to_string()), Some(format!("{}/{}{version}", envelope.kind.aggregate, envelope.subject)))
            }
            Err(_) => (record.headers.text("ce_type").map(str::to_owned), None),
        };
        self.add(Finding { kind, place: Some(place), event, aggregate, folds: vec![fold.to_owned()], why: why.to_owned() });
    }

    /// A state that does not keep what its aggregate declares. Says whether that was not known of it.
    pub fn broken(&mut self, fold: &str, topic: &Topic, broken: Broken) -> bool {
        let Broken { partition, offset, aggregate, id, version, why } = broken;
        let new = self.broken.insert((aggregate, id.clone()));
        if new {
            let (place, of) = (place(topic, partition, offset), format!("{aggregate}/{id} version {version}"));
            self.add(Finding { kind: Kind::Invariant, place: Some(place), event: None, aggregate: Some(of), folds: vec![fold.to_owned()], why });
        }
        new
    }

    /// Of a whole fold.
    pub fn of(&mut self, fold: &str, kind: Kind, why: String) {
        self.add(Finding { kind, place: None, event: None, aggregate: None, folds: vec![fold.to_owned()], why });
    }

    fn add(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.kind).or_default();
        *count += 1;
        if *count <= NAMED_MAX as u64 {
            self.named.push(finding);
        }
    }

    /// How many there are of each kind, and the first of them.
    pub fn told(mut self) -> (BTreeMap<Kind, u64>, Vec<Finding>) {
        self.named.sort_by_key(|finding| finding.kind);
        (self.counts, self.named)
    }
}

fn place(topic: &Topic, partition: Partition, offset: Offset) -> String {
    format!("{topic}/{partition} offset {offset}")
}
