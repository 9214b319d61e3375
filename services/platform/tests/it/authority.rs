//! Certificates of all kinds, good and bad, and servers and clients to try them on. Never used outside tests.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daybook::tls::{Certificates, Stream, Tls};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose as Usage, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring};
use tokio::net::{TcpListener, TcpStream};

/// An authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Made {
    /// the certificate
    pub cert: String,
    /// its key
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    /// Makes one for `localhost`, with a change.
    pub fn make(&self, change: impl FnOnce(&mut CertificateParams)) -> Made {
        let (mut params, key) = (good(), KeyPair::generate().unwrap());
        change(&mut params);
        Made { cert: params.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
    }

    pub fn good(&self) -> Made {
        self.make(|_| {})
    }
}

fn good() -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "leaf");
    params.extended_key_usages = vec![Usage::ServerAuth, Usage::ClientAuth];
    params
}

pub fn expired(params: &mut CertificateParams) {
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
}

pub fn not_yet_valid(params: &mut CertificateParams) {
    (params.not_before, params.not_after) = (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1));
}

pub fn ca(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

pub fn only(usage: Usage) -> impl FnOnce(&mut CertificateParams) {
    move |params| params.extended_key_usages = vec![usage]
}

pub fn self_signed() -> Made {
    let key = KeyPair::generate().unwrap();
    Made { cert: good().self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

impl Made {
    pub fn certified(&self) -> Arc<SingleCertAndKey> {
        let chain = CertificateDer::pem_slice_iter(self.cert.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let key = ring::default_provider().key_provider.load_private_key(key).unwrap();
        Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))) // belonging together or not
    }
}

/// Writes the files as an operator would.
pub fn put(dir: &Path, made: &Made, client_ca: Option<&Authority>) -> Certificates {
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let client_ca = client_ca.map(|authority| file("client-ca.pem", &authority.pem()));
    Certificates { cert: file("cert.pem", &made.cert), key: file("key.pem", &made.key), client_ca }
}

/// Writes an authority's certificate.
pub fn trusted(dir: &Path, authority: &Authority) -> PathBuf {
    let path = dir.join("server-ca.pem");
    fs::write(&path, authority.pem()).unwrap();
    path
}

/// Serves, and answers who asked.
pub async fn serve(tls: Arc<Tls>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let tls = Arc::clone(&tls);
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(stream).await else { return };
                assert!(stream.tcp().peer_addr().is_ok());
                answer(stream).await;
            });
        }
    });
    address
}

async fn answer(stream: Stream) {
    let who = stream.peer.as_ref().map_or("nobody".to_owned(), |peer| peer.names.join(","));
    let service = service_fn(move |_| std::future::ready(Ok::<_, std::io::Error>(hyper::Response::new(Full::new(Bytes::from(who.clone()))))));
    let _however_it_ends = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// A server that does not look at its own certificate.
pub async fn careless(made: &Made) -> SocketAddr {
    let config = ServerConfig::builder_with_provider(ring::default_provider().into()).with_safe_default_protocol_versions().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_cert_resolver(made.certified())));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let handshake = acceptor.accept(listener.accept().await.unwrap().0);
            tokio::spawn(async move {
                let Ok(stream) = handshake.await else { return };
                let service = service_fn(|_| std::future::ready(Ok::<_, std::io::Error>(hyper::Response::new(Full::new(Bytes::from("careless"))))));
                let _however_it_ends = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// A client that does not look at its own certificate.
pub fn careless_client(authority: &Authority, made: &Made) -> ClientConfig {
    let config = ClientConfig::builder_with_provider(ring::default_provider().into()).with_safe_default_protocol_versions().unwrap();
    config.with_root_certificates(authority.roots()).with_client_cert_resolver(made.certified())
}

/// A client that asks over a new connection each time.
pub fn asker(config: ClientConfig, address: SocketAddr) -> reqwest::Client {
    let builder = reqwest::Client::builder().tls_backend_preconfigured(config).pool_max_idle_per_host(0);
    builder.resolve("localhost", address).resolve("elsewhere", address).build().unwrap()
}

pub async fn ask(asker: &reqwest::Client, host: &str, address: SocketAddr) -> Result<String, String> {
    let answer = asker.get(format!("https://{host}:{}/", address.port())).send().await.map_err(|why| format!("{why:?}"))?;
    answer.text().await.map_err(|why| format!("{why:?}"))
}

pub async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}
