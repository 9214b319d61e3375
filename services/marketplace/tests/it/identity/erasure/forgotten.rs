//! Who is erased is nowhere, and erasures are operators' acts.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_erased_is_nowhere_and_stays_so_whatever_is_restored() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::started(binary(), &data);
    let url = server.url.clone();
    lives(&url, 17).await;
    lives(&url, 18).await; // the same again: nothing of it may look the same
    let account = done(&url, Method::POST, "/identity/accounts", json!({ "email": CANARIES[3], "password": PASSWORD })).await;
    let own = account["roles"]["customer"].as_str().unwrap().to_owned();
    // Somebody who has an account signs up once more: refused, and written all the same.
    let again = json!({ "email": CANARIES[3].to_uppercase(), "password": PASSWORD });
    assert_eq!(ask(&client(None), Method::POST, &format!("{url}/identity/accounts"), Some(&again)).await.0, StatusCode::CONFLICT);
    done(&url, Method::PUT, &format!("/customers/{own}"), person()).await;
    done(&url, Method::POST, "/identity/password-resets", json!({ "email": CANARIES[3] })).await;
    let sessions = done(&url, Method::POST, "/identity/sessions", json!({ "email": CANARIES[3], "password": PASSWORD })).await;
    assert_eq!(get(&url, "/customers/17").await["person"]["street"], CANARIES[2], "who may see it sees it");
    assert_eq!(get(&url, "/sellers/17").await["name"], CANARIES[0]);
    assert_eq!(get(&url, &format!("/identity/accounts/{}", account["id"].as_str().unwrap())).await["email"], CANARIES[3]);
    let revision = get(&url, "/customers/17").await["revision"].clone();
    done(&url, Method::PUT, "/customers/17", person()).await;
    assert_eq!(get(&url, "/customers/17").await["revision"], revision, "the same details again are no event");
    // A repeat is answered as it was the first time; the same name for something else is told.
    let (named, register) = (client(None), person());
    let send = |body: Value| named.put(format!("{url}/customers/19")).header("idempotency-key", "once").header("prefer", "wait=20").json(&body).send();
    let first: Value = send(register.clone()).await.unwrap().json().await.unwrap();
    assert_eq!(send(register).await.unwrap().json::<Value>().await.unwrap(), first);
    assert_eq!(send(json!({ "first_name": "Other" })).await.unwrap().status(), StatusCode::UNPROCESSABLE_ENTITY);
    for _ in 0..100 {
        if data.join("outbox.jsonl").exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    server.verify();
    assert!(server.stop());

    // Before anybody is erased: on the disk nothing is readable but the mail that waits for its mailer.
    let mail = std::fs::read_to_string(data.join("outbox.jsonl")).unwrap();
    assert!(mail.contains(CANARIES[3]));
    assert_eq!(standing(&data, &[CANARIES[0], CANARIES[1], CANARIES[2], CANARIES[4], CARD]), [""; 0]);
    assert_eq!(readable(&data), [""; 0]);
    let all = records(&data);
    let sealed: Vec<&str> = all.iter().filter_map(|(_, text)| text.split("\"data\":\"").nth(1)?.split('"').next()).filter(|text| text.len() > 40).collect();
    let different: std::collections::BTreeSet<&&str> = sealed.iter().collect();
    println!("{} records, {} sealed, {} of them different", all.len(), sealed.len(), different.len());
    assert!(sealed.len() >= 12 && different.len() >= sealed.len() - 4, "orders carry what their carts sealed, and nothing else looks alike");
    let (before, keys_before) = (dir.path().join("before"), dir.path().join("keys-before"));
    copied(&data, &before);
    copied(&keys(&data), &keys_before);

    server.start();
    // What was served before a rebuild, and what was proven, is kept closed.
    done(&url, Method::POST, "/projections/customers/rebuild", json!({})).await;
    until(&client(None), &format!("{url}/projections/customers"), |found| found["serving"]["generation"] == 1).await;
    for who in [&format!("customer/{own}"), "customer/17", "seller/17"] {
        let (code, report) = erase(&url, who);
        assert_eq!((code, &report["report"]["found_in_all"]), (Some(0), &json!(0)), "{report:#}");
        assert!(report["report"]["values"].as_u64().unwrap() >= 4 && !report["keys"].as_array().unwrap().is_empty(), "{report:#}");
        let looked = |place: &str| report["report"]["looked"].as_array().unwrap().iter().any(|looked| looked["place"] == place);
        assert!(
            ["customer.events", "ordering.commands.dlt", "heads/cart", "views/customers", "views/customers.1", "proven/customers", "outbox.jsonl"]
                .iter()
                .all(|place| looked(place)),
            "{report:#}"
        );
    }
    let forgotten = async || {
        for path in ["/customers/17".to_owned(), format!("/customers/{own}")] {
            assert!(is_erased(&get(&url, &path).await), "{path}");
        }
        assert_eq!(get(&url, "/sellers/17").await["erased"], true);
        assert_eq!(get(&url, "/customers/18").await["person"]["street"], CANARIES[2], "nobody else is");
        for aggregate in ["customer", "cart"] {
            let state = get(&url, &format!("/inspect/{aggregate}/17")).await.to_string();
            assert!(!CANARIES.iter().any(|canary| state.contains(canary)), "{state}");
        }
    };
    forgotten().await;
    // Who has no account any more is not signed in, and may come anew under the same address.
    let gone = get(&url, &format!("/identity/accounts/{}", account["id"].as_str().unwrap())).await;
    assert_eq!((&gone["status"], &gone["erased"], gone.get("email")), (&json!("erased"), &json!(true), None));
    let accounts = get(&url, "/identity/accounts").await["items"].clone();
    let refused: Vec<&Value> = accounts.as_array().unwrap().iter().filter(|account| account["status"] == "rejected").collect();
    assert!(refused.len() == 1 && refused[0]["erased"] == true && refused[0].get("email").is_none(), "{refused:?}");
    let (status, _) = ask(&client(None), Method::POST, &format!("{url}/identity/sessions"), Some(&json!({ "email": CANARIES[3], "password": PASSWORD }))).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, _) =
        ask(&client(None), Method::POST, &format!("{url}/identity/sessions/refresh"), Some(&json!({ "refresh_token": sessions["refresh_token"] }))).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(std::fs::read_to_string(data.join("outbox.jsonl")).unwrap(), "");
    server.verify();
    assert!(server.stop());
    assert_eq!(standing(&data, &CANARIES), [""; 0]);
    server.verify();

    // Folded anew from the log alone: the same.
    for folds in ["views", "heads"] {
        std::fs::remove_dir_all(data.join(folds)).unwrap();
    }
    server.start();
    forgotten().await;
    server.verify();
    assert!(server.stop());

    // The keys of before the erasure, with the log of after it: it is told again.
    std::fs::remove_dir_all(keys(&data)).unwrap();
    copied(&keys_before, &keys(&data));
    server.start();
    forgotten().await;
    assert!(server.log().contains("what was erased since is erased again"));
    assert!(server.stop());

    // The whole directory of before the erasure, with the keys of after it.
    std::fs::remove_dir_all(&data).unwrap();
    copied(&before, &data);
    server.start();
    for path in ["/customers/17".to_owned(), format!("/customers/{own}")] {
        assert!(is_erased(&get(&url, &path).await), "{path}");
    }
    server.verify();
    // Somebody new under the old number has a new key.
    done(&url, Method::PUT, "/customers/17", json!({ "first_name": "Anna", "last_name": "Berg" })).await;
    assert_eq!(get(&url, "/customers/17").await["person"]["first_name"], "Anna");
    assert!(server.stop());

    // Whoever reads the events of erasures anew erases nobody once more.
    std::fs::remove_dir_all(data.join("erasures")).unwrap();
    server.start();
    done(&url, Method::PUT, "/customers/20", json!({ "first_name": "Somebody", "last_name": "Else" })).await;
    assert_eq!(erase(&url, "customer/20").0, Some(0), "it has read them all");
    assert_eq!(get(&url, "/customers/17").await["person"]["first_name"], "Anna");
    assert!(server.stop());

    // Without its keys it does not start, nor with those of another log.
    std::fs::rename(keys(&data), dir.path().join("away")).unwrap();
    let (code, said) = server.refused();
    assert!(code == Some(1) && said.contains("key store"), "{said}");
    let other = dir.path().join("other/data");
    std::fs::create_dir(other.parent().unwrap()).unwrap();
    let mut elsewhere = Server::started(binary(), &other);
    assert!(elsewhere.stop());
    copied(&keys(&other), &keys(&data));
    std::fs::copy(other.join("sealing.key"), data.join("sealing.key")).unwrap();
    std::fs::remove_file(data.join("sealing.key.check")).unwrap();
    let (code, said) = server.refused();
    assert!(code == Some(1) && said.contains("of another log"), "{said}");
}

