//! A power cut: the process is killed, every file loses what was not synced, and every directory the names that were not. What was acknowledged must be there;
//! with syncs switched off the same check must find a loss.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventstore::embedded::{Embedded, Settings};
use eventstore::log::TopicSpec;
use eventstore::{Limits, Log, Message, Offset};
use schemas::{Headers, Partition, Topic};
use tempfile::TempDir;

const DIR: &str = "POWERCUT_DIR";
const UNSYNCED: &str = "POWERCUT_UNSYNCED";
const WRITERS: usize = 4;
/// Acknowledgements to wait for before the cut, and the longest to wait.
const ACKNOWLEDGED_MIN: usize = 400;
const RUN_MAX: Duration = Duration::from_secs(10);

fn topic() -> Topic {
    Topic::named("powercut.events")
}

/// The victim: this test binary again, told by its environment. Without that it has nothing to do.
#[test]
fn victim() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let settings = Settings { sync: std::env::var(UNSYNCED).is_err(), gaps: Some(5), ..Settings::default() };
    let log = Arc::new(Embedded::open(Path::new(&dir), settings).unwrap());
    log.provision(&[TopicSpec { topic: topic(), retention: None }]).unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                for n in 0.. {
                    let text = format!("{writer}.{n}");
                    let message = Message {
                        topic: topic(),
                        partition: Partition(writer as u16),
                        key: text.clone().into_bytes(),
                        headers: Headers::default(),
                        value: Some(vec![7; 200]),
                    };
                    log.append(vec![message]).unwrap();
                    std::io::stdout().write_all(format!("acknowledged {text}\n").as_bytes()).unwrap();
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
}

/// Runs the victim, cuts its power, and says how many acknowledged records are lost.
fn cut(synced: bool) -> Result<usize, String> {
    let dir = TempDir::new().unwrap();
    let (library, ledger) = (dir.path().join("powercut.so"), dir.path().join("ledger"));
    let (disk, data) = (dir.path().join("disk"), dir.path().join("disk/new/data/log"));
    std::fs::create_dir(&disk).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/powercut.c");
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").status().expect("a C compiler: RocksDB needs one too");
    assert!(built.success());
    let mut victim = Command::new(std::env::current_exe().unwrap());
    victim
        .args(["powercut::victim", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, &data)
        .env("LD_PRELOAD", &library)
        .env("POWERCUT_LEDGER", &ledger)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if !synced {
        victim.env(UNSYNCED, "1");
    }
    let mut victim = victim.spawn().unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let (mut acknowledged, began) = (BTreeSet::new(), Instant::now());
    while acknowledged.len() < ACKNOWLEDGED_MIN && began.elapsed() < RUN_MAX {
        acknowledged.extend(lines.next().and_then(Result::ok).and_then(|line| Some(line.split_once("acknowledged ")?.1.to_owned())));
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    acknowledged.extend(lines.map_while(Result::ok).filter_map(|line| Some(line.split_once("acknowledged ")?.1.to_owned())));
    assert!(acknowledged.len() >= ACKNOWLEDGED_MIN, "the victim acknowledged {} appends in {RUN_MAX:?}", acknowledged.len());
    take_away_unsynced(&disk, &Ledger::read(&std::fs::read_to_string(&ledger).unwrap_or_default()));
    let log = Embedded::open(&data, Settings::default()).map_err(|why| why.to_string())?;
    let found = found(&log).map_err(|why| why.to_string())?;
    Ok(acknowledged.difference(&found).count())
}

/// What was synced: sizes of files, and names in directories, by inode.
#[derive(Default)]
struct Ledger {
    sizes: HashMap<u64, u64>,
    names: HashMap<u64, BTreeSet<String>>,
}

impl Ledger {
    fn read(text: &str) -> Self {
        let mut ledger = Self::default();
        for line in text.lines() {
            if let Some(names) = line.strip_prefix('/') {
                let mut names = names.split('/').map(str::to_owned);
                ledger.names.insert(names.next().unwrap().parse().unwrap(), names.collect());
            } else {
                let (inode, size) = line.split_once(' ').unwrap();
                ledger.sizes.insert(inode.parse().unwrap(), size.parse().unwrap());
            }
        }
        ledger
    }
}

fn take_away_unsynced(dir: &Path, ledger: &Ledger) {
    let nothing = BTreeSet::new();
    let names = ledger.names.get(&std::fs::metadata(dir).unwrap().ino()).unwrap_or(&nothing);
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, known) = (entry.path(), entry.metadata().unwrap());
        match (names.contains(entry.file_name().to_str().unwrap()), known.is_dir()) {
            (true, true) => take_away_unsynced(&path, ledger),
            (true, false) => {
                let synced = ledger.sizes.get(&known.ino()).copied().unwrap_or(0);
                if known.len() > synced {
                    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(synced).unwrap();
                }
            }
            (false, true) => std::fs::remove_dir_all(&path).unwrap(),
            (false, false) => std::fs::remove_file(&path).unwrap(),
        }
    }
}

fn found(log: &Embedded) -> Result<BTreeSet<String>, eventstore::Fault> {
    let mut found = BTreeSet::new();
    for partition in (0..WRITERS as u16).map(Partition) {
        let (mut from, end) = (Offset(0), log.end(&topic(), partition)?);
        while from < end {
            let page = log.read(&topic(), partition, from, Limits::default())?;
            from = page.next;
            found.extend(page.records.iter().map(|record| String::from_utf8(record.key.clone()).unwrap()));
        }
    }
    Ok(found)
}

#[test]
fn a_power_cut_takes_nothing_that_was_acknowledged() {
    for _ in 0..3 {
        assert_eq!(cut(true), Ok(0), "acknowledged records lost");
    }
}

#[test]
fn without_syncs_the_same_check_finds_the_loss() {
    let lost = cut(false);
    println!("without syncs: {lost:?} acknowledged records lost");
    assert_ne!(lost, Ok(0), "this check cannot fail");
}
