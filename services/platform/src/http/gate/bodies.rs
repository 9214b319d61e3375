//! Request bodies: JSON, whole, within their size and their time, and all of them together within a budget. A body's
//! share is held until its command is on its way, or its request is answered.

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

/// Bytes that the bodies of all requests may hold while they are read and worked on.
pub const BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long a body may take to come.
const TIME: Duration = Duration::from_secs(20);
/// How long a body waits for its share of the budget.
const SHARE_WAIT: Duration = Duration::from_secs(5);
const _: () = assert!(BODY_BYTES_MAX <= BYTES_MAX);

tokio::task_local! {
    /// this request's share
    static HELD: RefCell<Option<OwnedSemaphorePermit>>;
}

/// Runs the rest of a request, which holds its body's share.
pub async fn holding<T>(held: Option<OwnedSemaphorePermit>, rest: impl Future<Output = T>) -> T {
    HELD.scope(RefCell::new(held), rest).await
}

/// Gives this request's share back: what came of its body is counted elsewhere by now.
pub fn let_go() {
    let _not_in_a_request = HELD.try_with(|held| held.borrow_mut().take());
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
pub async fn read(request: Request, budget: &Arc<Semaphore>) -> Result<(Request, Option<OwnedSemaphorePermit>), Failure> {
    let (parts, mut body) = request.into_parts();
    let (mut whole, mut held, deadline): (Vec<u8>, Option<OwnedSemaphorePermit>, _) = (vec![], None, Instant::now() + TIME);
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
        let count = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let share = timeout(SHARE_WAIT, Arc::clone(budget).acquire_many_owned(count)).await;
        let share = share.ok().and_then(Result::ok).ok_or_else(|| Failure::unavailable("too many bodies are being read"))?;
        match &mut held {
            Some(held) => held.merge(share),
            None => held = Some(share),
        }
        whole.extend_from_slice(&data);
    }
    Ok((Request::from_parts(parts, Body::from(whole)), held))
}
