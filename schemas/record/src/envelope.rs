//! The envelope: CloudEvents 1.0 in Kafka's binary mode, with our extensions. Read before the body, always.
//! Its names never change; a new attribute is optional.

use std::borrow::Cow;
use std::str::FromStr;

use kernel::Timestamp;
use uuid::Uuid;

use crate::trace::TraceContext;

/// `<reverse-dns>.` before `<aggregate>.<name>.v<N>` in `ce_type`.
pub const TYPE_PREFIX: &str = "dev.daybook.";
/// The body's media type.
pub const JSON: &str = "application/json";
/// 0000-01-01T00:00:00Z, the first instant that RFC 3339 has a spelling for in UTC.
const TIME_MIN: Timestamp = Timestamp(-62_167_219_200_000_000);
/// 9999-12-31T23:59:59.999999Z, the last one. A leap second or an offset can lead past either, and what is read must
/// be writable again: a command's time is copied into its events, and an event nobody can read stops its partition.
const TIME_MAX: Timestamp = Timestamp::MAX;

/// Record headers, in order. Names are lower-case ASCII. Values lie one behind the other: every record has a dozen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// each name, and where its value ends
    names: Vec<(Name, usize)>,
    values: Vec<u8>,
}

/// A header's name: those that an envelope is made of are looked for once.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    /// which of [`KNOWN`]
    Known(u8),
    Other(Box<str>),
}

impl Name {
    fn of(name: &str) -> Self {
        let known = (0..).zip(KNOWN).find(|(_, known)| *known == name);
        known.map_or_else(|| Self::Other(name.into()), |(place, _)| Self::Known(place))
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Known(place) => KNOWN[usize::from(*place)],
            Self::Other(name) => name,
        }
    }
}

impl Headers {
    /// None yet, with room for so many, and so many bytes of values.
    pub fn with_capacity(count: usize, bytes: usize) -> Self {
        Self { names: Vec::with_capacity(count), values: Vec::with_capacity(bytes) }
    }

    /// The first value under `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The first value under `name`, if it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// Adds one.
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.values.extend_from_slice(value.as_ref());
        self.names.push((Name::of(name), self.values.len()));
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.named().map(|(name, value)| (name.as_str(), value))
    }

    fn named(&self) -> impl Iterator<Item = (&Name, &[u8])> {
        let begins = std::iter::once(0).chain(self.names.iter().map(|(_, end)| *end));
        begins.zip(&self.names).map(|(begin, (name, end))| (name, self.values.get(begin..*end).unwrap_or_default()))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Bytes of all names and values.
    pub fn bytes(&self) -> usize {
        self.names.iter().map(|(name, _)| name.as_str().len()).sum::<usize>() + self.values.len()
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(all: I) -> Self {
        let mut headers = Self::default();
        all.into_iter().for_each(|(name, value)| headers.push(name.as_ref(), value));
        headers
    }
}

/// `<aggregate>.<name>` and the schema version: what `ce_type` says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// the aggregate's name
    pub aggregate: Cow<'static, str>,
    /// the event's or command's name, kebab case
    pub name: Cow<'static, str>,
    /// schema version of the body, from 1
    pub version: u16,
}

impl Kind {
    /// A kind known at compile time.
    pub const fn of(aggregate: &'static str, name: &'static str, version: u16) -> Self {
        Self { aggregate: Cow::Borrowed(aggregate), name: Cow::Borrowed(name), version }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{TYPE_PREFIX}{}.{}.v{}", self.aggregate, self.name, self.version)
    }
}

impl FromStr for Kind {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = || Malformed::Header { name: "ce_type", found: text.to_owned(), expected: "dev.daybook.<aggregate>.<name>.v<N>" };
        let (rest, version) = text.strip_prefix(TYPE_PREFIX).and_then(|rest| rest.rsplit_once(".v")).ok_or_else(wrong)?;
        let (aggregate, name) = rest.split_once('.').ok_or_else(wrong)?;
        // `v+1` and `v01` are numbers too, but no spelling of ours: one kind has one text.
        let number = |version: &u16| *version > 0 && text.len() == rest.len() + TYPE_PREFIX.len() + 2 + version.to_string().len();
        let version = version.parse().ok().filter(number).ok_or_else(wrong)?;
        if aggregate.is_empty() || name.is_empty() {
            return Err(wrong());
        }
        Ok(Self { aggregate: aggregate.to_owned().into(), name: name.to_owned().into(), version })
    }
}

