//! The control topic: what an operator settles and every fold must honour. It holds the log's identity, made with its
//! first record, and the records that a reader passes over; all but the first are signed with the log's secret, since
//! whoever can write to the topic could else stop or falsify everything. Read to its end before any fold begins, so that
//! a fold from zero passes over what the live one did; never decides what is passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::RwLock;
use schemas::wire::marker;
use schemas::{Envelope, Headers, Partition, Stream, Topic, partition_of, topic};
use serde::{Deserialize, Serialize};

use crate::inside::{is_signed, sign};
use crate::log::{Fault, Limits, Log, Message, Offset, Record, Rules, TopicSpec};

/// Everything is in one partition: what is settled has an order.
const PARTITION: Partition = Partition(0);

/// A place in the log: topic, partition, offset.
pub type RecordPlace = (Topic, Partition, Offset);

/// A record of the control topic, in JSON. Kinds and fields are only ever added; an instance that does not know a kind
/// stops, since it cannot honour it.
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
    /// Personal data is sealed from here on, under the keys of this store; the first such record counts.
    Sealing {
        /// the store's id
        store: String,
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
    fn place(&self) -> RecordPlace {
        (self.topic.clone(), self.partition, self.offset)
    }
}

impl Settled {
    fn message(&self, secret: Option<&[u8; 32]>) -> Message {
        let key = match self {
            Self::Log { .. } => "log".to_owned(),
            Self::Sealing { .. } => "sealing".to_owned(),
            Self::Skip(order) | Self::Retry(order) => format!("{}/{}/{}", order.topic, order.partition, order.offset),
        };
        let (mut headers, value) = (Headers::default(), serde_json::to_vec(self).unwrap_or_default());
        secret.into_iter().for_each(|secret| sign(secret, key.as_bytes(), &mut headers, &value));
        Message { topic: topic(Stream::Control), partition: PARTITION, key: key.into_bytes(), headers, value: Some(value) }
    }

    /// What a signed record settles. A kind that cannot be read is a newer version's: what it says cannot be honoured here.
    fn of(record: &Record) -> Result<Self, Fault> {
        serde_json::from_slice(record.body()).map_err(|why| {
            let place = format!("{}/{} offset {}", record.topic, record.partition, record.offset);
            Fault::Fatal(format!("{place}: a newer version of this program settled something here ({why}): update it"))
        })
    }
}

/// The log's identity: the first record that says one.
struct Identity {
    id: String,
    secret: [u8; 32],
}

impl Identity {
    fn of(record: &Record) -> Option<Self> {
        let Ok(Settled::Log { id, secret }) = serde_json::from_slice(record.body()) else { return None };
        Some(Self { id, secret: blake3::Hash::from_hex(&secret).ok()?.into() })
    }
}

/// Which readers pass over which records, and why; and which records no reader may take.
#[derive(Debug, Default)]
pub struct Skips {
    ruled: RwLock<BTreeMap<RecordPlace, BTreeMap<String, String>>>,
    /// those of the log; 0 where it is not known
    partitions: u16,
    rules: Rules,
}

impl Skips {
    /// Whether `reader` passes over this record, and why.
    pub fn of(&self, reader: &str, record: &Record) -> Option<String> {
        let all = self.ruled.read();
        if all.is_empty() {
            return None; // on almost every log
        }
        all.get(&(record.topic.clone(), record.partition, record.offset))?.get(reader).cloned()
    }

    /// Why an event may not be folded where it lies: every other event of its aggregate lies in another partition, and
    /// what two partitions make of one row depends on which of them is read first. None wrote it but an outsider.
    pub fn misplaced(&self, record: &Record, envelope: &Envelope) -> Option<String> {
        if self.partitions == 0 || [marker::ACCEPTED, marker::REFUSED].contains(&envelope.kind.name.as_ref()) {
            return None; // a marker stands where its command was written
        }
        let (due, key) = (partition_of(&record.key, self.partitions), String::from_utf8_lossy(&record.key));
        if due != record.partition {
            return Some(format!("misrouted: its key '{key}' belongs to partition {due}"));
        }
        let (subject, routed) = (&envelope.subject, (self.rules.routing_key)(&envelope.subject));
        (routed != key && !key.starts_with('~')).then(|| format!("misrouted: its subject '{subject}' is routed by key '{routed}', its key is '{key}'"))
    }

    /// The places in a topic that `reader` passes over.
    pub fn places(&self, reader: &str, topic: &Topic) -> Vec<(Partition, Offset)> {
        let all = self.ruled.read();
        all.iter().filter(|((of, ..), readers)| of == topic && readers.contains_key(reader)).map(|((_, partition, offset), _)| (*partition, *offset)).collect()
    }
}

/// What the control topic says, as far as it was read here.
pub struct Control {
    log: Arc<dyn Log>,
    identity: OnceLock<Identity>,
    sealing: OnceLock<String>,
    skips: Arc<Skips>,
    /// rises with every order that was read
    orders: AtomicU64,
    /// something was settled that cannot be honoured here
    newer: AtomicBool,
    next: RwLock<Offset>,
}

