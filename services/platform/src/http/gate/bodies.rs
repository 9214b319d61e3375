//! Request bodies: JSON, whole, within their size and their time, and all of them together within a budget, with what becomes
//! of them while they are worked on. A body's share is held until its command is on its way, or its request is answered.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::super::failure::Failure;
use super::super::limits::BODY_BYTES_MAX;
use crate::budget::REQUESTS;

/// Bytes that the bodies of all requests may hold.
const BYTES_MAX: usize = 12 * 1024 * 1024;
/// Bytes that may come of all bodies while they are worked on: fields, commands, records.
const WORK_BYTES_MAX: usize = 24 * 1024 * 1024;
/// So many bytes come of each byte of a body: measured on lines of an order, whose fields have a few letters each.
const WORK_FOR_BYTE: usize = 7;
/// Of those, what is kept of a command that waits for its answer.
const KEPT_FOR_BYTE: usize = 3;
/// A body of at most so many bytes needs no share: all connections together cannot have many of them.
const SMALL: usize = 16 * 1024;
/// How long a body may take to come.
const TIME: Duration = Duration::from_secs(20);
/// How long a body waits for its share of the budget.
const SHARE_WAIT: Duration = Duration::from_secs(5);
// What is left is for records on their way, and for what an allocator keeps of all that.
const _: () = assert!(BYTES_MAX + WORK_BYTES_MAX <= REQUESTS && BODY_BYTES_MAX <= BYTES_MAX && BODY_BYTES_MAX * WORK_FOR_BYTE <= WORK_BYTES_MAX);

/// What all requests share.
pub struct Budget {
    bodies: Arc<Semaphore>,
    work: Arc<Semaphore>,
}

/// A request's share of it.
#[derive(Default)]
pub struct Held {
    bytes: usize,
    body: Option<OwnedSemaphorePermit>,
    work: Option<OwnedSemaphorePermit>,
}

tokio::task_local! {
    /// this request's share
    static HELD: RefCell<Held>;
}

/// Runs the rest of a request, which holds its body's share.
pub async fn holding<T>(held: Held, rest: impl Future<Output = T>) -> T {
    HELD.scope(RefCell::new(held), rest).await
}

/// Gives most of this request's share back: its record is on its way, and counted elsewhere by now. Its command is kept until it
/// is answered.
pub fn let_go() {
    let _not_in_a_request = HELD.try_with(|held| {
        let mut held = held.borrow_mut();
        held.body = None;
        held.work.as_mut().and_then(|work| work.split(work.num_permits() / WORK_FOR_BYTE * (WORK_FOR_BYTE - KEPT_FOR_BYTE)));
    });
}

impl Default for Budget {
    fn default() -> Self {
        Self { bodies: Arc::new(Semaphore::new(BYTES_MAX)), work: Arc::new(Semaphore::new(WORK_BYTES_MAX)) }
    }
}

async fn share(of: &Arc<Semaphore>, bytes: usize, for_what: &str) -> Result<OwnedSemaphorePermit, Failure> {
    let count = u32::try_from(bytes).unwrap_or(u32::MAX);
    let share = timeout(SHARE_WAIT, Arc::clone(of).acquire_many_owned(count)).await;
    share.ok().and_then(Result::ok).ok_or_else(|| Failure::unavailable(format!("too many bodies are being {for_what}")))
}

/// What the head says of the body: its type and its size.
pub fn check(request: &Request) -> Result<(), Failure> {
    let headers = request.headers();
    let number = |name| headers.get(name).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let length = number(header::CONTENT_LENGTH);
    if length.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    let is_empty = length.map_or_else(|| !headers.contains_key(header::TRANSFER_ENCODING), |length| length == 0);
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let is_json = types.next().and_then(|given| given.to_str().ok()).is_some_and(|given| {
        let essence = given.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    }) && types.next().is_none();
    if is_empty || is_json { Ok(()) } else { Err(Failure::media_type()) }
}

fn too_large() -> Failure {
    Failure::too_large(format!("a body has at most {BODY_BYTES_MAX} bytes"))
}

/// The request with its body whole, and the body's share.
pub async fn read(request: Request, budget: &Budget) -> Result<(Request, Held), Failure> {
    let (parts, mut body) = request.into_parts();
    let said = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let most = said.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX);
    let (mut whole, mut held, deadline) = (vec![], Held::default(), Instant::now() + TIME);
    while !body.is_end_stream() {
        let frame = timeout_at(deadline, poll_fn(|context| Pin::new(&mut body).poll_frame(context))).await;
        let frame = match frame.map_err(|_| Failure::slow(format!("a body comes within {} s", TIME.as_secs())))? {
            None => break,
            Some(Ok(frame)) => frame,
            Some(Err(_)) => return Err(Failure::bad("", "the body ended before it was whole")),
        };
        let Ok(data) = frame.into_data() else { continue }; // trailers say nothing here
        if whole.len() + data.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        // All of it before any of it: bodies that were read in part would wait for each other.
        if whole.len() + data.len() > SMALL && held.body.is_none() {
            held.body = Some(share(&budget.bodies, most, "read").await?);
            whole.reserve_exact(most);
        }
        whole.extend_from_slice(&data);
    }
    held.bytes = whole.len();
    held.body.as_mut().and_then(|body| body.split(most.saturating_sub(held.bytes)));
    Ok((Request::from_parts(parts, Body::from(whole)), held))
}

/// Waits until there is room for what comes of the body.
pub async fn room(mut held: Held, budget: &Budget) -> Result<Held, Failure> {
    if held.bytes > SMALL {
        held.work = Some(share(&budget.work, held.bytes * WORK_FOR_BYTE, "worked on").await?);
    }
    Ok(held)
}
