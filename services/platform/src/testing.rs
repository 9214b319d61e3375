//! For the tests of applications: given, when, then for aggregates, and the program itself, started, killed and proven.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
pub use kernel::testing::{Given, Then, given};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::client::connection::Connection;

/// How long a start, a stop or a request may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program of an application on a directory of its own, with a log of its own. Killed when it is dropped.
pub struct Server {
    program: PathBuf,
    data: PathBuf,
    address: String,
    settings: Vec<(&'static str, String)>,
    child: Option<Child>,
}

impl Server {
    /// A program (`env!("CARGO_BIN_EXE_…")`), at a free port; not started yet.
    pub fn new(program: impl Into<PathBuf>, data: &Path) -> anyhow::Result<Self> {
        // Below what systems hand out, so that no connection takes it before the program does, or while it is killed.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let of_process = std::process::id().wrapping_mul(17);
        let ports = (0..4_000).map(|_| 10_000 + of_process.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 4_000);
        let address = ports.map(|port| format!("127.0.0.1:{port}")).find(|address| TcpListener::bind(address).is_ok());
        Ok(Self { program: program.into(), data: data.to_path_buf(), address: address.context("no port is free")?, settings: vec![], child: None })
    }

    /// The same with a setting: a variable of its environment.
    #[must_use]
    pub fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((name, value.into()));
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.envs(self.settings.iter().map(|(name, value)| (*name, value)));
        command
    }

    /// Where it is reached.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Starts it, and waits until it is ready.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.data.with_extension("log"))?;
        let mut command = self.command();
        command.args(["up", "--listen", &self.address, "--data"]).arg(&self.data);
        self.child = Some(command.stdout(Stdio::null()).stderr(log).spawn().with_context(|| format!("{} cannot be run", self.program.display()))?);
        let (began, connection) = (Instant::now(), Connection::to([self.url()]));
        while connection.ask(connection.get("/readyz"), &[]).await.is_err() {
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            ensure!(ended.is_none(), "it ended by itself: {}", self.last_words());
            ensure!(began.elapsed() < PATIENCE, "it is not ready in {PATIENCE:?}: {}", self.last_words());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// SIGKILL, as a power cut ends it.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("it does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM; waits until it has ended well.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("it does not run")?;
        kill_process(Pid::from_child(&child), Signal::TERM)?;
        let began = Instant::now();
        while child.try_wait()?.is_none() && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _in_time = child.kill();
        ensure!(child.wait()?.success(), "it did not end well: {}", self.last_words());
        Ok(())
    }

    /// Proves that every fold equals its fold from zero; running, or at rest.
    pub fn verify(&self) -> anyhow::Result<Value> {
        let mut command = self.command();
        command.args(["verify", "-o", "json"]);
        match &self.child {
            Some(_) => command.args(["--full", "--url", &self.url()]),
            None => command.arg("--data").arg(&self.data),
        };
        let done = command.output()?;
        let said = [done.stdout.as_slice(), &done.stderr].map(String::from_utf8_lossy).concat();
        ensure!(done.status.success(), "{said}\n{}", self.last_words());
        Ok(serde_json::from_slice(&done.stdout)?)
    }

    /// The end of what it logged.
    pub fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.data.with_extension("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(50)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.kill();
    }
}
