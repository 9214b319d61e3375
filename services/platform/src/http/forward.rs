//! Requests that another instance answers: passed on to one that runs the service, as its claims name it. Reads of views are,
//! and what asks for a password; commands go to the log from wherever they arrive.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schemas::Partition;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::app::{App, blocking};
use super::elsewhere::{Elsewhere, FORWARDED, MARGIN};
use super::failure::Failure;
use super::limits::BODY_BYTES_MAX;
use super::prefer::Prefer;
use super::{read, scope};

/// How long another instance may take to say what it has.
const TOLD: Duration = Duration::from_secs(5);
/// An instance that is silent for this long may be frozen: the next one is asked as well.
const SILENCE: Duration = Duration::from_millis(500);
/// Largest answer passed back.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a request's head says of its own connection, its body, and the page it came from: checked here, not passed on.
const OF_THIS_CONNECTION: [header::HeaderName; 8] = [
    header::HOST,
    header::ORIGIN,
    header::CONNECTION,
    header::UPGRADE,
    header::EXPECT,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::TRANSFER_ENCODING,
];

/// What is passed on besides a request's head.
#[derive(Clone)]
struct Passed {
    method: Method,
    body: Bytes,
    /// its media type
    typed: Option<HeaderValue>,
}

/// Asks another instance where a route says that its answer lies there.
pub async fn elsewhere(State(app): State<App>, request: Request, next: Next) -> Response {
    let (method, uri, mut headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
    // The body is here already, and bounded: a copy of it costs nothing.
    let (head, body) = request.into_parts();
    let body = match axum::body::to_bytes(body, BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(why) => return Failure::bad("", why.to_string()).into_response(),
    };
    let response = next.run(Request::from_parts(head, Body::from(body.clone()))).await;
    // Whoever says that the answer lies elsewhere has done nothing yet.
    let Some(elsewhere) = response.extensions().get::<Elsewhere>().cloned().filter(|_| !headers.contains_key(FORWARDED)) else {
        return response;
    };
    let passed = Passed { method, body, typed: headers.get(header::CONTENT_TYPE).cloned() };
    headers.insert(FORWARDED, HeaderValue::from_static("1"));
    for own in OF_THIS_CONNECTION {
        headers.remove(own);
    }
    let path = elsewhere.path.unwrap_or_else(|| uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string));
    let (service, partition) = (elsewhere.service, elsewhere.partition);
    let deadline = Instant::now() + Prefer::of(&headers).wait.unwrap_or(read::WAIT) + MARGIN;
    let asked = app.clone();
    let urls = match timeout_at(deadline, blocking(move || owners(&asked, service, partition))).await {
        Ok(Ok(urls)) => urls,
        Ok(Err(failure)) => return failure.into_response(),
        Err(_) => return Failure::unavailable("who runs this service is not known: the log does not answer").into_response(),
    };
    let count = urls.len();
    match first(&app, urls, &path, (headers, passed), deadline).await {
        Some(answer) => answer,
        None if count == 0 => Failure::unavailable(format!("no instance runs {service} now")).into_response(),
        None => Failure::unavailable(format!("none of the {count} instances that run {service} answers now")).into_response(),
    }
}

/// The first answer of any of them before the deadline: one after the other is asked, the next as soon as those before
/// have failed, have nothing to serve, or are silent. One that can serve nothing is passed on where no other has better.
async fn first(app: &App, urls: BTreeSet<String>, path: &str, (headers, passed): (HeaderMap, Passed), deadline: Instant) -> Option<Response> {
    let (mut urls, mut asked, mut poor) = (urls.into_iter(), JoinSet::new(), None);
    loop {
        match urls.next() {
            Some(url) => {
                let (app, url, headers, passed) = (app.clone(), format!("{url}{path}"), headers.clone(), passed.clone());
                asked.spawn(async move { ask(&app, &url, headers, passed).await.inspect_err(|why| tracing::debug!(url, %why, "an instance does not answer")) });
            }
            None if asked.is_empty() => return poor,
            None => {}
        }
        // What does something is asked of one after the other.
        let until = if urls.len() == 0 || passed.method != Method::GET { deadline } else { deadline.min(Instant::now() + SILENCE) };
        match timeout_at(until, asked.join_next()).await {
            Ok(Some(Ok(Ok(answer)))) if answer.status() != StatusCode::SERVICE_UNAVAILABLE => return Some(answer),
            Ok(Some(Ok(Ok(answer)))) => poor = Some(answer),
            Err(_) if Instant::now() >= deadline => return poor,
            _ => {}
        }
    }
}

/// Where instances of a service are reached, each once: those that own this partition, or any.
fn owners(app: &App, service: &str, partition: Option<Partition>) -> Result<BTreeSet<String>, Failure> {
    let asked = (0..app.log.partitions()).map(Partition).filter(|each| partition.is_none_or(|only| only == *each));
    Ok(asked.map(|each| app.log.owner(service, each)).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Whether a request was passed on, and must be answered with what is here.
pub fn passed_on(headers: &HeaderMap) -> bool {
    headers.contains_key(FORWARDED)
}

/// What another instance answers from what it has itself.
async fn ask_instance(app: &App, url: &str, path: &str, authorization: Option<String>) -> anyhow::Result<serde_json::Value> {
    let request = app.views.forward.client.get(format!("{url}{path}")).header(FORWARDED, "1").timeout(TOLD);
    let answer = authorization.into_iter().fold(request, |request, shown| request.header(header::AUTHORIZATION, shown)).send().await?;
    Ok(answer.error_for_status()?.json().await?)
}

/// What several instances answer from what they have themselves, asked at the same time.
pub async fn ask_instances(app: &App, urls: BTreeSet<String>, path: &str) -> Vec<(String, anyhow::Result<serde_json::Value>)> {
    let (mut asked, authorization) = (JoinSet::new(), scope::authorization());
    for url in urls {
        let (app, path, authorization) = (app.clone(), path.to_owned(), authorization.clone());
        asked.spawn(async move {
            let answer = ask_instance(&app, &url, &path, authorization).await;
            (url, answer)
        });
    }
    asked.join_all().await
}

async fn ask(app: &App, url: &str, headers: HeaderMap, Passed { method, body, typed }: Passed) -> anyhow::Result<Response> {
    let request = app.views.forward.client.request(method, url).headers(headers).body(body);
    let mut answer = typed.into_iter().fold(request, |request, media| request.header(header::CONTENT_TYPE, media)).send().await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut body = vec![];
    while let Some(chunk) = answer.chunk().await? {
        anyhow::ensure!(body.len() + chunk.len() <= ANSWER_BYTES_MAX, "the answer is too large");
        body.extend_from_slice(&chunk);
    }
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let passed = headers.iter().filter(|(name, _)| *name != header::TRANSFER_ENCODING && *name != header::CONNECTION);
    passed.for_each(|(name, value)| drop(response.headers_mut().insert(name, value.clone())));
    Ok(response)
}
