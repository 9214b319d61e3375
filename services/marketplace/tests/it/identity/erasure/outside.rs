//! What others write into the log, and logs of before there was sealing.

use super::*;

/// Commands that come from outside, in the clear or with what they copied from others' records; and a log of before there was
/// sealing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_from_outside_is_sealed_and_opens_nothing() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::started(binary(), &data);
    let url = server.url.clone();
    done(&url, Method::PUT, "/customers/17", person()).await;
    assert!(server.stop());
    let event = records(&data).into_iter().find(|(topic, text)| topic == "customer.events" && text.contains("sealed")).unwrap().1;
    let sealed: Value = serde_json::from_str::<Value>(event.lines().last().unwrap()).unwrap()["personal"]["sealed"].clone();
    let command = |id: &str, body: &[u8]| {
        let envelope = Envelope::new(id, "/outside".to_owned(), Kind::of("customer", "register", 1), "20");
        (envelope, body.to_vec())
    };
    let details = Details { person: daybook::kernel::Personal::Clear(Person { email: CANARIES[3].to_owned(), ..Person::default() }), ..Details::default() };
    let mut bare = sealed.clone();
    bare.as_object_mut().unwrap().remove("about");
    let with = |personal: &Value| json!({ "personal": { "sealed": personal } }).to_string();
    let outside = [
        command("copied", with(&sealed).as_bytes()),
        command("copied-bare", with(&bare).as_bytes()),
        command("spelt", with(&sealed).replace("personal", "person\\u0061l").as_bytes()),
        command("no-json", format!("{{ {} ", CANARIES[0]).as_bytes()),
        command("wrong-field", format!("{{\"name\":\"{}\"}}", CANARIES[1]).as_bytes()),
        command("wrong-type", format!("{{\"personal\":\"{}\"}}", CANARIES[2]).as_bytes()),
        command("clear", &Customer::encode_command(&Register::Register(details)).1),
    ];
    let log = Embedded::open(&data.join("log"), Settings::default()).unwrap();
    let append = |(envelope, body): (Envelope, Vec<u8>)| {
        let (topic, partition) = (topic(Stream::Commands("customer")), log.partition_of("20"));
        log.append(vec![Message { topic, partition, key: b"20".to_vec(), headers: envelope.headers(), value: Some(body) }]).unwrap();
    };
    outside.into_iter().for_each(append);
    drop(log);
    server.start();
    let letters = until(&client(None), &format!("{url}/dead-letters"), |letters| letters["items"].as_array().unwrap().len() == 6).await["items"].clone();
    let said = serde_json::to_string(&letters).unwrap();
    assert!(said.contains("sealed for another record") && !CANARIES.iter().any(|canary| said.contains(canary)), "{said}");
    assert_eq!(get(&url, "/customers/20").await["person"]["email"], CANARIES[3], "what came clear is sealed from its event on");
    // What outsiders wrote stays in the command topic until it is trimmed, and the report says so.
    let (code, report) = erase(&url, "customer/20");
    let places: std::collections::BTreeSet<&str> = report["report"]["found"].as_array().unwrap().iter().map(|found| found["place"].as_str().unwrap()).collect();
    assert_eq!((code, places), (Some(3), ["customer.commands"].into()), "{report:#}");
    let trimmed = daybook(&binary(), &["trim", "--all", "--yes", "--url", &url]);
    assert!(trimmed.status.success(), "{}", String::from_utf8_lossy(&trimmed.stderr));
    let (code, _) = erase(&url, "customer/20");
    assert_eq!(code, Some(0));
    assert!(is_erased(&get(&url, "/customers/20").await));
    server.verify();
    assert!(server.stop());
    assert!(!CANARIES.iter().any(|canary| server.log().contains(canary)), "no line of the log has it");

    // A log from before there was sealing goes on in the clear, until it is told.
    let old = dir.path().join("old/data");
    std::fs::create_dir(old.parent().unwrap()).unwrap();
    let mut server = Server::new(binary(), &old).told(&["--seal", "off"]);
    server.start();
    let url = server.url.clone();
    done(&url, Method::PUT, "/customers/17", person()).await;
    let (code, said) = erase(&url, "customer/17");
    assert!(code == Some(1) && said.to_string().contains("--seal on"), "{said}");
    assert!(server.stop());
    assert!(!keys(&old).exists());
    let mut plain = Server::new(binary(), &old);
    plain.start(); // told nothing: an old log stays as it is
    assert!(plain.stop() && !keys(&old).exists());
    let theirs: String = std::fs::read(data.join("sealing.key")).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    let store = keys(&data);
    let stolen = ["--seal", "on", "--key-store", store.to_str().unwrap(), "--sealing-key", &theirs];
    let (code, said) = Server::new(binary(), &old).told(&stolen).refused();
    assert!(code == Some(1) && said.contains("the keys of another log"), "{said}");
    let mut server = Server::new(binary(), &old).told(&["--seal", "on"]);
    server.start();
    let url = server.url.clone();
    assert_eq!(get(&url, "/customers/17").await["person"]["email"], CANARIES[3], "old clear events are read");
    done(&url, Method::PUT, "/customers/17", json!({ "first_name": "Wanderfalke", "street": CANARIES[2] })).await;
    assert_eq!(get(&url, "/customers/17").await["person"]["first_name"], "Wanderfalke");
    let (code, report) = erase(&url, "customer/17");
    let found: Vec<&str> = report["report"]["found"].as_array().unwrap().iter().map(|found| found["place"].as_str().unwrap()).collect();
    assert!(code == Some(3) && found.contains(&"customer.events") && found.contains(&"customer.commands"), "{report:#}");
    assert!(!report.to_string().contains(CANARIES[3]), "a report tells where, and never what");
    assert!(is_erased(&get(&url, "/customers/17").await));
    server.verify();
    let (code, said) = {
        assert!(server.stop());
        Server::new(binary(), &old).told(&["--seal", "off"]).refused()
    };
    assert!(code == Some(1) && said.contains("goes on to be"), "{said}");
}
