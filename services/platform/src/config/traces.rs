//! Where traces go, and how many of them.

use clap::Args;
use serde::Deserialize;

use crate::args::address;
use crate::misuse::misused;
use crate::telemetry::{Otlp, Protocol};

/// Of the requests that are of no trace yet, so many begin one, if nothing else is said.
const RATIO: f64 = 0.1;

/// What `up` and `serve` can be told of traces. The variables are OpenTelemetry's own.
#[derive(Args, Clone, Debug, Default)]
pub struct TracesFlags {
    /// Where spans of traces are sent, by OTLP: a collector's address, without a path. Without one none are made
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// How the collector is spoken to [default: http/protobuf]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_PROTOCOL", value_name = "PROTOCOL")]
    otlp_protocol: Option<Protocol>,
    /// How many of the requests that come without a trace begin one, from 0 to 1 [default: 0.1]
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", value_name = "RATIO")]
    trace_ratio: Option<f64>,
}

/// The same in a settings file.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct File {
    otlp_endpoint: Option<String>,
    otlp_protocol: Option<Protocol>,
    trace_ratio: Option<f64>,
}

/// What holds.
#[derive(Clone, Debug)]
pub struct TracesConfig {
    /// where they go, if anywhere
    pub otlp: Option<Otlp>,
    /// how many requests begin one
    pub ratio: f64,
}

impl TracesFlags {
    /// These settings, and for what they do not say, the file's.
    pub(super) fn or(self, file: File) -> anyhow::Result<TracesConfig> {
        let protocol = self.otlp_protocol.or(file.otlp_protocol).unwrap_or_default();
        let ratio = self.trace_ratio.or(file.trace_ratio).unwrap_or(RATIO);
        if !(0.0..=1.0).contains(&ratio) {
            misused!("--trace-ratio {ratio}: a part of all requests, from 0 to 1");
        }
        let endpoint = self.otlp_endpoint.or(file.otlp_endpoint).filter(|endpoint| !endpoint.is_empty());
        if let Some(why) = endpoint.as_deref().and_then(|url| address(url).err()) {
            misused!("--otlp-endpoint: {why}");
        }
        Ok(TracesConfig { otlp: endpoint.map(|endpoint| Otlp { endpoint, protocol }), ratio })
    }
}

impl TracesConfig {
    /// The lines of a settings file that say the same.
    pub(super) fn lines(&self, quoted: impl Fn(&str) -> String) -> Vec<(&'static str, Option<String>)> {
        let protocol = |otlp: &Otlp| quoted(if otlp.protocol == Protocol::Grpc { "grpc" } else { "http/protobuf" });
        vec![
            ("otlp_endpoint", self.otlp.as_ref().map(|otlp| quoted(&otlp.endpoint))),
            ("otlp_protocol", self.otlp.as_ref().map(protocol)),
            ("trace_ratio", self.otlp.as_ref().map(|_| format!("{:?}", self.ratio))),
        ]
    }
}
