//! The one connection to a running system, at one instance or several: a request and its answer, repeated as its caller
//! says; commands until they have ended; pages of listings. Knows how the system is spoken to, never what is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use kernel::Timestamp;
pub use reqwest::Method;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::signed_in::SignedIn;
use crate::misuse::Misuse;
use crate::uri::part;

/// Connections to an instance that stay open while nothing is asked: a load may have opened many more.
const IDLE_MAX: usize = 1_024;

/// Instances of a running system. Clones take turns together.
#[derive(Clone)]
pub struct Connection {
    /// or why there is none
    client: Result<Client, String>,
    urls: Arc<[String]>,
    timeout: Option<Duration>,
    signed_in: SignedIn,
    /// which instance is asked next
    turn: Arc<AtomicUsize>,
    /// how far each request moves the turn on
    step: usize,
}

/// What an instance answered, whatever it says.
pub struct Response {
    /// the address that was asked
    url: String,
    /// whether it was done, as HTTP says it
    pub status: StatusCode,
    /// where a reader must stand to see what this tells of
    pub position: Option<String>,
    /// the body as it came
    pub text: String,
}

/// A command: sent as often as it takes, done once.
pub struct Command<'a> {
    /// as its route has it
    pub method: Method,
    /// the route, with its ids
    pub path: &'a str,
    /// its idempotency key, the same for all repeats
    pub id: &'a str,
    /// when it happened, if not now
    pub occurred_at: Option<Timestamp>,
    /// what the route takes
    pub body: &'a Value,
}

/// How a request is repeated while the system is away or busy.
#[derive(Clone, Copy)]
pub struct Retry<'a> {
    /// the first pause; each is twice the one before
    pub pause: Duration,
    /// the longest pause
    pub pause_max: Duration,
    /// how long the system may be away; without, its caller ends the waiting
    pub give_up: Option<Duration>,
    /// how long each request of a command waits for its end, in seconds
    pub wait: u32,
    /// how long a command that was taken may take to end
    pub patience: Option<Duration>,
    /// hears why a request is sent once more
    pub on_repeat: &'a (dyn Fn(&'static str) + Sync),
}

/// Why there is no answer that can be used.
#[derive(Debug)]
pub enum RequestError {
    /// nobody is there, or cannot serve now: it may pass
    Away(anyhow::Error),
    /// what the system says against the request
    Refused(anyhow::Error),
}

/// The rows of a listing.
#[derive(Deserialize)]
pub struct Listing<T> {
    /// the rows in their order
    pub items: Vec<T>,
    next: Option<String>,
    /// partitions of which nothing new is shown, each with its `why`
    #[serde(default)]
    pub missing: Vec<Value>,
}

impl Connection {
    /// To these instances: one answers all, until it does not.
    pub fn to(urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let urls: Arc<[String]> = urls.into_iter().map(Into::into).collect();
        let client = client(&urls).map_err(|why| format!("{why:#}"));
        Self { client, signed_in: SignedIn::at(&urls), urls, timeout: None, turn: Arc::default(), step: 0 }
    }

    /// What shows who asks.
    #[must_use]
    pub fn showing(self, signed_in: SignedIn) -> Self {
        Self { signed_in, ..self }
    }

    /// No request takes longer than this.
    #[must_use]
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Each request goes to the next instance.
    #[must_use]
    pub fn in_turn(self) -> Self {
        Self { step: 1, ..self }
    }

    /// Whether it shows who asks.
    pub fn is_signed_in(&self) -> bool {
        !matches!(self.signed_in, SignedIn::No)
    }

