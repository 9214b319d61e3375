//! What the commands have in common on the command line: where a running system is, how results are printed, spans of time.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

/// Longest span of time a flag takes: a day.
const SPAN_MS_MAX: u64 = 24 * 3_600_000;

/// Where a system of one's own is.
const HERE: &str = "http://127.0.0.1:8080";

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// for people
    #[default]
    Table,
    /// for programs
    Json,
}

/// Where a running system is.
#[derive(clap::Args, Clone, Debug)]
pub struct Target {
    /// Its address; of several, separated by commas, the first is asked
    #[arg(long, global = true, env = "DAYBOOK_URL", default_value = HERE, value_name = "URL", value_parser = first)]
    pub url: String,
}

/// Where the instances of a running system are.
#[derive(clap::Args, Clone, Debug)]
pub struct Targets {
    /// Its address; of several instances all of them, repeated or separated by commas
    #[arg(long = "url", env = "DAYBOOK_URL", value_delimiter = ',', default_value = HERE, value_name = "URL", value_parser = address)]
    pub urls: Vec<String>,
}

/// An address, without a slash at its end.
pub fn address(text: &str) -> Result<String, String> {
    let url = text.trim().trim_end_matches('/');
    match url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) {
        Some(host) if !host.is_empty() => Ok(url.to_owned()),
        _ => Err(format!("'{text}' is no address: http://HOST:PORT, or https://HOST:PORT")),
    }
}

/// The addresses of a list, separated by commas.
pub fn addresses(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(address).collect()
}

fn first(text: &str) -> Result<String, String> {
    addresses(text)?.into_iter().next().ok_or_else(|| "an address".to_owned())
}

/// A span of time as flags take it: `500ms`, `60s`, `10m`, `2h`.
pub fn span(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a whole number with its unit: 500ms, 60s, 10m, 2h".to_owned()),
    };
    let span = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(milliseconds)).filter(|span| *span <= SPAN_MS_MAX);
    span.map(Duration::from_millis).ok_or_else(|| format!("a whole number with its unit, at most {} h", SPAN_MS_MAX / 3_600_000))
}

/// Runs a client's future on a runtime of its own.
pub fn asynchronous<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// The data directory that `up` uses unless told otherwise.
pub fn default_data() -> PathBuf {
    PathBuf::from("./daybook-data")
}
