//! What comes in through HTTP, and what does not: connections, hosts, origins, bodies. Spoken by hand, since a client
//! library says nothing wrong.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::process::{Server, binary, daybook};

const PATIENCE: Duration = Duration::from_secs(60);

fn address(server: &Server) -> String {
    server.url.strip_prefix("http://").unwrap().to_owned()
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(address(server)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The status of an answer that is read to its end, and the answer.
fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut text = vec![];
    let _cut = stream.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    (text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default(), text)
}

/// One request, its head given without `Host` and line ends.
fn ask(server: &Server, head: &[&str], body: &str) -> (u16, String) {
    let mut stream = connect(server);
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let request = format!("{}\r\nconnection: close\r\n{length}\r\n{body}", head.join("\r\n"));
    stream.write_all(request.as_bytes()).unwrap();
    answer(&mut stream)
}

/// A command that must be done, tried again while the door is full.
fn works(server: &Server, name: &str) -> Duration {
    let (began, host) = (Instant::now(), format!("host: {}", address(server)));
    let body = json!({ "quantity": 1, "reference": name }).to_string();
    let head = ["POST /stock/1-1/receipts HTTP/1.1", &host, "content-type: application/json", "prefer: wait=10"];
    let mut said = vec![];
    while began.elapsed() < PATIENCE {
        let stream = TcpStream::connect(address(server));
        let answered = stream.map(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let sent = stream.write_all(format!("{}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", head.join("\r\n"), body.len()).as_bytes());
            sent.map_or_else(|why| (0, why.to_string()), |()| answer(&mut stream))
        });
        match answered {
            Ok((200, _)) => return began.elapsed(),
            other => said.push(format!("{other:?}")),
        }
    }
    panic!("{name}: never answered: {}", said.last().unwrap());
}

/// The binary behind a limit of open files.
fn limited(dir: &Path, files: u32) -> PathBuf {
    let script = dir.join(format!("limited-{files}"));
    std::fs::write(&script, format!("#!/bin/sh\nulimit -n {files}\nexec {} \"$@\"\n", binary().display())).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script
}

fn metric(server: &Server, name: &str) -> f64 {
    let (status, text) = ask(server, &["GET /metrics HTTP/1.1", "host: localhost"], "");
    assert_eq!(status, 200, "{text}");
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or_else(|| panic!("{name} is not in {text}"))
}

#[test]
fn hosts_and_origins_of_others_are_refused() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::new(binary(), &dir.path().join("data")).told(&["--allow-host", "shop.example"]);
    server.start();
    let own = format!("host: {}", address(&server));
    let own_page = format!("origin: {}", server.url);
    let json = "content-type: application/json";
    let body = r#"{"quantity":1,"reference":"r"}"#;
    let post = "POST /stock/1-1/receipts HTTP/1.1";
    for (head, sent, status) in [
        (vec![post, &own, json], body, 202),
        (vec![post, "host: localhost", json], body, 202),
        (vec![post, "host: shop.example", json], body, 202),
        (vec![post, &own, json, &own_page], body, 202),
        (vec![post, &own, "content-type: Application/JSON; charset=utf-8"], body, 202),
        (vec![post, &own, "content-type: text/plain"], body, 415),
        (vec![post, &own, "content-type: application/x-www-form-urlencoded"], body, 415),
        (vec![post, &own], body, 415),
        (vec![post, &own, json, "content-type: text/plain"], body, 415),
        (vec![post, "host: evil.example", json], body, 421),
        (vec!["POST http://evil.example/stock/1-1/receipts HTTP/1.1", &own, json], body, 421),
        (vec![post, json], body, 400),
        (vec![post, &own, &own, json], body, 400),
        (vec![post, &own, "host: evil.example", json], body, 400),
        (vec![post, &own, json, "origin: http://evil.example"], body, 403),
        (vec![post, &own, json, "origin: null"], body, 403),
        (vec!["POST /verify HTTP/1.1", &own, "origin: http://evil.example"], "", 403),
        (vec!["GET /products HTTP/1.1", "host: evil.example"], "", 421),
        (vec!["GET /livez HTTP/1.0"], "", 200),
    ] {
        let (found, text) = ask(&server, &head, sent);
        assert_eq!(found, status, "{head:?}: {text}");
        assert!(status < 400 || text.contains("application/problem+json"), "{head:?}: {text}");
    }
}

