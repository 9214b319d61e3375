//! The way of spans to a collector, by OTLP: a bounded queue and a thread. Nobody waits for a collector: what it does not take
//! in time is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter as Otel, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::runtime::Handle;

/// Spans that wait at most.
const QUEUE: usize = 8_192;
/// Spans that are sent at once.
const BATCH: usize = 512;
/// How long a span waits for others.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a collector may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The path of traces behind a collector's address.
const PATH: &str = "/v1/traces";

/// What a collector is spoken to by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
pub enum Protocol {
    /// gRPC
    #[serde(rename = "grpc")]
    Grpc,
    /// protocol buffers over HTTP
    #[default]
    #[serde(rename = "http/protobuf")]
    #[value(name = "http/protobuf")]
    Http,
}

/// Where spans go.
#[derive(Clone, Debug)]
pub struct Otlp {
    /// the collector's address, without a path
    pub endpoint: String,
    /// how it is spoken to
    pub protocol: Protocol,
}

/// Sends spans to a collector.
pub struct Exporter {
    queue: Sender<Option<Box<SpanData>>>,
    counts: Arc<Counts>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
}

impl Exporter {
    /// For the spans of this application's process; the collector need not be there yet.
    ///
    /// # Errors
    /// If the address is none, or there are no certificates to believe a collector by.
    pub fn start(otlp: &Otlp, application: &str, instance: &str, runtime: Handle) -> anyhow::Result<Self> {
        let mut exporter = connected(otlp).with_context(|| format!("OTLP collector {}", otlp.endpoint))?;
        let (service, told) = ("service.name", std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| application.to_owned()));
        let attributes = [KeyValue::new(service, told), KeyValue::new("service.instance.id", instance.to_owned())];
        exporter.set_resource(&Resource::builder().with_attributes(attributes).build());
        let ((queue, spans), counts) = (bounded(QUEUE), Arc::new(Counts::default()));
        let told = Arc::clone(&counts);
        let run = move || {
            let _entered = runtime.enter();
            export(&exporter, &spans, &told, &runtime);
        };
        let thread = std::thread::Builder::new().name("traces".into()).spawn(run)?;
        Ok(Self { queue, counts, thread: Mutex::new(Some(thread)) })
    }

    /// Sends a span, some time.
    pub fn send(&self, span: SpanData) {
        if self.queue.try_send(Some(Box::new(span))).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Spans that were sent, and those that were dropped.
    pub fn counts(&self) -> (u64, u64) {
        (self.counts.exported.load(Ordering::Relaxed), self.counts.dropped.load(Ordering::Relaxed))
    }

    /// Sends what waits, and ends: at most as long as a collector may take.
    pub fn stop(&self) {
        if let Some(thread) = self.thread.lock().take()
            && self.queue.try_send(None).is_ok()
        {
            let _panicked = thread.join();
        }
    }
}

fn connected(otlp: &Otlp) -> anyhow::Result<Otel> {
    let secure = otlp.endpoint.starts_with("https://");
    crate::tls::install_provider();
    if otlp.protocol == Protocol::Grpc {
        return Ok(Otel::builder().with_tonic().with_endpoint(&otlp.endpoint).with_timeout(TIMEOUT).build()?);
    }
    let mut client = reqwest::Client::builder().timeout(TIMEOUT);
    if !secure {
        client = client.tls_backend_preconfigured(crate::tls::plain_client()?); // which needs no authorities of the system
    }
    let endpoint = format!("{}{PATH}", otlp.endpoint.trim_end_matches('/'));
    Ok(Otel::builder().with_http().with_http_client(client.build()?).with_endpoint(endpoint).with_timeout(TIMEOUT).build()?)
}

/// The thread: gathers spans until there are many, or they have waited.
fn export(exporter: &Otel, spans: &Receiver<Option<Box<SpanData>>>, counts: &Counts, runtime: &Handle) {
    let (mut open, mut away) = (true, false);
    while open {
        let mut batch = vec![];
        let until = std::time::Instant::now() + PAUSE;
        while batch.len() < BATCH {
            match spans.recv_deadline(until) {
                Ok(Some(span)) => batch.push(*span),
                Err(RecvTimeoutError::Timeout) => break,
                Ok(None) | Err(RecvTimeoutError::Disconnected) => {
                    open = false;
                    break;
                }
            }
        }
        let count = batch.len() as u64;
        if count == 0 {
            continue;
        }
        let sent = runtime.block_on(async { tokio::time::timeout(TIMEOUT, exporter.export(batch)).await });
        let failed = match sent {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(why.to_string()),
            Err(_) => Some(format!("no answer within {} s", TIMEOUT.as_secs())),
        };
        let counted = if failed.is_none() { &counts.exported } else { &counts.dropped };
        counted.fetch_add(count, Ordering::Relaxed);
        match &failed {
            Some(why) if !away => tracing::warn!(why, spans = count, "the collector takes no spans: they are dropped until it does"),
            None if away => tracing::info!("the collector takes spans again"),
            _ => {}
        }
        away = failed.is_some();
    }
}
