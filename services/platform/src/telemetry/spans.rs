//! The spans of a command's way: the request, its command sent, decided, committed and answered, and what follows from its
//! events. The context travels in the records; a span's id follows from the record's, so that no process need know another.

use std::borrow::Cow;
use std::time::{Duration, Instant, SystemTime};

use eventstore::Record;
use eventstore::observer::{Done, Step};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use schemas::trace::span_of;
use schemas::{Partition, Stream, Topic, TraceContext, topic};
use uuid::Uuid;

use super::exporter::Exporter;
use super::names;

/// When the turns of a batch were taken.
#[derive(Clone, Copy)]
pub struct Batch {
    pub(super) began: SystemTime,
    pub(super) decided: SystemTime,
    pub(super) ended: SystemTime,
    /// when its commit began
    pub(super) commits: Instant,
    pub(super) records: usize,
}

impl Batch {
    pub(super) fn begun() -> Self {
        let now = SystemTime::now();
        Self { began: now, decided: now, ended: now, commits: Instant::now(), records: 0 }
    }
}

/// A request whose trace is recorded.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    parent: Option<TraceContext>,
    /// what it causes is of this span
    pub own: TraceContext,
    began: SystemTime,
}

/// Makes spans and sends them off, if there is a collector.
#[derive(Default)]
pub struct Spans {
    exporter: Option<Exporter>,
    /// of the requests that are of no trace yet, how many begin one
    ratio: f64,
    system: &'static str,
}

impl Spans {
    /// To this collector; `ratio` of the requests that come without a trace begin one. `system` is the log's.
    pub fn to(exporter: Exporter, ratio: f64, system: &'static str) -> Self {
        Self { exporter: Some(exporter), ratio, system }
    }

    /// How many spans had which fate.
    pub fn counts(&self) -> [(&'static str, u64); 2] {
        let (exported, dropped) = self.exporter.as_ref().map(Exporter::counts).unwrap_or_default();
        [("exported", exported), ("dropped", dropped)]
    }

    /// Sends what waits.
    pub fn stop(&self) {
        self.exporter.iter().for_each(Exporter::stop);
    }

    /// A request begins: none if its caller's trace is not recorded, or it is none of those that begin one.
    pub fn request(&self, parent: Option<TraceContext>) -> Option<Request> {
        self.exporter.as_ref()?;
        let random = Uuid::new_v4().as_u128();
        // As TraceIdRatioBased samples: by the trace id's own bits, of which the lower 56 are random.
        let drawn = (random & ((1 << 56) - 1)) as f64 / (1u64 << 56) as f64;
        let span = u64::try_from(random >> 64).unwrap_or(1).rotate_left(17).max(1);
        let own = match parent {
            Some(parent) if parent.is_sampled() => parent.child(span),
            None if drawn < self.ratio => TraceContext::sampled(random, span),
            _ => return None,
        };
        Some(Request { parent, own, began: SystemTime::now() })
    }

    /// It was answered.
    pub fn answered(&self, request: &Request, method: &str, route: &str, status: u16) {
        let attributes = vec![
            KeyValue::new(names::METHOD, method.to_owned()),
            KeyValue::new(names::ROUTE, route.to_owned()),
            KeyValue::new(names::STATUS, i64::from(status)),
        ];
        let failed = (status >= 500).then(|| status.to_string());
        self.send(Made {
            name: format!("{method} {route}").into(),
            kind: SpanKind::Server,
            own: request.own,
            parent: request.parent.map_or(0, |parent| parent.span),
            times: (request.began, SystemTime::now()),
            attributes,
            failed,
        });
    }

    /// A command of a request is about to be sent.
    pub fn command<'s>(&'s self, of: Option<TraceContext>, topic: &Topic, partition: Partition, kind: &str, id: &str) -> Sending<'s> {
        let recorded = of.filter(TraceContext::is_sampled).filter(|_| self.exporter.is_some());
        let said = recorded.map(|_| Box::new((topic.clone(), partition, kind.to_owned(), id.to_owned())));
        Sending { spans: self, of, said, began: SystemTime::now() }
    }

    /// A worker decided a command, or a router made one: and it was committed with its batch.
    pub fn step(&self, service: &'static str, step: &Step, batch: &Batch) {
        let (commands, own) = (topic(Stream::Commands(service)), step.done.causes(step.of, &step.id));
        let operation = step.done.as_str();
        let (topic, group, kind) = match step.done {
            Done::Send => (&commands, format!("{service}.router"), SpanKind::Producer),
            Done::Process => (step.record.as_ref().map_or(&commands, |(topic, ..)| topic), service.to_owned(), SpanKind::Consumer),
        };
        let mut attributes = self.messaging(operation, operation, topic);
        attributes.extend([
            KeyValue::new(names::GROUP, group),
            KeyValue::new(names::KIND, step.kind.clone()),
            KeyValue::new(names::MESSAGE, step.id.clone()),
            KeyValue::new(names::OUTCOME, step.outcome),
        ]);
        if let Some((_, partition, offset)) = &step.record {
            attributes.push(KeyValue::new(names::PARTITION, partition.to_string()));
            attributes.push(KeyValue::new(names::OFFSET, i64::try_from(offset.0).unwrap_or(i64::MAX)));
        }
        attributes.extend(step.correlation.iter().map(|id| KeyValue::new(names::CONVERSATION, id.clone())));
        attributes.extend(step.policy.map(|policy| KeyValue::new(names::POLICY, policy)));
        let failed = ["accepted", "refused", "repeated", "conflict", "sent"].iter().all(|well| *well != step.outcome).then(|| step.outcome.to_owned());
        let (name, times) = (format!("{operation} {topic}").into(), (batch.began, batch.ended));
        self.send(Made { name, kind, own, parent: step.of.span, times, attributes, failed });
        let mut attributes = self.messaging("commit", "settle", topic);
        attributes.push(KeyValue::new(names::BATCH, i64::try_from(batch.records).unwrap_or(i64::MAX)));
        let commit = own.child(span_of(&format!("commit after {operation}"), &step.id));
        self.made(format!("commit {topic}"), SpanKind::Client, commit, own.span, (batch.decided, batch.ended), attributes);
    }

    /// A view folded an event, with others, in `took`.
    pub fn fold(&self, view: &str, topic: &Topic, record: &Record, took: Duration) {
        if self.exporter.is_none() {
            return;
        }
        let Some(envelope) = record.envelope().ok() else { return };
        let Some(of) = envelope.trace.filter(TraceContext::is_sampled) else { return };
        let mut attributes = self.messaging("process", "process", topic);
        attributes.extend([
            KeyValue::new(names::GROUP, view.to_owned()),
            KeyValue::new(names::KIND, eventstore::observer::short(&envelope.kind)),
            KeyValue::new(names::MESSAGE, envelope.id.clone()),
            KeyValue::new(names::PARTITION, record.partition.to_string()),
            KeyValue::new(names::OFFSET, i64::try_from(record.offset.0).unwrap_or(i64::MAX)),
        ]);
        attributes.extend(envelope.correlation.iter().map(|id| KeyValue::new(names::CONVERSATION, id.clone())));
        let (own, now) = (of.child(span_of(view, &envelope.id)), SystemTime::now());
        self.made(format!("process {topic}"), SpanKind::Consumer, own, of.span, (now.checked_sub(took).unwrap_or(now), now), attributes);
    }

    fn messaging(&self, operation: &'static str, sort: &'static str, topic: &Topic) -> Vec<KeyValue> {
        vec![
            KeyValue::new(names::SYSTEM, self.system),
            KeyValue::new(names::OPERATION, operation),
            KeyValue::new(names::OPERATION_TYPE, sort),
            KeyValue::new(names::DESTINATION, topic.as_str().to_owned()),
        ]
    }

    fn made(&self, name: String, kind: SpanKind, own: TraceContext, parent: u64, times: (SystemTime, SystemTime), attributes: Vec<KeyValue>) {
        self.send(Made { name: name.into(), kind, own, parent, times, attributes, failed: None });
    }

    fn send(&self, made: Made) {
        if let Some(exporter) = &self.exporter {
            exporter.send(made.data());
        }
    }
}

