//! Histories held against what the marketplace has already: refunds, times, sales of earlier files, the report's own file.

use std::fs::File;
use std::process::Command;

use serde_json::Value;

use super::doors::{HEADER, Shop, refused};
use crate::process::binary;

/// What the orders have of refunds, in pence.
async fn refunded(shop: &Shop) -> u64 {
    let orders = shop.caller.all("/orders").await;
    let pence = |row: &Value| row["refunded"].as_str().unwrap().replace('.', "").parse::<u64>().unwrap();
    orders.iter().map(pence).sum()
}

fn refunds(summary: &Value) -> [&str; 2] {
    ["refunds_total", "orders_refunds_total"].map(|total| summary[total].as_str().unwrap_or("none"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mended_cancellation_is_refunded_once() {
    let shop = Shop::open();
    let sale = "910001,10001,LAMP,10,2010-12-01T08:26:00Z,1.00,7,Norway";
    let back = |quantity: u32| format!("C910002,10001,LAMP,-{quantity},2010-12-02T08:26:00Z,1.00,7,Norway");
    let (four, five) = (back(4), back(5));
    let (code, summary, said) = shop.import(&[sale, &four], &[]);
    assert_eq!((code, refunds(&summary), refunded(&shop).await), (0, ["4.00", "4.00"], 400), "{said}");
    // Its quantity mended: what was refunded stays, and is said.
    let (code, summary, said) = shop.import(&[sale, &five], &[]);
    assert_eq!((code, refunds(&summary), refunded(&shop).await), (3, ["0.00", "4.00"], 400), "{summary} {said}");
    assert_eq!(shop.fates(), refused(&[(2, ""), (3, "refunded_otherwise")]));
    assert!(said.contains("order 7-1 has refund C910002/10001/1 of 4.00"), "{said}");
    assert_eq!((&summary["refunds_not_in_file"][0]["reference"], summary["to_look_at"].as_u64()), (&"C910002/10001/1".into(), Some(1)), "{summary}");
    // Its customer or its letters mended: it is the same cancellation.
    for other in [four.replace(",7,", ",8,"), four.replace(",7,", ",,")] {
        let (code, summary, said) = shop.import(&[sale, &other], &[]);
        assert_eq!((code, refunds(&summary), refunded(&shop).await), (3, ["0.00", "4.00"], 400), "{summary} {said}");
    }
    let (code, ..) = shop.import(&[sale, &four.replace('C', "c")], &[]);
    assert_eq!((code, shop.fates(), refunded(&shop).await), (0, refused(&[(2, ""), (3, "")]), 400));
    // A line more of it is refunded; a line less is said.
    let (code, summary, said) = shop.import(&[sale, &four, &four], &[]);
    assert_eq!((code, refunds(&summary), refunded(&shop).await), (0, ["8.00", "8.00"], 800), "{said}");
    let (code, summary, said) = shop.import(&[sale, &four], &[]);
    assert_eq!((code, refunds(&summary), refunded(&shop).await), (3, ["4.00", "8.00"], 800), "{summary} {said}");
    assert_eq!(shop.fates(), refused(&[(2, ""), (3, "")]));
    // The cancellation's line of another product gone: its invoice is in the file.
    let shade = "910003,10002,SHADE,2,2010-12-01T08:26:00Z,3.00,7,Norway";
    let shade_back = "C910002,10002,SHADE,-1,2010-12-02T08:26:00Z,3.00,7,Norway";
    let (code, summary, said) = shop.import(&[sale, shade, &four, &four, shade_back], &[]);
    assert_eq!((code, refunds(&summary), refunded(&shop).await), (0, ["11.00", "11.00"], 1_100), "{said}");
    let (code, summary, _) = shop.import(&[sale, shade, &four, &four], &[]);
    assert_eq!((code, refunds(&summary), refunded(&shop).await), (3, ["8.00", "11.00"], 1_100));
    // A file without the cancellation's invoice says nothing of it; another shop has the same numbers.
    assert_eq!(shop.import(&[sale, shade], &[]).0, 0);
    let (code, summary, said) = shop.import(&[sale, &five], &["--seller", "2"]);
    assert_eq!((code, refunds(&summary), refunded(&shop).await), (0, ["5.00", "5.00"], 1_600), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_never_replaces_standard_input() {
    let shop = Shop::open();
    let text = format!("{HEADER}\n1,10001,LAMP,2,2010-12-01T08:26:00Z,2.50,7,Norway\n");
    let file = shop.file("in.csv", &text);
    std::os::unix::fs::symlink(&file, shop.dir.path().join("link.csv")).unwrap();
    std::fs::hard_link(&file, shop.dir.path().join("hard.csv")).unwrap();
    let run = |report: &str| {
        let mut command = Command::new(binary());
        command.args(["import", "-", "--url", &shop.server.url, "--report", report]).current_dir(shop.dir.path());
        let done = command.stdin(File::open(&file).unwrap()).output().unwrap();
        (done.status.code().unwrap(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    for report in ["in.csv", "./in.csv", "link.csv", "hard.csv", file.to_str().unwrap()] {
        let (code, said) = run(report);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text, "{report} replaced what was read");
        assert_eq!((code, said.contains("name another")), (2, true), "{report}: {said}");
    }
    assert_eq!(run("out.csv").0, 0);
    assert_eq!(run("/dev/null").0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_finds_its_sale_in_an_earlier_file() {
    let shop = Shop::open();
    let sold = |invoice: u32, day: u32, quantity: u32| format!("{invoice},10001,LAMP,{quantity},2010-12-{day:02}T08:26:00Z,1.00,7,Norway");
    let back = |invoice: u32, day: u32, quantity: u32| format!("C{invoice},10001,LAMP,-{quantity},2010-12-{day:02}T09:26:00Z,1.00,7,Norway");
    assert_eq!(shop.import(&[&sold(1, 1, 10), &sold(2, 20, 5)], &[]).0, 0);
    // Of the sales there are, the one that was before; again, and it is there already.
    for _ in 0..2 {
        let (code, summary, said) = shop.import(&[&back(3, 10, 4)], &[]);
        assert_eq!((code, shop.fates(), refunds(&summary)), (0, refused(&[(2, "")]), ["4.00", "4.00"]), "{summary} {said}");
        assert_eq!(refunded(&shop).await, 400);
        assert_eq!(shop.caller.get("/orders/7-1").await["lines"][0]["returned"], 4);
    }
    // Mended, it is the same cancellation as in a file with its sale.
    assert_eq!((shop.import(&[&back(3, 10, 5)], &[]).0, shop.fates()), (3, refused(&[(2, "refunded_otherwise")])));
    // More than is left, before any sale, of another shop, of nobody known: no sale to give back.
    let nobody = back(6, 25, 1).replace(",7,", ",77,");
    for (line, more) in [(back(4, 10, 7), [].as_slice()), (back(5, 0, 1).replace("12-00", "11-30"), &[]), (back(6, 25, 1), &["--seller", "2"]), (nobody, &[])] {
        let (code, summary, said) = shop.import(&[&line], more);
        assert_eq!((code, shop.fates(), refunds(&summary)), (0, refused(&[(2, "cancellation_unmatched")]), ["0.00", "0.00"]), "{line}: {summary} {said}");
    }
    // The file's own sale first, and an earlier one where that has too few pieces.
    let (code, summary, said) = shop.import(&[&sold(7, 21, 2), &back(8, 22, 2), &back(9, 22, 3)], &[]);
    assert_eq!((code, shop.fates(), refunds(&summary)), (0, refused(&[(2, ""), (3, ""), (4, "")]), ["5.00", "5.00"]), "{said}");
    let mut returned = vec![];
    for order in ["7-1", "7-2", "7-3"] {
        returned.push(shop.caller.get(&format!("/orders/{order}")).await["lines"][0]["returned"].as_u64().unwrap());
    }
    assert_eq!((returned, refunded(&shop).await), (vec![4, 3, 2], 900));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_one_sale_is_a_finding() {
    let shop = Shop::open();
    let line = |invoice: u32, code: &str| format!("{invoice},{code},LAMP,2,2010-12-01T08:26:00Z,2.50,7,Norway");
    let none = "not one of the file's 2 lines was accepted as a sale";
    let (code, summary, said) = shop.import(&[&line(1, "P17"), &line(2, "P18")], &[]);
    assert_eq!((code, summary["to_look_at"].as_u64(), shop.fates()), (3, Some(2), refused(&[(2, "not_goods"), (3, "not_goods")])), "{summary} {said}");
    assert!(summary["no_sale"].as_str().is_some_and(|said| said.starts_with(none)), "{summary}");
    // One sale among them, and the rest is what an owner expects.
    let (code, summary, said) = shop.import(&[&line(1, "P17"), &line(2, "10001")], &[]);
    assert_eq!((code, summary["to_look_at"].as_u64(), summary.get("no_sale")), (0, Some(0), None), "{summary} {said}");
    // No code at all is no charge.
    for lines in [["", "10001"], ["  ", "10001"]] {
        let (code, summary, said) = shop.import(&[&line(1, lines[0]), &line(2, lines[1])], &[]);
        assert_eq!((code, summary["to_look_at"].as_u64(), shop.fates()), (3, Some(1), refused(&[(2, "no_stock_code"), (3, "")])), "{summary} {said}");
    }
    assert_eq!(shop.import(&["C3,,LAMP,-2,2010-12-01T08:26:00Z,2.50,7,Norway", &line(2, "10001")], &[]).0, 3);
    // Cancellations alone are a file, and so is nothing; charges given back are no sale either.
    assert_eq!(shop.import(&["C4,10009,LAMP,-2,2010-12-01T08:26:00Z,2.50,7,Norway", "C4,POST,POSTAGE,-1,2010-12-01T08:26:00Z,2.50,7,Norway"], &[]).0, 0);
    assert_eq!(shop.import(&["C5,P17,LAMP,-2,2010-12-01T08:26:00Z,2.50,7,Norway"], &[]).0, 3);
    assert_eq!(shop.import(&[], &[]).0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_of_another_time_is_not_the_invoices() {
    let shop = Shop::open();
    let line = |product: u32, at: &str| format!("1,{product},LAMP,2,{at},2.50,7,Norway");
    let (first, second) = (line(10_001, "2010-12-01T08:26:00Z"), line(10_002, "2010-12-01T08:27:00Z"));
    assert_eq!(shop.import(&[&first, &second], &[]).0, 0);
    // Its number used again a year later.
    let (code, summary, said) = shop.import(&[&first.replace("2010", "2011"), &second.replace("2010", "2011")], &[]);
    assert_eq!((code, shop.fates()), (3, refused(&[(2, "other_time"), (3, "other_time")])), "{summary} {said}");
    assert_eq!((&summary["accepted_total"], &summary["orders_total"], summary["to_look_at"].as_u64()), (&"0.00".into(), &"0.00".into(), Some(2)), "{summary}");
    assert!(said.contains("another time"), "{said}");
    // What its customer gave back was not of last year's.
    let back = format!("C2{}", line(10_001, "2011-12-02T08:26:00Z").replace(",2,", ",-2,").trim_start_matches('1'));
    assert_eq!((shop.import(&[&first.replace("2010", "2011"), &back], &[]).0, shop.fates()[1].1.as_str()), (3, "cancellation_unmatched"));
    assert_eq!((shop.caller.all("/orders").await.len(), refunded(&shop).await), (1, 0));
    // Any of its lines may be the order's first, by the second; read in another zone, none is.
    for lines in [[&second, &first], [&first, &second]] {
        assert_eq!(shop.import(&lines.map(String::as_str), &[]).0, 0);
    }
    assert_eq!(shop.import(&[&first.replace("08:26:00Z", "08:26:00.5Z"), &second], &[]).0, 0);
    assert_eq!(shop.import(&[&first.replace("08:26:00Z", "08:26:01Z"), &second], &[]).0, 3);
    let bare = [first.replace('Z', ""), second.replace('Z', "")];
    assert_eq!(shop.import(&[&bare[0], &bare[1]], &[]).0, 0);
    assert_eq!((shop.import(&[&bare[0], &bare[1]], &["--time-zone", "+01:00"]).0, &shop.fates()[0].1), (3, &"other_time".to_owned()));
}
