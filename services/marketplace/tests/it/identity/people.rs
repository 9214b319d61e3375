//! People of a marketplace that asks who they are: operators, customers, sellers, each with a client of their own.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::process::{Server, binary};

pub const PASSWORD: &str = "three lamps on a shelf";

/// A marketplace that asks who calls.
pub fn guarded(data: &Path) -> Server {
    told(data, &[])
}

/// The same, told something besides.
pub fn told(data: &Path, besides: &[&str]) -> Server {
    let mut server = Server::new(binary(), data).told(&["--auth", "required", "--rate-limit", "0", "--rate-limit-unknown", "0"]).told(besides);
    server.start();
    server
}

/// Runs a command of the binary, with this on its standard input.
pub fn typed(arguments: &[&str], input: &str, environment: &[(&str, &str)]) -> Output {
    use std::io::Write;
    let mut command = Command::new(binary());
    command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{input}\n").as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Makes an account on the machine itself: the signing keys are enough.
pub fn create(server: &Server, data: &Path, email: &str, roles: &[&str]) -> Value {
    let mut arguments = vec!["accounts", "create", "--email", email, "--url", &server.url, "--data", data.to_str().unwrap(), "-o", "json"];
    roles.iter().for_each(|role| arguments.extend(["--role", role]));
    let done = typed(&arguments, PASSWORD, &[]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

/// Somebody who has signed in.
pub struct Person {
    pub url: String,
    pub account: String,
    pub session: String,
    pub access: String,
    pub refresh: String,
    pub client: Client,
}

/// A client that shows this token.
pub fn client(token: Option<&str>) -> Client {
    let mut headers = HeaderMap::new();
    token.into_iter().for_each(|token| drop(headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap())));
    crate::process::http().default_headers(headers).redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// What a request is answered with.
pub async fn ask(client: &Client, method: Method, url: &str, body: Option<&Value>) -> (StatusCode, Value) {
    let request = client.request(method, url).header("prefer", "wait=20");
    let answer = body.into_iter().fold(request, |request, body| request.json(body)).send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

impl Person {
    pub async fn sign_in(url: &str, email: &str, password: &str) -> Self {
        let body = json!({ "email": email, "password": password });
        let (status, answer) = ask(&client(None), Method::POST, &format!("{url}/identity/sessions"), Some(&body)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        Self::of(url, &answer)
    }

    pub fn of(url: &str, answer: &Value) -> Self {
        let text = |field: &str| answer[field].as_str().unwrap().to_owned();
        let (url, access, refresh) = (url.to_owned(), text("access_token"), text("refresh_token"));
        Self { url, account: text("account"), session: text("session"), client: client(Some(&access)), access, refresh }
    }

    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        ask(&self.client, method, &format!("{}{path}", self.url), body).await
    }

    /// Shows the refresh token.
    pub async fn refreshed(&self) -> (StatusCode, Value) {
        self.refreshed_as(&uuid::Uuid::new_v4().to_string()).await
    }

    /// Shows the refresh token, as a request of this name.
    pub async fn refreshed_as(&self, name: &str) -> (StatusCode, Value) {
        let mut named = HeaderMap::new();
        named.insert("idempotency-key", name.parse().unwrap());
        let client = crate::process::http().default_headers(named).build().unwrap();
        ask(&client, Method::POST, &format!("{}/identity/sessions/refresh", self.url), Some(&json!({ "refresh_token": self.refresh }))).await
    }
}

/// Signs up as whoever may, and in.
pub async fn signed_up(url: &str, email: &str, roles: Option<Value>) -> Person {
    let mut body = json!({ "email": email, "password": PASSWORD });
    roles.into_iter().for_each(|roles| body["roles"] = roles);
    let (status, answer) = ask(&client(None), Method::POST, &format!("{url}/identity/accounts"), Some(&body)).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    Person::sign_in(url, email, PASSWORD).await
}
