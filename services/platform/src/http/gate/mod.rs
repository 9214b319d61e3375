//! The gate: which connections, hosts, origins and bodies come in, how long each may take, and how much all of them may
//! hold. Knows no route.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

pub mod bodies;
pub mod files;
pub mod hosts;
mod pulse;

pub use bodies::let_go;
pub use hosts::Hosts;
use pulse::{Phase, Pulse, Watched};

use crate::tls::{Stream, Tls};

/// Bytes of a request's head, and of what is read ahead of a body, that a connection may hold.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// How often each connection is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long a new connection waits for one that is idle to make room.
const ROOM_WAIT: Duration = Duration::from_secs(1);
/// A body that has been coming for this long makes room, if nothing better does.
const SLOW_BODY: Duration = Duration::from_secs(2);
/// How long a request may be on its way to a process that stops.
const ON_ITS_WAY: Duration = Duration::from_millis(300);
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What is let in.
pub struct Gate {
    hosts: Hosts,
    bodies: bodies::Budget,
}

impl Gate {
    /// Under these names.
    pub fn new(hosts: Hosts) -> Arc<Self> {
        Arc::new(Self { hosts, bodies: bodies::Budget::default() })
    }
}

/// Lets a request in, with its body whole, or says why not.
pub async fn enter(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let pulse = request.extensions_mut().remove::<Arc<Pulse>>();
    if let Err(failure) = gate.hosts.check(&request).and_then(|()| bodies::check(&request)) {
        return failure.into_response();
    }
    let to = |phase| pulse.iter().for_each(|pulse| pulse.enters(phase));
    to(Phase::Body);
    let (request, held) = match bodies::read(request, &gate.bodies).await {
        Err(failure) => return failure.into_response(),
        Ok(read) => read,
    };
    to(Phase::Busy);
    match bodies::room(held, &gate.bodies).await {
        Err(failure) => failure.into_response(),
        Ok(held) => bodies::holding(held, next.run(request)).await,
    }
}

/// Who is connected.
struct Connections {
    open: Mutex<BTreeMap<u64, Arc<Pulse>>>,
    room: Arc<Semaphore>,
}

/// Serves HTTP/1 until told to stop; then ends in a moment what is idle or half-sent, and waits for the answers to the rest.
pub async fn serve(listener: TcpListener, tls: Option<Arc<Tls>>, router: Router, connections_max: usize, mut stop: watch::Receiver<bool>) {
    let connections = Arc::new(Connections { open: Mutex::default(), room: Arc::new(Semaphore::new(connections_max)) });
    let (router, mut tasks, mut count) = (TowerToHyperService::new(router), JoinSet::new(), 0);
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        while tasks.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(why) => {
                tracing::warn!(%why, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(room) = connections.room().await else {
            turn_away(&stream, peer);
            continue;
        };
        count += 1;
        let pulse = Arc::new(Pulse::new());
        connections.open.lock().insert(count, Arc::clone(&pulse));
        let open = Open { connections: Arc::clone(&connections), number: count, _room: room };
        let (router, stop, tls) = (router.clone(), stop.clone(), tls.clone());
        tasks.spawn(async move {
            let _until_it_ends = open;
            let _as_it_is = stream.set_nodelay(true);
            if let Some(stream) = secured(stream, peer, tls, &pulse, stop.clone()).await {
                connection(stream, peer, router, pulse, stop).await;
            }
        });
    }
    drop(listener); // who comes now is refused, and goes to another instance
    while tasks.join_next().await.is_some() {}
}

/// One of them, which is forgotten however it ends.
struct Open {
    connections: Arc<Connections>,
    number: u64,
    _room: OwnedSemaphorePermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.open.lock().remove(&self.number);
    }
}

impl Connections {
    /// Room for one more, perhaps that of one which does nothing.
    async fn room(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(room) = Arc::clone(&self.room).try_acquire_owned() {
            return Some(room);
        }
        let open: Vec<Arc<Pulse>> = self.open.lock().values().cloned().collect();
        let oldest = |phase| open.iter().filter(|pulse| pulse.phase() == phase).max_by_key(|pulse| pulse.lasts());
        let body = || oldest(Phase::Body).filter(|pulse| pulse.lasts() > SLOW_BODY);
        if let Some(gone) = oldest(Phase::Idle).or_else(|| oldest(Phase::Head)).or_else(body) {
            gone.end.notify_one();
        }
        timeout(ROOM_WAIT, Arc::clone(&self.room).acquire_owned()).await.ok()?.ok()
    }
}

/// Says that there is no room, as far as that can be said without waiting.
fn turn_away(stream: &TcpStream, peer: SocketAddr) {
    const FULL: &str = r#"{"type":"https://daybook.dev/problems/unavailable","title":"Service Unavailable","status":503,"code":"unavailable","detail":"too many connections are open, and all of them are at work","retryable":true}"#;
    tracing::debug!(%peer, "no room for a connection");
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{FULL}",
        FULL.len()
    );
    let _gone = stream.try_write(answer.as_bytes());
}

/// The connection after its handshake, if it has one; none where that comes to nothing, or is no longer waited for.
async fn secured(stream: TcpStream, peer: SocketAddr, tls: Option<Arc<Tls>>, pulse: &Pulse, mut stop: watch::Receiver<bool>) -> Option<Stream> {
    let Some(tls) = tls else { return Some(Stream::plain(stream)) };
    let accepted = tokio::select! {
        accepted = tls.accept(stream) => accepted,
        () = pulse.end.notified() => return None,
        _ = stop.wait_for(|stop| *stop) => return None,
    };
    accepted.inspect_err(|why| tracing::debug!(%peer, %why, "a handshake failed")).ok()
}

async fn connection(stream: Stream, peer: SocketAddr, router: TowerToHyperService<Router>, pulse: Arc<Pulse>, mut stop: watch::Receiver<bool>) {
    let shown = stream.peer.clone();
    let (of_requests, io) = (Arc::clone(&pulse), TokioIo::new(Watched { stream, pulse: Arc::clone(&pulse) }));
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(Arc::clone(&of_requests));
        shown.iter().for_each(|shown| drop(request.extensions_mut().insert(shown.clone())));
        router.call(request)
    });
    let mut http = http1::Builder::new();
    http.header_read_timeout(None).max_buf_size(BUFFER_BYTES_MAX); // times are kept here, for all phases alike
    let mut connection = std::pin::pin!(http.serve_connection(io, service));
    let (mut tick, mut stopping, mut cut) = (interval(TICK), false, None);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                ended.err().iter().for_each(|why| tracing::debug!(%why, "a connection ended"));
                return;
            }
            () = pulse.end.notified() => return,
            _ = tick.tick() => if pulse.is_late() { return },
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                // A request that was sent before its sender could know is on its way, or here and not read yet.
                cut = pulse.phase().waits_for_the_caller().then(|| Instant::now() + ON_ITS_WAY);
                if cut.is_none() {
                    connection.as_mut().graceful_shutdown();
                }
            }
            () = sleep_until(cut.unwrap_or_else(Instant::now)), if cut.is_some() => {
                cut = None;
                if pulse.phase().waits_for_the_caller() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
