//! Histories held against what the marketplace has already: refunds, times, sales of earlier files, the report's own file.

use std::fs::File;
use std::process::Command;

use super::doors::{HEADER, Shop, refused};
use crate::process::binary;

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
    assert_eq!(shop.caller.all("/orders").await.len(), 1);
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
