//! Histories as they come: whatever a line holds, whatever was imported before, whoever is shopping meanwhile.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{fates, history, imported};
use crate::audit::settle;
use crate::process::{Caller, Server, binary};

pub const HEADER: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country";

pub struct Shop {
    pub dir: TempDir,
    pub server: Server,
    pub caller: Caller,
}

impl Shop {
    pub fn open() -> Self {
        let dir = TempDir::new().unwrap();
        let server = Server::started(binary(), &dir.path().join("data"));
        let caller = Caller::new(&server.url);
        Self { dir, server, caller }
    }

    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let file = self.dir.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        file
    }

    pub fn import(&self, lines: &[&str], more: &[&str]) -> (i32, Value, String) {
        let file = self.file("history.csv", [&[HEADER], lines].concat().join("\n"));
        imported(&file, &self.server.url, self.dir.path(), more)
    }

    pub fn fates(&self) -> Vec<(u64, String)> {
        fates(self.dir.path())
    }

    /// product -> received, sold, returned
    async fn stock(&self) -> BTreeMap<String, [u64; 3]> {
        // What was sent before its sender was killed may still be on its way.
        let (mut all, mut before) = (vec![], None);
        while before.as_ref() != Some(&all) {
            before = Some(all);
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            settle(&self.caller).await;
            all = self.caller.all("/stock").await;
        }
        let count = |row: &Value, field: &str| row[field].as_u64().unwrap();
        all.iter().map(|row| (row["id"].as_str().unwrap().to_owned(), [count(row, "received"), count(row, "sold"), count(row, "returned")])).collect()
    }
}

