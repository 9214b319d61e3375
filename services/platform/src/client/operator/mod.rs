//! What operators run against a running system, one small file for each verb. Clients only: every answer comes over
//! HTTP, and nothing here opens a log or a directory.

use serde_json::Value;

use crate::args::{Output, Target};
use crate::client::connection::Connection;
use crate::out;
use crate::uri::part;

pub mod dead_letters;
pub mod erase;
pub mod inspect;
pub mod partitions;
pub mod projections;
pub mod sagas;
pub mod tail;
pub mod topics;
pub mod trace;
pub mod trim;

/// Which system is asked, and how its answer is printed.
#[derive(clap::Args)]
struct Asked {
    #[command(flatten)]
    target: Target,
    /// How the result is printed
    #[arg(short, long, global = true, default_value = "table")]
    output: Output,
}

impl Asked {
    fn system(&self) -> Connection {
        Connection::to([&self.target.url])
    }

    /// Prints what was found: for programs as it is, for people as they read it.
    fn print(&self, found: &Value, people: impl FnOnce(&Value)) {
        match self.output {
            Output::Json => out::line(format_args!("{found:#}")),
            Output::Table => people(found),
        }
    }
}

/// An aggregate as people name it: `<aggregate>/<id>`.
fn name(given: &str) -> Result<String, String> {
    match given.split_once('/') {
        Some((aggregate, id)) if !aggregate.is_empty() && !id.is_empty() => Ok(given.to_owned()),
        _ => Err("an aggregate is named <aggregate>/<id>".to_owned()),
    }
}

/// The same as a path.
fn path(name: &str) -> String {
    let (aggregate, id) = name.split_once('/').unwrap_or_default();
    format!("{}/{}", part(aggregate), part(id))
}

/// A record's place as people name it, `<name>/<partition>/<offset>`, as a path; `named` says how, should it be none.
fn place(given: &str, named: &str) -> Result<String, String> {
    match given.split('/').collect::<Vec<_>>()[..] {
        [name, partition, offset] if !name.is_empty() && partition.parse::<u16>().is_ok() && offset.parse::<u64>().is_ok() => {
            Ok(format!("{}/{partition}/{offset}", part(name)))
        }
        _ => Err(named.to_owned()),
    }
}

/// Who asks, as a header: what cannot stand in one is not worth a refusal.
fn actor(name: &str) -> String {
    name.chars().filter(char::is_ascii_graphic).take(200).collect()
}

/// A field as people read it: nothing for null.
fn text(value: &Value, field: &str) -> String {
    match value.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A field that is a list.
fn items<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A field that is a number.
fn number(value: &Value, field: &str) -> u64 {
    value.get(field).and_then(Value::as_u64).unwrap_or_default()
}