    /// A request to the instance whose turn it is.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = &self.urls[self.turn.fetch_add(self.step, Ordering::Relaxed) % self.urls.len()];
        // Without one it is never sent: whoever sends it says why.
        let request = self
            .client
            .as_ref()
            .map_or_else(|_| plain().request(method.clone(), "http://0.0.0.0"), |client| client.request(method.clone(), format!("{url}{path}")));
        self.timeout.into_iter().fold(request, RequestBuilder::timeout)
    }

    /// The same for a read.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// The same for a read that is never answered from behind `position`.
    pub fn get_at(&self, path: &str, position: Option<&str>) -> RequestBuilder {
        position.into_iter().fold(self.get(path), |request, position| request.header("daybook-position", position))
    }

    /// Asks once; what the system says against the request becomes the error. An answer without all of `fields` is another
    /// program's, or another version's: nothing was found, and nothing is known to be done.
    pub async fn ask(&self, request: RequestBuilder, fields: &[&str]) -> Result<Value, RequestError> {
        let request = self.shown(request).await.map_err(RequestError::Refused)?;
        let answer = once(request).await.map_err(|why| RequestError::Away(anyhow::Error::new(why).context(self.absent())))?;
        self.checked(&answer, fields)
    }

    /// The body of an answer that says it is done and has these fields; what is said against it otherwise.
    pub fn checked(&self, answer: &Response, fields: &[&str]) -> Result<Value, RequestError> {
        let (status, body) = (answer.status, answer.body());
        if status.is_success() {
            return match fields.iter().find(|field| body.get(**field).is_none()) {
                None => Ok(body),
                Some(field) => {
                    Err(RequestError::Refused(anyhow!("{} answered without '{field}': it is another program, or another version of it", answer.url)))
                }
            };
        }
        let detail = body.get("detail").and_then(Value::as_str).map(str::to_owned);
        let said = detail.unwrap_or_else(|| format!("{} answered {status}", self.urls.join(", ")));
        let misused = status == StatusCode::BAD_REQUEST || body.get("code").is_some_and(|code| code == "unknown-name");
        Err(match status.as_u16() {
            401 => RequestError::Refused(anyhow::anyhow!("{}: {said}", self.urls.join(", ")).context("not signed in, or no longer: `login`")),
            _ if misused => RequestError::Refused(Misuse::new(said).into()),
            502..=504 => RequestError::Away(anyhow::Error::msg(said)),
            _ => RequestError::Refused(anyhow::Error::msg(said)),
        })
    }

    /// Asks once, and takes any answer.
    pub async fn once(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        Ok(once(self.shown(request).await?).await?)
    }

    /// The same request, showing who asks.
    async fn shown(&self, request: RequestBuilder) -> anyhow::Result<RequestBuilder> {
        let client = self.client.as_ref().map_err(|why| anyhow!("{why}"))?;
        let token = self.signed_in.token(client).await?;
        Ok(token.into_iter().fold(request, RequestBuilder::bearer_auth))
    }

    /// Says that nobody is there.
    pub fn absent(&self) -> String {
        format!("nothing runs at {}: start it with `up`", self.urls.join(", "))
    }

    /// Asks until there is an answer, at the next instance where one is away or busy.
    pub async fn answered(&self, request: impl Fn() -> RequestBuilder, retry: &Retry<'_>) -> anyhow::Result<Response> {
        let (began, mut pause) = (Instant::now(), retry.pause);
        loop {
            let turn = self.turn.load(Ordering::Relaxed);
            let (word, why) = match once(self.shown(request()).await?).await {
                Ok(answer) if answer.status == StatusCode::SERVICE_UNAVAILABLE => ("unavailable", anyhow!("{} is unavailable: {}", answer.url, answer.text)),
                Ok(answer) => return Ok(answer),
                Err(why) => (if why.is_timeout() { "time-out" } else { "connection" }, why.into()),
            };
            (retry.on_repeat)(word);
            if let Some(give_up) = retry.give_up.filter(|give_up| began.elapsed() > *give_up) {
                return Err(why.context(format!("nothing runs at {} for {} s: start it with `up`", self.urls.join(", "), give_up.as_secs())));
            }
            // Of all that fail at the same instance, the first alone moves on.
            self.turn.fetch_max(turn + 1, Ordering::Relaxed);
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(retry.pause_max);
        }
    }

    /// Sends a command until it has ended, however often the system goes away meanwhile.
    pub async fn command(&self, Command { method, path, id, occurred_at, body }: &Command<'_>, retry: &Retry<'_>) -> anyhow::Result<Response> {
        let (began, wait) = (Instant::now(), format!("wait={}", retry.wait));
        let request = || {
            let request = self.request(method.clone(), path).header("idempotency-key", format!("\"{id}\"")).header("prefer", &wait).json(body);
            occurred_at.iter().fold(request, |request, at| request.header("occurred-at", at.to_string()))
        };
        let mut answer = self.answered(request, retry).await?;
        while answer.is_pending() {
            if let Some(patience) = retry.patience {
                ensure!(began.elapsed() < patience, "{method} {path} has not been answered in {} s", patience.as_secs());
            }
            (retry.on_repeat)("pending");
            let body = answer.body();
            let location = body.get("location").and_then(Value::as_str).context("a pending command without its location")?;
            answer = self.answered(|| self.get(location).header("prefer", &wait), retry).await?;
        }
        Ok(answer)
    }

    /// What a route shows; none where it has nothing.
    pub async fn find<T: DeserializeOwned>(&self, path: &str, position: Option<&str>, retry: &Retry<'_>) -> anyhow::Result<Option<T>> {
        let answer = self.answered(|| self.get_at(path, position), retry).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            status if !status.is_success() => bail!("GET {path}: {status} {}", answer.text),
            _ => serde_json::from_str(&answer.text).map(Some).with_context(|| format!("GET {path}: not the row that this version reads")),
        }
    }

    /// All rows of a listing, so many a page; none where there is no such listing.
    pub async fn list<T: DeserializeOwned>(&self, path: &str, page: usize, retry: &Retry<'_>) -> anyhow::Result<Option<Listing<T>>> {
        self.list_at(path, page, None, retry).await
    }

    /// The same, never answered from behind `position`.
    pub async fn list_at<T: DeserializeOwned>(&self, path: &str, page: usize, position: Option<&str>, retry: &Retry<'_>) -> anyhow::Result<Option<Listing<T>>> {
        let path = format!("{path}{}limit={page}", if path.contains('?') { '&' } else { '?' });
        let Some(mut all) = self.find::<Listing<T>>(&path, position, retry).await? else { return Ok(None) };
        while let Some(next) = all.next.take() {
            let Some(page) = self.find::<Listing<T>>(&format!("{path}&cursor={}", part(&next)), position, retry).await? else { return Ok(None) };
            all.items.extend(page.items);
            all.missing.extend(page.missing);
            all.next = page.next;
        }
        Ok(Some(all))
    }
}

