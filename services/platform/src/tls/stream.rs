//! A connection's bytes, over TLS or plain, and who is at its other end. Never says that a peer is someone whose certificate
//! was not verified.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::files;

/// How long who spoke plain HTTP may take to hear the answer.
const PLAIN_MAX: Duration = Duration::from_secs(1);

/// Who showed a certificate that one of the authorities of clients has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerName {
    /// the DNS names of its subject, as they are written there: a pattern like `*.example.org` is no host's name
    pub names: Vec<String>,
}

/// A connection that was accepted.
pub struct Stream {
    bytes: Bytes,
    /// who is there, if it showed a certificate
    pub peer: Option<PeerName>,
}

enum Bytes {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// One without TLS.
    pub fn plain(stream: TcpStream) -> Self {
        Self { bytes: Bytes::Plain(stream), peer: None }
    }

    /// One after its handshake.
    pub(super) fn of(stream: TlsStream<TcpStream>) -> Self {
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first); // verified, or the handshake had failed
        let peer = shown.map(|certificate| PeerName { names: files::dns_names(certificate) });
        Self { bytes: Bytes::Tls(Box::new(stream)), peer }
    }

    /// The connection below.
    pub fn tcp(&self) -> &TcpStream {
        match &self.bytes {
            Bytes::Plain(stream) => stream,
            Bytes::Tls(stream) => stream.get_ref().0,
        }
    }
}

/// Whether it starts like a request of plain HTTP: no message of TLS starts with a letter.
pub(super) async fn is_plain(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic())
}

/// Says what is wrong, as far as that can be said in a moment, and ends the connection.
pub(super) async fn answer_plain(mut stream: TcpStream) {
    const DETAIL: &str = r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"this port speaks TLS: ask with https"}"#;
    let answer =
        format!("HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{DETAIL}", DETAIL.len());
    let said = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // What was sent must be read, or the answer is lost on its way.
        let mut rest = [0; 4096];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _as_far_as_it_went = timeout(PLAIN_MAX, said).await;
}

macro_rules! pinned {
    ($self:ident, $stream:ident => $then:expr) => {
        match &mut $self.get_mut().bytes {
            Bytes::Plain(stream) => {
                let $stream = Pin::new(stream);
                $then
            }
            Bytes::Tls(stream) => {
                let $stream = Pin::new(stream.as_mut());
                $then
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        pinned!(self, stream => stream.poll_read(context, into))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        pinned!(self, stream => stream.poll_write(context, bytes))
    }
    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        pinned!(self, stream => stream.poll_write_vectored(context, bytes))
    }
    fn is_write_vectored(&self) -> bool {
        match &self.bytes {
            Bytes::Plain(stream) => stream.is_write_vectored(),
            Bytes::Tls(stream) => stream.is_write_vectored(),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pinned!(self, stream => stream.poll_flush(context))
    }
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pinned!(self, stream => stream.poll_shutdown(context))
    }
}
