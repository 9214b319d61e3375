//! Instances that die, and instances beside each other.

use super::*;

/// Killed over and over while people are erased: each is erased in the end, once, and nobody else is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erasures_outlive_kills() {
    const PEOPLE: u64 = 12;
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::started(binary(), &data);
    let url = server.url.clone();
    for number in 1..=2 * PEOPLE {
        done(&url, Method::PUT, &format!("/customers/{number}"), person()).await;
    }
    for number in 1..=PEOPLE {
        let (at, http) = (url.clone(), client(None));
        let asked = tokio::spawn(async move {
            let request = http.post(format!("{at}/erasures/customer/{number}")).header("idempotency-key", format!("erase-{number}"));
            let _may_be_cut_off = request.json(&json!({ "reason": "a test" })).send().await;
        });
        tokio::time::sleep(std::time::Duration::from_millis(number * 3)).await;
        server.kill();
        server.start();
        let _ended = asked.await;
        let request =
            client(None).post(format!("{url}/erasures/customer/{number}")).header("idempotency-key", format!("erase-{number}")).header("prefer", "wait=20");
        assert!(request.json(&json!({ "reason": "a test" })).send().await.unwrap().status().is_success());
    }
    for number in 1..=PEOPLE {
        let row = until(&client(None), &format!("{url}/erasures/customer/{number}"), |row| row["status"] == "completed").await;
        assert_eq!((&row["status"], &row["number"], &row["report"]["found_in_all"]), (&json!("completed"), &json!(1), &json!(0)), "{row:#}");
        assert!(is_erased(&get(&url, &format!("/customers/{number}")).await));
        assert_eq!(get(&url, &format!("/customers/{}", number + PEOPLE)).await["person"]["first_name"], CANARIES[0]);
    }
    server.verify();
    assert!(server.stop());
    assert_eq!(standing(&data, &CANARIES), [""; 0]);
}

/// Two instances on Kafka share the keys: who is erased at one is erased at the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_on_kafka_share_keys_and_erasures() {
    let (broker, namespace) = (Broker::shared(), Broker::namespace());
    let dir = TempDir::new().unwrap();
    let at = |name: &str| Server::on_kafka(binary(), &dir.path().join(name), broker, &namespace, &[]);
    let (mut one, mut other) = (at("one"), at("other"));
    one.start();
    other.start();
    lives(&one.url, 17).await;
    done(&other.url, Method::PUT, "/customers/18", person()).await;
    for url in [&one.url, &other.url] {
        assert_eq!(get(url, "/customers/17").await["person"]["street"], CANARIES[2]);
    }
    let (code, report) = erase(&other.url, "customer/17");
    assert_eq!(code, Some(0), "{report:#}");
    for url in [&one.url, &other.url] {
        assert!(is_erased(&get(url, "/customers/17").await));
        assert_eq!(get(url, "/customers/18").await["person"]["street"], CANARIES[2]);
    }
    for server in [&one, &other] {
        server.verify();
        assert!(!CANARIES.iter().any(|canary| server.log().contains(canary)));
    }
    // One without the keys does not join.
    let mut alone =
        Server::new(binary(), &dir.path().join("alone")).told(&["--brokers", &broker.address(), "--namespace", &namespace, "--card-key", &"0".repeat(64)]);
    let (code, said) = alone.refused();
    assert!(code == Some(1) && said.contains("--key-store"), "{said}");
    assert!(one.stop() && other.stop());

    // Asked where nothing runs that erases: it is written, waits, and is done once something does, under the one name.
    let mut rest = Server::on_kafka(binary(), &dir.path().join("rest"), broker, &namespace, &["customer", "identity"]);
    rest.start();
    let asked = Command::new(binary())
        .args(["erase", "customer/18", "--reason", "a test", "--yes", "--url", &rest.url])
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(7)).await;
    let mut eraser = at("eraser");
    eraser.start();
    let asked = asked.wait_with_output().unwrap();
    let said = [asked.stdout.as_slice(), &asked.stderr].map(String::from_utf8_lossy).concat();
    assert!(asked.status.success() && said.contains("waits: no instance takes it") && said.contains("Nothing of them is readable"), "{said}");
    assert_eq!(get(&eraser.url, "/erasures/customer/18").await["number"], 1, "once");
    assert!(is_erased(&get(&rest.url, "/customers/18").await));
    assert!(rest.stop() && eraser.stop());
}
