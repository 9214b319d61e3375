//! A real `daybook` process on a directory and a port of its own, stopped by its process id.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::{Client, Method, StatusCode};
use rustix::process::Signal;
use serde_json::Value;

use crate::broker::Broker;

/// Longest that a start, a stop or an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Who needs the whole machine holds it: several processes and a broker of its own, with times that they must keep.
pub static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Every instance makes the same tokens of cards.
pub const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Every service of the marketplace, those of accounts included.
pub const ALL: [&str; 12] =
    ["catalog", "customer", "cart", "stock", "ordering", "payment", "shipment", "seller", "identity", "credentials", "audit", "erasure"];

/// The product's binary.
pub fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_daybook"))
}

/// A client; one that is asked over plain HTTP needs rustls' provider as well.
pub fn http() -> reqwest::ClientBuilder {
    daybook::tls::install_provider();
    Client::builder()
}

/// A port that is free now.
pub fn free() -> u16 {
    crate::broker::ports()
}

pub struct Server {
    binary: PathBuf,
    data: PathBuf,
    /// the verb and what it is told besides
    how: Vec<String>,
    /// what a verification of its directory at rest is told besides
    at_rest: Vec<String>,
    /// variables of its environment
    environment: Vec<(String, String)>,
    pub url: String,
    /// what it is told to listen on, if not its address
    listen: Option<String>,
    /// whose certificate it shows, if it speaks TLS
    ca: Option<PathBuf>,
    child: Option<Child>,
}

impl Server {
    /// Not started yet.
    pub fn new(binary: PathBuf, data: &Path) -> Self {
        Self {
            binary,
            data: data.to_path_buf(),
            how: vec!["up".into()],
            at_rest: vec![],
            environment: vec![],
            url: format!("http://127.0.0.1:{}", free()),
            listen: None,
            ca: None,
            child: None,
        }
    }

