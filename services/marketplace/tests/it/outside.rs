//! Clients that know nothing of us but a page: kcat and Python run that page's own examples, word for word, on a real
//! broker, and what they get wrong becomes a dead letter with its reason.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use crate::broker::Broker;
use crate::process::{Caller, Server, binary};

/// The page's first example in this language.
fn example(language: &str) -> String {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/README.md")).unwrap();
    let begin = page.find(&format!("```{language}\n")).unwrap() + language.len() + 4;
    page[begin..begin + page[begin..].find("```").unwrap()].to_owned()
}

/// A Python that has the client, as the page says: `PYTHON` names it; otherwise one is made, once, with pip.
fn python() -> PathBuf {
    if let Some(named) = std::env::var_os("PYTHON") {
        return named.into();
    }
    let home = binary().parent().unwrap().join("outside-python");
    let python = home.join("bin/python");
    let has_client = |python: &Path| Command::new(python).args(["-c", "import confluent_kafka"]).status().is_ok_and(|status| status.success());
    if !has_client(&python) {
        assert!(Command::new("python3").args(["-m", "venv"]).arg(&home).status().unwrap().success(), "python3 -m venv (Debian: python3-venv)");
        let installed = Command::new(&python).args(["-m", "pip", "install", "--quiet", "confluent-kafka==2.16.1"]).status().unwrap();
        assert!(installed.success(), "pip install confluent-kafka");
    }
    python
}

fn run(mut command: Command, broker: &Broker, input: &str) -> String {
    let mut child = command
        .env("BROKERS", broker.address())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|why| panic!("{command:?}: {why} (Debian: apt-get install kcat python3-venv)"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn kcat(broker: &Broker, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("kcat");
    command.args(["-b", &broker.address()]).args(arguments);
    run(command, broker, input)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kcat_and_python_command_and_read_by_the_page_alone() {
    let dir = TempDir::new().unwrap();
    // A broker of its own: the page knows no namespace.
    let broker = Broker::start();
    let mut server = Server::on_kafka(binary(), &dir.path().join("data"), &broker, "", &[]);
    server.start();
    let caller = Caller::new(&server.url);

    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail"]);
    let read = run(shell, &broker, &example("sh"));
    assert!(read.contains("ce_type=dev.daybook.product.registered.v1") && read.contains("ce_subject=42-1") && read.contains("\"Lantern\""), "{read}");
    assert_eq!(caller.get("/products/42-1").await["price"], "2.55");

    let mut program = Command::new(python());
    program.arg("-");
    let printed = run(program, &broker, &example("python"));
    let answers: Vec<&str> = printed.lines().collect();
    assert_eq!(answers.len(), 3, "{printed}");
    assert!(answers[0].contains("'outcome': 'accepted'") && answers[0] == answers[1], "{printed}");
    assert!(answers[2].contains("'outcome': 'refused'") && answers[2].contains("'code': 'unknown-product'"), "{printed}");
    assert_eq!(caller.get("/products/43-1").await["name"], "Hook");

    wrong_records_become_dead_letters(&broker, &caller).await;
    assert!(server.stop());
}

/// Name, key, partition, headers besides the id, body, reason, and what the detail must name.
type Wrong<'a> = (&'a str, &'a str, &'a str, Vec<&'a str>, &'a str, &'a str, &'a str);

async fn wrong_records_become_dead_letters(broker: &Broker, caller: &Caller) {
    let body = r#"{"name":"x","sku":"","category":"","description":"","price":{"minor":1,"currency":"GBP"},"freight":{"minor":0,"currency":"GBP"},"status":"","version":"1"}"#;
    let headers = ["ce_specversion=1.0", "ce_source=/x", "ce_type=dev.daybook.product.register.v1", "ce_subject=44-1"];
    let own = schemas::partition_of(b"44", 8).to_string();
    let other = ((own.parse::<u16>().unwrap() + 1) % 8).to_string();
    let cases: [Wrong<'_>; 6] = [
        ("wrong-partition", "44", &other, headers.to_vec(), body, "misrouted", "belongs to partition"),
        ("wrong-key", "45", &schemas::partition_of(b"45", 8).to_string(), headers.to_vec(), body, "misrouted", "44"),
        ("no-type", "44", &own, vec![headers[0], headers[1], headers[3]], body, "malformed", "ce_type"),
        ("other-type", "44", &own, vec![headers[0], headers[1], headers[3], "ce_type=dev.daybook.cart.add.v1"], body, "unknown-type", "cart.add"),
        ("newer", "44", &own, vec![headers[0], headers[1], headers[3], "ce_type=dev.daybook.product.register.v9"], body, "newer-version", "v9"),
        ("no-json", "44", &own, headers.to_vec(), "{\"name\":", "malformed", "body"),
    ];
    for (name, key, partition, headers, body, ..) in &cases {
        let id = format!("ce_id={name}");
        let mut arguments = vec!["-P", "-t", "catalog.commands", "-k", key, "-p", partition, "-H", &id];
        headers.iter().for_each(|header| arguments.extend(["-H", header]));
        kcat(broker, &arguments, &format!("{body}\n"));
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    let letters: Vec<Value> = loop {
        let letters = caller.get("/dead-letters?service=catalog").await["items"].as_array().unwrap().clone();
        if letters.len() >= cases.len() {
            break letters;
        }
        assert!(Instant::now() < deadline, "only {letters:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    for (name, _, _, _, _, reason, named) in &cases {
        let letter = letters.iter().find(|letter| letter["command"] == *name).unwrap_or_else(|| panic!("no letter of {name}: {letters:?}"));
        assert_eq!(letter["reason"], *reason, "{name}: {letter}");
        assert!(letter["detail"].as_str().unwrap().contains(named), "{name}: {letter}");
    }
    // They can be read where they lie, and nothing of them was done.
    let read = kcat(broker, &["-C", "-t", "catalog.commands.dlt", "-o", "beginning", "-e", "-q", "-f", "%h\n"], "");
    assert_eq!(read.matches("dlt-reason=").count(), cases.len(), "{read}");
    let product = caller.client.get(format!("{}/products/44-1", caller.url())).send().await.unwrap();
    assert_eq!(product.status(), StatusCode::NOT_FOUND);
}
