//! A real Kafka broker for tests, started by the project's own script and gone with the process that started it.
//! Shared by the tests and benches of other crates, by path.
#![allow(dead_code)] // each of them uses a part

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// A broker on a directory and ports of its own.
pub struct Broker {
    dir: PathBuf,
    port: u16,
    running: Option<(Child, u32)>,
    /// where clients are told to come, if not to its own port
    advertised: Option<u16>,
    /// what the script is told besides
    how: Vec<String>,
    /// where the directory lies, if it goes with the broker
    _kept: Option<TempDir>,
}

/// A port that is free now, as the next one is: a broker's and its controller's. They lie below those that systems hand out
/// (Linux from 32768, others from 49152), so that no connection takes one before it is listened on, or while its program
/// is down; those of one process lie 30 apart, as three nodes need it.
pub fn ports() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let of_process = std::process::id().wrapping_mul(17);
    let free = |port: u16| [port, port + 1].iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let places = (0..600).map(|_| of_process.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 600);
    places.filter_map(|place| u16::try_from(14_000 + 30 * place).ok()).find(|port| free(*port)).expect("two free ports in a row")
}

fn script() -> PathBuf {
    // The tests of another crate share this file.
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("infra/kafka/kafka"));
    above.into_iter().find(|script| script.exists()).expect("infra/kafka/kafka is in the repository")
}

impl Broker {
    /// Starts one; a broker that cannot be had fails the test.
    pub fn start() -> Self {
        Self::behind(|_| None)
    }

    /// Starts one that tells its clients to come to another port: `front` opens that for the broker's own.
    pub fn behind(front: impl FnOnce(u16) -> Option<u16>) -> Self {
        let (dir, port) = (TempDir::new().unwrap(), ports());
        let mut broker = Self { dir: dir.path().to_path_buf(), port, running: None, advertised: front(port), how: vec![], _kept: Some(dir) };
        broker.go();
        broker
    }

    /// Starts one that knows its clients and lets them do what its ACLs say; each signs in anew after so many milliseconds.
    pub fn secure(sessions: u32) -> Self {
        let (dir, port) = (TempDir::new().unwrap(), ports());
        let how = ["--secure", "--sessions", &sessions.to_string()].map(str::to_owned).to_vec();
        let mut broker = Self { dir: dir.path().to_path_buf(), port, running: None, advertised: None, how, _kept: Some(dir) };
        broker.go();
        broker
    }

    /// A user's settings, if it knows its clients.
    pub fn user(&self, name: &str) -> PathBuf {
        if name == "admin" { self.dir.join("admin.librdkafka") } else { self.dir.join(format!("users/{name}.librdkafka")) }
    }

    /// Runs a verb of the script on its directory; what it printed.
    pub fn told(&self, verb: &[&str]) -> String {
        let done = Command::new(script()).args(verb).arg("--dir").arg(&self.dir).output().unwrap();
        assert!(done.status.success(), "{verb:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// The one that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A namespace that no test had before.
    pub fn namespace() -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        format!("t{}-{}.", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.advertised.unwrap_or(self.port))
    }

    /// The broker's own process.
    pub fn process(&self) -> Option<u32> {
        self.running.as_ref().map(|(_, process)| *process)
    }

    /// Runs it, as after a crash or for the first time.
    pub fn go(&mut self) {
        let port = self.port.to_string();
        let mut child = Command::new(script())
            .args(["run", "--port", &port, "--dir"])
            .arg(&self.dir)
            .args(&self.how)
            .args(self.advertised.iter().flat_map(|port| ["--advertised".to_owned(), port.to_string()]))
            .stdin(Stdio::piped()) // ends with this process, and the broker with it
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let process = line.trim().strip_prefix("ready ").unwrap_or_else(|| panic!("no broker: what the script said is above ({line})"));
        self.running = Some((child, process.parse().unwrap()));
    }

    /// SIGKILL to the broker itself.
    pub fn kill(&mut self) {
        let (mut child, process) = self.running.take().expect("it runs");
        assert!(Command::new("kill").args(["-9", &process.to_string()]).status().unwrap().success());
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            drop(child.stdin.take());
            let _gone = child.wait();
        }
    }
}

/// Three nodes, on a directory and ports of their own.
pub struct Nodes {
    dir: TempDir,
    port: u16,
    running: [Option<(Child, u32)>; 3],
}

impl Nodes {
    pub fn start() -> Self {
        let free = |port: u16| (0..3).all(|node| [0, 1].iter().all(|next| TcpListener::bind(("127.0.0.1", port + 10 * node + next)).is_ok()));
        let port = (0..100).map(|_| ports()).find(|port| free(*port)).expect("six free ports");
        let mut nodes = Self { dir: TempDir::new().unwrap(), port, running: [const { None }; 3] };
        nodes.go(&[1, 2, 3]);
        nodes
    }

    pub fn addresses(&self) -> String {
        (0..3).map(|node| format!("127.0.0.1:{}", self.port + 10 * node)).collect::<Vec<_>>().join(",")
    }

    /// Runs these, all at once: one alone has no quorum.
    pub fn go(&mut self, nodes: &[usize]) {
        let (port, dir) = (self.port.to_string(), self.dir.path());
        let start = |node: &usize| {
            let mut child = Command::new(script())
                .args(["run", "--nodes", "3", "--heap", "256m", "--port", &port, "--node", &node.to_string(), "--dir"])
                .arg(dir)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            (*node, BufReader::new(child.stdout.take().unwrap()), child)
        };
        let started: Vec<_> = nodes.iter().map(start).collect();
        for (node, mut said, child) in started {
            let mut line = String::new();
            said.read_line(&mut line).unwrap();
            let process = line.trim().strip_prefix("ready ").unwrap_or_else(|| panic!("no node {node}: what the script said is above ({line})"));
            self.running[node - 1] = Some((child, process.parse().unwrap()));
        }
    }

    /// SIGKILL to the nodes themselves.
    pub fn kill(&mut self, nodes: &[usize]) {
        let killed: Vec<_> = nodes.iter().map(|node| self.running[node - 1].take().expect("it runs")).collect();
        let processes: Vec<String> = killed.iter().map(|(_, process)| process.to_string()).collect();
        assert!(Command::new("kill").arg("-9").args(&processes).status().unwrap().success());
        for (mut child, _) in killed {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for (mut child, _) in self.running.iter_mut().filter_map(Option::take) {
            drop(child.stdin.take());
            let _gone = child.wait();
        }
    }
}
