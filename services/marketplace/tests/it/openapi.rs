//! The OpenAPI document: as it is checked in, whole, its examples done one by one, and every answer of every route held to
//! what it says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use daybook::http::route::Routes;
use marketplace::APPLICATION;
use reqwest::{Client, Method};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::postgres::Database;
use crate::process::{Caller, Server, binary};

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/marketplace/openapi.json")
}

#[test]
fn the_document_in_the_repository_does_not_drift() {
    let text = format!("{:#}\n", daybook::documents::openapi(&APPLICATION));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(file(), &text).unwrap();
    }
    let found = std::fs::read_to_string(file()).unwrap_or_default();
    assert!(found == text, "{} is not what the routes say: run UPDATE=1 cargo test --release -p marketplace --test it openapi and commit it", file().display());
}

/// A request of an example, as its document has it.
struct Asked {
    method: Method,
    /// as it is declared
    route: &'static str,
    /// with the examples of its parts
    path: String,
    body: Option<Value>,
    /// it can be done whenever it comes: the others need what is not there
    succeeds: bool,
}

/// What can only fail here: there is no such letter, process, record or version.
const NOT_THERE: [&str; 21] = [
    "/projections/{projection}/swap",
    "/projections/{projection}/rollback",
    "/reviews/{id}/events",
    "/commands/{id}",
    "/identity/accounts/{id}",
    "/identity/accounts/{id}/sessions",
    "/identity/accounts/{id}/password",
    "/identity/accounts/{id}/roles",
    "/identity/accounts/{id}/roles/{role}",
    "/identity/accounts/{id}/disable",
    "/identity/accounts/{id}/enable",
    "/identity/sessions/{id}",
    "/identity/sessions/refresh",
    "/identity/password-resets/complete",
    "/sagas/{aggregate}/{id}/end",
    "/dead-letters/{service}/{partition}/{offset}",
    "/dead-letters/{service}/{partition}/{offset}/retry",
    "/dead-letters/{service}/{partition}/{offset}/discard",
    "/partitions/{topic}/{partition}/{offset}/retry",
    "/partitions/{topic}/{partition}/{offset}/skip",
    "/trace/{id}",
];

/// Every route's example: in an order in which each finds what it needs, what takes away last.
fn examples() -> Vec<Asked> {
    let services = APPLICATION.services().into_iter().fold(Routes::default(), |all, capability| all.merge(capability.routes));
    let routes = daybook::documents::routes(&APPLICATION, services);
    let turns = ["catalog", "stock", "customer", "cart", "ordering"];
    let mut all: Vec<(usize, Asked)> = routes
        .iter()
        .map(|route| {
            let said = &route.operation;
            let path = said.parts.iter().fold(route.path.replace("{*", "{"), |path, (name, example, _)| path.replace(&format!("{{{name}}}"), example));
            assert!(!path.contains('{'), "{} {}: a part of its path has no example", route.method, route.path);
            assert!(said.body.is_none() || said.example.is_some(), "{} {}: its body has no example", route.method, route.path);
            let reads = route.method == Method::GET;
            let turn = turns.iter().position(|tag| *tag == said.tag).unwrap_or(turns.len());
            let turn = turn
                + if route.method == Method::DELETE {
                    200
                } else if reads {
                    100
                } else {
                    0
                };
            let succeeds = !NOT_THERE.contains(&route.path);
            (turn, Asked { method: route.method.clone(), route: route.path, path, body: said.example.clone(), succeeds })
        })
        .collect();
    all.sort_by_key(|(turn, _)| *turn);
    all.into_iter().map(|(_, asked)| asked).collect()
}

/// A part of the document, through a reference.
fn part<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    value["$ref"].as_str().map_or(value, |to| document.pointer(to.trim_start_matches('#')).unwrap_or_else(|| panic!("{to} leads nowhere")))
}

/// What is wrong with an answer, by the document.
fn wrong(document: &Value, method: &Method, route: &str, status: u16, media: &str, body: &str) -> Option<String> {
    let said = &document["paths"][route.replace("{*", "{")][method.as_str().to_ascii_lowercase()]["responses"][status.to_string()];
    if said.is_null() {
        return Some(format!("{status} is not described: {body}"));
    }
    let content = &part(document, said)["content"];
    let Some(kinds) = content.as_object() else { return (!body.is_empty()).then(|| format!("{status} has a body: {body}")) };
    let media = media.split(';').next().unwrap_or_default();
    if kinds.contains_key("*/*") && status == 200 {
        return None; // the viewer's files are of many kinds
    }
    let Some(kind) = kinds.get(media) else { return Some(format!("{status} is {media}, and not one of {:?}: {body}", kinds.keys())) };
    if media.starts_with("text/") {
        return None;
    }
    let schema = json!({ "allOf": [kind["schema"]], "components": document["components"] });
    let value: Value = serde_json::from_str(body).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(&value).map(|error| format!("{} at {}", error, error.instance_path())).collect();
    (!errors.is_empty()).then(|| format!("{status}: {}: {value}", errors.join("; ")))
}

struct Shop {
    client: Client,
    url: String,
    document: Value,
}

