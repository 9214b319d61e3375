//! TLS of the listener and of clients between instances: one pair of certificate and key, exchanged while connections are
//! served. Never fails a connection because files are being replaced, and never writes or shows a key.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use parking_lot::{Mutex, RwLock};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

mod files;
mod stream;

pub use files::Certificates;
use files::{Pair, Stamps, Use};
pub use stream::{PeerName, Stream};

/// How long a handshake may take.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// The one protocol that is spoken inside.
const HTTP_1: &[u8] = b"http/1.1";

/// TLS of a listener.
pub struct Tls {
    certificates: Certificates,
    current: Arc<RwLock<Arc<Loaded>>>,
    refreshing: Mutex<()>,
}

/// What the files said when they were last good.
struct Loaded {
    server: Arc<ServerConfig>,
    pair: Arc<CertifiedKey>,
    expires: SystemTime,
    digest: blake3::Hash,
    stamps: Stamps,
}

impl Tls {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// If one of them is missing, readable by others, not what it should be, or not valid now; names it and says what to do.
    pub fn open(certificates: Certificates) -> anyhow::Result<Self> {
        let loaded = Loaded::read(&certificates)?;
        Ok(Self { certificates, current: Arc::new(RwLock::new(Arc::new(loaded))), refreshing: Mutex::new(()) })
    }

    /// Reads the files again if any of them changed; tells whether other ones serve from now on. Reads from the disk, so it
    /// belongs on a thread that may wait.
    ///
    /// # Errors
    /// If they are no good together: the ones before go on serving, and the next call tries again.
    pub fn refresh(&self) -> anyhow::Result<bool> {
        let _one_at_a_time = self.refreshing.lock();
        let before = Arc::clone(&self.current.read());
        if before.stamps.still_hold(&self.certificates) {
            return Ok(false);
        }
        let now = Loaded::read(&self.certificates).context("the certificate of before goes on serving")?;
        let other = now.digest != before.digest;
        *self.current.write() = Arc::new(now);
        Ok(other)
    }

    /// Whether callers may show certificates, and are somebody then.
    pub fn asks_for_certificates(&self) -> bool {
        self.certificates.client_ca.is_some()
    }

    /// When the certificate that serves now expires.
    pub fn expires(&self) -> SystemTime {
        self.current.read().expires
    }

    /// Makes a connection one over TLS. Who speaks plain HTTP is told so.
    ///
    /// # Errors
    /// If the handshake fails, or takes longer than [`HANDSHAKE_MAX`].
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        let handshake = async {
            if stream::is_plain(&stream).await? {
                stream::answer_plain(stream).await;
                return Err(io::Error::new(io::ErrorKind::InvalidData, "plain HTTP was sent to a port of TLS"));
            }
            let server = Arc::clone(&self.current.read().server);
            TlsAcceptor::from(server).accept(stream).await.map(Stream::of)
        };
        let late = || io::Error::new(io::ErrorKind::TimedOut, format!("the TLS handshake took longer than {} seconds", HANDSHAKE_MAX.as_secs()));
        timeout(HANDSHAKE_MAX, handshake).await.map_err(|_| late())?
    }

    /// For a client that trusts the authorities of the file, and shows the certificate that serves here: after a refresh
    /// the new one, without another client.
    ///
    /// # Errors
    /// As [`client`].
    pub fn client(&self, server_ca: &Path) -> anyhow::Result<ClientConfig> {
        let pair = Pair::read(&self.certificates, Use::Client)?;
        drop(pair); // that it can be one is all there is to know
        configured(server_ca, Some(Arc::new(Current(Arc::clone(&self.current)))))
    }
}

/// For a client that trusts the authorities of the file, and shows the certificate if one is given. Goes into reqwest's
/// `ClientBuilder::tls_backend_preconfigured`.
///
/// # Errors
/// If a file is not what it should be, or the certificate is not one for a client.
pub fn client(certificates: Option<&Certificates>, server_ca: &Path) -> anyhow::Result<ClientConfig> {
    let shown = |certificates| anyhow::Ok(Pair::read(certificates, Use::Client)?.certified);
    let certified = certificates.map(shown).transpose()?;
    configured(server_ca, certified.map(|certified| Arc::new(SingleCertAndKey::from(certified)) as Arc<dyn ResolvesClientCert>))
}

/// For a client that trusts nobody, and so asks over plain HTTP alone. Needs no authorities of the system, without which
/// reqwest's own clients cannot be built.
///
/// # Errors
/// None that a caller could do anything about.
pub fn plain_client() -> anyhow::Result<ClientConfig> {
    trusting(RootCertStore::empty(), None)
}

/// Makes `ring` the provider of all that asks for none in this process: reqwest's plain clients do, and panic without.
pub fn install_provider() {
    let _there_is_one_already = ring::default_provider().install_default();
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn configured(server_ca: &Path, shown: Option<Arc<dyn ResolvesClientCert>>) -> anyhow::Result<ClientConfig> {
    trusting(files::authorities(server_ca)?.0, shown)
}

fn trusting(roots: RootCertStore, shown: Option<Arc<dyn ResolvesClientCert>>) -> anyhow::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?.with_root_certificates(roots);
    let mut config = match shown {
        Some(shown) => builder.with_client_cert_resolver(shown),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP_1.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

impl Loaded {
    fn read(certificates: &Certificates) -> anyhow::Result<Self> {
        let stamps = Stamps::of(certificates)?; // before the bytes: what changes between is read once more
        let Pair { certified, expires, mut digest } = Pair::read(certificates, Use::Server)?;
        let pair = Arc::new(certified);
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = match &certificates.client_ca {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let (roots, bytes) = files::authorities(file)?;
                digest.update(&bytes);
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).allow_unauthenticated().build();
                builder.with_client_cert_verifier(verifier.with_context(|| format!("authorities of clients in {}", file.display()))?)
            }
        };
        let mut server = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&pair))));
        server.alpn_protocols = vec![HTTP_1.to_vec()];
        // No session is resumed: each connection is checked by the files of now, and none is lost with those of before.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Self { server: Arc::new(server), pair, expires, digest: digest.finalize(), stamps })
    }
}

/// Shows whatever certificate serves at the time.
struct Current(Arc<RwLock<Arc<Loaded>>>);

impl std::fmt::Debug for Current {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Current")
    }
}

impl ResolvesClientCert for Current {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().pair))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
