//! Who runs it: the marketplace's capabilities, the HTTP shell over them, and the commands of the binary `daybook`.

pub mod capabilities;
pub mod http;
pub mod runtime;
pub mod telemetry;
