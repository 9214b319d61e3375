//! TLS as a caller meets it: the real binary's listener, its certificates renewed while it serves, operators on a listener of
//! their own, instances that know each other by certificates.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use daybook::tls::Certificates;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use reqwest::{Client, Method, StatusCode};
use tempfile::TempDir;

use super::people::{PASSWORD, ask, typed};
use crate::broker::Broker;
use crate::process::{Server, binary, free, http};

/// An authority, and a folder with what it signs.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: PathBuf,
}

impl Authority {
    fn new(dir: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// A certificate for this machine; `change` makes it worse.
    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Certificates {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress("127.0.0.1".parse().unwrap()));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        let (cert, secret) = (self.dir.join(format!("{name}.pem")), self.dir.join(format!("{name}.key")));
        std::fs::write(&cert, signed.pem()).unwrap();
        let _anew = std::fs::remove_file(&secret);
        std::fs::write(&secret, key.serialize_pem()).unwrap();
        std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        Certificates { cert, key: secret, client_ca: None }
    }

    /// A client that believes it.
    fn client(&self, shows: Option<&Certificates>) -> Client {
        http().tls_backend_preconfigured(daybook::tls::client(shows, &self.ca()).unwrap()).build().unwrap()
    }
}

fn flags(of: &Certificates) -> Vec<String> {
    ["--tls-cert".to_owned(), of.cert.display().to_string(), "--tls-key".to_owned(), of.key.display().to_string()].to_vec()
}

