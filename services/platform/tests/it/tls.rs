//! Tests of TLS: which certificates serve, which callers and servers are refused, and what comes that is no TLS. Never waits
//! longer than a handshake may take.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use daybook::tls::{self, Certificates, Tls};
use rcgen::ExtendedKeyUsagePurpose as Usage;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::authority::*;

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[track_caller]
fn fails(certificates: &Certificates, file: &Path, with: &str) {
    let why = format!("{:#}", Tls::open(certificates.clone()).err().expect("it is no good"));
    assert!(why.contains(&*file.to_string_lossy()) && why.contains(with), "{why}");
}

#[tokio::test]
async fn serves_whoever_trusts_it_and_knows_who_shows_a_certificate() {
    let (dir, authority) = (dir(), Authority::new("ours"));
    let certificates = put(dir.path(), &authority.good(), Some(&authority));
    let tls = Arc::new(Tls::open(certificates.clone()).unwrap());
    let (ca, address) = (trusted(dir.path(), &authority), serve(Arc::clone(&tls)).await);
    let nobody = asker(tls::client(None, &ca).unwrap(), address);
    assert_eq!(ask(&nobody, "localhost", address).await.unwrap(), "nobody");
    for config in [tls::client(Some(&certificates), &ca).unwrap(), tls.client(&ca).unwrap()] {
        assert_eq!(ask(&asker(config, address), "localhost", address).await.unwrap(), "localhost");
    }
    let without = Tls::open(Certificates { client_ca: None, ..certificates.clone() }).unwrap();
    let address = serve(Arc::new(without)).await;
    let shows = asker(tls.client(&ca).unwrap(), address);
    assert_eq!(ask(&shows, "localhost", address).await.unwrap(), "nobody", "who asks for none is shown none");
}

#[test]
fn says_what_is_wrong_with_a_file_and_what_to_do() {
    let (dir, authority) = (dir(), Authority::new("ours"));
    let made = authority.good();
    let with = |cert: &str, key: &str| put(dir.path(), &Made { cert: cert.to_owned(), key: key.to_owned() }, Some(&authority));
    let files = with(&made.cert, &made.key);
    assert!(Tls::open(files.clone()).unwrap().expires() > std::time::SystemTime::now());
    let bad = |change: fn(&mut rcgen::CertificateParams), says: &str| {
        let made = authority.make(change);
        fails(&with(&made.cert, &made.key), &files.cert, says);
    };
    bad(expired, "it expired at Jan  1 00:00:00 2021 +00:00 (it was valid from Jan  1 00:00:00 2020 +00:00)");
    bad(not_yet_valid, "not valid before Jan  1 00:00:00 2090");
    bad(ca, "authority's own");
    bad(|params| params.extended_key_usages = vec![Usage::ClientAuth], "serverAuth");
    fails(&with(&made.cert, &authority.good().key), &files.key, "is not the one of the certificate");
    fails(&with("", &made.key), &files.cert, "no certificate in PEM");
    fails(&with(&made.cert, ""), &files.key, "no private key in PEM");
    fails(&with("hello\n", &made.key), &files.cert, "no certificate in PEM");
    fails(&with("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", &made.key), &files.cert, "damaged PEM");
    fails(&with("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n", &made.key), &files.cert, "no X.509 certificate");
    fails(&with(&made.cert[..200], &made.key), &files.cert, "damaged PEM");
    fails(&with(&made.cert, "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n"), &files.key, "give one of kind");
    fails(&with(&made.cert, "-----BEGIN ENCRYPTED PRIVATE KEY-----\naGVsbG8=\n-----END ENCRYPTED PRIVATE KEY-----\n"), &files.key, "decrypt it");
    with(&made.cert, &made.key);
    let der = CertificateDer::from_pem_slice(made.cert.as_bytes()).unwrap();
    fs::write(&files.cert, &der).unwrap();
    fails(&files, &files.cert, "it is in DER");
    with(&made.cert, &made.key);
    fs::write(files.client_ca.as_ref().unwrap(), "nothing").unwrap();
    fails(&files, files.client_ca.as_ref().unwrap(), "no certificate in PEM");
    with(&made.cert, &made.key);
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o604)).unwrap();
    fails(&files, &files.key, "chmod 600");
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
    fails(&Certificates { cert: dir.path().to_owned(), ..files.clone() }, dir.path(), "no plain file");
    let missing = dir.path().join("missing.pem");
    fails(&Certificates { key: missing.clone(), ..files.clone() }, &missing, "check its path");
    fails(&Certificates { cert: "/dev/zero".into(), ..files.clone() }, Path::new("/dev/zero"), "no plain file");
    let server_only = authority.make(only(Usage::ServerAuth));
    let files = with(&server_only.cert, &server_only.key);
    let tls = Tls::open(files.clone()).unwrap();
    let why = tls.client(&trusted(dir.path(), &authority)).unwrap_err();
    assert!(format!("{why:#}").contains("clientAuth"), "{why:#}");
}

