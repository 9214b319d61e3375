//! What operators see of a process: logs, metrics, traces. Names follow Prometheus' rules and OpenTelemetry's; no label
//! takes an id, a key or an offset.

mod exporter;
mod families;
mod logs;
mod metrics;
mod names;
mod spans;
mod standing;

pub use exporter::{Exporter, Otlp, Protocol};
pub use families::{Families, Sampled};
pub use logs::{ACCESS, LogFormat, filter, logs};
pub use metrics::{Folder, Metrics};
pub use spans::{Request, Spans};
