//! Everything that is no good token, shown to the real binary. What a token itself must be is held by the table of
//! `daybook::identity::token`; here it is what stands behind one.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::people::{PASSWORD, Person, ask, client, create, guarded, signed_up};

/// What is shown as who asks.
enum Shown {
    Nothing,
    Header(String),
    Twice(String, String),
}

async fn me(url: &str, shown: &Shown) -> (StatusCode, Value, Option<String>) {
    let request = crate::process::http().build().unwrap().get(format!("{url}/identity/me"));
    let request = match shown {
        Shown::Nothing => request,
        Shown::Header(text) => request.header("authorization", text),
        Shown::Twice(one, other) => request.header("authorization", one).header("authorization", other),
    };
    let answer = request.send().await.unwrap();
    let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    (answer.status(), answer.json().await.unwrap(), challenge)
}

/// A part of a token with one character changed.
fn changed(token: &str, at: usize) -> String {
    token
        .char_indices()
        .map(|(here, char)| {
            if here != at {
                char
            } else if char == 'A' {
                'B'
            } else {
                'A'
            }
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_no_good_token_is_refused_alike() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let data = dir.path().join("data");
    let (server, elsewhere) = (guarded(&data), guarded(&other.path().join("data")));
    let url = &server.url;
    create(&server, &data, "olga@example.com", &["operator"]);
    let operator = Person::sign_in(url, "olga@example.com", PASSWORD).await;
    let anna = signed_up(url, "anna@example.com", None).await;
    let bert = signed_up(url, "bert@example.com", None).await;
    let strange = signed_up(&elsewhere.url, "anna@example.com", None).await;
    let (out, shut, shut_for_a_while, changed_password, reused) = (
        signed_up(url, "out@example.com", None).await,
        signed_up(url, "shut@example.com", None).await,
        signed_up(url, "away@example.com", None).await,
        signed_up(url, "changed@example.com", None).await,
        signed_up(url, "reused@example.com", None).await,
    );
    let good = me(url, &Shown::Header(format!("Bearer {}", anna.access))).await;
    assert_eq!((good.0, good.1["account"].as_str()), (StatusCode::OK, Some(anna.account.as_str())));
    let lower = me(url, &Shown::Header(format!("bearer {}", anna.access))).await;
    assert_eq!(lower.0, StatusCode::OK, "the scheme's letter case is nobody's");

    // What was good is not any more.
    assert_eq!(out.ask(Method::DELETE, &format!("/identity/sessions/{}", out.session), None).await.0, StatusCode::OK);
    let why = json!({ "reason": "a test" });
    assert_eq!(operator.ask(Method::POST, &format!("/identity/accounts/{}/disable", shut.account), Some(&why)).await.0, StatusCode::OK);
    for act in ["disable", "enable"] {
        let (path, none) = (format!("/identity/accounts/{}/{act}", shut_for_a_while.account), json!({}));
        assert_eq!(operator.ask(Method::POST, &path, Some(if act == "disable" { &why } else { &none })).await.0, StatusCode::OK);
    }
    let body = json!({ "password": PASSWORD, "new_password": "four lamps on two shelves" });
    assert_eq!(changed_password.ask(Method::POST, &format!("/identity/accounts/{}/password", changed_password.account), Some(&body)).await.0, StatusCode::OK);
    assert_eq!(reused.refreshed().await.0, StatusCode::OK);
    assert_eq!(reused.refreshed().await.0, StatusCode::UNAUTHORIZED, "a refresh token that comes again ends its session");

    let [header, claims, signature] = anna.access.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let [_, others_claims, others_signature] = bert.access.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let bearer = |token: &str| Shown::Header(format!("Bearer {token}"));
    let mut table: Vec<(&str, Shown)> = vec![
        ("nothing", Shown::Nothing),
        ("an empty header", Shown::Header(String::new())),
        ("a scheme alone", Shown::Header("Bearer".into())),
        ("an empty token", Shown::Header("Bearer ".into())),
        ("two spaces", Shown::Header(format!("Bearer  {}", anna.access))),
        ("no scheme", Shown::Header(anna.access.clone())),
        ("another scheme", Shown::Header(format!("Basic {}", anna.access))),
        ("a name and a password", Shown::Header("Basic YW5uYUBleGFtcGxlLmNvbTp0aHJlZQ==".into())),
        ("the same twice", Shown::Twice(format!("Bearer {}", anna.access), format!("Bearer {}", anna.access))),
        ("two of two", Shown::Twice(format!("Bearer {}", anna.access), format!("Bearer {}", operator.access))),
        ("two in one", Shown::Header(format!("Bearer {}, Bearer {}", anna.access, operator.access))),
        ("a refresh token", bearer(&anna.refresh)),
        ("a session's id", bearer(&anna.session)),
        ("an account's id", bearer(&anna.account)),
        ("another installation's", bearer(&strange.access)),
        ("another's claims", bearer(&format!("{header}.{others_claims}.{signature}"))),
        ("another's signature", bearer(&format!("{header}.{claims}.{others_signature}"))),
        ("no signature", bearer(&format!("{header}.{claims}."))),
        ("two parts", bearer(&format!("{header}.{claims}"))),
        ("four parts", bearer(&format!("{}.{signature}", anna.access))),
        ("a dot more", bearer(&format!("{}.", anna.access))),
        ("quotes around it", bearer(&format!("\"{}\"", anna.access))),
        ("ten thousand characters", bearer(&"a".repeat(10_000))),
        ("signed out", bearer(&out.access)),
        ("an account that was shut", bearer(&shut.access)),
        ("a session from before its account was shut for a while", bearer(&shut_for_a_while.access)),
        ("a session from before the password was changed", bearer(&changed_password.access)),
        ("a session whose refresh token was used twice", bearer(&reused.access)),
    ];
    table.extend(
        (0..anna.access.len())
            .step_by(anna.access.len() / 40)
            .filter(|at| !anna.access[*at..].starts_with('.'))
            .map(|at| ("one character", bearer(&changed(&anna.access, at)))),
    );
    assert!(table.len() >= 60, "{}", table.len());
    let expected = me(url, &Shown::Nothing).await;
    assert_eq!((expected.0, expected.2.as_deref()), (StatusCode::UNAUTHORIZED, Some("Bearer")));
    for (name, shown) in &table {
        let answer = me(url, shown).await;
        // Nobody learns why.
        assert_eq!(answer, expected, "{name}");
    }
    assert_eq!(me(url, &bearer(&anna.access)).await.0, StatusCode::OK, "and the good one is still good");

    // Refresh tokens: whatever is none, or is over, is refused alike, and whoever was not asked keeps the session.
    let [session, number, code] = bert.refresh.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let refresh = |token: String| {
        let body = json!({ "refresh_token": token });
        async move { ask(&client(None), Method::POST, &format!("{url}/identity/sessions/refresh"), Some(&body)).await }
    };
    let over = refresh(String::new()).await;
    assert_eq!(over.0, StatusCode::UNAUTHORIZED, "{}", over.1);
    for token in [
        bert.access.clone(),
        format!("{session}.1.{code}"),
        format!("{session}.{number}"),
        format!("{session}.{number}.{}", code.to_uppercase()),
        format!("{session}.{number}.{}", changed(code, 7).to_lowercase().replace('a', "0")),
        format!("{}.{number}.{code}", anna.session),
        strange.refresh.clone(),
        out.refresh.clone(),
        shut.refresh.clone(),
        shut_for_a_while.refresh.clone(),
        changed_password.refresh.clone(),
        reused.refresh.clone(),
    ] {
        assert_eq!(refresh(token.clone()).await, over, "{token}");
    }
    let next = refresh(bert.refresh.clone()).await;
    assert_eq!(next.0, StatusCode::OK, "{}", next.1);

    // Whoever lost the answer has it once more under the same name, until the next token is used: after that it is reuse.
    let carl = signed_up(url, "carl@example.com", None).await;
    let (first, repeat) = (carl.refreshed_as("one").await, carl.refreshed_as("one").await);
    assert_eq!((first.0, repeat.0, &first.1["refresh_token"]), (StatusCode::OK, StatusCode::OK, &repeat.1["refresh_token"]));
    let second = Person::of(url, &first.1).refreshed_as("two").await;
    assert_eq!(second.0, StatusCode::OK, "{}", second.1);
    assert_eq!(carl.refreshed_as("one").await, over, "a stolen token is no better with the name that it was first used under");
    let last = Person::of(url, &second.1);
    assert_eq!((last.refreshed().await, me(url, &bearer(&last.access)).await), (over.clone(), expected.clone()), "and ends the session");

    // Nobody ends another's session, and operators do.
    let foreign = format!("/identity/sessions/{}", bert.session);
    assert_eq!(anna.ask(Method::DELETE, &foreign, None).await.0, StatusCode::FORBIDDEN);
    assert_eq!(operator.ask(Method::DELETE, &foreign, None).await.0, StatusCode::OK);
    assert_eq!(me(url, &bearer(&bert.access)).await, expected);

    // Whoever was shut out cannot sign in, and can once an operator says so.
    let sign_in = json!({ "email": "shut@example.com", "password": PASSWORD });
    let refused = ask(&client(None), Method::POST, &format!("{url}/identity/sessions"), Some(&sign_in)).await;
    assert_eq!((refused.0, refused.1["code"].as_str()), (StatusCode::UNAUTHORIZED, Some("sign-in-failed")));
    assert_eq!(operator.ask(Method::POST, &format!("/identity/accounts/{}/enable", shut.account), Some(&json!({}))).await.0, StatusCode::OK);
    Person::sign_in(url, "shut@example.com", PASSWORD).await;
}
