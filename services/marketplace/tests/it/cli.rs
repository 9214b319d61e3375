//! The command line as its users meet it: exit codes, settings, what is printed, signals and logs, each through the real
//! binary.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::load::serve;
use crate::operate::{done, fails, json_of, run, until};
use crate::process::{Caller, PATIENCE, Server, binary, free};

/// Runs the binary with these variables.
fn with(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(binary()).args(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn wrong_use_ends_with_two_whoever_finds_it() {
    let dir = TempDir::new().unwrap();
    let (file, data) = (dir.path().join("daybook.toml"), dir.path().join("data").display().to_string());
    std::fs::write(&file, "lisen = \"127.0.0.1:1\"\n").unwrap();
    let (file, none) = (file.display().to_string(), Vec::<(&str, &str)>::new());
    for (arguments, environment, part) in [
        ("up --lissten x", none.clone(), "--lissten"),
        ("up --listen nonsense", none.clone(), "HOST:PORT"),
        ("up --listen 127.0.0.1:99999", none.clone(), "HOST:PORT"),
        ("up --listen 0.0.0.0:0", none.clone(), "--behind-proxy"),
        ("up --card-key zz", none.clone(), "64 hex digits"),
        ("up --log =[", none.clone(), "log filter"),
        ("up --log-format xml", none.clone(), "xml"),
        ("up --partitions 0", none.clone(), "at least 1 partition"),
        ("up --namespace x", none.clone(), "no --brokers"),
        ("up --brokers 127.0.0.1:1 --accept-loss", none.clone(), "--accept-loss"),
        ("up --config /nowhere/daybook.toml", none.clone(), "/nowhere/daybook.toml"),
        (&format!("up --config {file}"), none.clone(), "lisen"),
        ("up", vec![("DAYBOOK_LISTN", "x")], "DAYBOOK_LISTN"),
        ("config", vec![("DAYBOOK_CARD_KEY", "é")], "64 hex digits"),
        ("serve", none.clone(), "SERVICE"),
        ("serve cart --card-key zz", none.clone(), "64 hex digits"),
        ("serve cart", none.clone(), "serve needs --brokers"),
        ("serve cart --brokers 127.0.0.1:1", none.clone(), "serve needs --card-key"),
        ("serve carts --brokers 127.0.0.1:1", none.clone(), "there is no service 'carts'"),
        ("load --clients 0", none.clone(), "--clients 0"),
        ("load --rate 0", none.clone(), "--rate 0"),
        ("load --rate 5 --in-flight 0", none.clone(), "--in-flight 0"),
        ("load --pid 4294967295", none.clone(), "--pid 4294967295"),
        ("topics --url ftp://there", none.clone(), "http://HOST:PORT"),
        ("topics", vec![("DAYBOOK_URL", "there")], "http://HOST:PORT"),
        ("verify", vec![("DAYBOOK_URL", "there")], "http://HOST:PORT"),
        ("verify --data x --url http://127.0.0.1:1", none.clone(), "cannot be used with"),
        ("tail stock.events --from yesterday", none.clone(), "beginning, end, an offset"),
        ("dead-letters show stock-5", none.clone(), "<service>/<partition>/<offset>"),
        ("dead-letters discard stock/5/1", none.clone(), "--reason"),
        ("sagas end order/1-1 --refuse --reason \u{e9}", none.clone(), "visible ASCII"),
        ("inspect order", none.clone(), "<aggregate>/<id>"),
        ("trim --all --yes --dry-run", none.clone(), "cannot be used with"),
        ("replay", none.clone(), "--dry-run"),
        ("completions tcsh", none.clone(), "tcsh"),
        ("man nosuch", none.clone(), "there is no command 'nosuch'"),
    ] {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let kept = ["--data", data.as_str()];
        let given = [&arguments[..], if arguments[0] == "up" { &kept } else { &[] }].concat();
        let wrong = with(&given, &environment);
        let said = text(&wrong.stderr);
        assert!(wrong.status.code() == Some(2) && said.contains(part) && wrong.stdout.is_empty(), "{arguments:?} ended {:?}: {said}", wrong.status);
    }
    assert!(!Path::new(&data).exists(), "something was made before it was looked whether it may be");
    // What was asked rightly, and failed, is another thing.
    for (arguments, part) in [("topics --url http://127.0.0.1:1", "nothing runs"), ("verify --data /nowhere", "no Daybook data")] {
        let failed = with(&arguments.split(' ').collect::<Vec<_>>(), &[]);
        assert!(failed.status.code() == Some(1) && text(&failed.stderr).contains(part), "{arguments}: {}", text(&failed.stderr));
    }
}

#[test]
fn version_help_completions_and_manual_say_what_there_is() {
    let version = text(&with(&["--version"], &[]).stdout);
    let git = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let commit = git.ok().filter(|git| git.status.success()).map_or_else(|| "unknown".to_owned(), |git| text(&git.stdout).trim().to_owned());
    assert_eq!(version, format!("daybook {} ({commit})\n", env!("CARGO_PKG_VERSION")));

    let help = text(&with(&["--help"], &[]).stdout);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let files: Vec<&str> = help.split_whitespace().filter(|word| word.ends_with(".csv")).collect();
    assert!(!files.is_empty() && files.iter().all(|file| root.join(file).exists()), "{files:?}");

    let verbs: Vec<&str> =
        help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap().lines().filter_map(|line| line.split_whitespace().next()).collect();
    for shell in ["bash", "zsh", "fish"] {
        let completions = with(&["completions", shell], &[]);
        let completed = text(&completions.stdout);
        let all = verbs.iter().filter(|verb| **verb != "help").all(|verb| completed.contains(verb));
        assert!(completions.status.success() && all && completed.contains("accept-loss"), "{shell}: {verbs:?}");
    }
    let bash = with(&["completions", "bash"], &[]).stdout;
    let mut checked = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut checked.stdin.take().unwrap(), &bash).unwrap();
    assert!(checked.wait().unwrap().success(), "bash does not understand its completions");
    let page = text(&with(&["man"], &[]).stdout);
    assert!(page.contains(".TH daybook") && verbs.iter().filter(|verb| **verb != "help").all(|verb| page.contains(&verb.replace('-', "\\-"))), "{page}");
    let page = text(&with(&["man", "dead-letters", "discard"], &[]).stdout);
    assert!(page.contains("dead\\-letters") && page.contains("\\-\\-reason"), "{page}");
}

/// Where all of it is not right nothing is printed: a part of it would be taken, too.
#[test]
fn what_kubernetes_is_given_is_whole_and_in_quotes() {
    let strimzi = |more: &[&str]| with(&[&["strimzi", "--cluster", "1"], more].concat(), &[]);
    let whole = text(&strimzi(&["--principal", "User:on", "--http", "all"]).stdout);
    for named in ["strimzi.io/cluster: \"1\"", "name: \"on\"", "name: \"cart.events\"", "kind: KafkaUser"] {
        assert!(whole.contains(named), "no {named}");
    }
    let refused = strimzi(&["--principal", "User:Not_One", "--http", "all"]);
    assert_eq!((refused.status.code(), text(&refused.stdout).as_str()), (Some(2), ""), "{}", text(&refused.stderr));
}

/// As OpenTelemetry has it: a variable that is empty is one that is not set.
#[test]
fn an_empty_variable_of_opentelemetry_is_none() {
    let empty = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_TRACES_SAMPLER_ARG"].map(|name| (name, ""));
    let shown = with(&["config"], &empty);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
}

#[test]
fn a_port_alone_and_a_name_are_listened_on() {
    let dir = TempDir::new().unwrap();
    for (at, host) in ["localhost", ""].iter().enumerate() {
        let mut server = Server::new(binary(), &dir.path().join(format!("data{at}")));
        let port = free();
        server.listens(&format!("{host}:{port}"), &format!("http://127.0.0.1:{port}"));
        server.start();
        assert!(server.stop());
    }
}

#[test]
fn the_settings_that_hold_can_be_read_back() {
    let dir = TempDir::new().unwrap();
    let (first, key) = (dir.path().join("first.toml"), "a1".repeat(32));
    let kafka = ["--kafka", "sasl.password=geheim", "--kafka", "security.protocol=SASL_SSL", "--kafka", "client.rack=x \"y\""];
    let cluster = [&["--brokers", "127.0.0.1:9092", "--namespace", "x-y"][..], &kafka].concat();
    let given = [
        "config",
        "--listen",
        "0.0.0.0:81",
        "--behind-proxy",
        "--identity-key",
        &key,
        "--rate-limit",
        "7",
        "--advertise",
        "http://h:81",
        "--allow-host",
        "shop.example,h:82",
        "--log-format",
        "text",
        "--access-log",
        "--card-key",
        &key,
    ];
    let shown = with(&[&given[..], &cluster[..]].concat(), &[]);
    let printed = text(&shown.stdout);
    assert!(shown.status.success() && !printed.contains("geheim") && !printed.contains(&key), "{printed}");
    assert!(printed.contains("# card_key = ") && printed.contains("# \"sasl.password\" = ") && printed.contains("security.protocol"), "{printed}");
    std::fs::write(&first, &shown.stdout).unwrap();
    let again = with(&["config", "--config", first.to_str().unwrap()], &[]);
    let without = |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(without(&text(&again.stdout)), without(&printed), "{}", text(&again.stderr));
    // With nothing told it is whole as well.
    std::fs::write(&first, with(&["config"], &[]).stdout).unwrap();
    assert_eq!(text(&with(&["config", "--config", first.to_str().unwrap()], &[]).stdout), std::fs::read_to_string(&first).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_finds_the_marketplace_of_its_environment() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::started(binary(), &dir.path().join("data"));
    done(&Caller::new(&server.url), Method::PUT, "/products/1-1", "product", json!({ "name": "lamp", "price": "2.55" })).await;
    let csv = dir.path().join("orders.csv");
    std::fs::write(&csv, "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n").unwrap();
    let report = dir.path().join("report.csv").display().to_string();
    let import = ["import", csv.to_str().unwrap(), "--report", &report];
    let load = "load --duration 1s --sellers 1 --customers 2 --clients 1".split(' ').collect::<Vec<_>>();
    let listed = format!("{}/,http://127.0.0.1:1", server.url);
    for (arguments, url) in [
        (&["verify"][..], server.url.clone()),
        (&["audit", "--wait", "20s"], server.url.clone()),
        (&load, server.url.clone()),
        (&import, listed.clone()),
        (&["topics"], listed.clone()),
        (&["trim", "--all", "--dry-run"], listed.clone()),
        (&["tail", "catalog.events"], listed.clone()),
        (&["inspect", "product/1-1"], listed.clone()),
        (&["sagas", "list"], listed.clone()),
        (&["partitions", "list"], listed.clone()),
        (&["dead-letters", "list"], listed),
    ] {
        let asked = tokio::task::block_in_place(|| with(arguments, &[("DAYBOOK_URL", &url), ("DAYBOOK_DATA", "/nowhere")]));
        assert!(asked.status.success() && !asked.stdout.is_empty(), "{arguments:?}: {}", text(&asked.stderr));
    }
    assert!(server.stop());
    // A directory that is named is what is meant.
    let data = dir.path().join("data").display().to_string();
    let at_rest = with(&["verify", "--data", &data], &[("DAYBOOK_URL", "http://127.0.0.1:1")]);
    assert!(at_rest.status.success(), "{}", text(&at_rest.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_have_a_line_a_row_and_topics_a_line_a_topic() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::started(binary(), &dir.path().join("data"));
    let (_, topics, _) = run(&server.url, &["topics"]);
    let named: Vec<&str> = topics.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()).filter(|name| name.contains('.')).collect();
    let rows: Vec<&str> = named.iter().copied().filter(|name| !name.contains('/')).collect();
    assert!(rows.contains(&"ordering.events") && rows.iter().collect::<BTreeSet<_>>().len() == rows.len(), "{topics}");
    assert!(!topics.contains("|--") && topics.matches("+--").count() < topics.lines().count() / 2, "a ruler under each row: {topics}");
    let (_, each, _) = run(&server.url, &["topics", "--partitions"]);
    assert_eq!(each.lines().filter(|line| line.starts_with("| ordering.events ")).count(), 8, "{each}");
    assert!(server.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_printed_was_not_done() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::started(binary(), &dir.path().join("data"));
    let url = server.url.clone();
    let at = |verb: &[&str]| [verb, &["--url", &url]].concat().into_iter().map(str::to_owned).collect::<Vec<_>>();
    let local = |verb: &[&str]| verb.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    for arguments in [
        local(&["config"]),
        local(&["asyncapi"]),
        local(&["man"]),
        local(&["--help"]),
        local(&["--version"]),
        at(&["topics"]),
        at(&["topics", "-o", "json"]),
        at(&["verify"]),
        at(&["sagas", "list"]),
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let printed = tokio::task::block_in_place(|| Command::new(binary()).args(&arguments).stdout(full).stderr(Stdio::piped()).output().unwrap());
        assert!(
            printed.status.code() == Some(1) && text(&printed.stderr).contains("standard output"),
            "{arguments:?}: {} {}",
            printed.status,
            text(&printed.stderr)
        );
    }
    // A reader that went away knows that it did.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let unread = tokio::task::block_in_place(|| Command::new(binary()).args(at(&["topics"])).stdout(writer).stderr(Stdio::piped()).output().unwrap());
    assert!(unread.status.code() == Some(1) && unread.stderr.is_empty(), "{} {}", unread.status, text(&unread.stderr));
    assert!(server.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_goes_on_when_the_marketplace_is_back() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::started(binary(), &dir.path().join("data"));
    let receive = async |url: &str, n: u64| {
        done(&Caller::new(url), Method::POST, "/stock/1-1/receipts", &format!("r{n}"), json!({ "quantity": n, "reference": format!("r{n}") })).await;
    };
    receive(&server.url, 1).await;
    let tail = ["tail", "stock.commands", "--from", "beginning", "--follow", "--limit", "3", "-o", "json", "--url", &server.url];
    let mut following = Command::new(binary()).args(tail).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    tokio::task::block_in_place(|| server.start());
    for n in [2, 3] {
        receive(&server.url, n).await;
    }
    let began = Instant::now();
    while following.try_wait().unwrap().is_none() {
        if began.elapsed() > PATIENCE {
            following.kill().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ended = following.wait_with_output().unwrap();
    let quantities: Vec<u64> =
        text(&ended.stdout).lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["body"]["quantity"].as_u64().unwrap()).collect();
    let said = text(&ended.stderr);
    assert!(ended.status.success() && quantities == [1, 2, 3], "{} {quantities:?} {said}", ended.status);
    assert!(said.contains("waiting for it to come back") && said.contains("answers again"), "{said}");
    assert!(server.stop());
    // One that never was there is not waited for.
    fails("http://127.0.0.1:1", &["tail", "stock.commands", "--follow"], 1, "nothing runs at http://127.0.0.1:1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_that_goes_away_stops_it_unless_it_was_told_to_stay() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::started(binary(), &dir.path().join("data"));
    assert!(server.ended_by(Signal::HUP), "SIGHUP was no clean stop");
    assert!(server.log().contains("stopping: finishing what was accepted"), "{}", server.log());

    let url = format!("http://127.0.0.1:{}", free());
    let listen = url.strip_prefix("http://").unwrap();
    let data = dir.path().join("other").display().to_string();
    let mut stays =
        Command::new("nohup").arg(binary()).args(["up", "--listen", listen, "--data", &data]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until_ready(&url).await;
    let id = rustix::process::Pid::from_child(&stays);
    rustix::process::kill_process(id, Signal::HUP).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stayed = stays.try_wait().unwrap().is_none();
    let _gone = rustix::process::kill_process(id, Signal::TERM);
    assert!(stays.wait().unwrap().success() && stayed, "nohup did not help");
}

async fn until_ready(url: &str) {
    let (client, began) = (crate::process::http().build().unwrap(), Instant::now());
    while !client.get(format!("{url}/readyz")).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK) {
        assert!(began.elapsed() < PATIENCE, "{url} was never ready");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_logged_where_that_is_asked_for() {
    let dir = TempDir::new().unwrap();
    let ask = async |server: &Server| {
        let client = crate::process::http().build().unwrap();
        client.get(format!("{}/products/7-7?x=1", server.url)).send().await.unwrap();
        client.get(format!("{}/no/such", server.url)).send().await.unwrap();
    };
    let mut quiet = Server::started(binary(), &dir.path().join("quiet"));
    ask(&quiet).await;
    assert!(quiet.stop() && !quiet.log().contains("/products/7-7"), "{}", quiet.log());

    let mut json = Server::new(binary(), &dir.path().join("json")).told(&["--access-log", "--log", "warn"]);
    tokio::task::block_in_place(|| json.start());
    ask(&json).await;
    assert!(json.stop());
    let lines: Vec<Value> = json.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let found = lines.iter().find(|line| line["path"] == "/products/7-7?x=1").unwrap_or_else(|| panic!("{}", json.log()));
    assert_eq!((&found["method"], &found["status"], &found["target"]), (&json!("GET"), &json!(400), &json!("daybook::access")));
    assert!(found["ms"].as_f64() > Some(0.0) && found["from"].as_str().unwrap().starts_with("127.0.0.1:"), "{found}");
    assert!(lines.iter().any(|line| line["path"] == "/no/such" && line["status"] == 404));

    let mut plain = Server::new(binary(), &dir.path().join("text")).told(&["--access-log", "--log-format", "text"]);
    tokio::task::block_in_place(|| plain.start());
    ask(&plain).await;
    assert!(plain.stop());
    let line = plain.log().lines().find(|line| line.contains("/products/7-7?x=1")).map(str::to_owned).unwrap_or_default();
    assert!(line.contains("INFO") && line.contains("status=400") && serde_json::from_str::<Value>(&line).is_err(), "{}", plain.log());
}

/// Run again by the test below, as a process of its own: a panic where logs are on.
#[test]
fn panics_where_it_is_told_to() {
    if std::env::var_os("PANICS_HERE").is_some() {
        daybook::telemetry::logs(daybook::telemetry::filter("info", false).unwrap(), Some(daybook::telemetry::LogFormat::Json)).unwrap();
        let _ended = std::thread::Builder::new().name("doomed".into()).spawn(|| panic!("boom {}", 7)).unwrap().join();
    }
}

#[test]
fn a_panic_is_a_line_of_the_log() {
    let panicked = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "cli::panics_where_it_is_told_to", "--nocapture"])
        .env("PANICS_HERE", "1")
        .output()
        .unwrap();
    let lines: Vec<Value> = text(&panicked.stderr).lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let line = lines.iter().find(|line| line["message"] == "panicked").unwrap_or_else(|| panic!("{}", text(&panicked.stderr)));
    assert_eq!((&line["level"], &line["why"], &line["thread"]), (&json!("ERROR"), &json!("boom 7"), &json!("doomed")), "{line}");
    assert!(line["place"].as_str().unwrap().contains("cli.rs"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_not_asked_is_named() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::started(binary(), &dir.path().join("data"));
    let away = format!("http://127.0.0.1:{}", free());
    let both = format!("{},{away}", server.url);
    let at = |arguments: &[&str]| tokio::task::block_in_place(|| with(arguments, &[]));
    let audited = at(&["audit", "--url", &both, "--wait", "20s"]);
    let said = text(&audited.stdout);
    assert!(audited.status.code() == Some(1) && said.contains(&format!("{away} was not asked")) && !said.contains("Everything holds."), "{said}");
    let audited: Value = serde_json::from_slice(&at(&["audit", "--url", &both, "--wait", "20s", "-o", "json"]).stdout).unwrap();
    assert!(audited["holds"] == false && audited["breaches"] == json!([]) && audited["silent"][&away].is_string(), "{audited}");
    assert!(at(&["audit", "--url", &server.url, "--wait", "20s"]).status.success());

    let verified = at(&["verify", "--url", &both]);
    let (said, noted) = (text(&verified.stdout), text(&verified.stderr));
    assert!(verified.status.code() == Some(1) && noted.contains(&format!("{away} was not verified")) && !said.contains("Every fold equals"), "{said}{noted}");

    // Of several every one proves its own, and one that does not match is named.
    let router = axum::Router::new().route(
        "/verify",
        axum::routing::post(|| async {
            let fold = json!({ "name": "view orders", "rows": 1, "live": "a", "rebuilt": "b", "business": "", "records": 1, "differences": [] });
            axum::Json(json!({ "matches": false, "folds": [fold] }))
        }),
    );
    let (other, served) = serve(router).await;
    let verified = at(&["verify", "--url", &server.url, "--url", &other, "-o", "json"]);
    let result: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert!(verified.status.code() == Some(3) && result["matches"] == false, "{result}");
    let of = |url: &str| result["folds"].as_array().unwrap().iter().filter(|fold| fold["instance"] == url).count();
    assert!(of(&server.url) > 10 && of(&other) == 1, "{result}");
    assert!(text(&at(&["verify", "--url", &server.url, "--url", &other]).stdout).contains(&format!("view orders at {other}")));
    served.abort();
    assert!(server.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_card_key_is_not_replaced_in_silence() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::started(binary(), &data);
    let key = std::fs::read(data.join("card.key")).unwrap();
    assert!(server.stop());
    std::fs::remove_file(data.join("card.key")).unwrap();
    for folded in ["", "heads", "views"] {
        // What is folded can be thrown away: the log remembers that tokens were made.
        if !folded.is_empty() {
            std::fs::remove_dir_all(data.join(folded)).unwrap();
        }
        let (code, said) = server.refused();
        assert!(code == Some(1) && said.contains("card.key is missing") && said.contains("--new-card-key"), "{code:?} {said}");
        assert!(!data.join("card.key").exists());
    }
    // Nor is another one in its place taken for it.
    let mut other = key.clone();
    other[7] ^= 1;
    std::fs::write(data.join("card.key"), &other).unwrap();
    let done = with(&["up", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()], &[]);
    let said = text(&done.stderr);
    assert!(done.status.code() == Some(1) && said.contains("another than the one that was used") && said.contains("--new-card-key"), "{said}");
    std::fs::write(data.join("card.key"), &key).unwrap();
    server.start();
    assert!(server.stop());
    std::fs::remove_file(data.join("card.key")).unwrap();
    let mut server = server.told(&["--new-card-key"]);
    server.start();
    assert!(server.stop());
    assert_ne!(std::fs::read(data.join("card.key")).unwrap(), key);
}

/// The newest write-ahead file of a log, with a byte flipped in its middle.
fn damage(log: &Path) {
    let files = std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "log"));
    let file = files.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&file, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_log_is_opened_when_its_loss_is_accepted() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::started(binary(), &data);
    let caller = Caller::new(&server.url);
    for n in 1..=40 {
        done(&caller, Method::PUT, &format!("/customers/{n}"), &format!("c{n}"), json!({ "first_name": "Ann" })).await;
    }
    server.kill();
    damage(&data.join("log"));
    let (code, said) = server.refused();
    assert!(code == Some(1) && said.contains("is damaged") && said.contains("--accept-loss") && !said.contains("delete"), "{code:?} {said}");
    let mut server = server.told(&["--accept-loss"]);
    server.start();
    // What is served is what is left, and nothing that the log does not have.
    assert_eq!(server.verify()["matches"], true);
    done(&Caller::new(&server.url), Method::PUT, "/customers/41", "c41", json!({ "first_name": "Ann" })).await;
    assert!(server.stop());
    // Told so again it has nothing to accept, and folds nothing anew.
    server.start();
    assert!(server.stop());
    let aside = std::fs::read_dir(&data).unwrap().filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("set-aside-")).count();
    assert_eq!(aside, 1);
    assert_eq!(server.verify()["matches"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_replaces_and_a_match_guards_it() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::started(binary(), &dir.path().join("data"));
    let (client, caller) = (crate::process::http().build().unwrap(), Caller::new(&server.url));
    for (path, first, second) in [
        (
            "/customers/7",
            json!({ "first_name": "Ann", "city": "Oslo", "card_number": "4111111111111111", "card_brand": "visa" }),
            json!({ "first_name": "Bea" }),
        ),
        ("/sellers/7", json!({ "name": "Ann", "company_name": "Ann's", "city": "Oslo" }), json!({ "name": "Bea" })),
    ] {
        let put = async |body: &Value, expected: Option<&str>| {
            let mut request = client.put(format!("{}{path}", server.url)).header("prefer", "wait=20").json(body);
            request = expected.iter().fold(request, |request, etag| request.header("if-match", *etag));
            let answer = request.send().await.unwrap();
            let (status, position) = (answer.status(), answer.headers().get("daybook-position").map(|value| value.to_str().unwrap().to_owned()));
            (status, answer.text().await.unwrap(), position)
        };
        let get = async |position: Option<String>| {
            let row = client.get(format!("{}{path}", server.url)).header("daybook-position", position.unwrap()).send().await.unwrap();
            let etag = row.headers()["etag"].to_str().unwrap().to_owned();
            (etag, row.text().await.unwrap())
        };
        let (status, said, position) = put(&first, None).await;
        assert_eq!(status, StatusCode::OK, "{said}");
        let (etag, row) = get(position).await;
        assert!(row.contains("Ann") && row.contains("Oslo"), "{row}");
        let (status, said, position) = put(&second, None).await;
        assert_eq!(status, StatusCode::OK, "{said}");
        let (newer, row) = get(position).await;
        assert!(row.contains("Bea") && !row.contains("Ann") && !row.contains("Oslo") && !row.contains("visa"), "what was not said again is still there: {row}");
        let (status, said, _) = put(&first, Some(&etag)).await;
        assert!(status == StatusCode::PRECONDITION_FAILED, "{status} {said}");
        let (status, said, _) = put(&second, Some(&newer)).await;
        assert_eq!(status, StatusCode::OK, "{said}");
    }
    // A listing has one shape, whatever it is asked by.
    done(&caller, Method::PUT, "/products/1-1", "product", json!({ "name": "lamp", "price": "2.55" })).await;
    done(&caller, Method::POST, "/stock/1-1/receipts", "receipt", json!({ "quantity": 10, "reference": "first" })).await;
    crate::operate::fill(&caller, "").await;
    done(&caller, Method::POST, "/carts/1/checkout", "checkout", json!({ "payment_type": "BOLETO", "reference": "mine" })).await;
    let of_customer = until("listed", || {
        let listed = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(caller.get("/orders?customer=1")));
        (listed["items"][0]["status"] == "paid" && listed["items"][0]["shipment"] != Value::Null).then_some(listed)
    })
    .await;
    for other in ["/orders?reference=mine", "/orders", "/orders?reference=mine&customer=1"] {
        assert_eq!(caller.get(other).await, of_customer, "{other}");
    }
    assert_eq!(caller.get("/orders?reference=mine&customer=2").await["items"], json!([]));
    assert_eq!(json_of(&server.url, &["dead-letters", "list"])["items"], json!([]));
    assert!(server.stop());
}
