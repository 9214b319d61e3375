//! The operating verbs, each as the real binary against a running marketplace: what they show, what they do, and what
//! they say when they cannot. On the embedded log, on one of which half the services are away, and on a real broker.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use eventstore::embedded::{Embedded, Settings};
use eventstore::{Log, Message};
use reqwest::{Method, StatusCode};
use schemas::{Headers, Stream, partition_of, topic};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::broker::Broker;
use crate::process::{ALL, Caller, PATIENCE, Server, binary, daybook};
use crate::sagas::{given_up, is_given_up};

/// Exit code, standard output and standard error of a verb.
pub fn run(url: &str, arguments: &[&str]) -> (i32, String, String) {
    let done = tokio::task::block_in_place(|| daybook(&binary(), &[arguments, &["--url", url]].concat()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code().unwrap(), text(&done.stdout), text(&done.stderr))
}

/// The answer of a verb that must succeed.
pub fn json_of(url: &str, arguments: &[&str]) -> Value {
    let (code, out, err) = run(url, &[arguments, &["-o", "json"]].concat());
    assert_eq!(code, 0, "{arguments:?}: {err}");
    serde_json::from_str(&out).unwrap_or_else(|why| panic!("{arguments:?}: {why}: {out}"))
}

/// What `tail` prints.
fn lines_of(url: &str, arguments: &[&str]) -> Vec<Value> {
    let (code, out, err) = run(url, &[&["tail"], arguments, &["-o", "json"]].concat());
    assert_eq!(code, 0, "{arguments:?}: {err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// That a verb fails, and says what is wrong.
pub fn fails(url: &str, arguments: &[&str], with: i32, saying: &str) {
    let (code, out, err) = run(url, arguments);
    assert!(code == with && err.contains(saying) && out.is_empty(), "{arguments:?} ended {code}, not {with}: {out}{err}");
}

/// How many offsets a trim took, or would take.
fn gone(trimmed: &Value) -> u64 {
    trimmed["items"].as_array().unwrap().iter().map(|place| place["offsets"].as_u64().unwrap()).sum()
}

/// Asks until the answer is right.
pub async fn until(what: &str, mut ask: impl FnMut() -> Option<Value>) -> Value {
    let began = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "never {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub async fn done(caller: &Caller, method: Method, path: &str, id: &str, body: Value) -> Value {
    let (status, answer) = caller.command(method, path, id, body).await;
    assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    answer
}

/// Two pieces of product 1-1 in customer 1's cart, as soon as carts have heard of it.
pub async fn fill(caller: &Caller, round: &str) {
    let body = json!({ "items": [{ "product": "1-1", "quantity": 2, "unit_price": "2.55" }] });
    for attempt in 0..400 {
        let (status, answer) = caller.command(Method::POST, "/carts/1/items", &format!("fill{round}.{attempt}"), body.clone()).await;
        if status == StatusCode::OK {
            return;
        }
        assert_eq!(answer["code"], "unknown-product", "{answer}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("carts never heard of the product");
}

/// An order 1-1 that is paid.
async fn sell(caller: &Caller) {
    done(caller, Method::PUT, "/products/1-1", "product", json!({ "name": "lamp", "price": "2.55" })).await;
    done(caller, Method::POST, "/stock/1-1/receipts", "receipt", json!({ "quantity": 10, "reference": "first" })).await;
    fill(caller, "").await;
    let paid = done(caller, Method::POST, "/carts/1/checkout", "checkout", json!({ "payment_type": "BOLETO" })).await;
    assert_eq!((&paid["ended"], &paid["id"]), (&json!("paid"), &json!("1-1")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aggregate_is_shown_now_and_as_it_was() {
    let dir = TempDir::new().unwrap();
    let server = Server::started(binary(), &dir.path().join("data"));
    sell(&Caller::new(&server.url)).await;
    let url = &server.url;

    let now = until("shipped", || Some(json_of(url, &["inspect", "order/1-1"])).filter(|shown| shown["version"] == 5)).await;
    let events = |shown: &Value| shown["history"].as_array().unwrap().iter().map(|step| step["event"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(events(&now), ["placed", "line-reserved", "invoiced", "paid", "shipped"]);
    assert_eq!((&now["version"], &now["as_of"], &now["state"]["status"], &now["waits_for"]), (&json!(5), &json!(5), &json!("Paid"), &Value::Null));
    assert_eq!((&now["service"], &now["owner"], &now["left_off"]), (&json!("ordering"), &Value::Null, &json!(0)));
    // The beginning is the checkout's: its chain can be followed from here.
    let first = &now["history"][0];
    assert!(first["correlation"] == "checkout" && first["causation"].is_string() && first["at"].is_string(), "{first}");
    let found = lines_of(url, &["ordering.events", "--from", "beginning", "--partition", &now["partition"].to_string()]);
    assert!(found.iter().any(|record| record["offset"] == first["offset"] && record["headers"]["ce_subject"] == "1-1"), "{found:?}");

    let then = json_of(url, &["inspect", "order/1-1", "--version", "1"]);
    assert_eq!((&then["state"]["status"], &then["version"], &then["as_of"]), (&json!("Reserving"), &json!(5), &json!(1)));
    assert_eq!((&then["waits_for"], events(&then)), (&json!("stock's answer for line 0"), vec!["placed".to_owned()]));
    assert!(then["deadline"].is_string());
    assert_eq!(json_of(url, &["inspect", "order/1-1", "--version", "3"])["waits_for"], "payment's answer");
    let short = json_of(url, &["inspect", "order/1-1", "--limit", "1"]);
    assert_eq!((events(&short), &short["left_off"]), (vec!["shipped".to_owned()], &json!(4)));

    let partition = partition_of(b"1", 8).to_string();
    // Every kind of aggregate can be shown, whatever its state holds; the state now is the fold of its stream.
    for (name, partition) in [
        ("product/1-1", None),
        ("stock-item/1-1", None),
        ("cart/1", None),
        ("payment/1-1", None),
        ("shipment/1-1", None),
        ("replica/1-1", Some(partition.as_str())),
    ] {
        let asked = [vec!["inspect", name], partition.map_or(vec![], |partition| vec!["--partition", partition])].concat();
        let shown = json_of(url, &asked);
        assert!(shown["state"].is_object(), "{shown}");
        let version = shown["version"].to_string();
        let folded = json_of(url, &[asked, vec!["--version", &version]].concat());
        assert_eq!(folded["state"], shown["state"], "{name}");
    }
    let stock = json_of(url, &["inspect", "stock-item/1-1"]);
    assert_eq!((&stock["state"]["received"], &stock["state"]["sold"]), (&json!(10), &json!(2)));
    let step = stock["history"].as_array().unwrap().iter().find(|step| step["event"] == "reserved").unwrap();
    let reserved = json_of(url, &["inspect", "stock-item/1-1", "--version", &step["version"].to_string()]);
    assert_eq!(reserved["state"]["reservations"].as_object().unwrap().len(), 1, "{reserved}");

    let (code, out, _) = run(url, &["inspect", "order/1-1"]);
    assert!(code == 0 && out.contains("order/1-1  version 5") && out.contains("line-reserved") && out.contains("\"status\": \"Paid\""), "{out}");
    fails(url, &["inspect", "order/9-9"], 1, "no order 9-9: nothing ever happened to it");
    fails(url, &["inspect", "order/1-1", "--version", "6"], 1, "has no version 6: its versions are 1 to 5");
    fails(url, &["inspect", "order/1-1", "--version", "0"], 1, "has no version 0");
    fails(url, &["inspect", "ordre/1-1"], 2, "no aggregate 'ordre': one of ");
    fails(url, &["inspect", "replica/1-1", "--partition", "99"], 2, "numbered from 0 to 7");
    fails(url, &["inspect", "order"], 2, "<aggregate>/<id>");
    fails("http://127.0.0.1:1", &["inspect", "order/1-1"], 1, "nothing runs at http://127.0.0.1:1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_shown_from_any_place_and_as_they_come() {
    let dir = TempDir::new().unwrap();
    let server = Server::started(binary(), &dir.path().join("data"));
    let (caller, url) = (Caller::new(&server.url), &server.url);
    for n in 1..=12 {
        done(&caller, Method::POST, "/stock/1-1/receipts", &format!("r{n}"), json!({ "quantity": n, "reference": format!("r{n}") })).await;
    }
    let quantities = |lines: &[Value]| lines.iter().map(|record| record["body"]["quantity"].as_u64().unwrap()).collect::<Vec<_>>();
    let all = lines_of(url, &["stock.commands", "--from", "beginning"]);
    assert_eq!(quantities(&all), (1..=12).collect::<Vec<_>>());
    assert!(all.iter().all(|record| record["key"] == "1" && record["headers"]["ce_type"] == "dev.daybook.stock-item.receive.v1"), "{all:?}");
    assert_eq!(quantities(&lines_of(url, &["stock.commands"])), (3..=12).collect::<Vec<_>>(), "the last ten, unless told otherwise");
    assert_eq!(quantities(&lines_of(url, &["stock.commands", "--from", "-2"])), [11, 12]);
    assert_eq!(quantities(&lines_of(url, &["stock.commands", "--from", "beginning", "--limit", "3"])), [1, 2, 3]);
    let (partition, offset) = (all[4]["partition"].to_string(), all[4]["offset"].to_string());
    assert_eq!(quantities(&lines_of(url, &["stock.commands", "--partition", &partition, "--from", &offset])), (5..=12).collect::<Vec<_>>());
    assert!(lines_of(url, &["stock.commands", "--from", "end"]).is_empty() && lines_of(url, &["payment.events", "--from", "beginning"]).is_empty());
    let (_, out, _) = run(url, &["tail", "stock.commands", "--from", "-1"]);
    assert!(
        out.contains("stock.commands/") && out.contains("  ce_id: r12~") && out.contains("  ce_correlationid: r12\n") && out.contains("\"quantity\":12"),
        "{out}"
    );

    // Following: what comes later is printed when it comes.
    let mut following = Command::new(binary())
        .args(["tail", "stock.events", "--from", "end", "--follow", "--limit", "1", "-o", "json", "--url", url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(following.try_wait().unwrap().is_none(), "it did not wait");
    let (began, mut late) = (Instant::now(), 0);
    while following.try_wait().unwrap().is_none() {
        if began.elapsed() > PATIENCE {
            following.kill().unwrap();
        }
        late += 1;
        let body = json!({ "quantity": 99, "reference": format!("late{late}") });
        done(&caller, Method::POST, "/stock/1-1/receipts", &format!("late{late}"), body).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let printed = String::from_utf8(following.wait_with_output().unwrap().stdout).unwrap();
    assert!(printed.lines().count() == 1 && printed.contains("\"quantity\":99"), "{printed}");

    fails(url, &["tail", "stock.orders"], 2, "no topic 'stock.orders': one of ");
    fails(url, &["tail", "stock.events", "--partition", "8"], 2, "has no partition 8");
    fails(url, &["tail", "stock.events", "--from", "yesterday"], 2, "beginning, end, an offset, or -N");
    fails(url, &["tail", "stock.events", "--from", "-5000"], 2, "at most the last 1000");
}

/// A command that cannot be read, as a careless program would write it; with the number of a test card.
fn broken() -> Message {
    let headers: Headers =
        [("ce_specversion", "1.0"), ("ce_id", "broken"), ("ce_source", "/t"), ("ce_type", "dev.daybook.stock-item.receive.v1")].into_iter().collect();
    let partition = partition_of(b"1", 8);
    Message { topic: topic(Stream::Commands("stock")), partition, key: b"1".to_vec(), headers, value: Some(br#"{"card":"4111111111111111"}"#.to_vec()) }
}

/// That nothing is done about a letter is settled, kept and told; the letter itself stays.
async fn discarded(url: &str, caller: &Caller, letter: &str) {
    let (code, out, err) = run(url, &["dead-letters", "discard", letter, "--reason", "a script of 4111111111111111"]);
    assert!(code == 2 && out.contains(letter) && err.contains("--yes"), "{code}: {out}{err}");
    assert_eq!(json_of(url, &["dead-letters", "list"])["items"].as_array().unwrap().len(), 1, "it was done unasked");
    for _ in 0..2 {
        let done = json_of(url, &["dead-letters", "discard", letter, "--reason", "a script of 4111111111111111", "--actor", "ann", "--yes"]);
        assert_eq!((&done["discarded"]["reason"], &done["discarded"]["actor"]), (&json!("a script of ************1111"), &json!("ann")), "{done}");
    }
    let (listed, all) = (json_of(url, &["dead-letters", "list"]), json_of(url, &["dead-letters", "list", "--all"]));
    assert_eq!((&listed["items"], &listed["discarded"]), (&json!([]), &json!(1)));
    assert_eq!((all["items"].as_array().unwrap().len(), &all["items"][0]["id"], &all["items"][0]["discarded"]["actor"]), (1, &json!(letter), &json!("ann")));
    let (_, out, _) = run(url, &["dead-letters", "list"]);
    assert!(out.contains("No dead letters.") && out.contains("1 were discarded"), "{out}");
    assert!(run(url, &["dead-letters", "list", "--all"]).1.contains("discarded: a script of"));
    assert_eq!(json_of(url, &["dead-letters", "show", letter])["discarded"]["actor"], "ann");
    fails(url, &["dead-letters", "retry", letter], 1, "was discarded");
    // What says so is no letter, and is in the log once.
    let records = lines_of(url, &["stock.commands.dlt", "--from", "beginning"]);
    let marks: Vec<&Value> = records.iter().filter(|record| record["headers"]["dlt-discards"].is_string()).collect();
    assert_eq!((records.len(), marks.len()), (2, 1), "{records:?}");
    let mark = format!("stock/{}/{}", marks[0]["partition"], marks[0]["offset"]);
    fails(url, &["dead-letters", "show", &mark], 1, "is no letter");
    fails(url, &["dead-letters", "discard", &mark, "--reason", "x", "--yes"], 1, "is no letter");
    let metrics = caller.client.get(format!("{url}/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains(r#"daybook_dead_letters_discarded_total{service="stock"} 1"#), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_measured_and_decided_commands_trimmed() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::new(binary(), &data);
    {
        let log = Embedded::open(&data.join("log"), Settings::default()).unwrap();
        log.provision(&[eventstore::log::TopicSpec { topic: topic(Stream::Commands("stock")), retention: None }]).unwrap();
        log.append(vec![broken()]).unwrap();
    }
    std::fs::write(data.join("card.key"), [7; 32]).unwrap(); // as if a start had made both
    server.start();
    let url = server.url.clone();
    let caller = Caller::new(&url);
    sell(&caller).await;
    let (_, shown, _) = run(&url, &["tail", "stock.commands", "--from", "beginning", "--limit", "1"]);
    assert!(shown.contains("************1111") && !shown.contains("4111111111111111"), "a card number is shown: {shown}");

    let extent =
        |topics: &Value, name: &str| -> Vec<Value> { topics["topics"].as_array().unwrap().iter().filter(|extent| extent["topic"] == name).cloned().collect() };
    let topics = until("caught up", || {
        let topics = json_of(&url, &["topics"]);
        let lag = |reader: &Value| reader["lag"].as_u64().unwrap();
        let groups: u64 = topics["topics"].as_array().unwrap().iter().flat_map(|extent| extent["groups"].as_array().unwrap()).map(lag).sum();
        let views: u64 = topics["views"].as_array().unwrap().iter().map(lag).sum();
        (groups + views == 0).then_some(topics)
    })
    .await;
    assert_eq!(extent(&topics, "stock.commands").len(), 8);
    assert!(
        extent(&topics, "ordering.events").iter().any(|extent| extent["end"].as_u64().unwrap() >= 4 && extent["groups"].as_array().unwrap().len() >= 3),
        "{topics}"
    );
    let components: Vec<&str> = topics["disk"].as_array().unwrap().iter().map(|part| part["component"].as_str().unwrap()).collect();
    assert!(["log", "heads/ordering", "views/orders"].iter().all(|part| components.contains(part)), "{components:?}");
    assert!(topics["disk"].as_array().unwrap().iter().all(|part| part["bytes"].as_u64().unwrap() > 0), "{topics}");
    let (code, out, _) = run(&url, &["topics"]);
    assert!(code == 0 && out.contains("ordering.events") && out.contains("views/orders") && out.contains("stock.router 0"), "{out}");

    let ends = |topics: &Value| topics["topics"].as_array().unwrap().iter().map(|extent| (extent["start"].clone(), extent["end"].clone())).collect::<Vec<_>>();
    let planned = json_of(&url, &["trim", "--dry-run", "--all"]);
    assert!(gone(&planned) > 5 && ends(&json_of(&url, &["topics"])) == ends(&topics), "a dry run changed something: {planned}");
    // Without a yes the plan is told, and nothing is done.
    let (code, out, err) = run(&url, &["trim", "--all"]);
    assert!(code == 2 && out.contains("offsets would be deleted; nothing was.") && err.contains("--yes"), "{code}: {out}{err}");
    assert_eq!(ends(&json_of(&url, &["topics"])), ends(&topics), "it was done unasked");
    let stock = json_of(&url, &["trim", "stock", "--yes"]);
    assert!(gone(&stock) > 0 && stock["items"].as_array().unwrap().iter().all(|place| place["topic"] == "stock.commands"), "{stock}");
    assert_eq!(gone(&planned), gone(&json_of(&url, &["trim", "--all", "--yes"])) + gone(&stock));
    let (_, out, _) = run(&url, &["trim", "--all"]);
    assert!(out.starts_with("Nothing to trim"), "{out}");
    let after = json_of(&url, &["topics"]);
    let began = |extent: &Value| extent["start"].as_u64().unwrap();
    assert!(extent(&after, "stock.commands").iter().map(began).sum::<u64>() > 0);
    for (before, now) in topics["topics"].as_array().unwrap().iter().zip(after["topics"].as_array().unwrap()) {
        let commands = now["topic"].as_str().unwrap().ends_with(".commands");
        assert!(before["end"] == now["end"] && (commands || before["start"] == now["start"]), "more than commands was trimmed: {before} {now}");
    }
    let partition = partition_of(b"1", 8).to_string();
    fails(&url, &["tail", "stock.commands", "--partition", &partition, "--from", "0"], 1, "what was before is not kept");
    let letters = json_of(&url, &["dead-letters", "list"]);
    let letter = letters["items"][0]["id"].as_str().unwrap();
    fails(&url, &["dead-letters", "retry", letter], 1, "was trimmed");
    fails(&url, &["trim", "stocks"], 2, "no service 'stocks': one of ");
    discarded(&url, &caller, letter).await;
    fails(&url, &["trim"], 2, "required");
    fails(&url, &["trim", "stock", "--all"], 2, "cannot be used with");

    // Nothing is missed: not now, not after a kill, and a command of before is answered as before.
    server.kill();
    server.start();
    assert_eq!(json_of(&url, &["dead-letters", "list"])["discarded"], 1);
    let again = done(&caller, Method::POST, "/carts/1/checkout", "checkout", json!({ "payment_type": "BOLETO" })).await;
    assert_eq!((&again["ended"], &again["id"]), (&json!("paid"), &json!("1-1")));
    done(&caller, Method::POST, "/stock/1-1/receipts", "second", json!({ "quantity": 1, "reference": "second" })).await;
    let deadline = std::time::Instant::now() + crate::process::PATIENCE;
    while caller.get("/stock/1-1").await["available"] != 9 {
        assert!(std::time::Instant::now() < deadline, "the second delivery is not shown"); // its view follows
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(server.verify()["matches"], true);
    assert!(server.stop());
}

/// Two instances on a real broker: what one does not have, the other is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verbs_work_on_a_broker_and_across_instances() {
    let (dir, namespace) = (TempDir::new().unwrap(), Broker::namespace());
    let instance = |name: &str, services: &[&str]| Server::on_kafka(binary(), &dir.path().join(name), Broker::shared(), &namespace, services);
    let others: Vec<&str> = ALL.into_iter().filter(|service| *service != "stock").collect();
    let mut one = instance("one", &others);
    one.start();
    let caller = Caller::new(&one.url);
    given_up(&one.url, &caller).await;
    let (_, _, missing) = run(&one.url, &["sagas", "list"]);
    assert!(missing.contains("nobody owns stock/0"), "{missing}");
    let mut two = instance("two", &["stock"]);
    two.start();
    is_given_up(&one.url, &caller, Some(&two.url)).await;
    // Asked at the other one, it is found at the first.
    let order = json_of(&two.url, &["inspect", "order/1-1", "--version", "1"]);
    assert_eq!((&order["owner"], &order["state"]["status"]), (&json!(one.url), &json!("Reserving")));
    fails(&two.url, &["inspect", "order/1-1", "--version", "9"], 1, "has no version 9");
    let then = Caller::new(&two.url).get("/orders/1-1?version=1").await;
    assert_eq!((&then["status"], &then["revision"], &then), (&json!("reserving"), &json!(1), &caller.get("/orders/1-1?version=1").await));

    let last = lines_of(&two.url, &["ordering.events", "--partition", &order["partition"].to_string(), "--from", "-1"]);
    assert!(last.len() == 1 && last[0]["headers"]["ce_subject"] == "1-2", "{last:?}");
    let topics = json_of(&one.url, &["topics"]);
    let names: Vec<&str> = topics["topics"].as_array().unwrap().iter().map(|extent| extent["topic"].as_str().unwrap()).collect();
    assert!(names.contains(&"daybook.claims") && names.contains(&"stock.commands.dlt"), "{names:?}");

    // Whoever has read every record is not behind, although the ends of transactions lie behind the last of them.
    until("caught up", || {
        let topics = json_of(&one.url, &["topics"]);
        let lag = |reader: &Value| reader["lag"].as_u64().unwrap();
        let groups: u64 = topics["topics"].as_array().unwrap().iter().flat_map(|extent| extent["groups"].as_array().unwrap()).map(lag).sum();
        let views: u64 = topics["views"].as_array().unwrap().iter().map(lag).sum();
        (groups + views == 0).then_some(topics)
    })
    .await;
    // The data directory of another process is not the one to delete.
    let second = Server::on_kafka(binary(), &dir.path().join("one"), Broker::shared(), &namespace, &["catalog"]).refused();
    assert!(second.0 == Some(1) && second.1.contains("is open in another process") && !second.1.contains("delete that directory"), "{second:?}");

    let planned = json_of(&one.url, &["trim", "--all", "--dry-run"]);
    let trimmed = json_of(&one.url, &["trim", "--all", "--yes"]);
    assert!(gone(&trimmed) >= gone(&planned) && gone(&planned) > 3, "{planned} {trimmed}");
    // A reader may still step over the markers that end transactions.
    until("all trimmed", || Some(json_of(&two.url, &["trim", "--all", "--yes"])).filter(|again| gone(again) == 0)).await;
    let partition = partition_of(b"1", 8).to_string();
    fails(&one.url, &["tail", "stock.commands", "--partition", &partition, "--from", "0"], 1, "what was before is not kept");
    for server in [&mut one, &mut two] {
        server.kill();
        server.start();
    }
    done(&caller, Method::POST, "/stock/1-1/receipts", "second", json!({ "quantity": 1, "reference": "second" })).await;
    assert_eq!(caller.get("/stock/1-1").await["available"], 9);
    assert!(one.verify()["matches"] == true && two.verify()["matches"] == true);
    assert!(one.stop() && two.stop());
}
