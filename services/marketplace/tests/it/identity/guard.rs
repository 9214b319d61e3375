//! Every declared route, asked by everyone, about what is theirs and what is not: made of the declarations, held against the
//! real binary.

use std::collections::BTreeMap;

use daybook::eventstore::actor::Actor;
use daybook::http::route::Routes;
use daybook::identity::access::Access;
use marketplace::APPLICATION;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::people::{PASSWORD, Person, ask, client, create, guarded, told};
use crate::postgres::Database;

/// Somebody who asks.
struct Asker {
    name: &'static str,
    person: Option<Person>,
    /// as the declarations see it
    actor: Option<Actor>,
}

/// The path of a route about the things of this owner.
fn path(route: &daybook::http::route::Route, owner: &str) -> String {
    let mut parts = route.operation.parts.iter();
    let mut path = route.path.replace("{*", "{");
    if let Some((name, example, _)) = parts.next() {
        let rest = example.split_once('-').map(|(_, rest)| format!("-{rest}")).unwrap_or_default();
        path = path.replace(&format!("{{{name}}}"), &format!("{owner}{rest}"));
    }
    parts.fold(path, |path, (name, example, _)| path.replace(&format!("{{{name}}}"), example))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_lets_in_whom_it_says() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let database = Database::start();
    let server = told(&data, &["--postgres", database.url()]);
    let mut askers = vec![Asker { name: "nobody", person: None, actor: None }];
    for (name, roles) in [
        ("operator", vec!["operator"]),
        ("auditor", vec!["auditor"]),
        ("customer", vec!["customer=1701"]),
        ("seller", vec!["seller=4201"]),
        ("both", vec!["customer=1701", "seller=4201"]),
    ] {
        create(&server, &data, &format!("{name}@example.com"), &roles);
        let person = Person::sign_in(&server.url, &format!("{name}@example.com"), PASSWORD).await;
        let role = |text: &str| text.split_once('=').map_or((text.to_owned(), None), |(role, owns)| (role.to_owned(), Some(owns.to_owned())));
        let actor = Actor { account: person.account.clone(), roles: roles.iter().map(|text| role(text)).collect::<BTreeMap<_, _>>() };
        askers.push(Asker { name, person: Some(person), actor: Some(actor) });
    }
    let services = APPLICATION.services().into_iter().fold(Routes::default(), |all, capability| all.merge(capability.routes));
    let routes = daybook::documents::routes(&APPLICATION, services);
    let (mut asked, mut denied) = (0, 0);
    for route in routes.iter() {
        // Whoever signs out here is needed below, and so are their passwords.
        let ends = ["/identity/sessions/{id}", "/identity/accounts/{id}/password", "/identity/accounts/{id}/disable", "/verify"].contains(&route.path);
        for asker in &askers {
            let account = asker.actor.as_ref().map_or("5f3a0c1d2e4b69788796a5b4c3d2e1f0", |actor| &actor.account);
            for owner in ["1701", "4201", "999", account] {
                let whole = path(route, owner);
                let has_part = !route.operation.parts.is_empty();
                let reads = route.method == Method::GET;
                let owned = has_part.then_some(owner);
                let may = route.access == Access::Anyone
                    || asker.actor.as_ref().is_some_and(|actor| route.access.allows(actor, reads) && (!has_part || route.access.owns(actor, reads, owned)));
                if may && ends {
                    continue;
                }
                let none = client(None);
                let http = asker.person.as_ref().map_or(&none, |person| &person.client);
                let body = route.operation.example.clone();
                let (status, answer) = ask(http, route.method.clone(), &format!("{}{whole}", server.url), body.as_ref()).await;
                let about = format!("{} {whole} by {}: {status} {answer}", route.method, asker.name);
                asked += 1;
                if may {
                    // A wrong password is not a caller who did not say who they are.
                    assert_ne!(answer["code"], "unauthenticated", "{about}");
                    // Without an owner in its path, whose it is stands in its query or body: looked at there.
                    let deeper = !has_part && matches!(route.access, Access::Owners(_)) && !["operator", "auditor"].contains(&asker.name);
                    assert!(status != StatusCode::FORBIDDEN || deeper, "{about}");
                    assert!(!status.is_server_error(), "{about}");
                } else {
                    denied += 1;
                    let due = if asker.person.is_some() { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
                    assert!(status == due || (status == StatusCode::BAD_REQUEST && asker.person.is_none()), "{about}");
                    leaks_nothing(&answer, &about);
                }
            }
        }
    }
    println!("{} routes, {asked} requests, {denied} denied", routes.iter().count());
    assert!(asked > 1_500 && denied > 500, "{asked} {denied}");
}

/// A denial is the same whatever is there.
fn leaks_nothing(answer: &Value, about: &str) {
    let fields: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(fields.iter().all(|field| ["type", "title", "status", "code", "detail", "retryable", "errors"].contains(field)), "{about}");
    let known = ["sign in, and send the access token as Authorization: Bearer <token>", "this account may not do this"];
    let detail = answer["detail"].as_str().unwrap();
    assert!(known.contains(&detail) || detail.contains("for operators") || answer["code"] == "bad-request" || detail.contains("whose it is"), "{about}");
}

/// What stands in a query or a body is somebody's, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_named_in_queries_and_bodies_is_looked_at_as_well() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let server = guarded(&data);
    for (email, role) in [("anna@example.com", "customer=17"), ("rose@example.com", "seller=42"), ("olga@example.com", "operator")] {
        create(&server, &data, email, &[role]);
    }
    let anna = Person::sign_in(&server.url, "anna@example.com", PASSWORD).await;
    let rose = Person::sign_in(&server.url, "rose@example.com", PASSWORD).await;
    let olga = Person::sign_in(&server.url, "olga@example.com", PASSWORD).await;
    let product = |seller: u64| json!({ "seller_id": seller, "product_id": 1, "name": "Lamp", "price": 2.55, "version": "1" });
    let item = |price: &str| json!({ "items": [{ "product": "42-1", "quantity": 1, price: "0.01" }] });
    let voucher = json!({ "items": [{ "product": "42-1", "quantity": 1, "unit_price": "2.55", "voucher": "2.00" }] });
    let sale = json!({ "items": [{ "product": "42-1", "quantity": 1, "agreed_price": "0.01" }], "checkout": { "payment_type": "BOLETO" } });
    let (ok, no) = (true, false);
    for (who, method, path, body, may) in [
        (&anna, Method::GET, "/orders", None, no),
        (&anna, Method::GET, "/orders?customer=17", None, ok),
        (&anna, Method::GET, "/orders?customer=18", None, no),
        (&rose, Method::GET, "/orders?customer=17", None, no),
        (&olga, Method::GET, "/orders", None, ok),
        (&anna, Method::GET, "/payments", None, no),
        (&anna, Method::GET, "/shipments", None, no),
        (&anna, Method::POST, "/customer", Some(json!({ "id": 17, "first_name": "Anna" })), ok),
        (&anna, Method::POST, "/customer", Some(json!({ "id": 18, "first_name": "Anna" })), no),
        (&rose, Method::POST, "/product", Some(product(42)), ok),
        (&rose, Method::POST, "/product", Some(product(43)), no),
        (&anna, Method::POST, "/product", Some(product(17)), no),
        (&rose, Method::POST, "/stock", Some(json!({ "seller_id": 43, "product_id": 1, "qty_available": 5 })), no),
        (&anna, Method::POST, "/carts/17/items", Some(item("agreed_price")), no),
        (&anna, Method::POST, "/carts/17/items", Some(voucher.clone()), no),
        (&olga, Method::POST, "/carts/17/items", Some(voucher), ok),
        (&anna, Method::POST, "/carts/17/sales", Some(sale), no),
        (&anna, Method::POST, "/identity/accounts", Some(json!({ "email": "eve@example.com", "password": PASSWORD, "roles": [{ "role": "operator" }] })), no),
        (
            &anna,
            Method::POST,
            "/identity/accounts",
            Some(json!({ "email": "eve@example.com", "password": PASSWORD, "roles": [{ "role": "customer", "owns": "17" }] })),
            no,
        ),
    ] {
        let (status, answer) = who.ask(method.clone(), path, body.as_ref()).await;
        assert_eq!(status != StatusCode::FORBIDDEN, may, "{method} {path} {body:?}: {status} {answer}");
        assert!(may || answer["code"] == "forbidden", "{answer}");
    }
    // Nobody reads what another was answered, under whatever name.
    let (_, answer) = anna.ask(Method::PUT, "/customers/17", Some(&json!({ "first_name": "Anna" }))).await;
    let command = answer["command"].as_str().unwrap();
    let of = |id: &str| format!("/commands/{}", id.replace('~', "%7E"));
    assert_eq!(anna.ask(Method::GET, &of(command), None).await.0, StatusCode::OK);
    assert_eq!(olga.ask(Method::GET, &of(command), None).await.0, StatusCode::OK);
    assert_eq!(rose.ask(Method::GET, &of(command), None).await.0, StatusCode::FORBIDDEN);
}
