//! The control topic: what an operator settles and every fold must honour. It holds the log's identity, made with its
//! first record, and the records that a reader passes over. Read to its end before any fold begins, so that a fold
//! from zero passes over what the live one did; never decides what is passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use schemas::{Headers, Partition, Stream, Topic, topic};
use serde::{Deserialize, Serialize};

use crate::log::{Fault, Limits, Log, Message, Offset, Record, TopicSpec};

/// Everything is in one partition: what is settled has an order.
const PARTITION: Partition = Partition(0);

/// A place in the log: topic, partition, offset.
pub type Place = (Topic, Partition, Offset);

/// A record of the control topic, in JSON. Kinds and fields are only ever added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Settled {
    /// The log has this identity; the first such record counts.
    Log {
        /// what tells this log from every other
        id: String,
        /// 32 bytes in hex that only those know who may read this topic: the inside signs with it
        secret: String,
    },
    /// These readers pass over this record.
    Skip(Ruling),
    /// These readers try this record again.
    Retry(Ruling),
}

/// What an operator ordered for a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruling {
    /// the readers, by name
    pub readers: BTreeSet<String>,
    /// the record's topic
    pub topic: Topic,
    /// its partition
    pub partition: Partition,
    /// its offset
    pub offset: Offset,
    /// why
    pub reason: String,
    /// who
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
}

impl Ruling {
    fn place(&self) -> Place {
        (self.topic.clone(), self.partition, self.offset)
    }
}

impl Settled {
    fn message(&self) -> Message {
        let key = match self {
            Self::Log { .. } => "log".to_owned(),
            Self::Skip(order) | Self::Retry(order) => format!("{}/{}/{}", order.topic, order.partition, order.offset),
        };
        let value = serde_json::to_vec(self).unwrap_or_default();
        Message { topic: topic(Stream::Control), partition: PARTITION, key: key.into_bytes(), headers: Headers::default(), value: Some(value) }
    }

    /// What a record settles. None of what was not written by this program: it settles nothing, and must not keep everything
    /// from starting. A kind that a newer version settles does: what it says cannot be honoured here.
    fn of(record: &Record) -> Result<Option<Self>, Fault> {
        let place = || format!("{}/{} offset {}", record.topic, record.partition, record.offset);
        let why = match serde_json::from_slice(record.body()) {
            Ok(settled) => return Ok(Some(settled)),
            Err(why) => why,
        };
        let kind = serde_json::from_slice::<Kind>(record.body()).ok().filter(|Kind { kind }| !KINDS.contains(&kind.as_str()));
        if let Some(Kind { kind }) = kind {
            return Err(Fault::Fatal(format!("{}: a newer version of this program settled something here ('{kind}'): update it", place())));
        }
        tracing::warn!(place = place(), %why, "passed over: nothing that this program wrote");
        Ok(None)
    }
}

/// The kinds of [`Settled`].
const KINDS: [&str; 3] = ["log", "skip", "retry"];

/// What every record of the topic says.
#[derive(Deserialize)]
struct Kind {
    kind: String,
}

/// Which readers pass over which records, and why.
#[derive(Debug, Default)]
pub struct Skips(RwLock<BTreeMap<Place, BTreeMap<String, String>>>);

impl Skips {
    /// Whether `reader` passes over this record, and why.
    pub fn of(&self, reader: &str, record: &Record) -> Option<String> {
        let all = self.0.read();
        if all.is_empty() {
            return None; // on almost every log
        }
        all.get(&(record.topic.clone(), record.partition, record.offset))?.get(reader).cloned()
    }

    /// The places in a topic that `reader` passes over.
    pub fn places(&self, reader: &str, topic: &Topic) -> Vec<(Partition, Offset)> {
        let all = self.0.read();
        all.iter().filter(|((of, ..), readers)| of == topic && readers.contains_key(reader)).map(|((_, partition, offset), _)| (*partition, *offset)).collect()
    }
}

/// What the control topic says, as far as it was read here.
pub struct Control {
    log: Arc<dyn Log>,
    id: String,
    skips: Arc<Skips>,
    /// rises with every order that was read
    orders: AtomicU64,
    next: RwLock<Offset>,
}

impl Control {
    /// The topic's declaration.
    pub fn spec() -> TopicSpec {
        TopicSpec { topic: topic(Stream::Control), retention: None }
    }

