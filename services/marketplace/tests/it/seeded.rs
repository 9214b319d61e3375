//! `daybook audit` as a process: for each rule a doctored marketplace, served to the real binary, whose breach it must
//! find and name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::load::{add, serve, told, words};
use crate::process::{Caller, Server, binary};

/// Rows of a page of a doctored marketplace: few, so that pages are turned.
const PAGE: usize = 7;

async fn audited(url: &str, acknowledged: &Path) -> (i32, Value) {
    told(words(&format!("audit --url {url} --wait 20s -o json --acknowledged {}", acknowledged.display()))).await
}

/// A marketplace's answers: rows by their path, listings by theirs.
#[derive(Clone, Default)]
struct Market {
    rows: BTreeMap<String, Value>,
    lists: BTreeMap<String, Vec<Value>>,
}

impl Market {
    /// Copies a marketplace at rest.
    async fn of(url: &str, deliveries: &[String]) -> Self {
        let (mut market, caller) = (Self::default(), Caller::new(url));
        for list in ["/products", "/sellers", "/stock", "/orders", "/payments", "/shipments"] {
            market.lists.insert(list.to_owned(), caller.all(list).await);
        }
        market.rows.insert("/dead-letters".to_owned(), caller.get("/dead-letters").await);
        let ids = |list: &str| market.lists[list].iter().map(|row| row["id"].to_string().trim_matches('"').to_owned()).collect::<Vec<_>>();
        let mut paths: Vec<String> = ids("/sellers").iter().map(|id| format!("/sellers/{id}/dashboard")).collect();
        paths.extend(deliveries.iter().map(|id| format!("/deliveries/{id}")));
        for customer in ids("/orders").iter().map(|id| id.split('-').next().unwrap().to_owned()).collect::<std::collections::BTreeSet<_>>() {
            paths.extend([format!("/carts/{customer}"), format!("/customers/{customer}/statistics")]);
        }
        let histories: Vec<String> =
            ["/orders", "/payments", "/shipments"].iter().flat_map(|list| ids(list).into_iter().map(move |id| format!("{list}/{id}/history"))).collect();
        for path in paths {
            // A caller of its own: positions of one view are not another's.
            let row = Caller::new(url).get(&path).await;
            market.rows.insert(path, row);
        }
        for path in histories {
            let steps = caller.all(&path).await;
            market.lists.insert(path, steps);
        }
        market
    }

    fn answer(&self, path: &str, query: &str) -> Response {
        if let Some(row) = self.rows.get(path) {
            return row.to_string().into_response();
        }
        let Some(list) = self.lists.get(path) else { return StatusCode::NOT_FOUND.into_response() };
        let from: usize = query.split("cursor=").nth(1).map_or(0, |cursor| cursor.parse().unwrap());
        let items: Vec<&Value> = list.iter().skip(from).take(PAGE).collect();
        let next = (from + PAGE < list.len()).then(|| (from + PAGE).to_string());
        json!({ "items": items, "next": next }).to_string().into_response()
    }

    /// What the audit says of it, once it has waited so long at most.
    async fn audited(self, acknowledged: &Path, wait: &str) -> (i32, Value) {
        let answer = |State(market): State<Arc<Self>>, OriginalUri(uri): OriginalUri| async move { market.answer(uri.path(), uri.query().unwrap_or_default()) };
        let router = axum::Router::new().fallback(answer).with_state(Arc::new(self));
        let (url, served) = serve(router).await;
        let said = told(words(&format!("audit --url {url} --wait {wait} -o json --acknowledged {}", acknowledged.display()))).await;
        served.abort();
        said
    }

    fn find(&self, list: &str, found: impl Fn(&Value) -> bool) -> usize {
        self.lists[list].iter().position(found).unwrap_or_else(|| panic!("{list}: the load made no such row"))
    }

    /// A row of a listing, by its id.
    fn by_id(&mut self, list: &str, id: &str) -> &mut Value {
        let at = self.find(list, |row| row["id"] == id);
        &mut self.lists.get_mut(list).unwrap()[at]
    }

    fn row(&mut self, path: &str) -> &mut Value {
        self.rows.get_mut(path).unwrap_or_else(|| panic!("{path}: there is no such row"))
    }
}

/// What the doctors need to know of the copied marketplace.
struct Case {
    /// a stock item that has sold pieces
    item: String,
    /// an order that was refunded in part, whose packages are on their way
    order: String,
    /// whose
    customer: String,
    /// the path of a dashboard that shows it
    dashboard: String,
    /// a checkout's reference and order, as the load was told
    told: (String, String),
    /// a delivery that the load was told of
    delivery: String,
}

