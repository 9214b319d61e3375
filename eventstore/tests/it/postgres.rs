//! A real PostgreSQL for tests, started by the project's own script and gone with the process that started it. Shared by the
//! tests and benches of other crates, by path.
#![allow(dead_code)] // each of them uses a part

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// A server on a directory and a port of its own.
pub struct Database {
    dir: TempDir,
    port: u16,
    how: Vec<&'static str>,
    running: Option<(Child, u32)>,
    url: String,
}

/// A port that is free, below what systems hand out and beside those of brokers.
fn port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let of_process = std::process::id().wrapping_mul(17);
    let places = (0..900).map(|_| of_process.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 900);
    let ports = places.filter_map(|place| u16::try_from(9_000 + place).ok());
    ports.into_iter().find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

fn script() -> PathBuf {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("infra/postgres/postgres"));
    above.into_iter().find(|script| script.exists()).expect("infra/postgres/postgres is in the repository")
}

impl Database {
    /// Starts one; a server that cannot be had fails the test.
    pub fn start() -> Self {
        Self::started(vec![])
    }

    /// Starts one that answers a commit before it is on the disk.
    pub fn unsynced() -> Self {
        Self::started(vec!["--no-sync"])
    }

    /// Starts one that takes no connection without TLS.
    pub fn with_tls() -> Self {
        Self::started(vec!["--tls"])
    }

    fn started(how: Vec<&'static str>) -> Self {
        let mut database = Self { dir: TempDir::new().unwrap(), port: port(), how, running: None, url: String::new() };
        database.go();
        database
    }

    /// The one that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Database> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Where it is reached, with its password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs it, as after a crash or for the first time.
    pub fn go(&mut self) {
        let mut child = Command::new(script())
            .args(["run", "--port", &self.port.to_string(), "--dir"])
            .arg(self.dir.path().join("postgres"))
            .args(&self.how)
            .stdin(Stdio::piped()) // ends with this process, and the server with it
            .stdout(Stdio::piped())
            .spawn()
            .expect("infra/postgres/postgres");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("ready"), "PostgreSQL did not start: {line}");
        let process = words.next().unwrap().parse().unwrap();
        words.next().unwrap().clone_into(&mut self.url);
        self.running = Some((child, process));
    }

    /// SIGKILL to the server, as a power cut ends it; its own processes end with it.
    pub fn kill(&mut self) {
        let (mut child, process) = self.running.take().unwrap();
        assert!(Command::new("kill").args(["-9", &process.to_string()]).status().unwrap().success());
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            drop(child.stdin.take());
            let _gone = child.wait();
        }
    }
}
