//! The files of TLS: what is read from them, whether it is good, and whether they changed. Never lets a key out of its
//! type, nor reads what is no plain file.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use zeroize::Zeroizing;

/// Bytes of a file. All authorities of a system are about a quarter of it.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// A file that is younger may change again without showing it: clocks of file systems tick that slowly.
const SETTLED: Duration = Duration::from_secs(2);
const IS_DER: &str = "it is in DER: convert it with 'openssl x509 -inform der' (a certificate) or 'openssl pkey -inform der' (a key)";

/// Where the files are. All of them are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    /// the certificate, and after it those between it and its authority
    pub cert: PathBuf,
    /// its private key, not encrypted
    pub key: PathBuf,
    /// authorities of the certificates that callers may show; without it none is asked for
    pub client_ca: Option<PathBuf>,
}

/// What a certificate must be good for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// to serve with
    Server,
    /// to call with
    Client,
}

/// A certificate with its key.
pub struct Pair {
    /// both
    pub certified: CertifiedKey,
    /// when the certificate expires
    pub expires: SystemTime,
    /// of the bytes of both files
    pub digest: blake3::Hasher,
}

impl Pair {
    /// Of the files, if it is good now.
    pub fn read(Certificates { cert, key, .. }: &Certificates, purpose: Use) -> anyhow::Result<Self> {
        let (chain, chain_bytes) = certificates(cert)?;
        let expires =
            chain.first().context("no certificate").and_then(|leaf| check(leaf, purpose)).with_context(|| format!("certificate {}", cert.display()))?;
        let (secret, key_bytes) = private_key(key)?;
        let mut digest = blake3::Hasher::new();
        digest.update(&(chain_bytes.len() as u64).to_le_bytes()).update(&chain_bytes).update(&key_bytes);
        let certified = CertifiedKey::from_der(chain, secret, &ring::default_provider()).map_err(|why| match why {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => anyhow::anyhow!(
                "the key {} is not the one of the certificate {}: put the key there that the certificate was made with (its first certificate must be the \
                 server's own)",
                key.display(),
                cert.display()
            ),
            why => anyhow::anyhow!("key {}: {why}: give one of kind ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits and more", key.display()),
        })?;
        Ok(Self { certified, expires, digest })
    }
}

/// The authorities of a file, and its bytes.
pub fn authorities(file: &Path) -> anyhow::Result<(RootCertStore, Zeroizing<Vec<u8>>)> {
    let (found, bytes) = certificates(file)?;
    let mut roots = RootCertStore::empty();
    for (number, authority) in (1..).zip(found) {
        roots.add(authority).with_context(|| format!("certificate {number} of {} is no authority's", file.display()))?;
    }
    Ok((roots, bytes))
}

/// The DNS names of a certificate.
pub fn dns_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some(names)) = parsed.subject_alternative_name() else { return Vec::new() };
    let dns = |name: &_| if let x509_parser::extensions::GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None };
    names.value.general_names.iter().filter_map(dns).collect()
}

fn certificates(file: &Path) -> anyhow::Result<(Vec<CertificateDer<'static>>, Zeroizing<Vec<u8>>)> {
    let about = || format!("certificate {}", file.display());
    let bytes = bytes(file, |_| Ok(())).with_context(about)?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|why| anyhow::anyhow!("it is damaged PEM ({why}): write it again")).with_context(about)?;
    if found.is_empty() {
        let what = if bytes.first() == Some(&0x30) {
            IS_DER
        } else {
            "it holds no certificate in PEM: it should have one that starts with '-----BEGIN CERTIFICATE-----'"
        };
        return Err(anyhow::anyhow!(what)).with_context(about);
    }
    for (number, each) in (1..).zip(&found) {
        parsed(each).with_context(|| format!("certificate {number} of {}", file.display()))?;
    }
    Ok((found, bytes))
}

fn private_key(file: &Path) -> anyhow::Result<(PrivateKeyDer<'static>, Zeroizing<Vec<u8>>)> {
    let about = || format!("key {}", file.display());
    let bytes = bytes(file, |metadata| for_us_alone(file, metadata)).with_context(about)?;
    let encrypted = || bytes.windows(22).any(|part| part == b"-----BEGIN ENCRYPTED P".as_slice());
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|why| match why {
        pem::Error::NoItemsFound if encrypted() => anyhow::anyhow!("it is encrypted: decrypt it with 'openssl pkey', and let nobody else read it"),
        pem::Error::NoItemsFound if bytes.first() == Some(&0x30) => anyhow::anyhow!(IS_DER),
        pem::Error::NoItemsFound => anyhow::anyhow!("it holds no private key in PEM: it should have one that starts with '-----BEGIN PRIVATE KEY-----'"),
        why => anyhow::anyhow!("it is damaged PEM ({why}): write it again"),
    });
    Ok((key.with_context(about)?, bytes))
}

