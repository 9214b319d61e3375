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