/// A time as RFC 3339 writes it, in whatever zone; none if it is none, or not within the years 0000 to 9999 in UTC.
pub fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|time| (TIME_MIN..=TIME_MAX).contains(time))
}

fn versions(versions: &[u64]) -> String {
    if versions.is_empty() { "*".to_owned() } else { versions.iter().map(u64::to_string).collect::<Vec<_>>().join(",") }
}

/// What stands around a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// `ce_id`: a command's id (from its client, or derived from its cause), or an event's id (see [`event_id`]).
    pub id: String,
    /// `ce_source`: `/<service>/<aggregate>`.
    pub source: String,
    /// `ce_type`.
    pub kind: Kind,
    /// `ce_subject`: the aggregate's id.
    pub subject: String,
    /// `ce_time`: log time of the decision; none in commands from outside.
    pub time: Option<Timestamp>,
    /// `ce_occurredat`: business time, where it is not log time.
    pub occurred_at: Option<Timestamp>,
    /// `ce_sequence`: the aggregate's version after this event, from 1.
    pub version: Option<u64>,
    /// `ce_expectedversion`: a command is refused unless the aggregate stands there.
    pub expected_version: Option<u64>,
    /// `ce_expectedversions`: the same for several of them, separated by commas; for any at all (`*`) the list is empty.
    pub expected_versions: Option<Vec<u64>>,
    /// `ce_causationid`: id of the command or event that caused this.
    pub causation: Option<String>,
    /// `ce_correlationid`: id of the client command at the root of the chain.
    pub correlation: Option<String>,
    /// `ce_actor`: who acts.
    pub actor: Option<String>,
    /// `ce_answers`: id of the client command whose outcome this event is, when that is not its causation.
    pub answers: Option<String>,
    /// `ce_bodyhash`: of the client command that caused this, so that a rebuild from events knows its repeats.
    pub body_hash: Option<String>,
    /// `reply-to`: where the root command's sender waits for the answer.
    pub reply_to: Option<String>,
    /// `traceparent`: W3C trace context. One that is none is passed over: it is copied into all that follows.
    pub trace: Option<TraceContext>,
    /// `ce_fingerprints`: more of what makes the client's command behind this the same as a repeat of it, beside
    /// `ce_bodyhash`, which programs before it know alone.
    pub fingerprints: Option<String>,
    /// `ce_deadletter`: why the client's command behind this marker became a dead letter.
    pub dead_letter: Option<String>,
    /// `ce_outsidecause`: what the client's command behind this said it was caused by.
    pub outside_cause: Option<String>,
}

/// Why an envelope or a body could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A required header is absent.
    #[error("header {0} is missing")]
    Missing(&'static str),
    /// A header's value is not what it must be.
    #[error("header {name} is '{found}', expected {expected}")]
    Header {
        /// which
        name: &'static str,
        /// what it holds
        found: String,
        /// what it should
        expected: &'static str,
    },
    /// Nobody here knows this type.
    #[error("type {0} is unknown here")]
    UnknownKind(String),
    /// The schema version is newer than this program.
    #[error("type {0} is of a newer schema version than this program knows: update it")]
    FromTheFuture(String),
    /// The body is not what its type says.
    #[error("body of {kind}: {why}")]
    Body {
        /// the type
        kind: String,
        /// where and what
        why: String,
    },
}

