//! The right to be forgotten: an erasure is a process that destroys the keys of somebody's personal data, looks for what it may
//! have missed, and ends with a report. What was sealed stays where it is, and nobody can read it any more.
//!
//! A file uses what stands below its room, or beside it there; no two files use each other.

use std::str::FromStr;

use kernel::{Aggregate, Context, Timestamp};
use serde::{Deserialize, Serialize};

pub mod eraser;
pub mod routes;
pub mod search;
mod shapes;
pub mod view;

/// The service that keeps erasures.
pub const SERVICE: &str = "erasure";
/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 500;
/// Longest name of a person, in bytes.
const SUBJECT_BYTES_MAX: usize = 200;

/// Whose data: the role of who owns it, and the key that it is routed by, as `customer/17`; of an account `account/<its id>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSubject {
    /// as `customer`
    pub role: String,
    /// as `17`
    pub key: String,
}

impl FromStr for DataSubject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (role, key) = text.split_once('/').unwrap_or_default();
        let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b'=');
        if text.len() > SUBJECT_BYTES_MAX || !word(role) || !word(key) {
            return Err(format!("'{}' is nobody: a role and a key in at most {SUBJECT_BYTES_MAX} bytes, as customer/17", text.escape_debug()));
        }
        Ok(Self { role: role.to_owned(), key: key.to_owned() })
    }
}

/// Where an erasure stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// nobody asked
    #[default]
    New,
    /// keys are being destroyed
    Requested,
    /// they are gone; what is left of the data is looked for
    Destroyed,
    /// looked for everywhere
    Completed,
}

/// The erasures of somebody: one at a time, as often as there is something new to erase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Erasure {
    status: Status,
    number: u64,
}

/// A key that was destroyed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DestroyedKey {
    /// its id
    pub key: String,
    /// when
    #[schemars(with = "schemas::wire::Instant")]
    #[serde(with = "schemas::wire::text")]
    pub at: Timestamp,
}

/// A place that was looked through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Looked {
    /// a topic, a directory of rows or a file
    pub place: String,
    /// records, rows or lines of it
    pub looked_at: u64,
    /// of those, how many hold data that was sealed under the destroyed keys
    pub sealed: u64,
}

/// Something that is still there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Found {
    /// as in [`Looked`]
    pub place: String,
    /// where in it
    pub at: String,
    /// the field whose value is readable there; never the value itself
    pub field: String,
}

/// What is left of somebody's data, as far as it was looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Report {
    /// how many fields' values were looked for; 0 where they were not known any more
    pub values: u64,
    /// everything that was looked through
    pub looked: Vec<Looked>,
    /// what is readable there, the first of it
    pub found: Vec<Found>,
    /// how much that is
    pub found_in_all: u64,
}

/// What can be asked of an erasure.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// erase
    Request {
        /// why
        reason: String,
    },
    /// the keys are gone
    RecordDestroyed {
        /// of which erasure
        number: u64,
        /// which
        keys: Vec<DestroyedKey>,
    },
    /// it was looked for what is left
    Complete {
        /// of which erasure
        number: u64,
        /// what was found
        report: Report,
    },
}

/// What can have happened to an erasure.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// somebody is to be forgotten
    Requested {
        /// which of theirs it is, from 1
        number: u64,
        /// why
        reason: String,
    },
    /// their keys are gone
    Destroyed {
        /// of which erasure
        number: u64,
        /// which
        keys: Vec<DestroyedKey>,
    },
    /// it was looked for what is left
    Completed {
        /// which erasure
        number: u64,
        /// what was found
        report: Report,
    },
}

impl Event {
    /// Where an erasure stands after it.
    pub fn leads_to(&self) -> Status {
        match self {
            Self::Requested { .. } => Status::Requested,
            Self::Destroyed { .. } => Status::Destroyed,
            Self::Completed { .. } => Status::Completed,
        }
    }
}

/// Why an erasure says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// See `text-out-of-range`.
    #[error("a reason has 1 to {REASON_BYTES_MAX} bytes")]
    Text,
}

