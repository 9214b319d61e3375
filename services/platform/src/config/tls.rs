//! TLS of the listener and between instances.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Deserialize;

use super::listen::Listen;
use crate::misuse::misused;
use crate::tls::{Certificates, Tls};

/// What `up` and `serve` can be told of TLS.
#[derive(Args, Clone, Debug, Default)]
pub struct TlsFlags {
    /// The certificate that HTTP is served with (PEM), and after it those between it and its authority; read again when it changes
    #[arg(long, env = "DAYBOOK_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM), which nobody else can read
    #[arg(long, env = "DAYBOOK_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Authorities of the certificates that other instances show (PEM); with it, an instance that shows none is not one
    #[arg(long, env = "DAYBOOK_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Authorities of the certificates of other instances' listeners (PEM)
    #[arg(long, env = "DAYBOOK_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Where operators' routes are served, if not with all others: an address of their own
    #[arg(long, env = "DAYBOOK_ADMIN_LISTEN", value_name = "HOST:PORT")]
    pub(super) admin_listen: Option<Listen>,
}

/// The same in a settings file.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct File {
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_client_ca: Option<PathBuf>,
    tls_ca: Option<PathBuf>,
    pub(super) admin_listen: Option<Listen>,
}

/// What holds.
#[derive(Clone, Debug, Default)]
pub struct TlsConfig {
    /// the listener's certificate and key, and authorities of callers
    pub certificates: Option<Certificates>,
    /// authorities of other instances' certificates
    pub ca: Option<PathBuf>,
    /// where operators' routes are served, if not with all others
    pub admin_listen: Option<SocketAddr>,
}

impl TlsFlags {
    pub(super) fn or(self, file: File, admin_listen: Option<SocketAddr>) -> anyhow::Result<TlsConfig> {
        let (cert, key) = (self.tls_cert.or(file.tls_cert), self.tls_key.or(file.tls_key));
        let client_ca = self.tls_client_ca.or(file.tls_client_ca);
        let ca = self.tls_ca.or(file.tls_ca);
        let certificates = match (cert, key) {
            (Some(cert), Some(key)) => Some(Certificates { cert, key, client_ca }),
            (None, None) if client_ca.is_none() && ca.is_none() => None,
            (None, None) => misused!("--tls-client-ca and --tls-ca are for a listener with TLS: add --tls-cert and --tls-key"),
            _ => misused!("TLS needs both --tls-cert and --tls-key"),
        };
        Ok(TlsConfig { certificates, ca, admin_listen })
    }
}

impl TlsConfig {
    /// What the listener speaks, if it is to.
    pub fn open(&self) -> anyhow::Result<Option<Arc<Tls>>> {
        self.certificates.clone().map(|certificates| Tls::open(certificates).map(Arc::new)).transpose()
    }

    pub(super) fn lines(&self, quoted: impl Fn(&str) -> String) -> Vec<(&'static str, Option<String>)> {
        let path = |path: Option<&PathBuf>| path.map(|path| quoted(&path.to_string_lossy()));
        let own = self.certificates.as_ref();
        vec![
            ("tls_cert", path(own.map(|own| &own.cert))),
            ("tls_key", path(own.map(|own| &own.key))),
            ("tls_client_ca", path(own.and_then(|own| own.client_ca.as_ref()))),
            ("tls_ca", path(self.ca.as_ref())),
            ("admin_listen", self.admin_listen.map(|address| quoted(&address.to_string()))),
        ]
    }
}
