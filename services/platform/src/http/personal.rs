//! Personal data on its way through routes: sealed before it is written, opened where it is shown. What was erased is left out,
//! and `erased` says so.

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use eventstore::Fault;
use eventstore::fingerprint::Fingerprints;
use eventstore::sealing::{Body, Error, Opened};
use kernel::{CLEAR_IN_ROWS, Personal, SEALED_IN_ROWS, Sealed};
use schemas::Envelope;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::app::{App, blocking};
use super::failure::Failure;

fn unopened(why: Error) -> Failure {
    Fault::from(why).into()
}

/// A row as it is answered: as it was saved, but for its personal data.
///
/// # Errors
/// If a key is lost, or cannot be read.
pub fn answer(app: &App, row: &impl Serialize) -> Result<Response, Failure> {
    let bytes = serde_json::to_vec(row).map_err(Failure::internal)?;
    let personal = [CLEAR_IN_ROWS, SEALED_IN_ROWS].iter().any(|name| memchr::memmem::find(&bytes, name.as_bytes()).is_some());
    if !personal {
        return Ok(([(header::CONTENT_TYPE, "application/json")], bytes).into_response());
    }
    let mut row = serde_json::from_slice(&bytes).map_err(Failure::internal)?;
    open(app, &mut row)?;
    Ok(Json(row).into_response())
}

/// A row as it is shown: with its personal data opened, in the place where that stands.
///
/// # Errors
/// If a key is lost, or cannot be read.
pub fn shown(app: &App, row: &impl Serialize) -> Result<Value, Failure> {
    let mut row = serde_json::to_value(row).map_err(Failure::internal)?;
    open(app, &mut row)?;
    Ok(row)
}

/// Somebody's data itself; nothing if it was erased.
///
/// # Errors
/// As above.
pub fn read<P: DeserializeOwned + Clone>(app: &App, personal: &Personal<P>) -> Result<Option<P>, Failure> {
    eventstore::sealing::read(app.sealer.as_ref(), personal).map_err(unopened)
}

fn open(app: &App, value: &mut Value) -> Result<(), Failure> {
    match value {
        Value::Object(fields) => {
            fields.values_mut().try_for_each(|value| open(app, value))?;
            if let Some(clear) = fields.remove(CLEAR_IN_ROWS) {
                put(fields, clear);
            }
            if let Some(sealed) = fields.remove(SEALED_IN_ROWS) {
                let sealed: Sealed = serde_json::from_value(sealed).map_err(Failure::internal)?;
                let opened = match app.sealer.as_ref().ok_or(Error::Keyless).and_then(|sealer| sealer.open(&sealed)) {
                    // One key that is lost must not hide everybody else.
                    Err(why) if why.is_of_the_data() => {
                        tracing::error!(%why, "personal data cannot be read");
                        fields.insert("unreadable".to_owned(), Value::Bool(true));
                        return Ok(());
                    }
                    opened => opened.map_err(unopened)?,
                };
                match opened {
                    Opened::Clear(bytes) => put(fields, serde_json::from_slice(&bytes).map_err(Failure::internal)?),
                    Opened::Erased => drop(fields.insert("erased".to_owned(), Value::Bool(true))),
                }
            }
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| open(app, item)),
        _ => Ok(()),
    }
}

fn put(fields: &mut Map<String, Value>, data: Value) {
    if let Value::Object(data) = data {
        fields.extend(data);
    }
}

/// A command as it is written.
pub struct Kept {
    /// its body, with personal data sealed
    pub body: Vec<u8>,
    /// what it is known by
    pub prints: Fingerprints,
}

/// Seals a command's personal data. What it is known by is then of no use to whoever has not the person's key.
///
/// # Errors
/// If there is no key, or none can be made.
pub async fn kept(app: &App, service: &'static str, key: &str, envelope: &Envelope, body: Vec<u8>, request: Option<String>) -> Result<Kept, Failure> {
    let prints = Fingerprints::of(envelope, &body, &envelope.kind, &body, request.as_deref());
    let of = app.operator.services.get(service).filter(|service| service.is_personal(&envelope.kind));
    let (Some(service), Some(sealer)) = (of, app.sealer.clone()) else { return Ok(Kept { body, prints }) };
    let (subject, id, kind) = (service.data_subject(&envelope.kind.aggregate, key, &envelope.subject), envelope.id.clone(), envelope.kind.to_string());
    blocking(move || {
        let of = Body { id: &id, kind: &kind, subject: &subject };
        let sealed = sealer.seal_command(of, &body).map_err(unopened)?;
        let mut prints = sealer.blind(&subject, &id, prints).map_err(unopened)?;
        prints.request = prints.request.map(|request| sealer.blinded(&subject, &id, &request)).transpose().map_err(unopened)?;
        Ok(Kept { body: sealed.unwrap_or(body), prints })
    })
    .await
}