    /// Told this besides.
    pub fn told(mut self, arguments: &[&str]) -> Self {
        self.how.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// With this variable in its environment.
    pub fn under(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// An instance of some services on a broker, or of all; not started yet.
    pub fn on_kafka(binary: PathBuf, data: &Path, broker: &Broker, namespace: &str, services: &[&str]) -> Self {
        let cluster = ["--brokers", &broker.address(), "--namespace", namespace].map(str::to_owned);
        let verb = if services.is_empty() { vec!["up"] } else { [&["serve"], services].concat() };
        let how = verb.into_iter().map(str::to_owned).chain(cluster.clone()).chain(["--card-key".to_owned(), KEY.to_owned()]);
        // Instances on one log share the keys of personal data.
        let keys =
            ["--key-store", data.with_file_name(format!("{namespace}keys")).to_str().unwrap(), "--sealing-key", KEY, "--identity-key", KEY].map(str::to_owned);
        let how = how.chain(keys).collect();
        let mut server = Self::new(binary, data);
        (server.how, server.at_rest) = (how, cluster.to_vec());
        server
    }

    /// It speaks TLS, with a certificate that these authorities signed.
    pub fn secured(mut self, ca: PathBuf) -> Self {
        (self.url, self.ca) = (self.url.replace("http://", "https://"), Some(ca));
        self
    }

    /// Listens on what is called this, and is found there.
    pub fn listens(&mut self, on: &str, at: &str) {
        (self.listen, self.url) = (Some(on.to_owned()), at.to_owned());
    }

    /// Its process id.
    pub fn process(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// What it logged since its first start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.with_extension("log")).unwrap_or_default()
    }

    /// Proves its folds, running or at rest.
    pub fn verify(&self) -> Value {
        let mut arguments = vec!["verify", "-o", "json"];
        if self.child.is_some() {
            arguments.extend(["--full", "--url", &self.url]);
        } else {
            arguments.extend(["--data", self.data.to_str().unwrap()]);
            arguments.extend(self.at_rest.iter().map(String::as_str));
        }
        let done = daybook(&self.binary, &arguments);
        let said = [done.stdout.as_slice(), &done.stderr].map(String::from_utf8_lossy).concat();
        assert!(done.status.success(), "{said}\n{}; the instance's last words:\n{}", self.stands(), self.last_words());
        serde_json::from_slice(&done.stdout).unwrap()
    }

    /// Whether its process is there, or what it ended by.
    pub fn stands(&self) -> String {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
        let Some(child) = &self.child else { return "it does not run".to_owned() };
        let ended = waitid(WaitId::Pid(Pid::from_child(child)), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT);
        format!("it ended by itself: {:?}", ended.map(|status| status.map(|status| (status.exit_status(), status.terminating_signal()))))
    }

    /// The end of its log: the directory goes with the test.
    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.data.with_extension("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(100)..].join("\n")
    }

    pub fn started(binary: PathBuf, data: &Path) -> Self {
        let mut server = Self::new(binary, data);
        server.start();
        server
    }

    /// Starts it, expecting that it ends by itself: its exit code, and what it said.
    pub fn refused(&mut self) -> (Option<i32>, String) {
        self.spawn();
        let mut child = self.child.take().expect("it was started");
        let began = Instant::now();
        while began.elapsed() < PATIENCE && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _in_time = child.kill();
        (child.wait().unwrap().code(), self.last_words())
    }

    /// Waits for it to end by itself, so long: its exit code, if it did.
    pub fn ended(&mut self, wait: Duration) -> Option<Option<i32>> {
        let began = Instant::now();
        loop {
            if let Some(ended) = self.child.as_mut().expect("it runs").try_wait().unwrap() {
                self.child = None;
                return Some(ended.code());
            }
            if began.elapsed() > wait {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts it, and waits for nothing.
    pub fn spawn(&mut self) {
        let listen = self.listen.clone().unwrap_or_else(|| self.url.split_once("://").unwrap().1.to_owned());
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.data.with_extension("log")).unwrap();
        let child = Command::new(&self.binary)
            .envs(self.environment.clone())
            .args(&self.how)
            .args(["--listen", &listen, "--data"])
            .arg(&self.data)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Starts it and says how long it took to be ready.
    pub fn start(&mut self) -> Duration {
        let began = Instant::now();
        self.spawn();
        let ready = std::thread::spawn({
            let (url, ca) = (format!("{}/readyz", self.url), self.ca.clone());
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let client = match ca {
                        Some(ca) => http().tls_backend_preconfigured(daybook::tls::client(None, &ca).unwrap()),
                        None => http(),
                    };
                    let client = client.build().unwrap();
                    while began.elapsed() < PATIENCE {
                        if client.get(&url).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                            return true;
                        }
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    false
                })
            }
        });
        assert!(ready.join().unwrap(), "not ready in {PATIENCE:?}: {}", self.last_words());
        began.elapsed()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGSTOP: it takes connections and answers nobody.
    pub fn freeze(&self) {
        let id = rustix::process::Pid::from_child(self.child.as_ref().expect("it runs"));
        rustix::process::kill_process(id, rustix::process::Signal::STOP).unwrap();
    }

    /// SIGTERM; says whether it ended well.
    pub fn stop(&mut self) -> bool {
        self.ended_by(Signal::TERM)
    }

    /// Says whether it ended well when it was sent this.
    pub fn ended_by(&mut self, signal: Signal) -> bool {
        let mut child = self.child.take().expect("it runs");
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        let began = Instant::now();
        while began.elapsed() < PATIENCE && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _in_time = child.kill();
        let ended = child.wait().unwrap();
        if !ended.success() {
            println!("{} {ended}", self.how.join(" "));
        }
        ended.success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

/// Runs a command of the binary.
pub fn daybook(binary: &Path, arguments: &[&str]) -> Output {
    Command::new(binary).args(arguments).output().unwrap()
}

/// A client that repeats every request under its id until it is answered, at whichever instance.
#[derive(Clone)]
pub struct Caller {
    pub client: Client,
    urls: Vec<String>,
    turn: Arc<AtomicUsize>,
    /// first part of a path -> the position of its last answer: no instance may answer from before it
    seen: Arc<Mutex<HashMap<String, String>>>,
}

impl Caller {
    pub fn new(url: &str) -> Self {
        Self::of(vec![url.to_owned()])
    }

    pub fn of(urls: Vec<String>) -> Self {
        Self { client: http().timeout(Duration::from_secs(20)).build().unwrap(), urls, turn: Arc::default(), seen: Arc::default() }
    }

    /// Asks through this client, which may show who asks.
    pub fn with(mut self, client: Client) -> Self {
        self.client = client;
        self
    }

    /// The instances in turn.
    pub fn url(&self) -> &str {
        &self.urls[self.turn.fetch_add(1, Ordering::Relaxed) % self.urls.len()]
    }

    /// A command that is accepted: sent again under another id while a cart has not heard of its product, which it does a moment after that
    /// was registered: a refusal is its command's answer for good.
    pub async fn accepted(&self, method: Method, path: &str, id: &str, body: Value) {
        let began = Instant::now();
        let (mut status, mut answer) = self.command(method.clone(), path, id, body.clone()).await;
        while answer["code"] == "unknown-product" && began.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(100)).await;
            (status, answer) = self.command(method.clone(), path, &format!("{id} {:?}", began.elapsed()), body.clone()).await;
        }
        assert!(status.is_success(), "{path}: {status} {answer}");
    }

    /// A command's end: status and body, however often the server dies meanwhile.
    pub async fn command(&self, method: Method, path: &str, id: &str, body: Value) -> (StatusCode, Value) {
        let deadline = Instant::now() + 2 * PATIENCE;
        let (mut method, mut path, mut body) = (method, path.to_owned(), Some(body));
        loop {
            assert!(Instant::now() < deadline, "{method} {path} ({id}) was not answered");
            let mut request = self.client.request(method.clone(), format!("{}{path}", self.url())).header("idempotency-key", id).header("prefer", "wait=10");
            if let Some(body) = &body {
                request = request.json(body);
            }
            if let Ok(answer) = request.send().await {
                let status = answer.status();
                if let Ok(text) = answer.text().await {
                    let value: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
                    if status == StatusCode::ACCEPTED {
                        (method, path, body) = (Method::GET, value["location"].as_str().unwrap().to_owned(), None);
                    } else if status != StatusCode::SERVICE_UNAVAILABLE && value["outcome"] != "pending" {
                        return (status, value);
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    pub async fn get(&self, path: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let part = path.split(['/', '?']).nth(1).unwrap_or_default().to_owned();
            let mut asking = self.client.get(format!("{}{path}", self.url()));
            if let Some(position) = self.seen.lock().get(&part) {
                asking = asking.header("daybook-position", position);
            }
            let asked = match asking.send().await {
                Ok(answer) => {
                    if let Some(position) = answer.headers().get("daybook-position") {
                        self.seen.lock().insert(part, position.to_str().unwrap().to_owned());
                    }
                    Ok((answer.status(), answer.text().await.unwrap_or_default()))
                }
                Err(why) => Err(why),
            };
            // Of several instances one may be away; one that is alone must answer.
            match asked {
                Ok((status, text)) if status.is_success() => return serde_json::from_str(&text).unwrap(),
                Ok((status, _)) if self.urls.len() > 1 && status == StatusCode::SERVICE_UNAVAILABLE && Instant::now() < deadline => {}
                Err(_) if self.urls.len() > 1 && Instant::now() < deadline => {}
                other => panic!("GET {path}: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a row says so.
    pub async fn until(&self, path: &str, says: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let row = self.get(path).await;
            if says(&row) {
                return row;
            }
            assert!(Instant::now() < deadline, "{path} is {row}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Every item of a listing.
    pub async fn all(&self, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (vec![], String::new());
        loop {
            let page = self.get(&format!("{path}{}limit=500{cursor}", if path.contains('?') { '&' } else { '?' })).await;
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }
}
