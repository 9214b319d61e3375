//! Stands between clients and a broker, and does to the end of transactions what networks and brokers do on a bad day. Knows
//! of Kafka's protocol how requests are framed and what an EndTxn looks like; everything else it passes on as it comes.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// See <https://kafka.apache.org/protocol>: EndTxn, and an error that clients do not expect of it (UNKNOWN_SERVER_ERROR).
const END_TXN: i16 = 26;
const UNEXPECTED: i16 = -1;

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// The broker commits, and its answer is turned into an error.
    Turned,
    /// The broker commits, and the connection ends instead of an answer.
    Cut,
    /// The broker commits, and the answer comes this much later.
    Late(Duration),
    /// The connection ends before the broker has heard of it; what was sent arrives when [`Proxy::deliver`] is called.
    Astray,
    /// The broker never hears of it, and the answer is an error.
    Denied,
}

#[derive(Default)]
struct Plan {
    /// for commits of transactional ids that contain this
    of: String,
    fates: VecDeque<Fate>,
    /// so many commits pass between two fates
    between: usize,
    passed: usize,
    done: Vec<Fate>,
    astray: Vec<Vec<u8>>,
}

/// A proxy before one broker, until it is dropped.
pub struct Proxy {
    port: u16,
    broker: u16,
    plan: Arc<Mutex<Plan>>,
    stop: Arc<AtomicBool>,
}

impl Proxy {
    /// Before the broker on `port`, which need not run yet.
    pub fn before(broker: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (plan, stop): (Arc<Mutex<Plan>>, Arc<AtomicBool>) = Default::default();
        let (of_thread, stopped) = (Arc::clone(&plan), Arc::clone(&stop));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                // A broker that is away is one that hangs up.
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", broker))) else { continue };
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                let waiting: Waiting = Arc::default();
                let (asked, answered) = ((client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client));
                let (plan, awaited) = (Arc::clone(&of_thread), Arc::clone(&waiting));
                std::thread::spawn(move || {
                    let _ended = requests(asked.0.try_clone().unwrap(), asked.1.try_clone().unwrap(), &plan, &awaited);
                    hang_up([&asked.0, &asked.1]);
                });
                std::thread::spawn(move || {
                    let _ended = answers(answered.0.try_clone().unwrap(), answered.1.try_clone().unwrap(), &waiting);
                    hang_up([&answered.0, &answered.1]);
                });
            }
        });
        Self { port, broker, plan, stop }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on: one fate after the other for commits of transactional ids that contain `of`, with so many commits between.
    pub fn plan(&self, of: &str, fates: impl IntoIterator<Item = Fate>, between: usize) {
        let mut plan = self.plan.lock();
        (plan.of, plan.fates, plan.between, plan.passed) = (of.to_owned(), fates.into_iter().collect(), between, between);
        plan.done.clear();
    }

    /// The fates that came true.
    pub fn done(&self) -> Vec<Fate> {
        self.plan.lock().done.clone()
    }

    /// Gives the broker what went astray, and says how it answered: its error codes.
    pub fn deliver(&self) -> Vec<i16> {
        let astray = std::mem::take(&mut self.plan.lock().astray);
        let deliver = |frame: Vec<u8>| {
            let mut server = TcpStream::connect(("127.0.0.1", self.broker)).unwrap();
            server.write_all(&frame).unwrap();
            let answer = read_frame(&mut server).unwrap();
            i16::from_be_bytes(answer[12..14].try_into().unwrap())
        };
        astray.into_iter().map(deliver).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _wakes_the_listener = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Answers to be changed, by correlation id.
type Waiting = Arc<Mutex<HashMap<[u8; 4], Fate>>>;

fn hang_up(streams: [&TcpStream; 2]) {
    for stream in streams {
        let _gone = stream.shutdown(Shutdown::Both);
    }
}

/// A frame, its size before it.
fn read_frame(from: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut size = [0; 4];
    from.read_exact(&mut size)?;
    let mut frame = size.to_vec();
    frame.resize(4 + usize::try_from(u32::from_be_bytes(size)).unwrap(), 0);
    from.read_exact(&mut frame[4..])?;
    Ok(frame)
}

fn ended() -> std::io::Error {
    ErrorKind::ConnectionAborted.into()
}

fn requests(mut client: TcpStream, mut server: TcpStream, plan: &Mutex<Plan>, waiting: &Waiting) -> std::io::Result<()> {
    loop {
        let frame = read_frame(&mut client)?;
        let correlation: [u8; 4] = frame[8..12].try_into().unwrap();
        let fate = commits(&frame).and_then(|id| plan.lock().next(&id));
        match fate {
            None => server.write_all(&frame)?,
            Some(Fate::Astray) => {
                plan.lock().astray.push(frame);
                return Err(ended());
            }
            Some(Fate::Denied) => {
                let answer = [&10_i32.to_be_bytes()[..], &correlation, &[0; 4], &UNEXPECTED.to_be_bytes()].concat();
                client.write_all(&answer)?; // alone: a producer awaits nothing else at a transaction's end
            }
            Some(fate) => {
                waiting.lock().insert(correlation, fate);
                server.write_all(&frame)?;
            }
        }
    }
}

fn answers(mut server: TcpStream, mut client: TcpStream, waiting: &Waiting) -> std::io::Result<()> {
    loop {
        let mut frame = read_frame(&mut server)?;
        let correlation: [u8; 4] = frame[4..8].try_into().unwrap();
        match waiting.lock().remove(&correlation) {
            Some(Fate::Turned) => frame[12..14].copy_from_slice(&UNEXPECTED.to_be_bytes()),
            Some(Fate::Cut) => return Err(ended()),
            Some(Fate::Late(wait)) => std::thread::sleep(wait),
            _ => {}
        }
        client.write_all(&frame)?;
    }
}

/// The transactional id, if this request commits. (Versions up to 2, which are not compact; librdkafka speaks 1.)
fn commits(frame: &[u8]) -> Option<String> {
    let number = |at: usize| i16::from_be_bytes(frame[at..at + 2].try_into().unwrap());
    if number(4) != END_TXN {
        return None;
    }
    assert!(number(6) <= 2, "EndTxn of version {}", number(6));
    let body = 14 + usize::try_from(number(12)).unwrap_or(0);
    let id = body + 2..body + 2 + usize::try_from(number(body)).unwrap();
    let committed = frame[id.end + 8 + 2] == 1;
    committed.then(|| String::from_utf8_lossy(&frame[id]).into_owned())
}

impl Plan {
    fn next(&mut self, id: &str) -> Option<Fate> {
        if !id.contains(&self.of) || self.fates.is_empty() {
            return None;
        }
        if self.passed < self.between {
            self.passed += 1;
            return None;
        }
        self.passed = 0;
        let fate = self.fates.pop_front();
        self.done.extend(fate);
        fate
    }
}
