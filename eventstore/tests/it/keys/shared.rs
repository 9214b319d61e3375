//! Tests of a key store that several processes share: what one does, the others see, and none is in the way of another that is
//! killed. Never starts but itself.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use eventstore::keystore::{Error, KeyStore, StoreId};
use tempfile::TempDir;

use super::other::{Other, look};

const KEK: [u8; 32] = [1; 32];
const NEW_KEK: [u8; 32] = [2; 32];
const FRAME: usize = 128;

const fn shared_by_threads<T: Send + Sync>() {}
const _: () = shared_by_threads::<KeyStore>();
const _: () = assert!(KeyStore::ERASED_WITHIN.as_millis() <= 20);

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(dir: &Path) -> KeyStore {
    KeyStore::open_or_make(dir, &KEK).unwrap()
}

fn fill(store: &KeyStore, count: usize) {
    let names: Vec<String> = (0..count).map(|number| format!("s{number}")).collect();
    store.make_all(&names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
}

fn frames(dir: &Path) -> usize {
    fs::read(dir.join("keys")).unwrap().len() / FRAME
}

#[test]
fn many_that_make_the_same_keys_at_once_agree() {
    let dir = dir();
    let mut others: Vec<_> = (0..4).map(|_| Other::start(dir.path())).collect();
    others.iter_mut().enumerate().for_each(|(turn, other)| other.tell(&format!("all {turn}")));
    let mut all: Vec<String> = others.iter_mut().map(|other| other.answer().unwrap()).collect();
    assert_eq!(frames(dir.path()), 1001, "one key each");
    assert_eq!(all[0].split(',').count(), 1000);
    all.dedup();
    assert_eq!(all.len(), 1, "all have the same");
}

#[test]
fn what_one_makes_all_find_at_once() {
    let dir = dir();
    let (mut one, mut other, store) = (Other::start(dir.path()), Other::start(dir.path()), open(dir.path()));
    for number in 0..50 {
        let id = one.ask(&format!("make s{number}"));
        assert_eq!(other.ask(&format!("look {id}")), "key");
        assert_eq!(other.ask(&format!("get s{number}")), id);
        assert_eq!(store.get_or_make(&format!("s{number}")).unwrap().id.to_string(), id);
    }
    assert_eq!(other.ask("look AAAAAAAAAAAAAAAAAAAAAA"), "lost");
    assert_eq!(frames(dir.path()), 51);
}

#[test]
fn erased_by_one_is_erased_for_all_in_time() {
    let dir = dir();
    let (mut one, mut other, store) = (Other::start(dir.path()), Other::start(dir.path()), open(dir.path()));
    for round in 0..20 {
        let id = one.ask("make ada");
        assert_eq!((other.ask(&format!("look {id}")), look(&store, id.parse().unwrap())), ("key".to_owned(), "key".to_owned()));
        assert_eq!(one.ask("erase ada"), "1");
        std::thread::sleep(KeyStore::ERASED_WITHIN);
        assert_eq!(look(&store, id.parse().unwrap()), "erased", "round {round}");
        assert_eq!((other.ask(&format!("look {id}")), other.ask("get ada")), ("erased".to_owned(), "none".to_owned()), "round {round}");
        assert_eq!(store.tombstones().unwrap().len(), round + 1);
    }
}

#[test]
fn who_reads_while_another_shreds_finds_all_that_is_left() {
    let dir = dir();
    let store = open(dir.path());
    fill(&store, 20_000); // more than are cached
    let (last, mut others) = (store.get_or_make("last").unwrap().id, [Other::start(dir.path()), Other::start(dir.path())]);
    others.iter_mut().for_each(|other| other.tell(&format!("hammer {last}")));
    for number in 0..12 {
        store.get_or_make(&format!("gone-{number}")).unwrap();
        assert_eq!(store.erase(&format!("gone-{number}"), 1).unwrap().len(), 1);
    }
    store.erase("last", 1).unwrap();
    for other in &mut others {
        let said = other.answer().unwrap();
        assert!(said.starts_with("erased after"), "{said}");
    }
}

#[test]
fn who_is_killed_is_in_nobodys_way() {
    let dir = dir();
    let store = open(dir.path());
    fill(&store, 3000); // so that a rewrite takes its time
    let (mut made, mut witness, mut left) = (BTreeMap::new(), Other::start(dir.path()), 0);
    for round in 0..40 {
        let mut other = Other::start(dir.path());
        other.tell(&format!("churn r{round}"));
        std::thread::sleep(Duration::from_micros(2000 + 1700 * round));
        for said in other.kill() {
            let (name, id) = said.split_once(' ').unwrap();
            made.insert(name.to_owned(), id.to_owned());
        }
        left += usize::from(dir.path().join("keys.new").exists());
        let late = witness.ask(&format!("make late-{round}"));
        assert_eq!(store.get(&format!("late-{round}")).unwrap().unwrap().id.to_string(), late);
        assert!(!dir.path().join("keys.new").exists(), "cleaned up");
    }
    assert!(made.len() > 100 && left > 0, "killed while it did something: {} made, {left} left", made.len());
    let fresh = open(dir.path());
    for (name, id) in &made {
        for store in [&store, &fresh] {
            assert_eq!(store.get(name).unwrap().unwrap().id.to_string(), *id);
        }
    }
    (0..3000).for_each(|number| assert_eq!(witness.ask(&format!("get s{number}")), fresh.get(&format!("s{number}")).unwrap().unwrap().id.to_string()));
}

#[test]
fn another_kek_is_seen_by_all_and_none_writes_with_the_old_one() {
    let dir = dir();
    let (mut one, mut other) = (Other::start(dir.path()), Other::start(dir.path()));
    let (ada, bob) = (one.ask("make ada"), other.ask("make bob"));
    assert_eq!(one.ask("rewrap"), "2");
    std::thread::sleep(KeyStore::ERASED_WITHIN);
    for what in ["get ada", "make ada", "make new", &format!("look {bob}")] {
        assert_eq!(other.ask(what), "wrong kek", "{what}");
    }
    assert_eq!(other.ask("get nobody"), "none");
    let carol = one.ask("make carol");
    assert_eq!(other.ask("erase bob"), "1", "which needs no key");
    assert_eq!((other.ask(&format!("look {bob}")), other.ask(&format!("look {carol}"))), ("erased".to_owned(), "wrong kek".to_owned()));
    assert_eq!(other.ask("rewrap"), "0", "which was done");
    assert_eq!((other.ask("get ada"), other.ask("get carol")), (ada, carol));
    let new = other.ask("make new");
    assert!(matches!(KeyStore::open(dir.path(), &KEK).err(), Some(Error::WrongKek(_))));
    let store = KeyStore::open(dir.path(), &NEW_KEK).unwrap();
    assert_eq!(store.get("new").unwrap().unwrap().id.to_string(), new);
    assert_eq!(frames(dir.path()), 5);
}

#[test]
fn another_kek_amid_writes_leaves_no_key_behind() {
    let dir = dir();
    let store = open(dir.path());
    let mut other = Other::start(dir.path());
    other.tell("until s");
    while frames(dir.path()) < 50 {
        std::thread::sleep(Duration::from_millis(1));
    }
    store.rewrap(&KEK, &NEW_KEK).unwrap();
    let said = other.answer().unwrap();
    let said: Vec<&str> = said.split(',').collect();
    let store = KeyStore::open(dir.path(), &NEW_KEK).unwrap();
    for (number, id) in said.iter().enumerate() {
        let found = store.get(&format!("s{number}")).unwrap().map_or("wrong kek".to_owned(), |key| key.id.to_string());
        assert_eq!(found, *id);
    }
    assert_eq!((frames(dir.path()), said.last()), (said.len(), Some(&"wrong kek")));
}

#[test]
fn backups_that_are_made_meanwhile_open() {
    let (dir, backup) = (dir(), dir());
    let store = open(dir.path());
    fill(&store, 3000);
    let (mut other, lock) = (Other::start(dir.path()), File::open(dir.path().join("keys.lock")).unwrap());
    other.tell("churn b");
    let (mut whole, keys) = (0, backup.path().join("keys"));
    for round in 0..60 {
        if round % 2 == 0 {
            lock.lock().unwrap();
        }
        fs::copy(dir.path().join("keys"), &keys).unwrap();
        lock.unlock().unwrap();
        match KeyStore::open(backup.path(), &KEK) {
            Ok(copied) => {
                assert_eq!(copied.id(), store.id());
                (0..3000).step_by(7).for_each(|number| assert!(copied.get(&format!("s{number}")).unwrap().is_some()));
                whole += 1;
            }
            Err(failed) => assert!(round % 2 == 1 && matches!(failed, Error::Damaged { .. }), "round {round}: {failed}"),
        }
    }
    assert!(whole >= 30);
}

#[test]
fn a_copy_that_was_overtaken_by_a_shredder_is_damaged_and_not_merely_short() {
    let (dir, backup) = (dir(), dir());
    let store = open(dir.path());
    fill(&store, 9);
    let (file, before) = (File::open(dir.path().join("keys")).unwrap(), fs::read(dir.path().join("keys")).unwrap());
    store.erase("s0", 1).unwrap();
    let mut after = vec![0; before.len()];
    file.read_exact_at(&mut after, 0).unwrap();
    assert!(before.windows(16).step_by(16).all(|part| !after.windows(16).any(|left| left == part)), "nothing is left of it");
    for number in 0..10 {
        let at = number * FRAME;
        fs::write(backup.path().join("keys"), [&before[..at], &after[at..]].concat()).unwrap();
        assert!(matches!(KeyStore::open(backup.path(), &KEK).err(), Some(Error::Damaged { at: found, .. }) if found == at as u64));
    }
}

#[test]
fn half_of_a_write_counts_for_nothing_and_is_left_alone() {
    let (dir, ahead) = (dir(), dir());
    let store = open(dir.path());
    let first = store.get_or_make("first").unwrap().id;
    fs::copy(dir.path().join("keys"), ahead.path().join("keys")).unwrap();
    let more = open(ahead.path());
    let [a, b, c] = ["a", "b", "c"].map(|name| more.get_or_make(name).unwrap().id);
    let bytes = fs::read(ahead.path().join("keys")).unwrap();
    let (file, length) = (OpenOptions::new().write(true).open(dir.path().join("keys")).unwrap(), || fs::metadata(dir.path().join("keys")).unwrap().len());
    let write = |from: usize, to: usize| file.write_all_at(&bytes[from..to], from as u64).unwrap();

    write(2 * FRAME, 2 * FRAME + 60); // another process amid a write
    assert_eq!(look(&store, a), "lost");
    assert_eq!(look(&store, first), "key");
    assert_eq!(length(), 2 * FRAME as u64 + 60);
    write(2 * FRAME + 60, 3 * FRAME);
    assert_eq!(look(&store, a), "key");

    let lock = File::open(dir.path().join("keys.lock")).unwrap();
    lock.lock().unwrap();
    write(4 * FRAME, 5 * FRAME); // what comes before follows
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| look(&store, c));
        std::thread::sleep(Duration::from_millis(100));
        assert!(!waiting.is_finished());
        assert_eq!(look(&store, a), "key", "who knows a key waits for nobody");
        write(3 * FRAME, 4 * FRAME);
        lock.unlock().unwrap();
        assert_eq!(waiting.join().unwrap(), "key");
    });
    assert_eq!(look(&store, b), "key");

    write(2 * FRAME, 2 * FRAME + 1);
    file.write_all_at(&[0; FRAME + 60], 5 * FRAME as u64).unwrap(); // a hole that stays, and half of a write that never ends
    assert_eq!(store.get("d").unwrap().map(|key| key.id), None);
    let d = store.get_or_make("d").unwrap().id;
    assert_eq!(length(), 7 * FRAME as u64);
    assert_eq!(open(dir.path()).get("d").unwrap().unwrap().id, d);
}

