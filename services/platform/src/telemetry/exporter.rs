//! The way of spans to a collector, by OTLP: a bounded queue and a thread. Nobody waits for a collector: what it does not take
//! in time is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use crossbeam_channel::{Receiver, Sender, bounded};
use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter as Otel, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

/// Spans that wait at most.
const QUEUE: usize = 8_192;
/// Spans that are sent at once.
const BATCH: usize = 512;
/// How long a span waits for others.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked for spans, and for the end of the process.
const LOOK: Duration = Duration::from_millis(50);
/// How long a collector may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last spans may take, when the process ends.
const LAST: Duration = Duration::from_secs(2);
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
    queue: Sender<Box<SpanData>>,
    counts: Arc<Counts>,
    /// when it must have ended
    ends: watch::Sender<Option<Instant>>,
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
        let (told, (ends, mut end)) = (Arc::clone(&counts), watch::channel(None));
        let run = move || {
            let _entered = runtime.enter();
            export(&exporter, &spans, &told, &runtime, &mut end);
        };
        let thread = std::thread::Builder::new().name("traces".into()).spawn(run)?;
        Ok(Self { queue, counts, ends, thread: Mutex::new(Some(thread)) })
    }

    /// Sends a span, some time.
    pub fn send(&self, span: SpanData) {
        if self.queue.try_send(Box::new(span)).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Spans that were sent, and those that were dropped.
    pub fn counts(&self) -> (u64, u64) {
        (self.counts.exported.load(Ordering::Relaxed), self.counts.dropped.load(Ordering::Relaxed))
    }

    /// Sends what waits, and ends: within two seconds, whatever the collector does. What it has not taken by then is dropped.
    pub fn stop(&self) {
        self.ends.send_replace(Some(Instant::now() + LAST));
        if let Some(thread) = self.thread.lock().take() {
            let _panicked = thread.join();
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.stop();
    }
}

fn connected(otlp: &Otlp) -> anyhow::Result<Otel> {
    let secure = otlp.endpoint.starts_with("https://");
    crate::tls::install_provider();
    if otlp.protocol == Protocol::Grpc {
        return Ok(Otel::builder().with_tonic().with_endpoint(&otlp.endpoint).with_timeout(TIMEOUT).build()?);
    }
    // A collector that sends spans elsewhere is not followed.
    let mut client = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
    if !secure {
        client = client.tls_backend_preconfigured(crate::tls::plain_client()?); // which needs no authorities of the system
    }
    let endpoint = format!("{}{PATH}", otlp.endpoint.trim_end_matches('/'));
    Ok(Otel::builder().with_http().with_http_client(client.build()?).with_endpoint(endpoint).with_timeout(TIMEOUT).build()?)
}

/// The thread: gathers spans until there are many, or they have waited.
fn export(exporter: &Otel, spans: &Receiver<Box<SpanData>>, counts: &Counts, runtime: &Handle, end: &mut watch::Receiver<Option<Instant>>) {
    let mut away = false;
    loop {
        let (mut batch, until) = (vec![], std::time::Instant::now() + PAUSE);
        while batch.len() < BATCH {
            // At the end there is nothing to wait for.
            let ends = end.borrow().is_some();
            // It looks now and then, and waits for no single span: to wake it for each costs who sends it more than the span does.
            match spans.try_recv() {
                Ok(span) => batch.push(*span),
                Err(_) if ends || std::time::Instant::now() >= until => break,
                Err(_) => std::thread::sleep(LOOK),
            }
        }
        let (count, ends) = (batch.len() as u64, *end.borrow());
        if ends.is_some_and(|end| Instant::now() >= end) {
            counts.dropped.fetch_add(count + spans.len() as u64, Ordering::Relaxed);
            return;
        }
        if count == 0 {
            match ends {
                Some(_) => return,
                None => continue,
            }
        }
        let sent = runtime.block_on(async {
            tokio::select! {
                sent = tokio::time::timeout(TIMEOUT, exporter.export(batch)) => sent.ok(),
                () = ended(end) => None,
            }
        });
        let failed = match sent {
            Some(Ok(())) => None,
            Some(Err(why)) => Some(why.to_string()),
            None => Some("no answer in time".to_owned()),
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

/// Returns when it must have ended.
async fn ended(end: &mut watch::Receiver<Option<Instant>>) {
    let at = end.wait_for(Option::is_some).await.ok().and_then(|end| *end);
    tokio::time::sleep_until(at.unwrap_or_else(Instant::now)).await;
}
