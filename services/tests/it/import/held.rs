//! Histories held against what the marketplace has already: refunds, times, sales of earlier files, the report's own file.

use std::fs::File;
use std::process::Command;

use super::doors::{HEADER, Shop};
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