impl Envelope {
    /// An envelope with the four attributes that none is without.
    pub fn new(id: impl Into<String>, source: impl Into<String>, kind: Kind, subject: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            source: source.into(),
            kind,
            subject: subject.into(),
            time: None,
            occurred_at: None,
            version: None,
            expected_version: None,
            expected_versions: None,
            causation: None,
            correlation: None,
            actor: None,
            answers: None,
            body_hash: None,
            reply_to: None,
            trace: None,
            fingerprints: None,
            dead_letter: None,
            outside_cause: None,
        }
    }

    /// The headers to write.
    pub fn headers(&self) -> Headers {
        let mut headers = Headers::with_capacity(16, 512);
        headers.push("content-type", JSON);
        headers.push("ce_specversion", "1.0");
        headers.push("ce_id", &self.id);
        headers.push("ce_source", &self.source);
        headers.push("ce_type", self.kind.to_string());
        headers.push("ce_subject", &self.subject);
        let mut written = |name: &'static str, value: Option<String>| value.into_iter().for_each(|value| headers.push(name, value));
        written("ce_time", self.time.map(|time| time.to_string()));
        written("ce_occurredat", self.occurred_at.map(|time| time.to_string()));
        // CloudEvents' sequence must sort as a string.
        written("ce_sequence", self.version.map(|version| format!("{version:020}")));
        written("ce_expectedversion", self.expected_version.map(|version| version.to_string()));
        written("ce_expectedversions", self.expected_versions.as_deref().map(versions));
        let mut optional = |name: &'static str, value: &Option<String>| value.iter().for_each(|value| headers.push(name, value));
        optional("ce_causationid", &self.causation);
        optional("ce_correlationid", &self.correlation);
        optional("ce_actor", &self.actor);
        optional("ce_answers", &self.answers);
        optional("ce_bodyhash", &self.body_hash);
        optional("reply-to", &self.reply_to);
        optional("traceparent", &self.trace.map(|trace| trace.to_string()));
        optional("ce_fingerprints", &self.fingerprints);
        optional("ce_deadletter", &self.dead_letter);
        optional("ce_outsidecause", &self.outside_cause);
        headers
    }

    /// Reads the headers of a record. Unknown headers are passed over.
    pub fn read(headers: &Headers) -> Result<Self, Malformed> {
        let known = Known::of(headers);
        let spec = known.required::<{ at("ce_specversion") }>()?;
        if spec != "1.0" {
            return Err(Malformed::Header { name: "ce_specversion", found: spec.to_owned(), expected: "1.0" });
        }
        // CloudEvents lets the content type be left out; JSON is the only one we read.
        let is_json = |text: &&str| text.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case(JSON));
        if let Some(found) = known.text::<{ at("content-type") }>()?.filter(|text| !is_json(text)) {
            return Err(Malformed::Header { name: "content-type", found: found.to_owned(), expected: JSON });
        }
        let trace = known.text::<{ at("traceparent") }>()?.and_then(TraceContext::parse);
        Ok(Self {
            id: known.required::<{ at("ce_id") }>()?.to_owned(),
            source: known.required::<{ at("ce_source") }>()?.to_owned(),
            kind: known.required::<{ at("ce_type") }>()?.parse()?,
            subject: known.required::<{ at("ce_subject") }>()?.to_owned(),
            time: known.time::<{ at("ce_time") }>()?,
            occurred_at: known.time::<{ at("ce_occurredat") }>()?,
            version: known.number::<{ at("ce_sequence") }>()?,
            expected_version: known.number::<{ at("ce_expectedversion") }>()?,
            expected_versions: match known.text::<{ at("ce_expectedversions") }>()? {
                None => None,
                Some("*") => Some(vec![]),
                Some(text) => match text.split(',').map(str::parse).collect() {
                    Ok(versions) => Some(versions),
                    Err(_) => {
                        let expected = "whole numbers separated by commas, or *";
                        return Err(Malformed::Header { name: "ce_expectedversions", found: text.to_owned(), expected });
                    }
                },
            },
            causation: known.owned::<{ at("ce_causationid") }>()?,
            correlation: known.owned::<{ at("ce_correlationid") }>()?,
            actor: known.owned::<{ at("ce_actor") }>()?,
            answers: known.owned::<{ at("ce_answers") }>()?,
            body_hash: known.owned::<{ at("ce_bodyhash") }>()?,
            reply_to: known.owned::<{ at("reply-to") }>()?,
            trace: trace.or(known.text::<{ at("ce_traceparent") }>()?.and_then(TraceContext::parse)),
            fingerprints: known.owned::<{ at("ce_fingerprints") }>()?,
            dead_letter: known.owned::<{ at("ce_deadletter") }>()?,
            outside_cause: known.owned::<{ at("ce_outsidecause") }>()?,
        })
    }
}

/// The headers that an envelope is made of.
const KNOWN: [&str; 22] = [
    "ce_specversion",
    "content-type",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_subject",
    "ce_time",
    "ce_occurredat",
    "ce_sequence",
    "ce_expectedversion",
    "ce_expectedversions",
    "ce_causationid",
    "ce_correlationid",
    "ce_actor",
    "ce_answers",
    "ce_bodyhash",
    "reply-to",
    "traceparent",
    "ce_traceparent",
    "ce_fingerprints",
    "ce_deadletter",
    "ce_outsidecause",
];

