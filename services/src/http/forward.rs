//! Queries that another instance answers: passed on to one that runs the service, as its claims name it. Only reads are;
//! commands go to the log from wherever they arrive.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schemas::Partition;

use super::failure::Failure;
use super::{App, WAIT_MAX};

/// Marks a request that was passed on: it is not passed on again.
const FORWARDED: &str = "daybook-forwarded";
/// How long another instance may take to say what it has.
const TOLD: Duration = Duration::from_secs(5);
/// Largest answer passed back.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Which views are folded elsewhere, and the way there.
pub struct Forward {
    views: BTreeMap<String, &'static str>,
    client: reqwest::Client,
}

/// A query's answer lies with an instance of this service, perhaps under another path.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    service: &'static str,
    path: Option<String>,
    /// whose owner alone has the answer, if it is not any instance
    partition: Option<Partition>,
}

impl Elsewhere {
    /// Of `service`.
    pub fn of(service: &'static str) -> Self {
        Self { service, path: None, partition: None }
    }

    /// Only the owner of this partition has it.
    #[must_use]
    pub fn owning(mut self, partition: Partition) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Under another path there.
    #[must_use]
    pub fn at(mut self, path: String) -> Self {
        self.path = Some(path);
        self
    }
}

impl Forward {
    /// For these views of other instances' services.
    pub fn new(views: BTreeMap<String, &'static str>) -> Self {
        let client = reqwest::Client::builder().connect_timeout(Duration::from_secs(1)).timeout(WAIT_MAX + Duration::from_secs(5)).build().unwrap_or_default();
        Self { views, client }
    }

    /// The service whose view this is, if it is run elsewhere.
    pub fn service_of(&self, view: &str) -> Option<&'static str> {
        self.views.get(view).copied()
    }
}

/// Asks another instance where a route says that its answer lies there.
pub async fn elsewhere(State(app): State<App>, request: Request, next: Next) -> Response {
    let (method, uri, mut headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
    let response = next.run(request).await;
    let Some(elsewhere) = response.extensions().get::<Elsewhere>().cloned().filter(|_| method == Method::GET && !headers.contains_key(FORWARDED)) else {
        return response;
    };
    headers.insert(FORWARDED, HeaderValue::from_static("1"));
    headers.remove(axum::http::header::HOST);
    let path = elsewhere.path.unwrap_or_else(|| uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string));
    let (service, partition) = (elsewhere.service, elsewhere.partition);
    let asked = app.clone();
    let urls = match tokio::task::spawn_blocking(move || owners(&asked, service, partition)).await {
        Ok(Ok(urls)) => urls,
        Ok(Err(failure)) => return failure.into_response(),
        Err(why) => return Failure::internal(why).into_response(),
    };
    for url in urls {
        match ask(&app, &format!("{url}{path}"), headers.clone()).await {
            Ok(answer) => return answer,
            Err(why) => tracing::debug!(service, url, %why, "an instance does not answer"),
        }
    }
    Failure::unavailable(format!("no instance of {service} answers now")).into_response()
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
pub async fn told(app: &App, url: &str, path: &str) -> anyhow::Result<serde_json::Value> {
    let answer = app.forward.client.get(format!("{url}{path}")).header(FORWARDED, "1").timeout(TOLD).send().await?;
    Ok(answer.error_for_status()?.json().await?)
}

async fn ask(app: &App, url: &str, headers: HeaderMap) -> anyhow::Result<Response> {
    let answer = app.forward.client.get(url).headers(headers).send().await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = answer.bytes().await?;
    anyhow::ensure!(body.len() <= ANSWER_BYTES_MAX, "the answer is too large");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let passed = headers.iter().filter(|(name, _)| *name != axum::http::header::TRANSFER_ENCODING && *name != axum::http::header::CONNECTION);
    passed.for_each(|(name, value)| drop(response.headers_mut().insert(name, value.clone())));
    Ok(response)
}