#[test]
fn a_body_that_ends_early_is_told_so() {
    let dir = TempDir::new().unwrap();
    let server = Server::started(binary(), &dir.path().join("data"));
    let own = format!("host: {}", address(&server));
    let mut stream = connect(&server);
    let head = format!("POST /stock/1-1/receipts HTTP/1.1\r\n{own}\r\ncontent-type: application/json\r\ncontent-length: 400\r\n\r\n{{\"quantity\":");
    stream.write_all(head.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let (status, text) = answer(&mut stream);
    assert!(status == 400 && text.contains("ended before"), "{text}");
    let (status, text) = ask(&server, &["POST /stock/1-1/receipts HTTP/1.1", &own, "content-type: application/json"], r#"{"quantity":1,"#);
    assert!(status == 400 && text.contains("application/problem+json"), "{text}");
    let (status, text) = ask(&server, &["POST /stock/1-1/receipts HTTP/1.1", &own, "content-type: application/json", "content-length: 99999999"], "");
    assert!(status == 413 && text.contains("application/problem+json"), "{text}");
}

#[test]
fn whoever_is_slow_is_let_go() {
    let dir = TempDir::new().unwrap();
    let server = Server::started(binary(), &dir.path().join("data"));
    let (mut head, mut body, began) = (connect(&server), connect(&server), Instant::now());
    head.write_all(b"GET /products HTTP/1.1\r\nhost: local").unwrap();
    let half = "POST /stock/1-1/receipts HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 40\r\n\r\n{\"quan";
    body.write_all(half.as_bytes()).unwrap();
    assert_eq!(answer(&mut head).0, 0, "half a head was answered");
    let head_ended = began.elapsed();
    let (status, text) = answer(&mut body);
    println!("half a head was let go after {head_ended:?}, half a body answered {status} after {:?}", began.elapsed());
    assert_eq!(status, 408, "{text}");
    assert!(head_ended < Duration::from_secs(20) && began.elapsed() < Duration::from_secs(40));
}

#[test]
fn idle_connections_shut_nobody_out_and_take_no_files_of_the_log() {
    let dir = TempDir::new().unwrap();
    let refused =
        std::process::Command::new(limited(dir.path(), 320)).args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(dir.path().join("few")).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("may open 320 files") && said.contains("ulimit -n"), "{said}");
    for (binary, many) in [(limited(dir.path(), 1_024), 900), (binary(), 1_200)] {
        let mut server = Server::started(binary, &dir.path().join(format!("data{many}")));
        let mut idle: Vec<TcpStream> = vec![];
        for n in 0..many {
            idle.push(connect(&server));
            if n % 3 == 0 {
                idle.last_mut().unwrap().write_all(b"GET /products HTTP/1.1\r\nhost: local").unwrap();
            }
        }
        let took: Vec<Duration> = (0..20).map(|n| works(&server, &format!("r{n}"))).collect();
        println!("with {many} connections that do nothing, the slowest of 20 commands took {:?}", took.iter().max().unwrap());
        assert!(took.iter().all(|took| *took < Duration::from_secs(8)), "{took:?}");
        drop(idle);
        assert!(server.stop());
    }
}

#[test]
fn a_stop_waits_for_no_half_sent_request() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::started(binary(), &dir.path().join("data"));
    let mut half: Vec<TcpStream> = (0..4).map(|_| connect(&server)).collect();
    half[0].write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap(); // answered, and kept
    half[1].write_all(b"GET /livez HTTP/1.1\r\nhost: local").unwrap();
    let body = b"POST /stock/1-1/receipts HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 40\r\n\r\n{\"quan";
    half[2].write_all(body).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    assert!(server.stop());
    println!("stopped in {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10), "it waited for {:?}", began.elapsed());
}

/// Who waits for what may never come is told at a stop that it is not waited for any more.
#[test]
fn a_stop_ends_waits_with_an_answer() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::started(binary(), &dir.path().join("data"));
    works(&server, "first");
    let position = format!("daybook-position: catalog.events:0:{}", 1); // of nothing that was written
    let waits = [("GET /commands/customer.0.nope HTTP/1.1", "x-nothing: 1"), ("GET /products/1-9 HTTP/1.1", position.as_str())];
    let mut waiting: Vec<TcpStream> = waits
        .iter()
        .map(|(line, header)| {
            let mut stream = connect(&server);
            stream.write_all(format!("{line}\r\nhost: localhost\r\nprefer: wait=40\r\n{header}\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    assert!(server.stop());
    assert!(began.elapsed() < Duration::from_secs(8), "it waited for {:?}", began.elapsed());
    for stream in &mut waiting {
        let mut told = String::new();
        stream.read_to_string(&mut told).unwrap();
        assert!(told.starts_with("HTTP/1.1 "), "cut off without an answer: {told}");
    }
}

#[test]
fn unfinished_bodies_hold_little() {
    const BODIES: usize = 300;
    let dir = TempDir::new().unwrap();
    let server = Server::started(binary(), &dir.path().join("data"));
    works(&server, "first");
    let before = metric(&server, "process_resident_memory_bytes ");
    let length = 1024 * 1024 - 16;
    let head = format!("POST /stock/1-1/receipts HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    let most = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..BODIES {
            scope.spawn(|| {
                let mut stream = connect(&server);
                stream.set_write_timeout(Some(Duration::from_secs(8))).unwrap();
                let _refused = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![b' '; length - 1]));
                std::thread::sleep(Duration::from_secs(2));
            });
        }
        for _ in 0..8 {
            std::thread::sleep(Duration::from_millis(500));
            most.fetch_max(metric(&server, "process_resident_memory_bytes ") as u64, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let grown = (most.into_inner() as f64 - before) / 1024.0 / 1024.0;
    println!("{BODIES} unfinished bodies of 1 MiB: the process grew by {grown:.0} MiB");
    assert!(grown < 150.0, "it grew by {grown} MiB");
    works(&server, "last");
}

#[test]
fn one_proof_at_a_time_and_metrics_meanwhile() {
    let dir = TempDir::new().unwrap();
    let server = Server::started(binary(), &dir.path().join("data"));
    for n in 0..50 {
        assert_eq!(ask(&server, &[&format!("FOO{n} /products HTTP/1.1"), "host: localhost"], "").0, 405);
    }
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let proofs: Vec<_> = (0..6).map(|_| scope.spawn(|| ask(&server, &["POST /verify HTTP/1.1", "host: localhost"], ""))).collect();
        let began = Instant::now();
        metric(&server, "process_resident_memory_bytes ");
        assert!(began.elapsed() < Duration::from_secs(5), "/metrics took {:?}", began.elapsed());
        proofs.into_iter().map(|proof| proof.join().unwrap().0).collect()
    });
    let count = |status| answers.iter().filter(|found| **found == status).count();
    assert!(count(200) >= 1 && count(409) >= 1 && count(200) + count(409) == 6, "{answers:?}");
    let (_, text) = ask(&server, &["GET /metrics HTTP/1.1", "host: localhost"], "");
    assert!(text.contains("method=\"other\"") && !text.contains("FOO"), "{text}");
    let done = daybook(&binary(), &["verify", "--url", &server.url]);
    assert!(done.status.success());
}

/// Paths, queries and bodies that say something wrong are told so as problems, in our words.
#[test]
fn what_is_asked_wrongly_is_said_in_our_words() {
    let dir = TempDir::new().unwrap();
    let server = Server::started(binary(), &dir.path().join("data"));
    let price = |text: &str| format!("{{\"name\":\"x\",\"price\":{text}}}");
    for (line, body, pointer, said) in [
        ("GET /products?lmit=3", String::new(), "/query/lmit", "it has seller, limit, cursor"),
        ("GET /products?limit=three", String::new(), "/query/limit", "'limit' is 'three', and must be a whole number"),
        ("GET /products?limit=1&limit=2", String::new(), "/query/limit", "given twice"),
        ("GET /products?limit=-1", String::new(), "/query/limit", "a whole number, 0 or more"),
        ("GET /products?seller=1&cursor=%FF", String::new(), "/query/cursor", "another listing"),
        ("GET /orders?customer=x", String::new(), "/query/customer", "a whole number"),
        ("GET /customers/1/statistics?version=3", String::new(), "/query/version", "it has none"),
        ("GET /readyz?loud", String::new(), "/query/loud", "it has verbose"),
        ("GET /inspect/order/1-1?version=x", String::new(), "/query/version", "a whole number"),
        ("POST /verify?now=1", String::new(), "/query/now", "it has full"),
        ("PUT /products/1-2?dry=1", price("\"1.00\""), "/query/dry", "it has none"),
        ("GET /customers/abc", String::new(), "/path/id", "'abc' in the path is no whole number"),
        ("GET /customers/99999999999999999999", String::new(), "/path/id", "no whole number that fits"),
        ("GET /customers/%FF", String::new(), "/path", "not UTF-8"),
        ("GET /customers/01", String::new(), "/path/id", "'01' in the path"),
        ("PUT /customers/+1", "{}".into(), "/path/id", "'+1' in the path"),
        ("DELETE /carts/077/items", String::new(), "/path/customer", "'077' in the path"),
        ("GET /orders?customer=01", String::new(), "/query/customer", "'01'"),
        ("GET /products?seller=%2B1", String::new(), "/query/seller", "'+1'"),
        // The benchmark's names and letter cases are its routes' alone.
        ("POST /carts/1/checkout", "{\"payment_type\":\"BOLETO\",\"customer_id\":1}".into(), "/customer_id", "no field of this route"),
        ("POST /carts/1/checkout", "{\"paymentType\":\"BOLETO\"}".into(), "/paymentType", "no field of this route"),
        ("POST /cart/1/checkout", "{\"PaymentType\":\"BOLETO\",\"CustomerId\":99}".into(), "/customer_id", "customer 1 checks out"),
        ("PATCH /cart/1/seal", "{\"foo\":1}".into(), "", "takes no body"),
        ("GET /dead-letters/stock/x/1", String::new(), "/path/partition", "'x' in the path"),
        ("GET /topics/stock.events/700000", String::new(), "/path/partition", "'700000' in the path"),
        ("POST /verify", "{\"now\":true}".into(), "", "takes no body"),
        ("DELETE /carts/1/items", "{\"all\":true}".into(), "", "takes no body"),
        ("PUT /products/1-2", "[1]".into(), "", "an object"),
        ("PUT /products/1-2", "{\"name\":\"x\",}".into(), "", "line 1, column"),
        ("PUT /products/1-2", "{\"name\":\"x\",\"pri".into(), "", "ends before"),
        ("PUT /products/1-2", price("19.990000000000000001"), "/price", "19.990000000000000001"),
        ("PUT /products/1-2", price("1e2"), "/price", "1e2"),
        ("PUT /products/1-2", price("null"), "/price", "'price' is null, and must be text or a number"),
        ("PUT /products/1-2", price("\"1.00\",\"colour\":\"red\""), "/colour", "is no field of this route"),
        ("PUT /products/1-2", price("\"1.00\",\"price\":\"2.00\""), "/price", "given twice"),
        ("PUT /products/1-2", "{\"name\":7,\"price\":\"1.00\"}".into(), "/name", "'name' is a number, and must be text"),
        ("PUT /products/1-2", price("\"1.00\",\"currency\":\"BEADS\""), "/currency", "'BEADS'"),
        ("PUT /customers/1", "{\"cardNumber\":\"4111111111111111\"}".into(), "/cardNumber", "is no field of this route"),
        ("PUT /customers/1", "{\"card_number\":\"4111111111111111\",\"card_brand\":\"4111111111111111\"}".into(), "/card_brand", "without digits"),
        ("POST /customer", "{\"id\":1,\"shoe_size\":44}".into(), "/shoesize", "is no field of this route"),
        ("POST /stock/1-1/receipts", "{\"quantity\":1.5,\"reference\":\"r\"}".into(), "/quantity", "'1.5'"),
        ("POST /stock/1-1/receipts", "{\"quantity\":18446744073709551616,\"reference\":\"r\"}".into(), "/quantity", "from 0 to"),
        (
            "POST /carts/1/items",
            "{\"items\":[{\"product\":\"1-1\",\"quantity\":1,\"unit_price\":\"1\",\"gift\":true}]}".into(),
            "/items/0/gift",
            "is no field here",
        ),
        ("POST /carts/1/items", "{\"items\":[{\"product\":\"1-1\",\"quantity\":\"1\"}]}".into(), "/items/0/quantity", "is text, and must be a whole number"),
        ("POST /carts/1/checkout", "{\"payment_type\":\"BOLETO\",\"tip\":1}".into(), "/tip", "is no field of this route"),
        ("POST /orders/1-1/refunds", "{\"reference\":\"r\",\"lines\":[{\"line\":0}]}".into(), "/lines/0/quantity", "is missing"),
        ("POST /trim", "{\"everything\":true}".into(), "/everything", "it has service, all, dry_run"),
    ] {
        let (status, text) = ask(&server, &[&format!("{line} HTTP/1.1"), "host: localhost", "content-type: application/json"], &body);
        assert!(status == 400 && text.contains("application/problem+json"), "{line} {body}: {text}");
        let problem: serde_json::Value = serde_json::from_str(text.rsplit("\r\n").next().unwrap()).unwrap();
        let (detail, found) = (problem["detail"].as_str().unwrap(), problem["errors"][0]["pointer"].as_str().unwrap());
        assert!(detail.contains(said) && found.starts_with(pointer), "{line} {body}: {found}: {detail}");
        for foreign in ["u64", "usize", "struct", "expected", "invalid type", "deserialize", "`", "EOF"] {
            assert!(!detail.contains(foreign), "{line} {body}: {detail}");
        }
        assert!(!text.contains("4111111111111111"), "{text}");
    }
}

#[test]
fn business_times_are_checked_at_the_door() {
    let dir = TempDir::new().unwrap();
    let server = Server::started(binary(), &dir.path().join("data"));
    let body = r#"{"quantity":1,"reference":"r"}"#;
    for (time, status) in [
        ("9999-12-31T23:59:59-12:00", 400),
        ("9999-12-31T23:59:59Z", 202),
        ("0000-01-01T00:00:00Z", 202),
        ("0000-01-01T00:00:00+12:00", 400),
        ("-0001-01-01T00:00:00Z", 400),
        ("+10000-01-01T00:00:00Z", 400),
        ("2026-02-30T00:00:00Z", 400),
        ("2026-02-28", 400),
        ("2011-12-09T12:50:00+01:00", 202),
    ] {
        let head = ["POST /stock/1-1/receipts HTTP/1.1", "host: localhost", "content-type: application/json", &format!("occurred-at: {time}")];
        let (found, text) = ask(&server, &head, body);
        assert_eq!(found, status, "{time}: {text}");
    }
}