pub fn refused(lines: &[(u64, &str)]) -> Vec<(u64, String)> {
    lines.iter().map(|(line, why)| (*line, (*why).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_has_its_fate_whatever_it_holds() {
    let shop = Shop::open();
    let long = format!("10,10001,{},1,2010-12-01T08:26:00Z,2.50,7,Norway", "x".repeat(2_001));
    let lines = [
        "1,10001,LAMP,2,2010-12-01T08:26:00Z,2.50,7,Norway",
        "2,10001,LAMP,1,2010-12-01T08:26:00Z,100000000.01,7,Norway",
        "3,10001,LAMP,1,2010-12-01T08:26:00Z,99999999999999999999,7,Norway",
        "4,10001,LAMP,100001,2010-12-01T08:26:00Z,2.50,7,Norway",
        "5,10001,LAMP,18446744073709551616,2010-12-01T08:26:00Z,2.50,7,Norway",
        "6,10001,LAMP,1,9999-12-31T23:59:59-12:00,2.50,7,Norway",
        "7,10001,LAMP,1,-0044-03-15T12:00:00Z,2.50,7,Norway",
        "18446744073709551615,10001,LAMP,1,2010-12-01T08:26:00Z,2.50,,Norway",
        "9,10001,LAMP,1,2010-12-01T08:26:00Z,2.50,18446744073709551615,Norway",
        &long,
        "11,10001,LAMP,90000,2010-12-01T08:26:00Z,2.50,7,Norway",
        "11,10001,LAMP,90000,2010-12-01T08:26:00Z,2.50,7,Norway",
        "12,10001,LAMP,100000,2010-12-01T08:26:00Z,99999999.99,7,Norway",
        "13,10001,\"LAMP,1,2010-12-01T08:26:00Z,2.50,7,Norway",
        "14,10001,LAMP,3,2010-12-01T08:26:00Z,2.50,7,Norway",
        "15,10002,\"LAMP, \"\"RED\"\"\",4,2010-12-01T08:26:00Z,2.50,7,Norway",
        "16,10001,\"LAMP,1,2010-12-01T08:26:00Z,2.50,7,Norway",
        "17,10001,LAMP,5,2010-12-01T08:26:00Z,2.50,7,Norway",
        "18,10001,LAMP\",1,2010-12-01T08:26:00Z,2.50,7,Norway",
        "C19,10001,LAMP,-1,2010-12-01T08:26:00Z,2.50,18446744073709551615,Norway",
    ];
    let mut bytes = [&[HEADER], &lines[..]].concat().join("\r\n").into_bytes();
    bytes.extend_from_slice(b"\r\n20,10001,LAMP \xa3,1,2010-12-01T08:26:00Z,2.50,7,Norway\r\n");
    // An invoice with a line too many.
    for number in 0..2_001 {
        bytes.extend_from_slice(format!("21,{:05},THING,1,2010-12-01T08:26:00Z,2.50,7,Norway\n", 20_000 + number).as_bytes());
    }
    bytes.extend_from_slice(b"22,10001,\"LAMP,6,2010-12-01T08:26:00Z,2.50,7,Norway\n23,10001,LAMP,6,2010-12-01T08:26:00Z,2.50,7,Norway\n");
    let file = shop.file("hostile.csv", bytes);
    let (code, summary, said) = imported(&file, &shop.server.url, shop.dir.path(), &[]);
    assert_eq!(code, 3, "{said}");
    let mut expected = refused(&[
        (2, ""),
        (3, "price_too_large"),
        (4, "price_too_large"),
        (5, "quantity_too_large"),
        (6, "quantity_too_large"),
        (7, "date_out_of_range"),
        (8, "malformed_date"),
        (9, "invoice_out_of_range"),
        (10, "customer_out_of_range"),
        (11, "text_too_long"),
        (12, "quantity_out_of_range"),
        (13, "quantity_out_of_range"),
        (14, "total_out_of_range"),
        (15, "unclosed_quote"),
        (16, ""),
        (17, ""),
        (18, "unclosed_quote"),
        (19, ""),
        (20, ""),
        (21, "customer_out_of_range"),
        (22, "malformed_encoding"),
    ]);
    expected.extend((23..23 + 2_001).map(|line| (line, "cart_full".to_owned())));
    expected.extend(refused(&[(2_024, "unclosed_quote"), (2_025, "")]));
    assert_eq!(shop.fates(), expected);
    assert_eq!((summary["accepted"].as_u64(), summary["orders"].as_u64(), summary["orders_total"].as_str()), (Some(6), Some(6), Some("52.50")), "{summary}");
    assert!(said.contains("--encoding"), "{said}");
    let names = shop.caller.all("/products").await;
    assert!(names.iter().all(|row| !row["name"].as_str().unwrap().contains('\u{fffd}')), "{names:?}");
    // With its encoding named, the line that was none is there, to the letter.
    let (_, _, said) = imported(&file, &shop.server.url, shop.dir.path(), &["--encoding", "windows-1252"]);
    assert_eq!(shop.fates()[20], (22, String::new()), "{said}");
    let orders = shop.caller.get("/orders?reference=20").await;
    let id = orders["items"][0]["id"].as_str().or(orders["items"][0].as_str()).unwrap().to_owned();
    assert_eq!(shop.caller.get(&format!("/orders/{id}")).await["lines"][0]["name"], "LAMP £");
    // A marketplace that goes away leaves a report of all lines all the same.
    let nowhere = ["import", file.to_str().unwrap(), "--url", "http://127.0.0.1:9", "--report", "gone.csv", "--give-up", "1s"];
    let gone = Command::new(binary()).args(nowhere).current_dir(shop.dir.path()).output().unwrap();
    assert_eq!(gone.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(shop.dir.path().join("gone.csv")).unwrap().lines().filter(|line| line.contains("import_aborted")).count(), 2_010);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_calls_accepted_is_in_the_orders() {
    let shop = Shop::open();
    let first = ["1,10001,LAMP,2,2010-12-01T08:26:00Z,2.50,7,Norway", "1,10002,SHADE,3,2010-12-01T08:26:00Z,1.00,7,Norway"];
    let (code, summary, _) = shop.import(&first, &[]);
    assert_eq!((code, summary["accepted_total"].as_str(), summary["orders_total"].as_str()), (0, Some("8.00"), Some("8.00")));
    let totals = |summary: &Value| [summary["accepted_total"].clone(), summary["orders_total"].clone()].map(|total| total.as_str().unwrap().to_owned());
    // The invoice's other half, in another file.
    let (code, summary, said) = shop.import(&["1,10003,BULB,1,2010-12-01T08:26:00Z,4.00,7,Norway"], &[]);
    assert_eq!((code, totals(&summary)), (3, ["0.00".into(), "8.00".into()]), "{summary}");
    assert_eq!((shop.fates(), summary["not_in_file"].as_array().unwrap().len()), (refused(&[(2, "not_in_order")]), 2));
    assert!(said.contains("order 7-1 has 2 of product 1-"), "{said}");
    // A quantity mended, a price mended, a line more.
    let mended = [
        "1,10001,LAMP,3,2010-12-01T08:26:00Z,2.50,7,Norway",
        "1,10002,SHADE,3,2010-12-01T08:26:00Z,1.00,7,Norway",
        "1,10002,SHADE,1,2010-12-01T08:26:00Z,1.00,7,Norway",
    ];
    let (code, summary, _) = shop.import(&mended, &[]);
    assert_eq!((code, totals(&summary)), (3, ["3.00".into(), "8.00".into()]));
    assert_eq!(shop.fates(), refused(&[(2, "not_in_order"), (3, ""), (4, "not_in_order")]));
    // Other money; another customer.
    let (code, ..) = shop.import(&first, &["--currency", "EUR"]);
    assert_eq!((code, shop.fates()), (3, refused(&[(2, "not_in_order"), (3, "not_in_order")])));
    let (code, ..) = shop.import(&["1,10001,LAMP,2,2010-12-01T08:26:00Z,2.50,8,Norway"], &[]);
    assert_eq!((code, shop.fates()), (3, refused(&[(2, "order_of_another_customer")])));
    // Another shop has the same numbers for other sales.
    let (code, summary, _) = shop.import(&first, &["--seller", "2"]);
    assert_eq!((code, totals(&summary)), (0, ["8.00".into(), "8.00".into()]), "{summary}");
    let guest = ["5,10001,LAMP,1,2010-12-01T08:26:00Z,2.50,,Norway"];
    for seller in ["1", "2", "1"] {
        assert_eq!(shop.import(&guest, &["--seller", seller]).0, 0);
    }
    let (code, summary, _) = shop.import(&first, &[]);
    assert_eq!((code, summary["accepted"].as_u64()), (0, Some(2)));
    let orders = shop.caller.all("/orders").await;
    assert_eq!(orders.iter().map(|order| order["total"].as_str().unwrap()).collect::<Vec<_>>(), ["8.00", "8.00", "2.50", "2.50"]);
    // An invoice refused as a whole, mended: nothing of it was there, so it can be made good.
    let wrong = "6,10001,LAMP,90000,2010-12-01T08:26:00Z,2.50,7,Norway";
    assert_eq!(shop.import(&[wrong, wrong], &[]).0, 3);
    assert_eq!((shop.import(&[wrong], &[]).0, shop.fates()), (0, refused(&[(2, "")])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_come_in_with_their_orders_whatever_files_overlap() {
    let shop = Shop::open();
    let (one, two, three) = (
        "1,10001,LAMP,2,2010-12-01T08:26:00Z,2.50,7,Norway",
        "2,10001,LAMP,5,2010-12-02T08:26:00Z,2.50,8,Norway",
        "3,10001,LAMP,1,2010-12-03T08:26:00Z,2.50,7,Norway",
    );
    let back = "C4,10001,LAMP,-1,2010-12-03T09:26:00Z,2.50,7,Norway";
    for (lines, received) in
        [(vec![one, two], 7), (vec![one, two, three], 8), (vec![two, three], 8), (vec![one, three, back], 8), (vec![three, two, one, back], 8)]
    {
        let (code, _, said) = shop.import(&lines, &[]);
        assert_eq!(code, 0, "{said}");
        let stock = shop.stock().await;
        let given_back = u64::from(lines.contains(&back));
        assert_eq!(stock.values().copied().collect::<Vec<_>>(), [[received, received - given_back, given_back]], "after {lines:?}");
    }
    // What cannot be bought brings nothing.
    shop.caller.command(Method::DELETE, &format!("/products/{}", shop.stock().await.keys().next().unwrap()), "gone", json!({})).await;
    let mut withdrawn = vec![];
    for number in 5..8 {
        let line = format!("{number},10001,LAMP,1,2010-12-03T08:26:00Z,2.50,9,Norway");
        assert_eq!(shop.import(&[&line], &[]).0, 3);
        withdrawn.extend(shop.fates().into_iter().map(|(_, why)| why));
    }
    assert!(withdrawn.contains(&"nothing_left".to_owned()), "{withdrawn:?}");
    assert_eq!(shop.stock().await.values().copied().collect::<Vec<_>>(), [[8, 7, 1]]);

    // An import that is killed leaves no piece that nobody ordered.
    let shop = Shop::open();
    let mut command = Command::new(binary());
    command.arg("import").arg(history()).args(["--url", &shop.server.url]).current_dir(shop.dir.path());
    let mut importer = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    super::wait_for_orders(&shop.caller, 100).await;
    importer.kill().unwrap();
    importer.wait().unwrap();
    let stock = shop.stock().await;
    assert!(stock.values().any(|[received, ..]| *received > 0));
    for (product, [received, sold, returned]) in stock {
        assert_eq!(received, sold + returned, "product {product}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_cart_is_not_bought_by_an_import() {
    let shop = Shop::open();
    let line = |invoice: u32, product: u32| format!("{invoice},{product},LAMP,1,2010-12-0{invoice}T08:26:00Z,2.50,7,Norway");
    assert_eq!(shop.import(&[&line(1, 10_001)], &[]).0, 0);
    // The customer has something in the cart, in another currency, while more is imported.
    let items = json!({ "items": [{ "product": "9-9", "quantity": 1, "agreed_price": "70.00", "currency": "USD" }] });
    let (status, answer) = shop.caller.command(Method::POST, "/carts/7/items", "live", items).await;
    assert!(status.is_success(), "{answer}");
    settle(&shop.caller).await;
    let before = shop.caller.get("/carts/7").await;
    let more: Vec<String> = (2..9).map(|invoice| line(invoice, 10_001)).collect();
    let (code, summary, said) = shop.import(&more.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    assert_eq!((code, summary["orders"].as_u64(), summary["orders_total"].as_str()), (0, Some(7), Some("17.50")), "{said}");
    let after = shop.caller.get("/carts/7").await;
    assert_eq!((&after["items"], &after["status"], &after["orders"]), (&before["items"], &before["status"], &json!(8)));
    for order in shop.caller.all("/orders").await {
        assert!(order["lines"].as_array().unwrap().iter().all(|line| line["product"] != "9-9"), "{order}");
    }
}

fn stdin(shop: &Shop, bytes: &[u8], more: &[&str]) -> (i32, Value, String) {
    let report = shop.dir.path().join("report.csv");
    let mut command = Command::new(binary());
    command.args(["import", "-", "--url", &shop.server.url, "--report", report.to_str().unwrap(), "-o", "json"]).args(more);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    (done.status.code().unwrap(), serde_json::from_slice(&done.stdout).unwrap_or_else(|why| panic!("{why}: {said}")), said)
}

async fn placed_at(shop: &Shop, reference: u32) -> String {
    let orders = shop.caller.get(&format!("/orders?reference={reference}")).await;
    let id = orders["items"][0]["id"].as_str().or(orders["items"][0].as_str()).unwrap().to_owned();
    shop.caller.get(&format!("/orders/{id}")).await["placed_at"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_real_shops_are_read() {
    let shop = Shop::open();
    // The order of a date's numbers is proved by another date, or asked for.
    let american = |invoice: u32, date: &str| format!("{HEADER}\n{invoice},10001,LAMP,1,{date},2.50,7,Norway\n");
    let (code, _, said) = stdin(&shop, american(1, "12/1/2010 8:26").as_bytes(), &[]);
    assert_eq!((code, shop.fates(), said.contains("--date-format")), (3, refused(&[(2, "ambiguous_date")]), true), "{said}");
    let proved = format!("{}2,10001,LAMP,1,12/13/2010 17:05,2.50,7,Norway\n", american(1, "12/1/2010 8:26"));
    assert_eq!(stdin(&shop, proved.as_bytes(), &["--time-zone", "America/New_York"]).0, 0);
    assert_eq!((placed_at(&shop, 1).await.as_str(), placed_at(&shop, 2).await.as_str()), ("2010-12-01T13:26:00Z", "2010-12-13T22:05:00Z"));
    for (invoice, date, flags, at) in [
        (3, "12/1/2010 8:26", ["--date-format", "month-first"].as_slice(), "2010-12-01T08:26:00Z"),
        (4, "12/1/2010 8:26", &["--date-format", "day-first", "--time-zone", "+01:00"], "2010-01-12T07:26:00Z"),
        (5, "01.12.10 8:26", &["--date-format", "%d.%m.%y %H:%M"], "2010-12-01T08:26:00Z"),
        (6, "2010-07-01 08:26:30", &["--time-zone", "Europe/London"], "2010-07-01T07:26:30Z"),
        (7, "31.12.2010", &[], "2010-12-31T00:00:00Z"),
        (8, "7/7/2010 1:05 PM", &[], "2010-07-07T13:05:00Z"),
    ] {
        let (code, _, said) = stdin(&shop, american(invoice, date).as_bytes(), flags);
        assert_eq!((code, placed_at(&shop, invoice).await.as_str()), (0, at), "{date}: {said}");
    }
    // Semicolons and decimal commas, tabs under other names, UTF-16.
    let semicolons = format!("{}\n9;10002;Lampe \u{fc}ber 5\"; 2;2010-12-01T08:26:00Z;2,50;7;Norge\n", HEADER.replace(',', ";"));
    assert_eq!(stdin(&shop, semicolons.as_bytes(), &[]).1["orders_total"], "5.00");
    let tabs =
        "Invoice\tStockCode\tDescription\tQuantity\tInvoiceDate\tPrice\tCustomer ID\tCountry\n10\t10002\tA, B\t2\t2010-12-01T08:26:00Z\t2.50\t7.0\tNorway\n";
    let wide: Vec<u8> = std::iter::once(0xfeff).chain(tabs.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for bytes in [tabs.as_bytes(), &wide] {
        let (code, summary, said) = stdin(&shop, bytes, &[]);
        assert_eq!((code, summary["orders_total"].as_str()), (0, Some("5.00")), "{said}");
    }
    assert_eq!(stdin(&shop, tabs.replace('\t', "#").as_bytes(), &["--delimiter", "#"]).0, 0);
    // What cannot be read is said with the flag that helps; what is used wrongly is 2.
    let file = shop.file("in.csv", american(11, "2010-12-01T08:26:00Z"));
    let link = shop.dir.path().join("link.csv");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let run = |arguments: &[&str]| {
        let done = Command::new(binary()).arg("import").args(arguments).args(["--url", &shop.server.url]).current_dir(shop.dir.path()).output().unwrap();
        (done.status.code().unwrap(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    for report in ["in.csv", "./in.csv", "link.csv", file.to_str().unwrap()] {
        for input in ["in.csv", "link.csv"] {
            let (code, said) = run(&[input, "--report", report]);
            assert_eq!((code, said.contains("name another")), (2, true), "{input} {report}: {said}");
        }
    }
    assert_eq!(std::fs::read(&file).unwrap(), american(11, "2010-12-01T08:26:00Z").as_bytes());
    for wrong in [["--delimiter", "ab"], ["--encoding", "klingon"], ["--time-zone", "Atlantis"], ["--date-format", "sometimes"], ["--seller", "0"]] {
        assert_eq!(run(&[&["in.csv"], wrong.as_slice()].concat()).0, 2, "{wrong:?}");
    }
    shop.file("odd.csv", HEADER.replace(',', "#"));
    let (code, said) = run(&["odd.csv"]);
    assert!(code == 1 && said.contains("--delimiter"), "{said}");
    // A report goes to a device as it is, and the device stays one.
    assert_eq!(run(&["in.csv", "--report", "/dev/null"]).0, 0);
    assert!(!Path::new("/dev/null").is_file());
}
