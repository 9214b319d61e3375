//! A collector of spans, as OTLP has it, over HTTP and gRPC.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use parking_lot::Mutex;
use prost::Message;

use crate::load::serve;

/// A span as it came.
#[derive(Clone, Debug)]
pub struct Span {
    /// the process it is of
    pub instance: String,
    pub trace: String,
    pub id: String,
    /// empty if it has none
    pub parent: String,
    pub name: String,
    pub kind: i32,
    pub micros: (u64, u64),
    pub attributes: BTreeMap<String, String>,
}

#[derive(Clone, Default)]
pub struct Collector(Arc<Mutex<Vec<Span>>>);

fn text(value: &KeyValue) -> (String, String) {
    let text = match value.value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    (value.key.clone(), text)
}

impl Collector {
    /// Takes spans over HTTP at this address.
    pub async fn http() -> (Self, String) {
        let collector = Self::default();
        let taken = |State(collector): State<Self>, body: Bytes| async move {
            collector.take(ExportTraceServiceRequest::decode(body).unwrap());
            ExportTraceServiceResponse::default().encode_to_vec()
        };
        let (url, _) = serve(axum::Router::new().route("/v1/traces", axum::routing::post(taken)).with_state(collector.clone())).await;
        (collector, url)
    }

    /// Takes spans over gRPC at this address.
    pub async fn grpc() -> (Self, String) {
        let (collector, port) = (Self::default(), crate::process::free());
        let service = TraceServiceServer::new(collector.clone());
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve(address));
        (collector, format!("http://{address}"))
    }

    fn take(&self, request: ExportTraceServiceRequest) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        for resource in request.resource_spans {
            let of: BTreeMap<String, String> = resource.resource.iter().flat_map(|resource| &resource.attributes).map(text).collect();
            assert_eq!(of["service.name"], "daybook");
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                self.0.lock().push(Span {
                    instance: of["service.instance.id"].clone(),
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: Some(hex(&span.parent_span_id)).filter(|id| !id.trim_matches('0').is_empty()).unwrap_or_default(),
                    name: span.name,
                    kind: span.kind,
                    micros: (span.start_time_unix_nano / 1_000, span.end_time_unix_nano / 1_000),
                    attributes: span.attributes.iter().map(text).collect(),
                });
            }
        }
    }

    /// All of them, once there is one that is wanted.
    pub async fn until(&self, wanted: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let spans = self.0.lock().clone();
            if wanted(&spans) {
                return spans;
            }
            assert!(Instant::now() < deadline, "not among {} spans: {:#?}", spans.len(), spans.iter().map(|span| &span.name).collect::<Vec<_>>());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(&self, request: tonic::Request<ExportTraceServiceRequest>) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.take(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}