    /// Reads the topic to its end; gives a log its identity that has none yet. The topic must be provisioned.
    pub fn open(log: Arc<dyn Log>) -> Result<Arc<Self>, Fault> {
        let mut control = Self { log, id: String::new(), skips: Arc::default(), orders: AtomicU64::new(0), next: RwLock::default() };
        let mut identity = control.read()?;
        if identity.is_none() {
            let random = || blake3::hash(uuid::Uuid::new_v4().as_bytes()).to_hex().to_string();
            control.log.append(vec![Settled::Log { id: random()[..32].to_owned(), secret: random() }.message()])?;
            identity = control.read()?; // another instance may have been faster: the first record counts
        }
        let (id, secret) = identity.ok_or_else(|| Fault::Retry(format!("{}: the log's identity cannot be read back yet", topic(Stream::Control))))?;
        let secret = blake3::Hash::from_hex(&secret)
            .map(Into::into)
            .map_err(|why| Fault::Fatal(format!("{}: the log's secret is no 64 hex digits: {why}", topic(Stream::Control))))?;
        control.id = id;
        control.log.initiate(secret);
        Ok(Arc::new(control))
    }

    /// The same without writing anything, for a log that is only looked at: one that has no identity yet has none here.
    pub fn look(log: Arc<dyn Log>) -> Result<Arc<Self>, Fault> {
        let mut control = Self { log, id: String::new(), skips: Arc::default(), orders: AtomicU64::new(0), next: RwLock::default() };
        if control.log.start(&topic(Stream::Control), PARTITION).is_ok()
            && let Some((id, _)) = control.read()?
        {
            control.id = id;
        }
        Ok(Arc::new(control))
    }

    /// The log it is the control topic of.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// What tells this log from every other; empty if it has none yet.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Which records are passed over.
    pub fn skips(&self) -> &Arc<Skips> {
        &self.skips
    }

    /// Rises with every order: whoever stopped tries again then.
    pub fn orders(&self) -> u64 {
        self.orders.load(Ordering::Acquire)
    }

    /// Waits at most `wait` for what others settle, and takes it in. Says whether there was any.
    pub fn follow(&self, wait: Duration) -> Result<bool, Fault> {
        let next = *self.next.read();
        if !self.log.wait(&[(topic(Stream::Control), PARTITION, next)], wait)? {
            return Ok(false);
        }
        self.read().map(|_| true)
    }

    /// Settles something for all instances; it holds here when this returns.
    pub fn settle(&self, settled: &Settled) -> Result<(), Fault> {
        self.log.append(vec![settled.message()])?;
        self.read().map(|_| ())
    }

    /// Takes in what was not read yet; answers with the log's identity, should it be among that.
    fn read(&self) -> Result<Option<(String, String)>, Fault> {
        let mut next = self.next.write(); // one reader at a time
        let (topic, mut identity) = (topic(Stream::Control), None);
        let end = self.log.end(&topic, PARTITION)?;
        while *next < end {
            let page = self.log.read(&topic, PARTITION, *next, Limits::default())?;
            if page.next <= *next {
                return Err(Fault::Retry(format!("{topic}/{PARTITION}: asked for records from {next} below the end {end}, got none")));
            }
            for record in &page.records {
                match Settled::of(record)? {
                    Some(Settled::Log { id, secret }) => drop(identity.get_or_insert((id, secret))),
                    Some(Settled::Skip(order)) => {
                        let place = order.place();
                        let mut all = self.skips.0.write();
                        all.entry(place).or_default().extend(order.readers.into_iter().map(|reader| (reader, order.reason.clone())));
                        drop(all);
                        self.orders.fetch_add(1, Ordering::AcqRel);
                    }
                    None => {}
                    Some(Settled::Retry(_)) => drop(self.orders.fetch_add(1, Ordering::AcqRel)),
                }
            }
            *next = page.next;
        }
        Ok(identity)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    /// Bytes as they lie in logs: they are read for ever.
    #[test]
    fn what_was_settled_once_is_read_for_ever() {
        let order = Ruling {
            readers: ["view:products".to_owned()].into(),
            topic: Topic::named("catalog.events"),
            partition: Partition(5),
            offset: Offset(17),
            reason: "garbage".to_owned(),
            actor: Some("me".to_owned()),
        };
        for (settled, bytes) in [
            (Settled::Log { id: "a1".to_owned(), secret: "ff".to_owned() }, r#"{"kind":"log","id":"a1","secret":"ff"}"#),
            (
                Settled::Skip(order.clone()),
                r#"{"kind":"skip","readers":["view:products"],"topic":"catalog.events","partition":5,"offset":17,"reason":"garbage","actor":"me"}"#,
            ),
            (
                Settled::Retry(Ruling { actor: None, ..order }),
                r#"{"kind":"retry","readers":["view:products"],"topic":"catalog.events","partition":5,"offset":17,"reason":"garbage"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&settled).unwrap(), bytes);
            assert_eq!(serde_json::from_str::<Settled>(bytes).unwrap(), settled);
        }
    }
}
