//! Logs: for people on a terminal, for programs anywhere else. Panics are in them.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;

use clap::ValueEnum;
use eventstore::caught::said;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use crate::misuse::Misuse;

/// Under what every request is logged, where that is asked for.
pub const ACCESS: &str = "daybook::access";

/// How it is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// for people
    Text,
    /// for programs, one object a line
    Json,
}

/// What is logged, as tracing's filter, and every request besides, or none.
pub fn filter(filter: &str, access: bool) -> anyhow::Result<EnvFilter> {
    let made = EnvFilter::try_new(filter).map_err(|why| Misuse::new(format!("log filter '{filter}': {why}")))?;
    Ok(made.add_directive(format!("{}={}", ACCESS, if access { "info" } else { "off" }).parse()?))
}

/// Logs to standard error, panics as well: for people on a terminal, JSON otherwise, unless told how.
pub fn logs(filter: EnvFilter, format: Option<LogFormat>) -> anyhow::Result<()> {
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let set = if format == LogFormat::Text { builder.try_init() } else { builder.json().flatten_event(true).try_init() };
    set.map_err(|why| anyhow::anyhow!("logs: {why}"))?;
    // Of a thread that ends there would be nothing in the log otherwise, but three lines that are none of its own.
    std::panic::set_hook(Box::new(|panic| {
        let (thread, place) = (std::thread::current(), panic.location().map(ToString::to_string).unwrap_or_default());
        let trace = Backtrace::capture();
        let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
        tracing::error!(thread = thread.name().unwrap_or("?"), place, why = said(panic.payload()), trace, "panicked");
    }));
    Ok(())
}
