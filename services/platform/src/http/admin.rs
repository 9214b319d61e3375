//! What operators ask for: proofs, and dead letters listed, shown, retried and discarded.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use eventstore::dead_letters::Reason;
use eventstore::inside::{AGAIN, AGAIN_CLIENT, AGAIN_INSIDE, INSIDE, VOUCHED, is_signed, is_vouched, sign};
use eventstore::reactions::{Writer, anchors};
use eventstore::{Limits, Message, Offset, Record};
use schemars::JsonSchema;
use schemas::envelope::{DLT_COMMAND, DLT_DEADLINE, DLT_DETAIL, DLT_OFFSET, DLT_PARTITION, DLT_POLICY, DLT_REASON, DLT_TOPIC};
use schemas::{Headers, Partition, Stream, topic};
use serde::Deserialize;
use serde_json::{Value, json};

use super::app::{App, PRIVATE, blocking};
use super::discard;
use super::discarded::Discard;
use super::extract::{Path, Query};
use super::failure::Failure;
use super::letters::{at, letter};
use super::operate::answers::{DeadLetter, DeadLetters, DiscardedLetter, Proven, Retried};
use super::operate::places::topic_of;
use super::operate::projections::unproven;
use super::read::PAGE_BYTES_MAX;
use super::route::{Example, Operation, Routes};
use crate::identity::access::OPERATORS;

/// Most dead letters of a page.
const LETTERS_MAX: usize = 1_000;

/// The operators' routes.
pub fn routes(example: Example) -> Routes {
    let letter = |operation: Operation| {
        operation.text_part("service", example.service, "^[a-z-]+$").part("partition", "0").part("offset", "0").fails(&["not-found", "unknown-name"])
    };
    let proof = Operation::new("Folds everything again beside the live folds and compares").answers::<Proven>(200, "What was found");
    let retried = Operation::new("Writes what a letter was made of once more").answers::<Retried>(200, "It is written");
    let settled = Operation::new("Settles that nothing is done about a letter").answers::<DiscardedLetter>(200, "It is settled");
    Routes::of("operators", OPERATORS)
        .post("/verify", verify, proof.fails(&["proof-running"]))
        .get("/dead-letters", list, Operation::new("Lists what could not be processed").answers::<DeadLetters>(200, "A page"))
        .get("/dead-letters/{service}/{partition}/{offset}", show, letter(Operation::new("Shows a letter whole").answers::<DeadLetter>(200, "The letter")))
        .post(
            "/dead-letters/{service}/{partition}/{offset}/retry",
            retry,
            letter(retried.fails(&["discarded", "too-large", "cut", "not-a-command", "not-retried"])),
        )
        .post("/dead-letters/{service}/{partition}/{offset}/discard", discard::discard, letter(settled).example(json!({ "reason": "a test" })))
}

#[derive(Deserialize, JsonSchema)]
struct HowMuch {
    /// all is folded from zero and compared row by row, whatever was proven before
    #[serde(default)]
    full: bool,
}

async fn verify(State(app): State<App>, Query(HowMuch { full }): Query<HowMuch>) -> Result<Response, Failure> {
    let verdicts = blocking(move || app.operator.prover.prove(full).map_err(unproven)).await?;
    let verdicts =
        verdicts.ok_or_else(|| Failure::refused("proof-running", "another proof is running: one runs at a time, since it takes a second copy of the state"))?;
    Ok(Json(json!({ "matches": verdicts.iter().all(projections::Verdict::matches), "folds": verdicts })).into_response())
}

#[derive(Deserialize, JsonSchema)]
struct Filter {
    service: Option<String>,
    limit: Option<usize>,
    /// those that were discarded as well
    #[serde(default)]
    all: bool,
    /// the place to go on from, as the page before gave it: <service>/<partition>/<offset>
    cursor: Option<String>,
}

/// Where a page goes on.
type Cursor<'s> = (&'s str, Partition, Offset);

fn cursor(text: &str) -> Option<Cursor<'_>> {
    let [service, partition, offset] = text.split('/').collect::<Vec<_>>()[..] else { return None };
    Some((service, Partition(partition.parse().ok()?), Offset(offset.parse().ok()?)))
}