/// Where one of them stands, for those who write its name in the program.
const fn at(name: &str) -> usize {
    let (name, mut place) = (name.as_bytes(), 0);
    loop {
        let (known, mut same) = (KNOWN[place].as_bytes(), 0);
        while known.len() == name.len() && same < name.len() && known[same] == name[same] {
            same += 1;
        }
        if known.len() == name.len() && same == name.len() {
            return place;
        }
        place += 1; // past the last: the program is not built
    }
}

/// Those of one record, found in one pass: a fold reads every record's.
struct Known<'h>([Option<&'h [u8]>; KNOWN.len()]);

impl<'h> Known<'h> {
    fn of(headers: &'h Headers) -> Self {
        let mut found = [None; KNOWN.len()];
        for (name, value) in headers.named() {
            if let Name::Known(place) = name {
                found[usize::from(*place)].get_or_insert(value); // the first counts
            }
        }
        Self(found)
    }

    fn text<const AT: usize>(&self) -> Result<Option<&'h str>, Malformed> {
        let wrong = |bytes: &[u8]| Malformed::Header { name: KNOWN[AT], found: String::from_utf8_lossy(bytes).into_owned(), expected: "UTF-8" };
        self.0[AT].map(|bytes| std::str::from_utf8(bytes).map_err(|_| wrong(bytes))).transpose()
    }

    fn owned<const AT: usize>(&self) -> Result<Option<String>, Malformed> {
        Ok(self.text::<AT>()?.map(str::to_owned))
    }

    fn required<const AT: usize>(&self) -> Result<&'h str, Malformed> {
        self.text::<AT>()?.filter(|text| !text.is_empty()).ok_or(Malformed::Missing(KNOWN[AT]))
    }

    fn time<const AT: usize>(&self) -> Result<Option<Timestamp>, Malformed> {
        let expected = "RFC 3339, in UTC within the years 0000 to 9999";
        let wrong = |text: &str| Malformed::Header { name: KNOWN[AT], found: text.to_owned(), expected };
        self.text::<AT>()?.map(|text| time(text).ok_or_else(|| wrong(text))).transpose()
    }

    fn number<const AT: usize>(&self) -> Result<Option<u64>, Malformed> {
        let wrong = |text: &str| Malformed::Header { name: KNOWN[AT], found: text.to_owned(), expected: "a whole number" };
        self.text::<AT>()?.map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    }
}

/// Our namespace for UUIDv5: the UUIDv5 of `daybook.dev` in the DNS namespace.
fn namespace() -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"daybook.dev")
}

/// An event's id: UUIDv5 of `<source>/<key>/<subject>/<version>`. The same history has the same ids on every log.
pub fn event_id(source: &str, key: &str, subject: &str, version: u64) -> String {
    Uuid::new_v5(&namespace(), format!("{source}/{key}/{subject}/{version}").as_bytes()).to_string()
}

/// The id of the `index`th command that `policy` makes of the event `cause`: UUIDv5, so a repeat makes the same.
pub fn caused_id(cause: &str, policy: &str, index: usize) -> String {
    Uuid::new_v5(&namespace(), format!("{cause}/{policy}/{index}").as_bytes()).to_string()
}

/// Dead letters: why, as a stable name.
pub const DLT_REASON: &str = "dlt-reason";
/// Dead letters: why, for people.
pub const DLT_DETAIL: &str = "dlt-detail";
/// Dead letters: the topic of the record. All places are written as text.
pub const DLT_TOPIC: &str = "dlt-original-topic";
/// Dead letters: its partition.
pub const DLT_PARTITION: &str = "dlt-original-partition";
/// Dead letters: its offset.
pub const DLT_OFFSET: &str = "dlt-original-offset";
/// No dead letter, but a record behind one in the same partition: the one at this offset is discarded. Letters never have
/// it: what a record's own headers say about letters is dropped.
pub const DLT_DISCARDS: &str = "dlt-discards";
/// Dead letters: its log time.
pub const DLT_TIMESTAMP: &str = "dlt-original-timestamp";
/// Dead letters: which of `key`, `headers` and `body` are not there as they were, since a letter must fit a record.
pub const DLT_CUT: &str = "dlt-cut";
/// Dead letters of events: the policy that made the command, or broke while it did.
pub const DLT_POLICY: &str = "dlt-policy";
/// Dead letters of events: the id of the command that failed; none where all that the policy asks for did.
pub const DLT_COMMAND: &str = "dlt-command";
/// Dead letters of deadlines: when it was. The letter is the command itself, since there is no record of it.
pub const DLT_DEADLINE: &str = "dlt-deadline";