/// The variable that says whose certificates are believed, if not those that the system believes: a file of authorities (PEM).
pub const CA: &str = "DAYBOOK_CA";

/// A client for these addresses. One that is asked over plain HTTP alone needs no authorities.
fn client(urls: &[String]) -> anyhow::Result<Client> {
    let builder = Client::builder().pool_max_idle_per_host(IDLE_MAX).redirect(Policy::none());
    let builder = match std::env::var_os(CA).filter(|_| urls.iter().any(|url| url.starts_with("https://"))) {
        Some(ca) => builder.tls_backend_preconfigured(crate::tls::client(None, ca.as_ref()).context(CA)?),
        None if urls.iter().any(|url| url.starts_with("https://")) => {
            crate::tls::install_provider();
            builder
        }
        None => builder.tls_backend_preconfigured(crate::tls::plain_client()?),
    };
    builder.build().with_context(|| format!("a client for {}: {CA} names a file of authorities", urls.join(", ")))
}

fn plain() -> Client {
    crate::tls::install_provider();
    Client::default()
}

async fn once(request: RequestBuilder) -> reqwest::Result<Response> {
    let answer = request.send().await?;
    let (url, status) = (answer.url().to_string(), answer.status());
    let position = answer.headers().get("daybook-position").and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Response { url, status, position, text: answer.text().await? })
}

impl Response {
    /// The body as JSON; one that is none becomes a string.
    pub fn body(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| Value::String(self.text.clone()))
    }

    fn is_pending(&self) -> bool {
        self.status == StatusCode::ACCEPTED || self.body().get("outcome").is_some_and(|outcome| outcome == "pending")
    }
}

impl Retry<'static> {
    /// After this pause each time, until the system has been away for so long.
    pub const fn every(pause: Duration, give_up: Duration) -> Self {
        Self { pause, pause_max: pause, give_up: Some(give_up), wait: 30, patience: None, on_repeat: &|_| {} }
    }
}