fn strs(of: &[String]) -> Vec<&str> {
    of.iter().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_with_certificates_renewed_and_operators_on_a_listener_of_their_own() {
    let dir = TempDir::new().unwrap();
    let (data, tokens, ours) = (dir.path().join("data"), dir.path().join("tokens.json"), Authority::new(dir.path(), "ours"));
    let (pair, admin) = (ours.sign("server", |_| ()), format!("127.0.0.1:{}", free()));
    let told = [flags(&pair), ["--auth", "required", "--rate-limit-unknown", "0", "--admin-listen", &admin].map(str::to_owned).to_vec()].concat();
    let mut server = Server::new(binary(), &data).told(&strs(&told)).secured(ours.ca());
    server.start();
    let (url, admin) = (server.url.clone(), format!("https://{admin}"));
    let environment = [("DAYBOOK_TOKEN_FILE", tokens.to_str().unwrap()), ("DAYBOOK_CA", ours.ca().to_str().unwrap().to_owned().leak() as &str)];
    let run = |arguments: &[&str], input: &str| typed(arguments, input, &environment);
    for arguments in [
        vec!["accounts", "create", "--email", "olga@example.com", "--role", "operator", "--data", data.to_str().unwrap(), "--url", &url],
        vec!["login", "--email", "olga@example.com", "--url", &admin],
        vec!["topics", "--url", &admin],
        vec!["verify", "--url", &admin],
    ] {
        let done = run(&arguments, PASSWORD);
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    // Whose certificate is not believed is not spoken to.
    let unbelieved = typed(&["topics", "--url", &admin], "", &[("DAYBOOK_CA", Authority::new(dir.path(), "theirs").ca().to_str().unwrap())]);
    assert!(!unbelieved.status.success());
    // Operators' routes are not where everybody's are.
    let client = ours.client(None);
    assert_eq!(ask(&client, Method::GET, &format!("{url}/topics"), None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask(&client, Method::GET, &format!("{admin}/topics"), None).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&client, Method::GET, &format!("{url}/metrics"), None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask(&client, Method::GET, &format!("{admin}/metrics"), None).await.0, StatusCode::OK);
    assert_eq!(ask(&client, Method::GET, &format!("{url}/products"), None).await.0, StatusCode::OK);
    // What scanners look for.
    let scan = Command::new("sslscan").args(["--no-colour", url.trim_start_matches("https://")]).output().expect("sslscan: infra/setup --tests installs it");
    let said = String::from_utf8_lossy(&scan.stdout).into_owned();
    println!("{said}");
    for wanted in ["TLSv1.2   enabled", "TLSv1.3   enabled", "SSLv2     disabled", "SSLv3     disabled", "TLSv1.0   disabled", "TLSv1.1   disabled"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let weak = ["RC4", "3DES", "DES-CBC", "NULL", "EXP", "CBC", "MD5"];
    let accepted: Vec<&str> = said.lines().filter(|line| line.starts_with("Accepted") || line.starts_with("Preferred")).collect();
    assert!(!accepted.is_empty() && accepted.iter().all(|line| weak.iter().all(|weak| !line.contains(weak))), "{accepted:?}");
    assert!(said.contains("not vulnerable to heartbleed"), "{said}");
    // The certificate is renewed while requests go on: none fails.
    let (end, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let askers: Vec<_> = (0..3)
        .map(|_| {
            let (end, asked, url) = (Arc::clone(&end), Arc::clone(&asked), url.clone());
            let fresh = http().pool_max_idle_per_host(0).tls_backend_preconfigured(daybook::tls::client(None, &ours.ca()).unwrap()).build().unwrap();
            tokio::spawn(async move {
                while !end.load(Ordering::Relaxed) {
                    let answer = fresh.get(format!("{url}/livez")).send().await.unwrap();
                    assert_eq!(answer.status(), StatusCode::OK);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let serial = |url: &str| {
        let host = url.trim_start_matches("https://").to_owned();
        let script = format!("openssl s_client -connect {host} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint");
        String::from_utf8(Command::new("sh").args(["-c", &script]).output().unwrap().stdout).unwrap()
    };
    let before = serial(&url);
    tokio::time::sleep(Duration::from_millis(200)).await;
    ours.sign("server", |_| ());
    let renewed = Instant::now();
    while serial(&url) == before {
        assert!(renewed.elapsed() < Duration::from_secs(20), "the new certificate does not serve");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    end.store(true, Ordering::Relaxed);
    for asker in askers {
        asker.await.unwrap();
    }
    println!("{} requests while the certificate was renewed, none failed", asked.load(Ordering::Relaxed));
    assert!(asked.load(Ordering::Relaxed) > 20);
    assert!(server.stop());
}

#[test]
fn certificates_of_every_wrong_kind_are_refused_at_the_start() {
    let dir = TempDir::new().unwrap();
    let (ours, theirs) = (Authority::new(dir.path(), "ours"), Authority::new(dir.path(), "theirs"));
    let good = ours.sign("good", |_| ());
    let expired = ours.sign("expired", |params| (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1)));
    let later = ours.sign("later", |params| params.not_before = rcgen::date_time_ymd(2090, 1, 1));
    let authority = ours.sign("authority", |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let foreign = Certificates { key: theirs.sign("other", |_| ()).key, ..good.clone() };
    let open = ours.sign("open", |_| ());
    std::fs::set_permissions(&open.key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let gone = Certificates { cert: dir.path().join("nowhere.pem"), ..good.clone() };
    for (kind, wrong, says) in [
        ("expired", expired, "expired"),
        ("not yet valid", later, "not valid before"),
        ("an authority's", authority, "authority"),
        ("with another's key", foreign, "is not the one of the certificate"),
        ("with a key that all may read", open, "chmod 600"),
        ("not there", gone, "nowhere.pem"),
    ] {
        let told = flags(&wrong);
        let (code, said) = Server::new(binary(), &dir.path().join("data")).told(&strs(&told)).refused();
        assert!(code == Some(1) && said.contains(says), "{kind}: {code:?} {said}");
    }
    let half = ["--tls-cert".to_owned(), good.cert.display().to_string()];
    let (code, said) = Server::new(binary(), &dir.path().join("data")).told(&strs(&half)).refused();
    assert!(code == Some(2) && said.contains("--tls-key"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_know_each_other_by_certificates() {
    let (dir, namespace) = (TempDir::new().unwrap(), Broker::namespace());
    let (ours, theirs) = (Authority::new(dir.path(), "ours"), Authority::new(dir.path(), "theirs"));
    let pair = ours.sign("instance", |_| ());
    let ca = ours.ca().display().to_string();
    let told = [flags(&pair), ["--tls-ca", &ca, "--tls-client-ca", &ca].map(str::to_owned).to_vec()].concat();
    let instance = |name: &str, services: &[&str]| {
        Server::on_kafka(binary(), &dir.path().join(name), Broker::shared(), &namespace, services).told(&strs(&told)).secured(ours.ca())
    };
    let (mut one, mut two) = (instance("one", &["catalog", "customer", "cart", "ordering", "payment", "shipment", "seller"]), instance("two", &["stock"]));
    one.start();
    two.start();
    // What the other has is asked of it, over TLS, with a certificate.
    let client = ours.client(None);
    let began = Instant::now();
    loop {
        let (status, answer) = ask(&client, Method::GET, &format!("{}/stock", one.url), None).await;
        if status == StatusCode::OK {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{status} {answer}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Whoever says it is an instance shows that it is.
    let passed_on = |client: Client, url: String| async move { client.get(format!("{url}/stock")).header("daybook-forwarded", "1").send().await };
    assert_eq!(passed_on(ours.client(None), two.url.clone()).await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(passed_on(ours.client(Some(&pair)), two.url.clone()).await.unwrap().status(), StatusCode::OK);
    let stranger = theirs.sign("stranger", |_| ());
    let shows = http().tls_backend_preconfigured(daybook::tls::client(Some(&stranger), &ours.ca()).unwrap()).build().unwrap();
    assert!(passed_on(shows, two.url.clone()).await.is_err(), "a certificate that nobody here signed");
    assert!(one.stop() && two.stop());
}