impl Control {
    /// The topic's declaration.
    pub fn spec() -> TopicSpec {
        TopicSpec { topic: topic(Stream::Control), retention: None }
    }

    /// Reads the topic to its end; gives a log its identity that has none yet. The topic must be provisioned.
    pub fn open(log: Arc<dyn Log>) -> Result<Arc<Self>, Fault> {
        let control = Self::unread(log);
        control.read()?;
        if control.identity.get().is_none() {
            let random = || blake3::hash(uuid::Uuid::new_v4().as_bytes()).to_hex().to_string();
            control.log.append(vec![Settled::Log { id: random()[..32].to_owned(), secret: random() }.message(None)])?;
            control.read()?; // another instance may have been faster: the first record counts
        }
        let unread = || Fault::Retry(format!("{}: the log's identity cannot be read back yet", topic(Stream::Control)));
        control.log.initiate(control.identity.get().ok_or_else(unread)?.secret);
        Ok(Arc::new(control))
    }

    /// The same without writing anything, for a log that is only looked at: one that has no identity yet has none here.
    pub fn look(log: Arc<dyn Log>) -> Result<Arc<Self>, Fault> {
        let control = Self::unread(log);
        if control.log.start(&topic(Stream::Control), PARTITION).is_ok() {
            control.read()?;
        }
        Ok(Arc::new(control))
    }

    fn unread(log: Arc<dyn Log>) -> Self {
        let skips = Arc::new(Skips { partitions: log.partitions(), rules: log.rules(), ..Skips::default() });
        Self {
            log,
            identity: OnceLock::new(),
            sealing: OnceLock::new(),
            skips,
            orders: AtomicU64::new(0),
            newer: AtomicBool::new(false),
            next: RwLock::default(),
        }
    }

    /// The log it is the control topic of.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// What tells this log from every other; empty if it has none yet.
    pub fn id(&self) -> &str {
        self.identity.get().map_or("", |identity| &identity.id)
    }

    /// The id of the store whose keys personal data is sealed under, if it is.
    pub fn sealed_under(&self) -> Option<String> {
        self.sealing.get().cloned()
    }

    /// Which records are passed over.
    pub fn skips(&self) -> &Arc<Skips> {
        &self.skips
    }

    /// Rises with every order: whoever stopped tries again then.
    pub fn orders(&self) -> u64 {
        self.orders.load(Ordering::Acquire)
    }

    /// Whether something was settled that this program does not know, and so cannot honour.
    pub fn is_newer(&self) -> bool {
        self.newer.load(Ordering::Acquire)
    }

    /// Waits at most `wait` for what others settle, and takes it in. Says whether there was any.
    pub fn follow(&self, wait: Duration) -> Result<bool, Fault> {
        let next = *self.next.read();
        if !self.log.wait(&[(topic(Stream::Control), PARTITION, next)], wait)? {
            return Ok(false);
        }
        self.read()?;
        Ok(true)
    }

    /// Settles something for all instances; it holds here when this returns.
    pub fn settle(&self, settled: &Settled) -> Result<(), Fault> {
        self.log.append(vec![settled.message(self.identity.get().map(|identity| &identity.secret))])?;
        self.read()
    }

    /// Takes in what was not read yet.
    fn read(&self) -> Result<(), Fault> {
        let mut next = self.next.write(); // one reader at a time
        let topic = topic(Stream::Control);
        let end = self.log.end(&topic, PARTITION)?;
        while *next < end {
            let page = self.log.read(&topic, PARTITION, *next, Limits::default())?;
            if page.next <= *next {
                return Err(Fault::Retry(format!("{topic}/{PARTITION}: asked for records from {next} below the end {end}, got none")));
            }
            for record in &page.records {
                self.take(record)?;
            }
            *next = page.next;
        }
        Ok(())
    }

    fn take(&self, record: &Record) -> Result<(), Fault> {
        let Some(identity) = self.identity.get() else {
            match Identity::of(record) {
                Some(identity) => drop(self.identity.set(identity)),
                None => passed_over(record),
            }
            return Ok(());
        };
        if !is_signed(&identity.secret, &record.key, &record.headers, record.body()) {
            passed_over(record);
            return Ok(());
        }
        match Settled::of(record).inspect_err(|_| self.newer.store(true, Ordering::Release))? {
            Settled::Skip(order) => {
                let place = order.place();
                let readers = order.readers.into_iter().map(|reader| (reader, order.reason.clone()));
                self.skips.ruled.write().entry(place).or_default().extend(readers);
            }
            Settled::Retry(_) => {}
            Settled::Sealing { store } => {
                let _the_first_counts = self.sealing.set(store);
                return Ok(());
            }
            Settled::Log { .. } => return Ok(()),
        }
        self.orders.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

/// Nothing that the inside wrote: it settles nothing, and must not keep everything from starting.
fn passed_over(record: &Record) {
    tracing::warn!(topic = %record.topic, offset = record.offset.0, "passed over: no record of this program's, who signs what it settles");
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
            (Settled::Sealing { store: "s1".to_owned() }, r#"{"kind":"sealing","store":"s1"}"#),
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