#[test]
fn the_lock_is_not_waited_for_without_end() {
    let dir = dir();
    let store = open(dir.path());
    let ada = store.get_or_make("ada").unwrap().id;
    let lock = File::open(dir.path().join("keys.lock")).unwrap();
    lock.lock().unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        let all = [0, 1, 2].map(|number| {
            let store = &store;
            scope.spawn(move || store.get_or_make(&format!("s{number}")).err().unwrap())
        });
        assert_eq!(look(&store, ada), "key");
        for failed in all {
            let failed = failed.join().unwrap();
            assert!(matches!(failed, Error::Busy(_)) && failed.to_string().contains("another process holds the lock"), "{failed}");
        }
    });
    assert!(start.elapsed() >= Duration::from_secs(10) && start.elapsed() < Duration::from_secs(15));
    lock.unlock().unwrap();
    assert!(store.get_or_make("s0").is_ok());
}

#[test]
fn a_store_keeps_its_id_and_is_not_exchanged() {
    let (dir, another) = (dir(), dir());
    let store = open(dir.path());
    let id = store.id();
    assert_eq!(id.to_string().parse::<StoreId>().unwrap(), id);
    assert!("?".parse::<StoreId>().is_err());
    let ada = store.get_or_make("ada").unwrap();
    store.erase("ada", 1).unwrap();
    store.rewrap(&KEK, &NEW_KEK).unwrap();
    assert_eq!(KeyStore::open(dir.path(), &NEW_KEK).unwrap().id(), id);
    assert_ne!(open(another.path()).id(), id);
    fs::rename(another.path().join("keys"), dir.path().join("keys")).unwrap();
    std::thread::sleep(KeyStore::ERASED_WITHIN);
    for _ in 0..2 {
        assert!(matches!(store.look_up(ada.id), Err(Error::Exchanged(_))));
        assert!(matches!(store.get_or_make("ada"), Err(Error::Exchanged(_))));
    }
    fs::remove_file(dir.path().join("keys")).unwrap();
    assert!(matches!(store.look_up(ada.id), Err(Error::Missing(_))));
}

#[test]
fn what_is_derived_is_the_keys_and_the_contexts() {
    let dir = dir();
    let store = open(dir.path());
    let (ada, bob) = (store.get_or_make("ada").unwrap(), store.get_or_make("bob").unwrap());
    let derived = ada.derive("one use");
    store.rewrap(&KEK, &NEW_KEK).unwrap();
    assert_eq!(KeyStore::open(dir.path(), &NEW_KEK).unwrap().get("ada").unwrap().unwrap().derive("one use"), derived);
    assert_ne!(ada.derive("another use"), derived);
    assert_ne!(bob.derive("one use"), derived);
}
