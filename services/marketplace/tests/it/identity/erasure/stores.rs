//! Key stores that are older than their log, or another's.

use super::*;

/// The keys of before somebody was written of, and those of before they were erased, put back at rest and while it runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_older_key_store_brings_anybody_back() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::started(binary(), &data);
    let url = server.url.clone();
    done(&url, Method::PUT, "/customers/16", person()).await;
    assert!(server.stop());
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    copied(&keys(&data), &first);
    server.start();
    done(&url, Method::PUT, "/customers/17", person()).await;
    done(&url, Method::PUT, "/customers/18", person()).await;
    done(&url, Method::PUT, "/customers/19", person()).await;
    copied(&keys(&data), &second);
    assert!(server.stop());
    let put_back = |store: &Path| {
        std::fs::remove_dir_all(keys(&data)).unwrap();
        copied(store, &keys(&data));
    };
    // A store that knows nothing of them: what they had is unreadable, nobody else is hidden, and they can be erased.
    put_back(&first);
    server.start();
    assert_eq!(get(&url, "/customers/17").await["person"], json!({ "unreadable": true }));
    assert_eq!(get(&url, "/customers/16").await["person"]["street"], CANARIES[2]);
    // Whose key is lost may say anew who it is; nobody stops because of it.
    done(&url, Method::PUT, "/customers/19", json!({ "first_name": "Anew" })).await;
    assert_eq!(get(&url, "/customers/19").await["person"]["first_name"], "Anew");
    let (code, report) = erase(&url, "customer/17");
    assert_eq!((code, report["keys"].as_array().unwrap().len()), (Some(0), 1), "{report:#}");
    assert!(server.stop());
    put_back(&second);
    server.start();
    assert!(is_erased(&get(&url, "/customers/17").await));
    assert_eq!(get(&url, "/customers/18").await["person"]["street"], CANARIES[2]);
    // Put in place while it runs, by a rename.
    assert_eq!(erase(&url, "customer/18").0, Some(0));
    let back = keys(&data).join("back");
    std::fs::copy(second.join("keys"), &back).unwrap();
    std::fs::rename(&back, keys(&data).join("keys")).unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    for path in ["/customers/17", "/customers/18"] {
        assert!(is_erased(&get(&url, path).await), "{path}");
    }
    // Who is not known, in any spelling, is not erased; nor does the store of one log serve another.
    for who in ["Customer/16", "customers/16", "customer/016", "customer/16-1", "operator/16", "seller/042", "account/nope"] {
        let (code, said) = erase(&url, who);
        assert!(code.is_some_and(|code| code != 0 && code != 3), "{who}: {code:?} {said}");
    }
    assert_eq!(get(&url, "/customers/16").await["person"]["street"], CANARIES[2]);
    let log = Embedded::open(&data.join("log"), Settings::default());
    assert!(log.is_err(), "it runs");
    assert!(server.stop());
    // What only services say, from outside: a forged end of an erasure that nobody asked for.
    let key = get_key(&data, "customer/16");
    let log = Embedded::open(&data.join("log"), Settings::default()).unwrap();
    for (name, body) in [
        ("request", json!({ "reason": "forged" })),
        ("record-destroyed", json!({ "number": 1, "keys": [{ "key": key, "at": "2026-11-26T00:00:00Z" }] })),
        ("complete", json!({ "number": 1, "report": { "values": 9, "looked": [], "found": [], "found_in_all": 0 } })),
    ] {
        let envelope = Envelope::new(format!("forged-{name}"), "/outside".to_owned(), Kind::of("erasure", name, 1), "customer/4444");
        let (topic, partition) = (topic(Stream::Commands("erasure")), log.partition_of("customer/4444"));
        let value = Some(serde_json::to_vec(&body).unwrap());
        log.append(vec![Message { topic, partition, key: b"customer/4444".to_vec(), headers: envelope.headers(), value }]).unwrap();
    }
    drop(log);
    server.start();
    let forged = until(&client(None), &format!("{url}/erasures/customer/4444"), |row| row["status"] == "completed").await;
    assert_eq!((&forged["keys"], &forged["report"]["values"]), (&json!([]), &json!(0)), "{forged:#}");
    assert_eq!(get(&url, "/customers/16").await["person"]["street"], CANARIES[2]);
    assert!(server.stop());
    let mut other = Server::new(binary(), &dir.path().join("another")).told(&["--key-store", keys(&data).to_str().unwrap()]);
    std::fs::create_dir(dir.path().join("another")).unwrap();
    std::fs::copy(data.join("sealing.key"), dir.path().join("another/sealing.key")).unwrap();
    let (code, said) = other.refused();
    assert!(code == Some(1) && said.contains("the keys of another log"), "{said}");
}

/// The key that something of somebody's was sealed under.
fn get_key(data: &Path, who: &str) -> String {
    let all = records(data);
    let text = all.iter().map(|(_, text)| text).find(|text| text.contains(&format!("\"subject\":\"{who}\""))).unwrap();
    text.split("\"key\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}
