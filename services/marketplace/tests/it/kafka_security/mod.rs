//! A broker that knows its clients: each service signs in as itself over TLS, and may do what the generated ACLs say. What they say
//! is what a rule book written by hand says; with them the marketplace sells; passwords change while it does; and what is missing
//! is said by name.

mod attempts;
mod rules;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use attempts::User;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::rules::ALL;
use crate::broker::Broker;
use crate::postgres::Database;
use crate::process::{ALONE, KEY, Server, binary, daybook};

/// Where everything is attempted, and where rights are missing; the marketplace itself has no namespace.
const ATTEMPTED: &str = "shop.";
const POOR: &str = "poor.";
/// Every connection signs in again within this. Much shorter, and a small machine does little else.
const SESSIONS_MS: u32 = 10_000;

/// What is missing, the lines it is, and what must be said of it.
type Missing = (&'static str, fn(&str) -> bool, &'static str);

/// Of those that are said at the start.
const AT_START: [Missing; 7] = [
    ("configs", |line| line.contains(" DescribeConfigs "), "DescribeConfigs on topic poor."),
    ("describe", |line| line.contains(" Describe Topic "), "Describe, or Create if it is not there, on topic poor."),
    ("control", |line| line.contains(" Read Topic LITERAL poor.daybook.control"), "Read on topic poor.daybook.control"),
    ("group", |line| line.ends_with(" Read Group LITERAL poor.cart"), "Read on group poor.cart"),
    ("transactions", |line| line.contains(" TransactionalId "), "Write on transactional id poor.cart."),
    ("claims", |line| line.contains(" Write Topic LITERAL poor.daybook.claims"), "Write on topic poor.daybook.claims"),
    ("followed", |line| line.ends_with(" Read Topic LITERAL poor.catalog.events"), "Read on topic poor.catalog.events"),
];
/// So many of them before a group is joined.
const BEFORE_JOINING: usize = 4;
/// And of those that are said at the first command.
const AT_WORK: [Missing; 2] = [
    ("events", |line| line.ends_with(" Write Topic LITERAL poor.cart.events"), "Write on topic poor.cart.events"),
    ("replies", |line| line.contains(" Write Topic LITERAL poor.daybook.replies"), "Write on topic poor.daybook.replies"),
];