async fn list(State(app): State<App>, Query(filter): Query<Filter>) -> Result<Response, Failure> {
    let services: Vec<&'static str> =
        app.operator.names().filter(|name| filter.service.as_deref().map_or_else(|| app.operator.may_read(name), |asked| asked == *name)).collect();
    if services.is_empty() {
        return Err(Failure::bad("/query/service", format!("one of {}", app.operator.names().collect::<Vec<_>>().join(", "))));
    }
    let limit = filter.limit.unwrap_or(100).clamp(1, LETTERS_MAX);
    let begins = filter.cursor.as_deref().map(|text| {
        let known = |(service, ..): &Cursor<'_>| services.contains(service);
        cursor(text).filter(known).map(|(service, partition, offset)| (service.to_owned(), partition, offset))
    });
    let begins = match begins {
        Some(None) => return Err(Failure::bad("/query/cursor", "this cursor belongs to another listing: start without one")),
        begins => begins.flatten(),
    };
    let listed = blocking(move || {
        let (mut items, mut bytes, mut discarded, mut more): (Vec<Value>, usize, usize, _) = (vec![], 0, 0, None);
        let mut ahead = begins.is_some();
        for service in services {
            let letters = topic(Stream::DeadLetters(service));
            for partition in (0..app.log.partitions()).map(Partition) {
                let marks = app.operator.discarded.marks(app.log.as_ref(), &letters, partition)?;
                discarded += marks.len();
                let (mut next, end) = (app.log.start(&letters, partition)?, app.log.end(&letters, partition)?);
                if let Some((of, at, from)) = &begins {
                    ahead &= (of.as_str(), *at) != (service, partition);
                    if ahead {
                        continue;
                    }
                    next = if (of.as_str(), *at) == (service, partition) { next.max(*from) } else { next };
                }
                while next < end && more.is_none() {
                    let page = app.log.read(&letters, partition, next, Limits { records: limit, bytes: PAGE_BYTES_MAX })?;
                    for record in page
                        .records
                        .iter()
                        .filter(|record| Discard::of(record, &app.log.secret()).is_none() && (filter.all || !marks.contains_key(&record.offset)))
                    {
                        bytes += record.bytes();
                        if items.len() == limit || (bytes > PAGE_BYTES_MAX && !items.is_empty()) {
                            more = Some(format!("{service}/{partition}/{}", record.offset));
                            break;
                        }
                        items.push(summary(service, record, marks.get(&record.offset)));
                    }
                    if page.next <= next {
                        break;
                    }
                    next = page.next;
                }
            }
        }
        Ok(json!({ "items": items, "next": more, "discarded": discarded }))
    });
    Ok(Json(listed.await?).into_response())
}

async fn show(State(app): State<App>, Path((service, partition, offset)): Path<(String, u16, u64)>) -> Result<Response, Failure> {
    let asked = app.clone();
    let (service, (record, mark)) = blocking(move || letter(&asked, &service, partition, offset).map(|found| (service, found))).await?;
    let mut shown = summary(&service, &record, mark.as_ref());
    let headers: serde_json::Map<String, Value> = record.headers.iter().map(|(name, value)| (name.to_owned(), json!(String::from_utf8_lossy(value)))).collect();
    let private = app.operator.is_private(&topic(Stream::DeadLetters(&service)));
    let body = record
        .value
        .as_deref()
        .map(|bytes| if private { json!(PRIVATE) } else { serde_json::from_slice(bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(bytes))) });
    if let Value::Object(fields) = &mut shown {
        fields.insert("headers".to_owned(), Value::Object(headers));
        fields.insert("body".to_owned(), json!(body));
    }
    Ok(Json(shown).into_response())
}

/// Writes what a letter was made of once more, or what its policy makes of its event now; the letter stays, as the log keeps
/// everything. What is written says so, and is signed, so that the second time it is a repeat.
async fn retry(State(app): State<App>, Path((service, partition, offset)): Path<(String, u16, u64)>) -> Result<Response, Failure> {
    let sent = blocking(move || {
        let (record, mark) = letter(&app, &service, partition, offset)?;
        if mark.is_some() {
            return Err(Failure::refused("discarded", "this letter was discarded: nothing is done about it any more"));
        }
        let messages = again(&app, &service, &record)?;
        if let Some(bytes) = messages.iter().map(Message::bytes).find(|bytes| *bytes > app.log.rules().record_bytes) {
            return Err(Failure::refused("too-large", format!("it would have {bytes} bytes; a record has at most {}", app.log.rules().record_bytes)));
        }
        let partition = messages.first().map(|message| message.partition).unwrap_or_default();
        let offsets = app.log.append(messages)?;
        Ok((service, partition, offsets))
    });
    let (service, partition, offsets) = sent.await?;
    let first = offsets.first().copied().unwrap_or_default();
    Ok(Json(json!({ "written_to": format!("{service}.commands"), "partition": partition.0, "offset": first.0, "commands": offsets.len() })).into_response())
}

