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
        // Never printed before it is known to hold no password.
        if endpoint.as_deref().is_some_and(|url| url.contains('@')) {
            misused!("--otlp-endpoint has a name or a password in it: a collector's come in the variable OTEL_EXPORTER_OTLP_HEADERS, as Authorization=...");
        }
        if let Some(why) = endpoint.as_deref().and_then(|url| address(url).err()) {
            misused!("--otlp-endpoint: {why}");
        }
        if let Some(url) = endpoint.as_deref().filter(|url| url.trim().trim_end_matches('/').splitn(4, '/').nth(3).is_some() || url.contains(['?', '#'])) {
            misused!("--otlp-endpoint {url}: an address without a path, as http://HOST:PORT: /v1/traces is added, or gRPC's own");
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_an_address_and_no_password() {
        let told = |url: &str| TracesFlags { otlp_endpoint: Some(url.to_owned()), ..TracesFlags::default() }.or(File::default());
        for (url, held) in [("http://127.0.0.1:4318", true), ("http://127.0.0.1:4318/", true), ("https://collector", true), ("", false)] {
            assert_eq!(told(url).unwrap().otlp.is_some(), held, "{url}");
        }
        for url in
            ["collector:4318", "http://", "http://anna:three-lamps@collector", "http://collector/v1/traces", "http://collector?key=1", "http://collector#"]
        {
            let why = told(url).unwrap_err().to_string();
            assert!(why.contains("--otlp-endpoint") && !why.contains("three-lamps"), "{url}: {why}");
        }
    }
}
