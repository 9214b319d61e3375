//! `POST /trim`: deletes the commands that their service has decided. Never events, and never one command
//! more; the log itself refuses both.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::app::{App, blocking};
use super::super::body::Body;
use super::super::failure::Failure;
use super::places::partitions;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// whose commands; everybody's if not given, and `all` is
    service: Option<String>,
    #[serde(default)]
    all: bool,
    /// only says what would go
    #[serde(default)]
    dry_run: bool,
}

pub(super) async fn trim(State(app): State<App>, Body(asked): Body<Asked>) -> Result<Json<Value>, Failure> {
    let services: Vec<&'static str> = app.operator.services.keys().copied().filter(|name| asked.all || asked.service.as_deref() == Some(*name)).collect();
    let known = || app.operator.services.keys().copied().collect::<Vec<_>>().join(", ");
    match &asked.service {
        Some(_) if asked.all => return Err(Failure::bad("/service", "one service, or all of them, not both")),
        Some(name) if services.is_empty() => return Err(Failure::bad("/service", format!("no service '{name}': one of {}", known()))),
        None if !asked.all => return Err(Failure::bad("/service", format!("a service, or \"all\": one of {}", known()))),
        _ => {}
    }
    let dry_run = asked.dry_run;
    let items = blocking(move || {
        let mut items = vec![];
        for service in services.iter().filter_map(|name| app.operator.services.get(name)) {
            let (topic, committed) = (service.commands(), app.log.committed(service.name)?);
            for partition in partitions(&app) {
                let next = committed.iter().find(|(of, at, _)| *of == topic && *at == partition).map(|(_, _, next)| *next);
                let start = app.log.start(&topic, partition)?;
                let begins = match next {
                    Some(next) if dry_run => next.max(start),
                    Some(next) => app.log.trim(&topic, partition, next)?,
                    None => start, // nothing is decided there yet
                };
                items.push(json!({
                    "topic": topic.as_str(),
                    "partition": partition.0,
                    "committed": next.map(|next| next.0),
                    "began": start.0,
                    "begins": begins.0,
                    "offsets": begins.0.saturating_sub(start.0),
                }));
            }
        }
        Ok(items)
    });
    Ok(Json(json!({ "dry_run": dry_run, "items": items.await? })))
}
