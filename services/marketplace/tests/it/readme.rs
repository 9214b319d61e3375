//! The README: its tour, command by command; its length; and every link of every page.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::{binary, free};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

/// The fenced block of this language that comes next behind a mark.
fn block<'t>(text: &'t str, behind: &str, language: &str) -> &'t str {
    let after = text.split_once(behind).unwrap_or_else(|| panic!("there is no '{behind}'")).1;
    after.split_once(&format!("```{language}\n")).unwrap().1.split("```").next().unwrap()
}

#[test]
fn the_tour_shows_what_it_says() {
    let page = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (tour, seen) = (block(&page, "<!-- tour -->", "sh"), block(&page, "You should see", "text"));
    let (dir, address) = (TempDir::new().unwrap(), format!("127.0.0.1:{}", free()));
    let up = format!("{} up --listen {address} --data {}", binary().display(), dir.path().join("data").display());
    let script =
        tour.replace("cargo run --release -- up", &up).replace("cargo run --release --", &binary().display().to_string()).replace("127.0.0.1:8080", &address);
    assert!(script.contains(&up) && !script.contains("cargo"), "{script}");
    let out = dir.path().join("out");
    let file = std::fs::File::create(&out).unwrap();
    let began = Instant::now();
    let mut shell =
        Command::new("bash").arg("-c").arg(format!("trap 'kill -9 $server 2>/dev/null' EXIT\n{script}")).stdout(file).stderr(Stdio::null()).spawn().unwrap();
    while shell.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_secs(120) {
            rustix::process::kill_process(rustix::process::Pid::from_child(&shell), rustix::process::Signal::TERM).unwrap();
            panic!("the tour takes too long");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let out = std::fs::read_to_string(&out).unwrap();
    let mut rest = out.as_str();
    for piece in seen.lines().flat_map(|line| line.split('…')) {
        rest = rest.split_once(piece).unwrap_or_else(|| panic!("'{piece}' does not come next in:\n{out}")).1;
    }
}

#[test]
fn it_is_short_enough_to_be_read() {
    let page = std::fs::read_to_string(root().join("README.md")).unwrap();
    let words = page.split_whitespace().count();
    assert!(words <= 900, "README.md has {words} words");
}

/// Pages below a folder, those of dependencies and of what is built left out.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            pages(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut all = vec![];
    pages(&root(), &mut all);
    let mut broken = vec![];
    for page in &all {
        let text = std::fs::read_to_string(page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let named = |heading: &str| {
                let of = |line: &str| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-").replace(',', "");
                std::fs::read_to_string(&target).is_ok_and(|text| text.lines().filter(|line| line.starts_with('#')).any(|line| of(line) == heading))
            };
            if !target.exists() || heading.is_some_and(|heading| !named(heading)) {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(all.len() > 5 && broken.is_empty(), "{}", broken.join("\n"));
}
