//! A real `daybook up`, ready to be loaded. Gone, with what it kept, when it is dropped.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest that a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Server {
    pub binary: PathBuf,
    pub url: String,
    child: Child,
    /// where its data lies, if it goes with it
    kept: Option<TempDir>,
}

impl Server {
    /// On a log and a directory of its own.
    pub fn embedded(binary: &Path) -> Self {
        Self::kept(binary, &[])
    }

    /// On a directory that stays.
    pub fn embedded_in(binary: &Path, dir: &Path) -> Self {
        Self::started(binary, dir.join("data"), &[])
    }

    /// On a broker.
    pub fn on_kafka(binary: &Path, brokers: &str, namespace: &str) -> Self {
        Self::kept(binary, &["--brokers", brokers, "--namespace", namespace])
    }

    fn kept(binary: &Path, how: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let mut server = Self::started(binary, dir.path().join("data"), how);
        server.kept = Some(dir);
        server
    }

    fn started(binary: &Path, data: PathBuf, how: &[&str]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut child = Command::new(binary)
            .args(["up", "--log", "warn", "--listen", &free, "--data"])
            .arg(data)
            .args(how)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        // It greets once it is ready.
        let mut greeting = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut greeting).unwrap();
        assert!(greeting.contains("ready"), "it did not start: {greeting}");
        Self { binary: binary.to_path_buf(), url: format!("http://{free}"), child, kept: None }
    }

    /// As an operator would.
    pub fn stop(mut self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "it did not stop well: {status}");
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it did not stop in {PATIENCE:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