fn acls(arguments: &[&str]) -> String {
    let done = daybook(&binary(), &[&["kafka-acls"], arguments].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Makes users, topics and rights.
fn provide(broker: &Broker, dir: &Path) {
    let attempted = ALL.iter().copied().chain([rules::OPERATOR]).map(|name| format!("shop-{name}"));
    let poor = AT_START.iter().chain(&AT_WORK).map(|(name, ..)| format!("poor-{name}"));
    let users: Vec<String> = ALL.iter().map(|name| (*name).to_owned()).chain(attempted).chain(poor).chain([rules::NOBODY.to_owned()]).collect();
    let mut all = acls(&[]);
    all += &acls(&["--namespace", ATTEMPTED, "--principal", "User:shop-{service}", "--http", rules::INGRESS, "--operator", rules::OPERATOR]);
    for (name, missing, _) in AT_START.iter().chain(&AT_WORK) {
        let whole = acls(&["cart", "--namespace", POOR, "--principal", &format!("User:poor-{name}")]);
        let left: Vec<&str> = whole.lines().filter(|line| !missing(line)).collect();
        assert!(left.len() < whole.lines().count(), "nothing is missing to {name}");
        all += &(left.join("\n") + "\n");
    }
    let file = dir.join("acls");
    std::fs::write(&file, &all).unwrap();
    let provision = |(namespace, partitions): (&str, &str)| {
        let made = Command::new(binary())
            .env("DAYBOOK_KAFKA_FILE", broker.user("admin"))
            .args(["provision", "--brokers", &broker.address(), "--namespace", namespace, "--partitions", partitions, "--sealing-key", KEY, "--key-store"])
            .arg(dir.join(format!("{namespace}keys")))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&made.stdout).into_owned();
        assert!(made.status.success() && said.contains("42 topics") && said.contains("and seals"), "{said}{}", String::from_utf8_lossy(&made.stderr));
    };
    let told = std::thread::scope(|scope| {
        [("", "4"), (ATTEMPTED, "1"), (POOR, "1")].into_iter().for_each(|namespace| drop(scope.spawn(move || provision(namespace))));
        scope.spawn(|| broker.told(&[&["user"], users.iter().map(String::as_str).collect::<Vec<_>>().as_slice()].concat()));
        broker.told(&["acls", file.to_str().unwrap(), "--exact"])
    });
    println!("security: {} users, {}", users.len(), told.trim().lines().last().unwrap_or_default());
}

/// An instance of a service that signs in as a user.
fn instance(broker: &Broker, dir: &Path, namespace: &str, service: &str, user: &str) -> Server {
    let server = Server::on_kafka(binary(), &dir.join(format!("{namespace}{user}").replace('.', "-")), broker, namespace, &[service]);
    server.under("DAYBOOK_KAFKA_FILE", broker.user(user).to_str().unwrap())
}

async fn ask(client: &Client, method: Method, url: &str, path: &str, body: &Value) -> (StatusCode, String) {
    let answer = client.request(method, format!("{url}{path}")).header("prefer", "wait=20").json(body).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

fn basket(product: &str) -> Value {
    json!({ "items": [{ "product": product, "quantity": 2, "unit_price": "2.55", "freight_value": "0", "currency": "GBP" }] })
}

/// One process for each service, each as itself: an order goes through all that it goes through.
async fn sells(fleet: &[Server], client: &Client) {
    let url = |service: &str| fleet[ALL.iter().position(|known| *known == service).unwrap()].url.as_str();
    let (status, text) = ask(client, Method::PUT, url("catalog"), "/products/42-1", &json!({ "name": "lamp", "price": "2.55", "currency": "GBP" })).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let (status, text) = ask(client, Method::POST, url("stock"), "/stock/42-1/receipts", &json!({ "quantity": 9_000, "reference": "r" })).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let began = Instant::now();
    loop {
        let (status, text) = ask(client, Method::POST, url("cart"), "/carts/17/items", &basket("42-1")).await;
        if status == StatusCode::OK {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{text}"); // the cart has not heard of the product yet
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let pay = json!({ "payment_type": "CREDIT_CARD", "card_number": "4111111111111111", "card_brand": "visa", "city": "Oslo" });
    let (status, text) = ask(client, Method::POST, url("cart"), "/carts/17/checkout", &pay).await;
    let ended: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, ended["ended"].as_str()), (StatusCode::OK, Some("paid")), "{text}");
    // Asked at a process that has neither its view nor the right to read its events: passed on.
    let order = client.get(format!("{}/orders/{}", url("audit"), ended["id"].as_str().unwrap())).send().await.unwrap();
    let order: Value = serde_json::from_str(&order.text().await.unwrap()).unwrap();
    assert_eq!((order["status"].as_str(), order["total"].as_str()), (Some("paid"), Some("5.10")), "{order}");
    // What its routes ask of others it may not, unless it was said that it takes their commands.
    let (status, text) = ask(client, Method::PUT, url("payment"), "/products/43-1", &json!({ "name": "lamp", "price": "1", "currency": "GBP" })).await;
    let log = fleet[ALL.iter().position(|known| *known == "payment").unwrap()].log();
    assert!(status.is_server_error() && log.contains("Write on topic catalog.commands"), "{status} {text}\n{log}");
}

/// A password that changes under load, twice: every command is answered.
async fn passwords_change(broker: &Broker, cart: &Server, client: &Client) {
    let (stop, process) = (AtomicBool::new(false), cart.process());
    let password = || std::fs::read_to_string(broker.user("cart")).unwrap();
    let customer = async |number: u64| {
        let (mut done, mut slowest) = (0_u32, Duration::ZERO);
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            let (status, text) = ask(client, Method::POST, &cart.url, &format!("/carts/{number}/items"), &basket("42-1")).await;
            assert_eq!(status, StatusCode::OK, "after {done} commands: {text}\n{}", cart.log());
            (done, slowest) = (done + 1, slowest.max(began.elapsed()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (done, slowest)
    };
    let old = password();
    let rotation = async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            tokio::task::block_in_place(|| broker.told(&["user", "cart"]));
        }
        // Long enough for every connection to sign in again, with what holds now.
        tokio::time::sleep(Duration::from_millis(u64::from(SESSIONS_MS) + 1_000)).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (first, second, third, fourth, ()) = tokio::join!(customer(101), customer(102), customer(103), customer(104), rotation);
    let all = [first, second, third, fourth];
    let old_file = broker.user("cart").with_extension("old");
    std::fs::write(&old_file, &old).unwrap();
    assert!(old != password() && User::of(&broker.address(), &old_file).describes().is_err(), "the old password still signs in");
    assert_eq!(cart.process(), process);
    assert_eq!(cart.log().matches("sign in with other credentials").count(), 2, "{}", cart.log());
    let (done, slowest) = (all.iter().map(|(done, _)| done).sum::<u32>(), all.iter().map(|(_, slowest)| *slowest).max().unwrap());
    println!("security: the password changed twice under {done} commands, all answered, slowest {slowest:?}");
}

/// What was found other than the rules say, and how much was allowed and refused.
#[derive(Default)]
struct Found {
    wrong: Vec<String>,
    allowed: usize,
    refused: usize,
}

impl Found {
    fn held(&mut self, what: &str, found: bool, due: bool) {
        *(if found { &mut self.allowed } else { &mut self.refused }) += 1;
        if found != due {
            self.wrong.push(format!("{what} is {}", if found { "allowed" } else { "refused" }));
        }
    }

    fn and(mut self, other: Self) -> Self {
        self.wrong.extend(other.wrong);
        Self { wrong: self.wrong, allowed: self.allowed + other.allowed, refused: self.refused + other.refused }
    }
}

fn there(name: &str) -> String {
    format!("{ATTEMPTED}{name}")
}

fn attempt_topics(user: &User, name: &str) -> Found {
    let mut found = Found::default();
    let topics: Vec<String> = rules::topics().iter().map(|topic| there(topic)).collect();
    let described = user.describes().unwrap();
    found.held(&format!("{name}: a topic outside its namespace"), described.iter().any(|topic| !topics.contains(topic)), false);
    found.held(&format!("{name}: making a topic"), user.creates(&there(&format!("{name}.more"))), false);
    let scan = user.scan(ATTEMPTED);
    let reads = topics.iter().map(|topic| (topic.clone(), user.reads(topic, &scan))).collect();
    let describes = topics.iter().map(|topic| (topic.clone(), described.contains(topic))).collect();
    let of_operations = [reads, user.writes(&topics), describes, user.describes_configs(&topics), user.deletes(&topics), user.alters(&topics)];
    for (operation, of_topics) in rules::OPERATIONS.iter().zip(of_operations) {
        assert_eq!(of_topics.len(), topics.len(), "{name}: {operation}");
        for (topic, allowed) in of_topics {
            found.held(&format!("{name}: {operation} on topic {topic}"), allowed, rules::on_topic(name, operation, topic.strip_prefix(ATTEMPTED).unwrap()));
        }
    }
    found
}

fn attempt_groups(user: &User, name: &str) -> Found {
    let (mut found, shown) = (Found::default(), user.describes_groups());
    for group in rules::groups() {
        found.held(&format!("{name}: Describe on group {group}"), shown.contains(&there(&group)), rules::on_group(name, "Describe", &group));
        found.held(&format!("{name}: Read on group {group}"), user.reads_as(&there(&group), &there("daybook.control")), rules::on_group(name, "Read", &group));
    }
    found
}

fn attempt_transactions(user: &User, name: &str) -> Found {
    let mut found = Found::default();
    for id in rules::transactional_ids() {
        found.held(&format!("{name}: Write on transactional id {id}"), user.begins(&there(&id)), rules::on_transactional_id(name, &id));
    }
    found
}

/// Service × topic × operation, and groups and transactional ids: what the rules say is allowed, and nothing else.
fn everything_else_is_refused(broker: &Broker) {
    let (began, admin) = (Instant::now(), User::of(&broker.address(), &broker.user("admin")));
    std::thread::scope(|scope| {
        for group in rules::groups() {
            let admin = &admin; // a group that is there can be looked for
            scope.spawn(move || assert!(admin.reads_as(&there(&group), &there("daybook.control")), "{group}"));
        }
    });
    let users: Vec<(&str, User)> = ALL
        .iter()
        .chain(&[rules::OPERATOR, rules::NOBODY])
        .map(|name| (*name, if *name == rules::NOBODY { (*name).to_owned() } else { format!("shop-{name}") }))
        .map(|(name, file)| (name, User::of(&broker.address(), &broker.user(&file))))
        .collect();
    let found = std::thread::scope(|scope| {
        let attempts: [fn(&User, &str) -> Found; 3] = [attempt_topics, attempt_groups, attempt_transactions];
        let all: Vec<_> = users.iter().flat_map(|(name, user)| attempts.map(|attempt| scope.spawn(move || attempt(user, name)))).collect();
        all.into_iter().map(|attempts| attempts.join().unwrap()).fold(Found::default(), Found::and)
    });
    let (topics, groups, ids) = (rules::topics().len(), rules::groups().len(), rules::transactional_ids().len());
    let Found { wrong, allowed, refused } = found;
    println!(
        "security: {} users, {topics} topics, {groups} groups, {ids} transactional ids: {allowed} attempts allowed, {refused} refused, {} other than the rules say; {:?}",
        users.len(),
        wrong.len(),
        began.elapsed()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(allowed + refused, users.len() * (2 + topics * rules::OPERATIONS.len() + 2 * groups + ids));
}

/// A process that is not let do what it needs ends within seconds, and says what it was.
async fn what_is_missing_is_said(broker: &Broker, dir: &Path, client: &Client) {
    let (wrong, none) = (broker.user("cart").with_extension("wrong"), broker.user("cart").with_extension("no-ca"));
    let right = std::fs::read_to_string(broker.user("cart")).unwrap();
    let change = |key: &str, value: &str| {
        right.lines().map(|line| if line.starts_with(key) { format!("{key}={value}\n") } else { format!("{line}\n") }).collect::<String>()
    };
    std::fs::write(&wrong, change("sasl.password", "not-the-password")).unwrap();
    std::fs::write(&none, change("ssl.ca.location", "/etc/ssl/certs/ca-certificates.crt")).unwrap();
    let strangers = [("wrong", "refuses the sign-in"), ("no-ca", "certificate")].map(|(kind, said)| {
        let file = broker.user("cart").with_extension(kind);
        (instance(broker, dir, POOR, "cart", &format!("cart-{kind}")).under("DAYBOOK_KAFKA_FILE", file.to_str().unwrap()), said)
    });
    let poor = AT_START.map(|(name, _, said)| (instance(broker, dir, POOR, "cart", &format!("poor-{name}")), said));
    let ends = |mut server: Server, said: &str| {
        let began = Instant::now();
        let (code, log) = server.refused();
        let after = began.elapsed();
        assert!(code == Some(1) && log.contains(said) && after < Duration::from_secs(20), "it ended {code:?} after {after:?}, without '{said}':\n{log}");
        println!("security: '{said}' is said, and the process ends, after {after:?}");
    };
    // Those that are refused before they join a group are in nobody's way.
    let (mut apart, mut members) = (strangers.into_iter().collect::<Vec<_>>(), vec![]);
    for (number, poor) in poor.into_iter().enumerate() {
        if number < BEFORE_JOINING { apart.push(poor) } else { members.push(poor) }
    }
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| apart.into_iter().for_each(|(server, said)| drop(scope.spawn(move || ends(server, said)))));
        members.into_iter().for_each(|(server, said)| ends(server, said));
    });
    for (name, _, said) in AT_WORK {
        let mut server = instance(broker, dir, POOR, "cart", &format!("poor-{name}"));
        tokio::task::block_in_place(|| server.start());
        let began = Instant::now();
        let empty = client.delete(format!("{}/carts/17/items", server.url)).header("prefer", "wait=5").send().await;
        let ended = tokio::task::block_in_place(|| server.ended(Duration::from_secs(20)));
        assert!(ended == Some(Some(1)) && server.log().contains(said), "{name} ended {ended:?} after {empty:?}, without '{said}':\n{}", server.log());
        println!("security: '{said}' is said, and the process ends, {:?} after its first command", began.elapsed());
    }
}

#[test]
fn the_lines_of_each_service_and_the_commands_of_kafkas_own_tool() {
    let all = acls(&[]);
    let lines: BTreeSet<&str> = all.lines().collect();
    assert_eq!(lines.len(), all.lines().count(), "a line stands twice");
    let of = |service: &str| acls(&[service]).lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(ALL.iter().flat_map(|service| of(service)).collect::<BTreeSet<_>>(), lines.iter().map(|line| (*line).to_owned()).collect());
    for line in ["User:cart Read Topic LITERAL catalog.events", "User:cart Read Group LITERAL cart.router", "User:cart Write TransactionalId PREFIXED cart."] {
        assert!(lines.contains(line), "{line}\n{all}");
    }
    let named = acls(&["cart", "--principal", "User:CN={service}", "--namespace", "shop."]);
    assert!(named.lines().all(|line| line.starts_with("User:CN=cart ") && line.contains("ED shop.") || line.contains("LITERAL shop.")), "{named}");
    let commands = acls(&["cart", "--format", "kafka-acls.sh"]);
    assert!(commands.lines().all(|line| line.starts_with("kafka-acls.sh ") && line.contains("--allow-principal 'User:cart'")), "{commands}");
    let right = "--operation Write --resource-pattern-type prefixed --transactional-id 'cart.'";
    assert!(commands.contains(right) && commands.lines().count() < 15, "{commands}");
    for (arguments, said) in [
        (["kafka-acls", "carts"], "there is no service 'carts'"),
        (["kafka-acls", "--principal=cart"], "TYPE:NAME"),
        (["provision", "--partitions=1"], "needs --brokers"),
    ] {
        let done = daybook(&binary(), &arguments);
        assert!(done.status.code() == Some(2) && String::from_utf8_lossy(&done.stderr).contains(said), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_is_let_do_what_it_must_and_nothing_else() {
    let _alone = ALONE.lock().await;
    let (dir, began) = (TempDir::new().unwrap(), Instant::now());
    let (broker, client) = (Broker::secure(SESSIONS_MS), crate::process::http().timeout(Duration::from_secs(40)).build().unwrap());
    provide(&broker, dir.path());
    println!("security: provided after {:?}", began.elapsed());
    let database = Database::start();
    let mut fleet = ALL.map(|service| instance(&broker, dir.path(), "", service, service).under("DAYBOOK_POSTGRES", database.url()));
    std::thread::scope(|scope| fleet.iter_mut().for_each(|server| drop(scope.spawn(|| server.start()))));
    println!("security: {} processes are ready after {:?}", fleet.len(), began.elapsed());
    sells(&fleet, &client).await;
    let cart = &fleet[ALL.iter().position(|service| *service == "cart").unwrap()];
    passwords_change(&broker, cart, &client).await;
    std::thread::scope(|scope| {
        for (server, service) in fleet.iter_mut().zip(ALL) {
            scope.spawn(move || assert!(server.stop(), "{service} did not end well:\n{}", server.log()));
        }
    });
    println!("security: sold and stopped after {:?}", began.elapsed());
    tokio::task::block_in_place(|| everything_else_is_refused(&broker));
    what_is_missing_is_said(&broker, dir.path(), &client).await;
    println!("security: all after {:?}", began.elapsed());
}
