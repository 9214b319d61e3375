//! Damage to the embedded log's files: told from a write that was cut off, and never passed over in silence.

use std::path::{Path, PathBuf};

use eventstore::embedded::{Embedded, Settings, repair};
use eventstore::log::TopicSpec;
use eventstore::{Fault, Limits, Log, Message, Offset};
use schemas::{Headers, Partition, Topic};
use tempfile::TempDir;

const RECORDS: usize = 300;

fn topic() -> Topic {
    Topic::named("damage.events")
}

/// A log of so many records, closed, and its write-ahead file.
fn written() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let log = Embedded::open(dir.path(), Settings::default()).unwrap();
    log.provision(&[TopicSpec { topic: topic(), retention: None }]).unwrap();
    for n in 0..RECORDS {
        let key = n.to_string().into_bytes();
        log.append(vec![Message { topic: topic(), partition: Partition(0), key, headers: Headers::default(), value: Some(vec![7; 200]) }]).unwrap();
    }
    drop(log);
    let files = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path());
    let wal = files.filter(|path| path.extension().is_some_and(|ending| ending == "log")).max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    (dir, wal)
}

fn count(dir: &Path, settings: Settings) -> Result<usize, Fault> {
    let log = Embedded::open(dir, settings)?;
    let (mut from, mut count) = (Offset(0), 0);
    while from < log.end(&topic(), Partition(0))? {
        let page = log.read(&topic(), Partition(0), from, Limits::default())?;
        (from, count) = (page.next, count + page.records.len());
    }
    Ok(count)
}

#[test]
fn a_flipped_byte_is_damage_and_says_so() {
    for place in [3, 5, 8] {
        let (dir, wal) = written();
        let mut bytes = std::fs::read(&wal).unwrap();
        let at = bytes.len() * place / 10;
        bytes[at] ^= 0x10;
        std::fs::write(&wal, &bytes).unwrap();
        let refused = count(dir.path(), Settings::default()).unwrap_err().to_string();
        assert!(refused.contains("is damaged") && refused.contains("backup") && refused.contains("--accept-loss"), "{refused}");
        assert_eq!(std::fs::read(&wal).unwrap(), bytes, "the refusal changed it");
        let kept = count(dir.path(), Settings { accept_loss: true, ..Settings::default() }).unwrap();
        assert!(kept > RECORDS * (place - 1) / 10 && kept < RECORDS, "{kept}");
        assert_eq!(count(dir.path(), Settings::default()).unwrap(), kept, "an accepted loss is not asked for again");
    }
}

/// A table file holds what a start does not look at: it is met where it is read, and named as what it is.
#[test]
fn a_flipped_byte_in_a_table_is_damage_with_a_way_out() {
    let mut refusals = 0;
    for place in [2, 4, 6] {
        let (dir, _) = written();
        assert_eq!(count(dir.path(), Settings::default()).unwrap(), RECORDS); // opened again, it is in tables
        let files = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path());
        let tables = files.filter(|path| path.extension().is_some_and(|ending| ending == "sst"));
        let table = tables.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
        let mut bytes = std::fs::read(&table).unwrap();
        let at = bytes.len() * place / 10;
        bytes[at] ^= 0x10;
        std::fs::write(&table, &bytes).unwrap();
        let Err(refused) = count(dir.path(), Settings::default()) else { continue };
        let refused = refused.to_string();
        assert!(refused.contains("is damaged") && refused.contains("backup") && refused.contains("--accept-loss"), "{refused}");
        refusals += 1;
        repair(dir.path()).unwrap();
        let kept = count(dir.path(), Settings { accept_loss: true, ..Settings::default() }).unwrap();
        assert!(kept < RECORDS, "{kept}");
        assert_eq!(count(dir.path(), Settings::default()).unwrap(), kept);
    }
    assert!(refusals > 0, "no flip was in what is read");
}

#[test]
fn a_write_that_was_cut_off_is_none() {
    for cut in [1, 50, 180] {
        let (dir, wal) = written();
        let file = std::fs::File::options().write(true).open(&wal).unwrap();
        file.set_len(file.metadata().unwrap().len() - cut).unwrap();
        assert_eq!(count(dir.path(), Settings::default()).unwrap(), RECORDS - 1);
    }
}
