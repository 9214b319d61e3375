//! A real `daybook` process on a directory and a port of its own, stopped by its process id.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

/// Longest that a start, a stop or an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The product's binary.
pub fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_daybook"))
}

/// An example's binary, which `cargo test` builds beside the product's.
pub fn example(name: &str) -> PathBuf {
    let path = binary().with_file_name("examples").join(name);
    assert!(path.exists(), "{} is not built: run cargo test without a target filter, or cargo build --release --examples", path.display());
    path
}

pub struct Server {
    binary: PathBuf,
    data: PathBuf,
    pub url: String,
    child: Option<Child>,
}

impl Server {
    /// Not started yet.
    pub fn new(binary: PathBuf, data: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self { binary, data: data.to_path_buf(), url: format!("http://{free}"), child: None }
    }

    pub fn started(binary: PathBuf, data: &Path) -> Self {
        let mut server = Self::new(binary, data);
        server.start();
        server
    }

    /// Starts it and says how long it took to be ready.
    pub fn start(&mut self) -> Duration {
        let began = Instant::now();
        let listen = self.url.strip_prefix("http://").unwrap().to_owned();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.data.with_extension("log")).unwrap();
        let child = Command::new(&self.binary).args(["up", "--listen", &listen, "--data"]).arg(&self.data).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.child = Some(child);
        let ready = std::thread::spawn({
            let url = format!("{}/readyz", self.url);
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let client = Client::new();
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
        assert!(ready.join().unwrap(), "not ready in {PATIENCE:?}: {}", std::fs::read_to_string(self.data.with_extension("log")).unwrap_or_default());
        began.elapsed()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM; says whether it ended well.
    pub fn stop(&mut self) -> bool {
        let mut child = self.child.take().expect("it runs");
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let began = Instant::now();
        while began.elapsed() < PATIENCE && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _in_time = child.kill();
        child.wait().unwrap().success()
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

/// A client that repeats every request under its id until it is answered.
#[derive(Clone)]
pub struct Caller {
    pub client: Client,
    pub url: String,
}

impl Caller {
    pub fn new(url: &str) -> Self {
        Self { client: Client::builder().timeout(Duration::from_secs(20)).build().unwrap(), url: url.to_owned() }
    }

    /// A command's end: status and body, however often the server dies meanwhile.
    pub async fn command(&self, method: Method, path: &str, id: &str, body: Value) -> (StatusCode, Value) {
        let deadline = Instant::now() + 2 * PATIENCE;
        let (mut method, mut path, mut body) = (method, path.to_owned(), Some(body));
        loop {
            assert!(Instant::now() < deadline, "{method} {path} ({id}) was not answered");
            let mut request = self.client.request(method.clone(), format!("{}{path}", self.url)).header("idempotency-key", id).header("prefer", "wait=10");
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
        let answer = self.client.get(format!("{}{path}", self.url)).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "GET {path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
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