/// Others may not read it; a group may what belongs to root, as certificates' tools and clusters' secrets have it.
fn for_us_alone(file: &Path, metadata: &Metadata) -> anyhow::Result<()> {
    let (mode, root) = (metadata.mode() & 0o777, metadata.uid() == 0);
    let too_open = mode & if root { 0o037 } else { 0o077 };
    let file = file.display();
    ensure!(
        too_open == 0,
        "others may use it (mode {mode:04o}): make it its owner's alone with 'chmod 600 {file}', and use another key if one of them might have read it"
    );
    Ok(())
}

fn bytes(file: &Path, check: impl Fn(&Metadata) -> anyhow::Result<()>) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let opened = std::fs::metadata(file).and_then(|metadata| if metadata.is_file() { File::open(file).map(Some) } else { Ok(None) });
    let Some(opened) = opened.context("it cannot be read: check its path, and that this process may read it")? else {
        bail!("it is no plain file: give the path of one");
    };
    let metadata = opened.metadata()?; // of what is read, whatever the path leads to by now
    check(&metadata)?;
    ensure!(metadata.len() <= FILE_BYTES_MAX, "it has {} bytes, which is more than any certificate or key: check its path", metadata.len());
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len())? + 1));
    opened.take(FILE_BYTES_MAX).read_to_end(&mut bytes).context("it cannot be read")?;
    Ok(bytes)
}

fn parsed<'der>(certificate: &'der CertificateDer<'_>) -> anyhow::Result<X509Certificate<'der>> {
    let parsed = X509Certificate::from_der(certificate).map(|(_, parsed)| parsed);
    parsed.map_err(|why| anyhow::anyhow!("it is no X.509 certificate ({why}): write it again"))
}

/// When it expires, if it is good now.
fn check(leaf: &CertificateDer<'_>, purpose: Use) -> anyhow::Result<SystemTime> {
    let leaf = parsed(leaf)?;
    let (from, until, now) = (leaf.validity().not_before, leaf.validity().not_after, ASN1Time::now());
    ensure!(now >= from, "it is not valid before {from}, and now it is {now}: set the clock, or wait, or have another made");
    ensure!(now <= until, "it expired at {until} (it was valid from {from}), and now it is {now}: renew it");
    ensure!(!leaf.is_ca(), "it is an authority's own, which callers refuse from a server: put the server's first, or make one without 'CA:TRUE'");
    let usage = leaf.extended_key_usage().map_err(|why| anyhow::anyhow!("its extended key usage cannot be read ({why})"))?;
    if let Some(usage) = usage.map(|usage| usage.value) {
        ensure!(purpose != Use::Server || usage.any || usage.server_auth, "its extended key usage lacks serverAuth: have one made with it");
        ensure!(
            purpose != Use::Client || usage.any || usage.client_auth,
            "its extended key usage lacks clientAuth, so that other instances refuse it from a caller: have one made with it (public authorities no longer do)"
        );
    }
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(until.timestamp()).unwrap_or_default()))
}

/// How the files looked, to see a change without reading them.
pub struct Stamps {
    seen: Vec<Stamp>,
    settled: bool,
}

/// Inode and device, length, time of the content, time of the inode.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

impl Stamps {
    /// As they look now.
    pub fn of(certificates: &Certificates) -> anyhow::Result<Self> {
        let (mut seen, mut settled) = (Vec::new(), true);
        for file in [Some(&certificates.cert), Some(&certificates.key), certificates.client_ca.as_ref()].into_iter().flatten() {
            let metadata = std::fs::metadata(file).with_context(|| format!("{} cannot be read: check its path", file.display()))?;
            let changed = Duration::new(u64::try_from(metadata.ctime()).unwrap_or_default(), u32::try_from(metadata.ctime_nsec()).unwrap_or_default());
            settled &= SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + changed).is_ok_and(|age| age > SETTLED);
            let (content, inode) = ((metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec()));
            seen.push((metadata.ino(), metadata.dev(), metadata.len(), content, inode));
        }
        Ok(Self { seen, settled })
    }

    /// Whether none can have changed since.
    pub fn still_hold(&self, certificates: &Certificates) -> bool {
        self.settled && Self::of(certificates).is_ok_and(|now| now.seen == self.seen)
    }
}