/// The commands to be written once more.
fn again(app: &App, service: &str, letter: &Record) -> Result<Vec<Message>, Failure> {
    let commands = topic(Stream::Commands(service));
    if letter.headers.get(DLT_DEADLINE).is_some() {
        // There is no record of it but the letter, which must be whole.
        let whole = without(&letter.headers, |name| name.starts_with("dlt-"));
        if !is_signed(&app.log.secret(), &letter.key, &whole, letter.body()) {
            return Err(Failure::refused("cut", "this letter does not hold its command as it was: wake its aggregate by a command of your own"));
        }
        return Ok(vec![once_more(app, commands, &letter.key, &whole, letter.value.clone(), AGAIN_INSIDE)]);
    }
    if letter.headers.text(DLT_TOPIC) == Some(commands.as_str()) {
        let origin = original(app, letter)?;
        // One that was refused was made inside, whoever signed it: a client's refusal is its answer.
        let signed = is_signed(&app.log.secret(), &origin.key, &origin.headers, origin.body());
        let inside = (signed && origin.headers.text(AGAIN) != Some(AGAIN_CLIENT)) || letter.headers.text(DLT_REASON) == Some(Reason::Refused.as_str());
        // What is signed now vouches for its actor: one that nobody vouched for then is left out.
        let vouched = signed || is_vouched(&app.log.secret(), &origin.key, &origin.headers, origin.body());
        let headers = without(&origin.headers, |name| ["reply-to", AGAIN, INSIDE, VOUCHED].contains(&name) || (name == "ce_actor" && !vouched));
        return Ok(vec![once_more(app, commands, &origin.key, &headers, origin.value.clone(), if inside { AGAIN_INSIDE } else { AGAIN_CLIENT })]);
    }
    let policy = letter
        .headers
        .text(DLT_POLICY)
        .ok_or_else(|| Failure::refused("not-a-command", "this letter came from an event, which its policy will not see again: act on its cause instead"))?;
    let known = app.operator.services.get(service).ok_or_else(|| Failure::not_found(format!("no service '{service}'")))?;
    let (origin, anchors) = (original(app, letter)?, anchors(app.log.partitions()));
    let written = Writer::new(known, &anchors, app.log.secret(), app.log.rules()).again(&origin, policy, letter.headers.text(DLT_COMMAND));
    let written = written.map_err(|why| Failure::refused("not-retried", why))?;
    if written.is_empty() {
        return Err(Failure::refused("not-retried", format!("policy {policy} asks for nothing of the kind any more")));
    }
    Ok(written)
}

fn without(headers: &Headers, left: impl Fn(&str) -> bool) -> Headers {
    headers.iter().filter(|(name, _)| !left(name)).map(|(name, value)| (name.to_owned(), value.to_vec())).collect()
}

fn once_more(app: &App, topic: schemas::Topic, key: &[u8], headers: &Headers, value: Option<Vec<u8>>, whose: &str) -> Message {
    let mut headers = without(headers, |name| name == INSIDE);
    headers.push(AGAIN, whose);
    sign(&app.log.secret(), key, &mut headers, value.as_deref().unwrap_or_default());
    Message { topic, partition: schemas::partition_of(key, app.log.partitions()), key: key.to_vec(), headers, value }
}

/// The record a letter was made of, unmasked and whole, where its headers say it is.
fn original(app: &App, letter: &Record) -> Result<Arc<Record>, Failure> {
    let number = |name: &str| letter.headers.text(name).and_then(|text| text.parse::<u64>().ok());
    let place = number(DLT_PARTITION).and_then(|partition| u16::try_from(partition).ok()).zip(number(DLT_OFFSET));
    // Anybody may have written a letter.
    let nowhere = || Failure::refused("not-retried", "this letter does not say which record of this log it was made of");
    let (partition, offset) = place.ok_or_else(nowhere)?;
    let topic = topic_of(app, letter.headers.text(DLT_TOPIC).unwrap_or_default()).map_err(|_| nowhere())?;
    at(app, &topic, partition, offset)
}

fn summary(service: &str, record: &Record, mark: Option<&Discard>) -> Value {
    let text = |name: &str| record.headers.text(name);
    json!({
        "id": format!("{service}/{}/{}", record.partition, record.offset),
        "reason": text(DLT_REASON),
        "detail": text(DLT_DETAIL),
        "type": text("ce_type"),
        "command": text("ce_id"),
        "subject": text("ce_subject"),
        "from": text(DLT_TOPIC),
        "recorded_at": record.recorded_at.to_string(),
        "discarded": mark.map(Discard::shown),
    })
}