/// A breach: the check that must find it, the entity it must name, and how the marketplace is doctored.
type Doctored = (&'static str, String, Box<dyn Fn(&mut Market)>);

fn stock_and_money(case: &Case) -> Vec<Doctored> {
    let (item, order) = (case.item.clone(), case.order.clone());
    let stock = move |item: String, doctor: fn(&mut Value)| -> Box<dyn Fn(&mut Market)> { Box::new(move |market| doctor(market.by_id("/stock", &item))) };
    let payment = move |id: String, doctor: fn(&mut Value)| -> Box<dyn Fn(&mut Market)> { Box::new(move |market| doctor(market.by_id("/payments", &id))) };
    let (of_item, of_payment) = (format!("stock {item}"), format!("payment {order}"));
    vec![
        ("stock-oversold", of_item.clone(), stock(item.clone(), |row| add(&mut row["sold"], 20_000))),
        ("stock-negative", of_item.clone(), stock(item.clone(), |row| row["available"] = json!(-1))),
        ("stock-sold", of_item.clone(), stock(item.clone(), |row| add(&mut row["sold"], -1))),
        ("stock-available", of_item.clone(), stock(item.clone(), |row| add(&mut row["received"], 5))),
        ("stock-version", of_item.clone(), stock(item.clone(), |row| row["version"] = json!("999"))),
        ("stock-withdrawn", of_item, stock(item, |row| row["withdrawn"] = json!(true))),
        ("payment-captured", of_payment.clone(), payment(order.clone(), |row| row["captured"] = json!("99999.00"))),
        ("payment-refunded", of_payment.clone(), payment(order.clone(), |row| row["refunded"] = json!("0.00"))),
        ("money", "currency USD".to_owned(), payment(order.clone(), |row| row["refunded"] = json!("0.00"))),
        ("payment-status", of_payment, payment(order, |row| row["status"] = json!("refused"))),
    ]
}

fn orders(case: &Case) -> Vec<Doctored> {
    let on = |id: &str, doctor: fn(&mut Value)| -> Box<dyn Fn(&mut Market)> {
        let id = id.to_owned();
        Box::new(move |market| doctor(market.by_id("/orders", &id)))
    };
    let (order, told, entity) = (case.order.clone(), case.told.clone(), format!("order {}", case.order));
    let lost = told.1.clone();
    let (of_told, doubled, again) = (format!("checkout {}", told.0), told.1.clone(), told.1.clone());
    let lose = move |market: &mut Market| market.lists.get_mut("/orders").unwrap().retain(|row| row["id"] != *lost);
    let double = move |market: &mut Market, id: Option<&str>| {
        let mut copy = market.by_id("/orders", &doubled).clone();
        id.into_iter().for_each(|id| copy["id"] = json!(id));
        market.lists.get_mut("/orders").unwrap().push(copy);
    };
    let history = format!("/orders/{}/history", case.order);
    let gap = {
        let history = history.clone();
        move |market: &mut Market| drop(market.lists.get_mut(&history).unwrap().remove(1))
    };
    let swap = move |market: &mut Market| {
        let steps = market.lists.get_mut(&history).unwrap();
        let at = steps.iter().position(|step| step["event"] == "paid").unwrap();
        let event = steps[at + 1]["event"].take();
        steps[at + 1]["event"] = std::mem::replace(&mut steps[at]["event"], event);
    };
    let cut = {
        let order = order.clone();
        move |market: &mut Market| drop(market.lists.get_mut(&format!("/shipments/{order}/history")).unwrap().pop())
    };
    vec![
        ("order-lost", format!("order {}", told.1), Box::new(lose.clone())),
        ("acknowledged-lost", of_told.clone(), Box::new(lose)),
        (
            "order-doubled",
            format!("order {}", told.1),
            Box::new({
                let double = double.clone();
                move |market| double(market, None)
            }),
        ),
        ("acknowledged-doubled", of_told, Box::new(move |market| double(market, Some(&format!("{}99", again))))),
        ("order-not-ended", entity.clone(), on(&order, |row| row["status"] = json!("invoiced"))),
        ("order-total", entity.clone(), on(&order, |row| row["total"] = json!("0.01"))),
        ("price-version", entity.clone(), on(&order, |row| row["lines"][0]["version"] = json!("999"))),
        ("price-version-back", entity.clone(), on(&order, |row| row["lines"][0]["version"] = json!("0"))),
        ("history-gap", entity.clone(), Box::new(gap)),
        ("history-order", entity, Box::new(swap)),
        ("history-length", format!("shipment {order}"), Box::new(cut)),
    ]
}

fn views(case: &Case) -> Vec<Doctored> {
    let on = |path: &str, doctor: fn(&mut Value)| -> Box<dyn Fn(&mut Market)> {
        let path = path.to_owned();
        Box::new(move |market| doctor(market.row(&path)))
    };
    let Case { order, customer, dashboard, delivery, .. } = case;
    let entity = format!("dashboard {}", dashboard.split('/').nth(2).unwrap());
    let unpaid = {
        let order = order.clone();
        move |market: &mut Market| market.by_id("/payments", &order)["status"] = json!("cancelled")
    };
    let gone = {
        let path = format!("/deliveries/{delivery}");
        move |market: &mut Market| drop(market.rows.remove(&path))
    };
    vec![
        ("dashboard-line-missing", entity.clone(), on(dashboard, |row| drop(row["lines"].as_array_mut().unwrap().pop()))),
        ("dashboard-totals", entity.clone(), on(dashboard, |row| row["totals"][0]["invoice"] = json!("0.01"))),
        ("dashboard-line", entity.clone(), on(dashboard, |row| add(&mut row["lines"][0]["quantity"], 1))),
        ("dashboard-shipment-before-payment", entity, Box::new(unpaid.clone())),
        ("shipment-before-payment", format!("shipment {order}"), Box::new(unpaid)),
        ("customer-statistics", format!("customer {customer}"), on(&format!("/customers/{customer}/statistics"), |row| add(&mut row["payments_failed"], 1))),
        ("acknowledged-lost", format!("delivery {delivery}"), Box::new(gone)),
        (
            "dead-letter",
            "dead letter cart/0/1".to_owned(),
            on("/dead-letters", |row| row["items"] = json!([{ "id": "cart/0/1", "reason": "no-reason", "detail": "" }])),
        ),
    ]
}

/// Two orders of one customer for one product, on their way, the second refunded in part: what the load may have delivered whole.
async fn orders_on_their_way(caller: &Caller, product: &str, customer: &str) -> String {
    let mut order = String::new();
    for number in 1..=2 {
        let item = json!({ "product": product, "quantity": 3, "unit_price": "1.00", "freight_value": "1.50", "voucher": "0.50", "currency": "USD" });
        let (status, answer) = caller.command(Method::POST, &format!("/carts/{customer}/items"), &format!("late-{number}"), json!({ "items": [item] })).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let body = json!({ "payment_type": "BOLETO", "reference": format!("late-{number}") });
        let (status, answer) = caller.command(Method::POST, &format!("/carts/{customer}/checkout"), &format!("late-checkout-{number}"), body).await;
        assert!(status == StatusCode::OK && answer["ended"] == "paid", "{answer}");
        order = answer["id"].as_str().unwrap().to_owned();
    }
    let body = json!({ "reference": "late", "lines": [{ "line": 0, "quantity": 1 }] });
    let (status, answer) = caller.command(Method::POST, &format!("/orders/{order}/refunds"), "late-refund", body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    order
}

async fn case(url: &str, caller: &Caller, acknowledged: &Path) -> (Case, Market) {
    let told: Value = serde_json::from_slice(&std::fs::read(acknowledged).unwrap()).unwrap();
    let checkout = told["checkouts"].as_array().unwrap().iter().find(|checkout| checkout["ended"] == "paid").unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let deliveries: Vec<String> = told["deliveries"].as_array().unwrap().iter().map(text).collect();
    let item = checkout["pieces"].as_object().unwrap().keys().next().unwrap().clone();
    let customer = checkout["order"].as_str().unwrap().split('-').next().unwrap().to_owned();
    let order = orders_on_their_way(caller, &item, &customer).await;
    let (code, said) = audited(url, acknowledged).await;
    assert_eq!(code, 0, "{said:#}");
    let dashboard = format!("/sellers/{}/dashboard", item.split('-').next().unwrap());
    let case = Case { item, order, customer, dashboard, told: (text(&checkout["reference"]), text(&checkout["order"])), delivery: deliveries[0].clone() };
    (case, Market::of(url, &deliveries).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_finds_every_seeded_breach() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::started(binary(), &dir.path().join("data"));
    let acknowledged: PathBuf = dir.path().join("acknowledged.json");
    let file = acknowledged.display();
    let load = format!("load --url {} --clients 3 --sellers 2 --customers 6 --duration 3s --seed 4 --no-audit -o json --acknowledged {file}", server.url);
    let (code, report) = told(words(&load)).await;
    assert_eq!((code, &report["audit"]), (0, &Value::Null), "{report:#}");
    let (case, market) = case(&server.url, &Caller::new(&server.url), &acknowledged).await;
    assert!(server.stop());
    let (code, said) = market.clone().audited(&acknowledged, "60s").await;
    assert_eq!((code, &said["breaches"]), (0, &json!([])), "an undoctored copy is clean");
    let seeded: Vec<Doctored> = [stock_and_money(&case), orders(&case), views(&case)].into_iter().flatten().collect();
    let count = seeded.len();
    for (at, (check, entity, doctor)) in seeded.into_iter().enumerate() {
        let mut doctored = market.clone();
        doctor(&mut doctored);
        // What never ends is waited for, and what is wrong at rest is not: the first is told within the minute that it might take.
        let began = Instant::now();
        let (code, said) = doctored.audited(&acknowledged, if at == 0 { "60s" } else { "0s" }).await;
        assert!(began.elapsed() < Duration::from_secs(30), "{check} of {entity} was found too late");
        assert_eq!(code, 3, "{check} of {entity} was not found: {said:#}");
        let named = said["breaches"].as_array().unwrap().iter().any(|breach| breach["check"] == check && breach["entity"] == *entity);
        assert!(named, "{check} of {entity} is not named: {said:#}");
    }
    println!("audit: {count} seeded breaches, each found and named; {} orders", market.lists["/orders"].len());
}