impl Shop {
    async fn ask(&self, asked: &Asked, path: &str, body: Option<&Value>) -> u16 {
        let mut request =
            self.client.request(asked.method.clone(), format!("{}{path}", self.url)).header("prefer", "wait=20").header("daybook-actor", "a test");
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let media = headers.get("content-type").map(|media| media.to_str().unwrap().to_owned()).unwrap_or_default();
        let text = answer.text().await.unwrap_or_default();
        let wrong = wrong(&self.document, &asked.method, asked.route, status, &media, &text);
        assert_eq!(wrong, None, "{} {path}", asked.method);
        status
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_is_done_and_every_answer_is_as_described() {
    let dir = TempDir::new().unwrap();
    let database = Database::start();
    let mut server = Server::new(binary(), &dir.path().join("data")).under("DAYBOOK_POSTGRES", database.url());
    server.start();
    let client = crate::process::http().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let document: Value = client.get(format!("{}/openapi.json", server.url)).send().await.unwrap().json().await.unwrap();
    assert_eq!(document, serde_json::from_str::<Value>(&std::fs::read_to_string(file()).unwrap()).unwrap(), "what is served is what is checked in");
    let shop = Shop { client, url: server.url.clone(), document };
    let all = examples();
    let caller = Caller::new(&server.url);
    for asked in &all {
        match (&asked.method, asked.route) {
            (&Method::POST, "/reviews/{id}") => drop(caller.until("/customers/17/reviews", |page| page["items"][0].is_object()).await),
            (&Method::GET, "/products/{id}/rating") => drop(caller.until("/ratings", |page| page["items"][0].is_object()).await),
            _ => {}
        }
        let status = shop.ask(asked, &asked.path, asked.body.as_ref()).await;
        let done = (200..400).contains(&status);
        assert!(done || !asked.succeeds, "{} {} was answered {status}", asked.method, asked.path);
    }
    for asked in &all {
        // What cannot be understood is said as it is described, too.
        assert_eq!(shop.ask(asked, &format!("{}?nonsense=1", asked.path), asked.body.as_ref()).await, 400, "{} {}", asked.method, asked.path);
        if asked.body.is_some() {
            assert_eq!(shop.ask(asked, &asked.path, Some(&json!({ "nonsense": 1 }))).await, 400, "{} {}", asked.method, asked.path);
            let media = shop.client.request(asked.method.clone(), format!("{}{}", shop.url, asked.path)).body("{}").send().await.unwrap();
            assert_eq!(media.status().as_u16(), 415, "{} {}", asked.method, asked.path);
        }
    }
    // The list at the root, the document and the router have the same routes.
    let index: Value = shop.client.get(&server.url).send().await.unwrap().json().await.unwrap();
    let listed: BTreeSet<(String, String)> = index["routes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|route| (route["method"].as_str().unwrap().to_owned(), route["path"].as_str().unwrap().replace("{*", "{")))
        .collect();
    let paths = shop.document["paths"].as_object().unwrap();
    let methods = |path: &String, of: &Map<String, Value>| of.keys().map(|method| (method.to_ascii_uppercase(), path.clone())).collect::<Vec<_>>();
    let described: BTreeSet<(String, String)> = paths.iter().flat_map(|(path, of)| methods(path, of.as_object().unwrap())).collect();
    assert_eq!(listed, described);
    assert_eq!(listed.len(), all.len());
    let viewer = shop.client.get(format!("{}/docs", server.url)).send().await.unwrap().text().await.unwrap();
    let files: Vec<&str> = viewer.split(['"', '\'']).filter(|text| text.contains(".js") || text.contains(".css") || text.contains("://")).collect();
    assert!(!files.is_empty() && files.iter().all(|file| file.starts_with("/docs/")), "the viewer needs nothing from elsewhere: {files:?}");
    let begins = shop.client.get(format!("{}/docs/swagger-initializer.js", server.url)).send().await.unwrap().text().await.unwrap();
    assert!(begins.contains("validatorUrl") && !begins.contains("://"), "it asks nobody elsewhere whether the document is valid: {begins}");
    for file in files {
        assert_eq!(shop.client.get(format!("{}{file}", server.url)).send().await.unwrap().status().as_u16(), 200, "{file}");
    }
}

/// The check finds what it should.
#[test]
fn an_answer_that_is_not_as_described_is_named() {
    let document: Value = serde_json::from_str(&std::fs::read_to_string(file()).unwrap()).unwrap();
    let wrong = |status, media, body: &str| wrong(&document, &Method::GET, "/sellers/{id}", status, media, body);
    assert_eq!(wrong(304, "", ""), None);
    assert!(wrong(200, "application/json", r#"{"id":"42"}"#).unwrap().contains("42"), "a number is no text");
    assert!(wrong(418, "application/json", "{}").unwrap().contains("not described"));
    assert!(wrong(200, "text/plain", "x").unwrap().contains("text/plain"));
    let problem = r#"{"type":"https://daybook.dev/problems/x","title":"x","status":404,"code":"empty-cart","detail":"","retryable":false}"#;
    assert!(wrong(404, "application/problem+json", problem).unwrap().contains("empty-cart"), "not one of its codes");
}
