//! A body under test: what a promise's check asks of it, in a line.

use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::{Headers, Partition, Topic};

use crate::log::{Assignment, Batch, Commit, Fault, Group, Input, Limits, Log, Member, Message, Offset, Polled, Record, TopicSpec};

/// Longest that anything may take in a check.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A log under test.
pub trait Body {
    /// The log, open.
    fn log(&mut self) -> Arc<dyn Log>;
    /// The same log after its process ended and started again. Nothing may hold it open.
    fn restart(&mut self) -> Arc<dyn Log>;
}

/// What a body must do.
pub struct Promise {
    /// a short name
    pub name: &'static str,
    pub(super) check: fn(&mut World<'_>) -> Result<(), String>,
}

impl Promise {
    /// Whether `body` keeps it, or what it did instead.
    pub fn check(&self, body: &mut dyn Body) -> Result<(), String> {
        let log = body.log();
        (self.check)(&mut World { body, log: Some(log), name: self.name.replace(|other: char| !other.is_ascii_alphanumeric(), "-") })
    }
}

/// A body during one check, with topics of its own.
pub struct World<'b> {
    pub(super) body: &'b mut dyn Body,
    pub(super) log: Option<Arc<dyn Log>>,
    pub(super) name: String,
}

/// What a check finds, or what went wrong.
pub type Checked<T> = Result<T, String>;

pub fn said(fault: &Fault) -> String {
    format!("fault: {fault}")
}

/// Fails the check with a text unless the condition holds.
pub fn that(holds: bool, otherwise: impl FnOnce() -> String) -> Checked<()> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

pub fn message(topic: &Topic, partition: u16, text: &str) -> Message {
    let headers: Headers = [("ce_id", text)].into_iter().collect();
    Message { topic: topic.clone(), partition: Partition(partition), key: text.as_bytes().to_vec(), headers, value: Some(text.as_bytes().to_vec()) }
}

pub fn too_large(topic: &Topic) -> Message {
    Message { value: Some(vec![0; crate::log::RECORD_BYTES_MAX + 1]), ..message(topic, 0, "too large") }
}

pub fn texts(records: &[Arc<Record>]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.key).into_owned()).collect()
}

impl World<'_> {
    pub fn log(&self) -> Checked<&dyn Log> {
        self.log.as_deref().ok_or_else(|| "the log is closed".to_owned())
    }

    pub fn restart(&mut self) -> Checked<()> {
        self.log = None;
        self.log = Some(self.body.restart());
        Ok(())
    }

    /// A topic of this check alone.
    pub fn topic(&self, name: &str) -> Checked<Topic> {
        let topic = Topic::named(&format!("{}.{name}", self.name));
        self.log()?.provision(&[TopicSpec { topic: topic.clone(), retention: None }]).map_err(|why| said(&why))?;
        Ok(topic)
    }

    pub fn append(&self, messages: Vec<Message>) -> Checked<Vec<Offset>> {
        self.log()?.append(messages).map_err(|why| said(&why))
    }

    /// Every committed record of a partition, read a page of two at a time.
    pub fn all(&self, topic: &Topic, partition: u16) -> Checked<Vec<Arc<Record>>> {
        let (log, partition) = (self.log()?, Partition(partition));
        let end = log.end(topic, partition).map_err(|why| said(&why))?;
        let (mut from, mut records) = (log.start(topic, partition).map_err(|why| said(&why))?, vec![]);
        while from < end {
            let page = log.read(topic, partition, from, Limits::test_min()).map_err(|why| said(&why))?;
            that(page.next > from, || format!("paging stands still at {from} before the end {end}"))?;
            from = page.next;
            records.extend(page.records);
        }
        Ok(records)
    }

    /// The first topic is the one whose partitions are shared.
    pub fn join(&self, topics: &[&Topic], member: &str) -> Checked<Box<dyn Member>> {
        let inputs = topics.iter().map(|topic| Input::from((*topic).clone())).collect();
        self.join_for(topics[0], inputs, member)
    }

    pub fn join_for(&self, commands: &Topic, inputs: Vec<Input>, member: &str) -> Checked<Box<dyn Member>> {
        let group = Group { name: self.name.clone(), commands: commands.clone(), inputs, member: member.to_owned() };
        self.log()?.join(group).map_err(|why| said(&why))
    }

    pub fn committed(&self, topic: &Topic, partition: u16) -> Checked<Option<Offset>> {
        let all = self.log()?.committed(&self.name).map_err(|why| said(&why))?;
        Ok(all.into_iter().find(|(of, at, _)| of == topic && at.0 == partition).map(|(_, _, next)| next))
    }
}

/// Polls until the member is told what it owns.
pub fn assigned(member: &mut dyn Member) -> Checked<Assignment> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Polled::Assigned(assignment) = member.poll(Limits::test_min(), Duration::from_millis(100)).map_err(|why| said(&why))? {
            return Ok(assignment);
        }
    }
    Err("no assignment".to_owned())
}

/// Polls until there are records, passing over assignments.
pub fn batch(member: &mut dyn Member) -> Checked<Batch> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match member.poll(Limits::default(), Duration::from_millis(100)).map_err(|why| said(&why))? {
            Polled::Batch(batch) if !batch.records.is_empty() => return Ok(batch),
            _ => {}
        }
    }
    Err("no records were polled".to_owned())
}

/// Polls until there are this many records: a poll may return fewer than there are.
pub fn batch_of(member: &mut dyn Member, count: usize) -> Checked<Batch> {
    let mut polled = batch(member)?;
    while polled.records.len() < count {
        let more = batch(member)?;
        polled.records.extend(more.records);
        polled.positions.retain(|(topic, partition, _)| !more.positions.iter().any(|(newer, of, _)| newer == topic && of == partition));
        polled.positions.extend(more.positions);
    }
    Ok(polled)
}

/// Polls for a while and expects nothing.
pub fn quiet(member: &mut dyn Member) -> Checked<()> {
    for _ in 0..5 {
        if let Polled::Batch(batch) = member.poll(Limits::default(), Duration::from_millis(20)).map_err(|why| said(&why))? {
            that(batch.records.is_empty(), || format!("polled again: {:?}", texts(&batch.records)))?;
        }
    }
    Ok(())
}

pub fn commit(member: &mut dyn Member, outputs: Vec<Message>, batch: &Batch) -> Checked<Commit> {
    member.commit(outputs, &batch.positions, &batch.assignment).map_err(|why| said(&why))
}

pub fn committed(ended: Commit) -> Checked<Vec<Offset>> {
    match ended {
        Commit::Committed(offsets) => Ok(offsets),
        other => Err(format!("a commit under a true assignment ended {other:?}")),
    }
}
