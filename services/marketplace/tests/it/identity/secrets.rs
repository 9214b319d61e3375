//! What must be seen nowhere: passwords and tokens in logs, metrics, records and answers; who has an account, in answers and in
//! their time.

use std::time::Instant;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::people::{Person, ask, client, create, guarded, signed_up, told};

/// Every file below a directory.
pub fn files(dir: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { files(&entry, found) } else { found.push(entry) }
    }
}

pub fn holds(bytes: &[u8], canary: &str) -> bool {
    bytes.windows(canary.len()).any(|window| window == canary.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_and_tokens_are_written_nowhere() {
    const CANARIES: [&str; 3] = ["canary first password", "canary second password", "canary wrong password"];
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = guarded(&data);
    let url = server.url.clone();
    create(&server, &data, "olga@example.com", &["operator"]);
    let operator = Person::sign_in(&url, "olga@example.com", super::people::PASSWORD).await;
    let body = json!({ "email": "anna@example.com", "password": CANARIES[0] });
    let none = client(None);
    assert_eq!(ask(&none, Method::POST, &format!("{url}/identity/accounts"), Some(&body)).await.0, StatusCode::CREATED);
    let wrong = json!({ "email": "anna@example.com", "password": CANARIES[2] });
    assert_eq!(ask(&none, Method::POST, &format!("{url}/identity/sessions"), Some(&wrong)).await.0, StatusCode::UNAUTHORIZED);
    let anna = Person::sign_in(&url, "anna@example.com", CANARIES[0]).await;
    let (status, refreshed) = anna.refreshed().await;
    assert_eq!(status, StatusCode::OK);
    let next = Person::of(&url, &refreshed);
    let change = json!({ "password": CANARIES[0], "new_password": CANARIES[1] });
    assert_eq!(next.ask(Method::POST, &format!("/identity/accounts/{}/password", anna.account), Some(&change)).await.0, StatusCode::OK);
    let again = Person::sign_in(&url, "anna@example.com", CANARIES[1]).await;
    // What operators are shown: records, states, metrics.
    let mut shown = vec![];
    for path in [
        "/metrics".to_owned(),
        format!("/inspect/user-credential/{}", anna.account),
        format!("/inspect/user-session/{}", anna.session),
        format!("/inspect/user-account/{}", anna.account),
        "/audit-log".to_owned(),
        "/identity/accounts".to_owned(),
        "/sagas".to_owned(),
        "/dead-letters".to_owned(),
    ] {
        shown.push(operator.ask(Method::GET, &path, None).await.1.to_string());
    }
    for topic in ["identity.commands", "identity.events", "credentials.commands", "credentials.events", "audit.events", "daybook.replies"] {
        for partition in 0..8 {
            shown.push(operator.ask(Method::GET, &format!("/topics/{topic}/{partition}?limit=1000"), None).await.1.to_string());
        }
    }
    let tokens = [&anna.access, &anna.refresh, &next.access, &next.refresh, &again.access, &again.refresh, &operator.access, &operator.refresh];
    let hash = "$argon2id$";
    for text in &shown {
        for canary in CANARIES.iter().copied().chain(tokens.iter().map(|token| token.as_str())).chain([hash]) {
            assert!(!text.contains(canary), "{canary} is shown in {text}");
        }
    }
    assert!(server.stop());
    let mut all = vec![data.with_extension("log")];
    files(&data, &mut all);
    let (mut looked, mut hashes) = (0, 0);
    for file in &all {
        let bytes = std::fs::read(file).unwrap();
        looked += bytes.len();
        hashes += usize::from(holds(&bytes, hash));
        for canary in CANARIES.iter().copied().chain(tokens.iter().map(|token| token.as_str())) {
            assert!(!holds(&bytes, canary), "{canary} stands in {}", file.display());
        }
    }
    println!("{} files, {looked} bytes: no password and no token; the hash is in {hashes} of them", all.len());
    assert!(hashes > 0, "what is looked for can be found");
}

/// Welch's t of two samples.
fn welch(one: &[f64], other: &[f64]) -> f64 {
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    let (a, b) = (mean(one), mean(other));
    let variance = |of: &[f64], mean: f64| of.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (of.len() - 1) as f64;
    (a - b) / (variance(one, a) / one.len() as f64 + variance(other, b) / other.len() as f64).sqrt()
}

/// Sign-ins under unknown addresses and under known ones with a wrong password, in turns: the answers are the same, and so are
/// their times, as far as so many samples can tell. Slow ones are the machine's: the fastest nine tenths are compared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_an_account_is_not_told_by_words_nor_by_time() {
    const SAMPLES: usize = 300;
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    // Whoever fails too often must wait, by where they come from: here each comes from elsewhere.
    let server = told(&data, &["--behind-proxy"]);
    let url = format!("{}/identity/sessions", server.url);
    let http = client(None);
    let mut known = vec![];
    for n in 0..SAMPLES / 3 {
        known.push(format!("known{n}@example.com"));
        signed_up(&server.url, &known[n], None).await;
    }
    let (mut times, mut answers): ([Vec<f64>; 2], Vec<Value>) = ([vec![], vec![]], vec![]);
    for n in 0..SAMPLES {
        for which in if n % 2 == 0 { [0, 1] } else { [1, 0] } {
            // Each address a few times only, and each after a success: what fails too often must wait, known or not.
            let email = if which == 0 { known[n % known.len()].clone() } else { format!("nobody{:03}@example.com", n % known.len()) };
            let body = json!({ "email": email, "password": "a password that is wrong" });
            let request = http.post(&url).header("x-forwarded-for", format!("10.0.{}.{}", n / 100, n % 100)).json(&body);
            let began = Instant::now();
            let answer = request.send().await.unwrap();
            let (status, answer) = (answer.status(), answer.json::<Value>().await.unwrap());
            let took = began.elapsed().as_secs_f64() * 1_000.0;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
            times[which].push(took);
            answers.push(answer);
        }
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    let [mut known, mut unknown] = times;
    for of in [&mut known, &mut unknown] {
        of.sort_by(f64::total_cmp);
        of.truncate(of.len() * 9 / 10);
    }
    let t = welch(&known, &unknown);
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    println!("{} and {} samples, means {:.3} and {:.3} ms, Welch's t = {t:.2}", known.len(), unknown.len(), mean(&known), mean(&unknown));
    assert!(known.len() >= 250 && unknown.len() >= 250);
    assert!(t.abs() < 4.0, "known and unknown addresses can be told apart: t = {t:.2}");
}