/// Erasures are operators' acts: in the trail, and not on the callers' listener.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erasures_are_in_the_audit_trail_and_operators_own() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let port = crate::process::free();
    let server = crate::identity::people::told(&data, &["--admin-listen", &format!("127.0.0.1:{port}")]);
    let admin = format!("http://127.0.0.1:{port}");
    crate::identity::people::create(&server, &data, "olga@example.com", &["operator"]);
    let olga = crate::identity::people::Person::sign_in(&server.url, "olga@example.com", PASSWORD).await;
    let anna = crate::identity::people::signed_up(&server.url, "anna@example.com", None).await;
    let (path, reason) = (format!("/erasures/account/{}", anna.account), json!({ "reason": "a test" }));
    assert_eq!(olga.ask(Method::POST, &path, Some(&reason)).await.0, StatusCode::NOT_FOUND, "this listener is for callers");
    for who in [&anna.client, &client(None)] {
        let (status, _) = ask(who, Method::POST, &format!("{admin}{path}"), Some(&reason)).await;
        assert!([StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&status), "{status}");
    }
    let (status, answer) = ask(&olga.client, Method::POST, &format!("{admin}{path}"), Some(&reason)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let act = format!("POST {path}");
    let written =
        |trail: &Value, outcome: &str| trail["items"].as_array().unwrap().iter().any(|entry| entry["act"] == act.as_str() && entry["outcome"] == outcome);
    until(&olga.client, &format!("{admin}/audit-log"), |trail| written(trail, "begun") && written(trail, "200")).await;
    // Who asked for a rebuild is who signed in, whatever name they give.
    let rebuild = olga.client.post(format!("{admin}/projections/orders/rebuild")).header("daybook-actor", "mallory").json(&json!({}));
    assert_eq!(rebuild.send().await.unwrap().status(), StatusCode::OK);
    let swapped = |entry: &Value| entry["act"] == "swap of projection orders" && entry["actor"].as_str().is_some_and(|who| who.starts_with("account/"));
    let trail = until(&olga.client, &format!("{admin}/audit-log"), |trail| trail["items"].as_array().unwrap().iter().any(swapped)).await;
    assert!(!trail.to_string().contains("mallory"), "{trail:#}");
}