/// A command on its way from a request to the log, and its answer on its way back.
pub struct Sending<'s> {
    spans: &'s Spans,
    of: Option<TraceContext>,
    /// what its spans tell, if they are recorded
    said: Option<Box<(Topic, Partition, String, String)>>,
    began: SystemTime,
}

impl Sending<'_> {
    /// The place in the trace of what the command causes.
    pub fn causes(&self) -> Option<TraceContext> {
        self.said.as_deref().zip(self.of).map(|((.., id), of)| Done::Send.causes(of, id)).or(self.of)
    }

    /// It is in the log.
    pub fn sent(&mut self) {
        if let Some(((topic, partition, kind, id), of)) = self.said.as_deref().zip(self.of) {
            let mut attributes = self.spans.messaging("send", "send", topic);
            attributes.extend([
                KeyValue::new(names::PARTITION, partition.to_string()),
                KeyValue::new(names::KIND, kind.clone()),
                KeyValue::new(names::MESSAGE, id.clone()),
            ]);
            let now = SystemTime::now();
            self.spans.made(format!("send {topic}"), SpanKind::Producer, Done::Send.causes(of, id), of.span, (self.began, now), attributes);
            self.began = now;
        }
    }

    /// Its answer came, or was no longer waited for.
    pub fn answered(&self) {
        if let Some(((.., id), of)) = self.said.as_deref().zip(self.of) {
            let replies = topic(Stream::Replies);
            let mut attributes = self.spans.messaging("receive", "receive", &replies);
            attributes.push(KeyValue::new(names::CONVERSATION, id.clone()));
            let own = of.child(span_of("receive", id));
            self.spans.made(format!("receive {replies}"), SpanKind::Client, own, of.span, (self.began, SystemTime::now()), attributes);
        }
    }
}

/// A span that has ended.
struct Made {
    name: Cow<'static, str>,
    kind: SpanKind,
    own: TraceContext,
    parent: u64,
    times: (SystemTime, SystemTime),
    attributes: Vec<KeyValue>,
    failed: Option<String>,
}

impl Made {
    fn data(self) -> SpanData {
        let (trace, span) = (TraceId::from_bytes(self.own.trace.to_be_bytes()), SpanId::from_bytes(self.own.span.to_be_bytes()));
        let mut attributes = self.attributes;
        let status = self.failed.map_or(Status::Unset, |why| {
            attributes.push(KeyValue::new(names::ERROR, Value::from(why.clone())));
            Status::error(why)
        });
        SpanData {
            span_context: SpanContext::new(trace, span, TraceFlags::new(self.own.flags), false, TraceState::NONE),
            parent_span_id: SpanId::from_bytes(self.parent.to_be_bytes()),
            parent_span_is_remote: true,
            span_kind: self.kind,
            name: self.name,
            start_time: self.times.0,
            end_time: self.times.1.max(self.times.0),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: InstrumentationScope::builder("daybook").with_version(env!("CARGO_PKG_VERSION")).build(),
        }
    }
}