impl From<RequestError> for anyhow::Error {
    fn from(why: RequestError) -> Self {
        let (RequestError::Away(why) | RequestError::Refused(why)) = why;
        why
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::collections::VecDeque;

    use axum::extract::{Request, State};
    use parking_lot::Mutex;

    use super::*;

    const SOON: Retry<'static> = Retry::every(Duration::from_millis(1), Duration::from_secs(20));

    /// An instance that gives these answers one after the other, and what it was asked.
    #[derive(Clone, Default)]
    struct Instance {
        answers: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
        asked: Arc<Mutex<Vec<String>>>,
    }

    async fn answer(State(instance): State<Instance>, received: Request) -> (axum::http::StatusCode, &'static str) {
        let header = |name: &str| received.headers().get(name).map(|value| format!(" {}", value.to_str().unwrap())).unwrap_or_default();
        let asked = format!("{} {}{}{}{}", received.method(), received.uri(), header("idempotency-key"), header("prefer"), header("daybook-position"));
        instance.asked.lock().push(asked);
        let (status, body) = instance.answers.lock().pop_front().unwrap_or((200, "{}"));
        (axum::http::StatusCode::from_u16(status).unwrap(), body)
    }

    async fn instance(answers: &[(u16, &'static str)]) -> (String, Instance) {
        let instance = Instance { answers: Arc::new(Mutex::new(answers.iter().copied().collect())), ..Instance::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (url, router) = (format!("http://{}", listener.local_addr().unwrap()), axum::Router::new().fallback(answer).with_state(instance.clone()));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (url, instance)
    }

    #[tokio::test]
    async fn a_command_is_sent_under_one_id_until_it_has_ended() {
        let pending = r#"{"outcome":"pending","location":"/commands/c"}"#;
        let (url, instance) = instance(&[(503, "busy"), (202, pending), (200, pending), (200, r#"{"outcome":"accepted"}"#)]).await;
        let repeats = Mutex::new(vec![]);
        let retry = Retry { on_repeat: &|why| repeats.lock().push(why), ..SOON };
        let command = Command { method: Method::POST, path: "/carts/1", id: "a", occurred_at: None, body: &Value::Null };
        let ended = Connection::to([url]).command(&command, &retry).await.unwrap();
        assert_eq!(ended.body()["outcome"], "accepted");
        assert_eq!(*repeats.lock(), ["unavailable", "pending", "pending"]);
        let (sent, looked) = ("POST /carts/1 \"a\" wait=30", "GET /commands/c wait=30");
        assert_eq!(*instance.asked.lock(), [sent, sent, looked, looked]);
    }

    #[tokio::test]
    async fn one_instance_answers_until_it_does_not_and_each_where_they_take_turns() {
        let ((one, first), (other, second)) = (instance(&[(200, "{}"), (503, "")]).await, instance(&[]).await);
        let count = || (first.asked.lock().len(), second.asked.lock().len());
        let system = Connection::to([&one, &other]);
        for _ in 0..3 {
            assert!(system.answered(|| system.get("/"), &SOON).await.unwrap().status.is_success());
        }
        assert_eq!(count(), (2, 2));
        let system = system.in_turn();
        for _ in 0..4 {
            assert!(system.answered(|| system.get("/"), &SOON).await.unwrap().status.is_success());
        }
        assert_eq!(count(), (4, 4));
        let gone = Connection::to(["http://127.0.0.1:1"]);
        let why = gone.answered(|| gone.get("/"), &Retry::every(Duration::ZERO, Duration::ZERO)).await.map(|_| ()).unwrap_err();
        assert!(why.to_string().starts_with("nothing runs at http://127.0.0.1:1 for 0 s"));
    }

    #[tokio::test]
    async fn a_listing_is_read_page_by_page() {
        let pages = [(200, r#"{"items":[1],"next":"a/b&c:1","missing":[{"partition":1,"why":"stands still"}]}"#), (200, r#"{"items":[2],"next":null}"#)];
        let (url, instance) = instance(&[pages[0], pages[1], (404, "")]).await;
        let system = Connection::to([url]);
        let listing = system.list::<u64>("/stock?seller=1", 5, &SOON).await.unwrap().unwrap();
        assert_eq!((listing.items, listing.missing.len()), (vec![1, 2], 1));
        assert!(system.list::<u64>("/stock", 5, &SOON).await.unwrap().is_none());
        assert_eq!(*instance.asked.lock(), ["GET /stock?seller=1&limit=5", "GET /stock?seller=1&limit=5&cursor=a%2Fb%26c:1", "GET /stock?limit=5"]);
    }

    #[tokio::test]
    async fn what_is_said_against_a_request_says_whose_fault_it_is() {
        let unknown = r#"{"code":"unknown-name","detail":"there is no topic x"}"#;
        let answers = [(404, unknown), (400, r#"{"detail":"wrong"}"#), (409, r#"{"detail":"sent"}"#), (503, r#"{"detail":"starting"}"#), (500, "")];
        let (url, _) = instance(&answers).await;
        let system = Connection::to([&url]);
        let mut said = vec![];
        for _ in answers {
            let why = system.ask(system.get("/"), &[]).await.unwrap_err();
            let away = matches!(why, RequestError::Away(_));
            let why = anyhow::Error::from(why);
            said.push((why.to_string(), Misuse::is_cause_of(&why), away));
        }
        let nothing = format!("{url} answered 500 Internal Server Error");
        let expected =
            [("there is no topic x", true, false), ("wrong", true, false), ("sent", false, false), ("starting", false, true), (&nothing, false, false)];
        assert_eq!(said, expected.map(|(said, misuse, away)| (said.to_owned(), misuse, away)));
        let gone = Connection::to(["http://127.0.0.1:1"]);
        assert!(matches!(gone.ask(gone.get("/"), &[]).await, Err(RequestError::Away(_))));
    }
}