impl Aggregate for Erasure {
    const NAME: &'static str = "erasure";
    const STATE_VERSION: u8 = 1;
    const REFUSALS: &'static [&'static str] = &["text-out-of-range"];
    type Id = DataSubject;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command, _: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        let under_way = matches!(self.status, Status::Requested | Status::Destroyed);
        Ok(match command {
            Command::Request { reason } if !(1..=REASON_BYTES_MAX).contains(&reason.len()) => return Err(Refusal::Text),
            Command::Request { reason } if !under_way => vec![Event::Requested { number: self.number + 1, reason }],
            Command::RecordDestroyed { number, keys } if self.status == Status::Requested && number == self.number => vec![Event::Destroyed { number, keys }],
            Command::Complete { number, report } if self.status == Status::Destroyed && number == self.number => vec![Event::Completed { number, report }],
            Command::Request { .. } | Command::RecordDestroyed { .. } | Command::Complete { .. } => vec![],
        })
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Requested { number, .. } => (self.status, self.number) = (Status::Requested, *number),
            Event::Destroyed { .. } => self.status = Status::Destroyed,
            Event::Completed { .. } => self.status = Status::Completed,
        }
    }

    fn refusal_code(_: &Refusal) -> &'static str {
        "text-out-of-range"
    }

    fn made_inside(command: &Command) -> bool {
        !matches!(command, Command::Request { .. })
    }

    fn awaits(&self) -> Option<String> {
        match self.status {
            Status::Requested => Some("the destruction of keys, by an instance of the service erasure".to_owned()),
            Status::Destroyed => Some("a look for what is left, by an instance of the service erasure".to_owned()),
            Status::New | Status::Completed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use kernel::testing::given;

    use super::*;

    const WHO: &str = "customer/17";

    fn requested(number: u64) -> Event {
        Event::Requested { number, reason: "asked".into() }
    }

    #[test]
    fn it_goes_once_through_its_steps_and_may_begin_again() {
        let (request, report) = (Command::Request { reason: "asked".into() }, Report::default());
        let keys = vec![DestroyedKey { key: "k".into(), at: Timestamp(7) }];
        let destroyed = |number| Event::Destroyed { number, keys: keys.clone() };
        let completed = |number| Event::Completed { number, report: report.clone() };
        given::<Erasure>(WHO, []).when(request.clone()).then(&[requested(1)]);
        given::<Erasure>(WHO, [requested(1)]).when(request.clone()).then(&[]);
        given::<Erasure>(WHO, [requested(1)]).when(Command::Complete { number: 1, report: report.clone() }).then(&[]);
        given::<Erasure>(WHO, [requested(1)]).when(Command::RecordDestroyed { number: 1, keys: keys.clone() }).then(&[destroyed(1)]);
        given::<Erasure>(WHO, [requested(1), destroyed(1)]).when(Command::RecordDestroyed { number: 1, keys: keys.clone() }).then(&[]);
        given::<Erasure>(WHO, [requested(1), destroyed(1)]).when(Command::Complete { number: 1, report: report.clone() }).then(&[completed(1)]);
        given::<Erasure>(WHO, [requested(1), destroyed(1), completed(1)]).when(request).then(&[requested(2)]);
        given::<Erasure>(WHO, []).when(Command::Request { reason: String::new() }).refused("text-out-of-range");
    }

    #[test]
    fn whose_data_it_is_has_one_spelling() {
        for (text, right) in [
            ("customer/17", true),
            ("account/5f3a", true),
            ("17", false),
            ("/17", false),
            ("a/", false),
            ("a/b/c", false),
            ("a b/1", false),
            ("a=b/1", false),
            ("ä/1", false),
        ] {
            assert_eq!(text.parse::<DataSubject>().is_ok(), right, "{text}");
        }
        assert!(format!("customer/{}", "1".repeat(200)).parse::<DataSubject>().is_err());
    }
}
