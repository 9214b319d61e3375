//! What a connection is doing, and since when: told by its bytes and by its requests, read by whoever ends what lasts too
//! long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use crate::tls::Stream;

/// Where a connection is in its exchange of request and answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// nothing of a request has come since the last answer
    Idle,
    /// a request's head is coming; a new connection counts as one
    Head,
    /// its body is coming
    Body,
    /// it is being answered
    Busy,
    /// the answer is going
    Answer,
}

impl Phase {
    /// How long it may last. A body has a limit of its own, for which there is an answer; work has its waits.
    fn limit(self) -> Option<Duration> {
        match self {
            Self::Idle => Some(Duration::from_secs(75)), // longer than clients keep connections they may use again
            Self::Head => Some(Duration::from_secs(10)),
            Self::Answer => Some(Duration::from_secs(30)), // without a byte taken
            Self::Body | Self::Busy => None,
        }
    }

    /// Whether the next step is the caller's.
    pub fn waits_for_the_caller(self) -> bool {
        matches!(self, Self::Idle | Self::Head | Self::Body)
    }
}

/// A connection's phase.
pub struct Pulse {
    now: Mutex<(Phase, Instant)>,
    /// told when it must end
    pub end: Notify,
}

impl Pulse {
    /// Of a new connection.
    pub fn new() -> Self {
        Self { now: Mutex::new((Phase::Head, Instant::now())), end: Notify::new() }
    }

    /// The phase of now.
    pub fn phase(&self) -> Phase {
        self.now.lock().0
    }

    /// How long it has lasted.
    pub fn lasts(&self) -> Duration {
        self.now.lock().1.elapsed()
    }

    /// Whether it has lasted too long.
    pub fn is_late(&self) -> bool {
        let (phase, since) = *self.now.lock();
        phase.limit().is_some_and(|limit| since.elapsed() > limit)
    }

    /// A phase begins.
    pub fn enters(&self, phase: Phase) {
        *self.now.lock() = (phase, Instant::now());
    }

    fn read(&self) {
        let mut now = self.now.lock();
        if now.0 == Phase::Idle {
            *now = (Phase::Head, Instant::now());
        }
    }

    fn wrote(&self) {
        let mut now = self.now.lock();
        if now.0 != Phase::Body {
            *now = (Phase::Answer, Instant::now()); // to a body that is coming only "continue" is said
        }
    }

    fn flushed(&self) {
        let mut now = self.now.lock();
        if now.0 == Phase::Answer {
            *now = (Phase::Idle, Instant::now());
        }
    }
}

/// A connection's bytes, which move its pulse.
pub struct Watched {
    /// the bytes
    pub stream: Stream,
    /// what they move
    pub pulse: Arc<Pulse>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        if into.filled().len() > before {
            self.pulse.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.pulse.wrote();
        Poll::Ready(Ok(count))
    }
    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, bytes))?;
        self.pulse.wrote();
        Poll::Ready(Ok(count))
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.pulse.flushed();
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
