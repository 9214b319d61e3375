//! The commands about people, as an operator types them: the first account, signing in and out, keys, the audit trail, and the
//! tools that work as whoever has signed in.

use std::os::unix::fs::PermissionsExt;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use super::people::{PASSWORD, Person, create, guarded, signed_up, typed};
use crate::process::{Server, binary};

fn said(done: &std::process::Output) -> String {
    [done.stdout.as_slice(), &done.stderr].map(String::from_utf8_lossy).concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_sign_in_and_everything_they_do_is_in_the_trail() {
    let dir = TempDir::new().unwrap();
    let (data, tokens) = (dir.path().join("data"), dir.path().join("tokens.json"));
    let mut server = guarded(&data);
    let url = server.url.clone();
    let environment = [("DAYBOOK_TOKEN_FILE", tokens.to_str().unwrap()), ("DAYBOOK_URL", url.as_str())];
    let run = |arguments: &[&str], input: &str| typed(arguments, input, &environment);
    // Nobody may do anything yet, and says how.
    let refused = run(&["topics"], "");
    assert!(refused.status.code() == Some(1) && said(&refused).contains("`login`"), "{}", said(&refused));
    // Without the keys there is no first account.
    let elsewhere = run(&["accounts", "create", "--email", "eve@example.com", "--role", "operator", "--data", dir.path().to_str().unwrap()], PASSWORD);
    assert!(elsewhere.status.code() == Some(1) && said(&elsewhere).contains("no signing keys"), "{}", said(&elsewhere));
    create(&server, &data, "olga@example.com", &["operator"]);
    let wrong = run(&["login", "--email", "olga@example.com"], "not the password at all");
    assert!(wrong.status.code() == Some(1) && !tokens.exists(), "{}", said(&wrong));
    let login = run(&["login", "--email", "olga@example.com"], PASSWORD);
    assert!(login.status.success(), "{}", said(&login));
    assert_eq!(std::fs::metadata(&tokens).unwrap().permissions().mode() & 0o777, 0o600);
    for arguments in [
        vec!["topics"],
        vec!["sagas", "list"],
        vec!["dead-letters", "list"],
        vec!["verify", "--url", &url],
        vec!["accounts", "list"],
        vec!["trim", "--all", "--dry-run"],
        vec!["import", "tests/data/online-retail.csv", "--url", &url],
        vec!["audit", "--url", &url],
    ] {
        let done = run(&arguments, "");
        // Of the history some lines are refused, which its exit code says.
        assert!(done.status.success() || (arguments[0] == "import" && done.status.code() == Some(3)), "{arguments:?}: {}", said(&done));
    }
    let anna = signed_up(&url, "anna@example.com", None).await;
    for arguments in [
        vec!["accounts", "grant", &anna.account, "seller=42"],
        vec!["accounts", "revoke", &anna.account, "customer"],
        vec!["accounts", "disable", &anna.account, "--reason", "a test"],
    ] {
        let done = run(&arguments, "");
        assert!(done.status.success(), "{arguments:?}: {}", said(&done));
    }
    let shown: Value = serde_json::from_slice(&run(&["accounts", "show", &anna.account, "-o", "json"], "").stdout).unwrap();
    assert_eq!((shown["status"].as_str(), &shown["roles"]), (Some("disabled"), &serde_json::json!({ "seller": "42" })));
    assert_eq!(anna.ask(Method::GET, "/identity/me", None).await.0, StatusCode::UNAUTHORIZED);
    // A token that others may read is not used.
    std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = run(&["topics"], "");
    assert!(!open.status.success(), "{}", said(&open));
    std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(0o600)).unwrap();
    // The trail: what was done, by whom, and that nothing of it is missing.
    let trail = run(&["audit-log", "-o", "json", "--last", "1000"], "");
    assert!(trail.status.success(), "{}", said(&trail));
    let trail: Value = serde_json::from_slice(&trail.stdout).unwrap();
    let entries = trail["items"].as_array().unwrap();
    let acts: Vec<(&str, &str)> = entries.iter().map(|entry| (entry["act"].as_str().unwrap(), entry["outcome"].as_str().unwrap())).collect();
    let made = ("POST /identity/accounts", "201");
    assert!(acts.contains(&made) && entries.iter().any(|entry| entry["actor"].as_str().unwrap().starts_with("account/machine")), "{acts:?}");
    for act in ["POST /verify".to_owned(), format!("POST /identity/accounts/{}/disable", anna.account), "POST /trim".to_owned()] {
        assert!(acts.contains(&(&act, "begun")) && acts.contains(&(&act, "200")), "{act} is not in {acts:?}");
    }
    assert!(entries.iter().all(|entry| entry["kind"] == "denial" || entry["actor"].as_str().unwrap().starts_with("account/")));
    let last = entries.last().unwrap();
    let noted = format!("{}:{}", last["number"], last["hash"].as_str().unwrap());
    assert!(run(&["audit-log", "--since", &noted], "").status.success());
    // What came after it, and nothing of before.
    assert!(run(&["trim", "--all", "--yes"], "").status.success());
    let after: Value = serde_json::from_slice(&run(&["audit-log", "--since", &noted, "-o", "json"], "").stdout).unwrap();
    let after = after["items"].as_array().unwrap();
    assert!(after.iter().any(|entry| entry["act"] == "POST /trim"), "{after:?}");
    assert!(after.iter().all(|entry| entry["number"].as_u64() > last["number"].as_u64()), "{after:?}");
    let gone = run(&["audit-log", "--since", &format!("999:{}", "0".repeat(64))], "");
    assert!(gone.status.code() == Some(3) && said(&gone).contains("that was noted is not in it"), "{}", said(&gone));
    // Keys are renewed while everything goes on.
    let rotated = run(&["keys", "rotate", "--starts-after", "1", "--data", data.to_str().unwrap()], "");
    assert!(rotated.status.success(), "{}", said(&rotated));
    let olga = Person::sign_in(&url, "olga@example.com", PASSWORD).await;
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    let later = Person::sign_in(&url, "olga@example.com", PASSWORD).await;
    for person in [&olga, &later] {
        assert_eq!(person.ask(Method::GET, "/identity/me", None).await.0, StatusCode::OK);
    }
    let header = |token: &str| token.split('.').next().unwrap().to_owned();
    assert_ne!(header(&olga.access), header(&later.access), "another key signs");
    let logout = run(&["logout"], "");
    assert!(logout.status.success(), "{}", said(&logout));
    assert!(!run(&["topics"], "").status.success());
    assert!(server.stop());
}

/// Reachable by others: asked who they are, and never in the clear.
#[test]
fn an_address_that_others_reach_asks_who_calls() {
    let dir = TempDir::new().unwrap();
    let refused = |arguments: &[&str]| {
        let mut server = Server::new(binary(), &dir.path().join("data")).told(arguments);
        server.listens("0.0.0.0:0", "http://127.0.0.1:1");
        let (code, said) = server.refused();
        assert_eq!(code, Some(2), "{said}");
        said
    };
    assert!(refused(&["--auth", "open"]).contains("everyone could do everything"));
    assert!(refused(&[]).contains("--behind-proxy"));
}