#[tokio::test]
async fn a_client_refuses_servers_of_the_wrong_kind() {
    let (dir, authority) = (dir(), Authority::new("ours"));
    let trust = trusted(dir.path(), &authority);
    let other = |made: Made| Made { key: authority.good().key, ..made };
    let kinds = [
        ("good", authority.good(), None),
        ("expired", authority.make(expired), Some("Expired")),
        ("not yet valid", authority.make(not_yet_valid), Some("NotValidYet")),
        ("self-signed", self_signed(), Some("UnknownIssuer")),
        ("foreign", Authority::new("theirs").good(), Some("UnknownIssuer")),
        ("of the same name", Authority::new("ours").good(), Some("BadSignature")),
        ("authority", authority.make(ca), Some("CaUsedAsEndEntity")),
        ("for clients", authority.make(only(Usage::ClientAuth)), Some("InvalidPurpose")),
        ("key of another", other(authority.good()), Some("BadSignature")),
    ];
    for (kind, made, refused) in kinds {
        let address = careless(&made).await;
        let asked = ask(&asker(tls::client(None, &trust).unwrap(), address), "localhost", address).await;
        match refused {
            None => assert_eq!(asked.unwrap(), "careless"),
            Some(why) => assert!(asked.as_ref().is_err_and(|said| said.contains(why)), "{kind}: {asked:?}"),
        }
    }
    let address = careless(&authority.good()).await;
    let elsewhere = ask(&asker(tls::client(None, &trust).unwrap(), address), "elsewhere", address).await.unwrap_err();
    assert!(elsewhere.contains("NotValidForName"), "{elsewhere}");
}

#[tokio::test]
async fn a_server_refuses_callers_of_the_wrong_kind() {
    let (dir, authority) = (dir(), Authority::new("ours"));
    let tls = Tls::open(put(dir.path(), &authority.good(), Some(&authority))).unwrap();
    let address = serve(Arc::new(tls)).await;
    let kinds = [
        ("good", authority.good(), true),
        ("expired", authority.make(expired), false),
        ("not yet valid", authority.make(not_yet_valid), false),
        ("self-signed", self_signed(), false),
        ("foreign", Authority::new("theirs").good(), false),
        ("of the same name", Authority::new("ours").good(), false),
        ("authority", authority.make(ca), false),
        ("for servers", authority.make(only(Usage::ServerAuth)), false),
        ("key of another", Made { key: authority.good().key, ..authority.good() }, false),
    ];
    for (kind, made, good) in kinds {
        let asked = ask(&asker(careless_client(&authority, &made), address), "localhost", address).await;
        assert_eq!(asked.is_ok(), good, "{kind}: {asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn speaks_tls_of_today_alone() {
    let (dir, authority) = (dir(), Authority::new("ours"));
    let address = serve(Arc::new(Tls::open(put(dir.path(), &authority.good(), None)).unwrap())).await;
    assert!(Command::new("openssl").arg("version").output().is_ok(), "openssl: infra/setup --tests installs it");
    for (version, spoken) in [("-tls1", false), ("-tls1_1", false), ("-tls1_2", true), ("-tls1_3", true)] {
        let arguments = ["s_client", "-connect", &address.to_string(), version, "-cipher", "ALL:@SECLEVEL=0", "-alpn", "http/1.1"].map(str::to_owned);
        let ran = move || Command::new("openssl").args(arguments).stdin(Stdio::null()).output().unwrap();
        let ran = tokio::task::spawn_blocking(ran).await.unwrap();
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        let met = said.contains("ALPN protocol: http/1.1");
        assert_eq!((ran.status.success(), met), (spoken, spoken), "{version}: {said} {}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[tokio::test]
async fn plain_http_is_told_and_closed_at_once() {
    let (dir, authority) = (dir(), Authority::new("ours"));
    let address = serve(Arc::new(Tls::open(put(dir.path(), &authority.good(), None)).unwrap())).await;
    let (start, mut answer) = (Instant::now(), String::new());
    let mut stream = connect(address).await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https"), "{answer}");
    let mut stream = connect(address).await;
    stream.write_all(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).await.unwrap();
    let _alert_or_reset = stream.read_to_end(&mut Vec::new()).await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_slow_handshake_ends() {
    let (dir, authority) = (dir(), Authority::new("ours"));
    let address = serve(Arc::new(Tls::open(put(dir.path(), &authority.good(), None)).unwrap())).await;
    let start = Instant::now();
    let (mut silent, slow) = (connect(address).await, connect(address).await);
    let (mut read, mut write) = slow.into_split();
    let drips = tokio::spawn(async move {
        for byte in [0x16, 3, 1, 2, 0].into_iter().chain(std::iter::repeat(1)) {
            if write.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let _end = read.read(&mut [0; 64]).await;
    let _end = silent.read(&mut [0; 64]).await;
    let took = start.elapsed();
    assert!(took >= tls::HANDSHAKE_MAX - Duration::from_millis(100) && took < tls::HANDSHAKE_MAX + Duration::from_secs(2), "{took:?}");
    drips.await.unwrap();
}

#[test]
fn clients_of_plain_http_need_a_provider() {
    let plain = || std::panic::catch_unwind(|| reqwest::Client::builder().build().is_ok());
    assert!(reqwest::Client::builder().tls_backend_preconfigured(tls::plain_client().unwrap()).build().is_ok());
    assert!(plain().is_err(), "if reqwest no longer panics without a provider, install_provider may go");
    tls::install_provider();
    tls::install_provider();
    assert!(plain().is_ok());
}
