//! Tests of the key store: crashes, damage, erasures, restored copies, other keys. Never needs more than a directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use eventstore::keystore::{Error, KeyStore, Lookup, Tombstone};
use proptest::prelude::*;
use tempfile::TempDir;

const KEK: [u8; 32] = [1; 32];
const NEW_KEK: [u8; 32] = [2; 32];
const FRAME: usize = 128;

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(dir: &Path) -> KeyStore {
    KeyStore::open_or_make(dir, &KEK).unwrap()
}

/// The wrapped bytes of a key, as they are on the disk.
fn wrapped(dir: &Path, number: usize) -> Vec<u8> {
    fs::read(dir.join("keys")).unwrap()[FRAME * (number + 1)..][37..37 + 72].to_vec()
}

fn holds(dir: &Path, bytes: &[u8]) -> bool {
    let part = &bytes[24..56]; // the key without nonce and tag
    fs::read_dir(dir).unwrap().any(|file| fs::read(file.unwrap().path()).unwrap().windows(part.len()).any(|found| found == part))
}

fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn keys_stay() {
    let dir = dir();
    let store = open(dir.path());
    let ids: Vec<_> = (0..1000).map(|number| store.get_or_make(&format!("subject-{number}")).unwrap().id).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 1000);
    assert!(store.get("nobody").unwrap().is_none());
    drop(store);
    let store = KeyStore::open(dir.path(), &KEK).unwrap();
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(store.get(&format!("subject-{number}")).unwrap().unwrap().id, *id);
    }
}

#[test]
fn a_missing_store_is_not_replaced() {
    let dir = dir();
    let failed = KeyStore::open(dir.path(), &KEK).err().unwrap();
    assert!(matches!(failed, Error::Missing(_)) && failed.to_string().contains("restore"), "{failed}");
}

#[test]
fn erased_is_erased() {
    let dir = dir();
    let store = open(dir.path());
    let (ada, bob) = (store.get_or_make("ada").unwrap().id, store.get_or_make("bob").unwrap().id);
    let bytes = wrapped(dir.path(), 0);
    assert!(holds(dir.path(), &bytes));
    let tombstone = Tombstone { key: ada, at_ms: 77 };
    assert_eq!(store.erase("ada", 77).unwrap(), [tombstone]);
    assert_eq!(store.erase("ada", 78).unwrap(), [], "once");
    assert!(!holds(dir.path(), &bytes));
    assert!(store.get("ada").unwrap().is_none());
    drop(store);
    let store = open(dir.path());
    assert!(matches!(store.look_up(ada).unwrap(), Lookup::Erased(77)));
    assert_eq!(store.get("bob").unwrap().unwrap().id, bob);
    let again = store.get_or_make("ada").unwrap().id;
    assert_ne!(again, ada);
    assert_eq!(store.erase("ada", 99).unwrap().len(), 1);
    assert_eq!(store.tombstones().unwrap().len(), 2);
}

#[test]
fn a_restored_copy_forgets_again() {
    let (dir, backup) = (dir(), dir());
    let store = open(dir.path());
    let ada = store.get_or_make("ada").unwrap().id;
    copy(dir.path(), backup.path());
    let bob = store.get_or_make("bob").unwrap().id;
    let bytes = wrapped(dir.path(), 0);
    store.erase("ada", 5).unwrap();
    store.erase("bob", 6).unwrap();
    let tombstones = store.tombstones().unwrap();
    drop(store);

    let restored = open(backup.path());
    assert!(matches!(restored.look_up(ada).unwrap(), Lookup::Key(_)));
    assert!(matches!(restored.look_up(bob), Err(Error::Lost { .. })), "older than what was sealed");
    assert_eq!(restored.absorb_tombstones(&tombstones).unwrap(), 1);
    assert_eq!(restored.absorb_tombstones(&tombstones).unwrap(), 0);
    assert!(!holds(backup.path(), &bytes));
    drop(restored);
    let restored = open(backup.path());
    assert!(matches!(restored.look_up(ada).unwrap(), Lookup::Erased(5)));
    assert!(matches!(restored.look_up(bob).unwrap(), Lookup::Erased(6)));
    assert!(restored.get("ada").unwrap().is_none());
}

#[test]
fn a_tombstone_wins_over_a_key_that_comes_after_it() {
    let dir = dir();
    let store = open(dir.path());
    let ada = store.get_or_make("ada").unwrap().id;
    let key = fs::read(dir.path().join("keys")).unwrap()[FRAME..].to_vec();
    let bytes = wrapped(dir.path(), 0);
    store.erase("ada", 5).unwrap();
    drop(store);
    let mut file = fs::read(dir.path().join("keys")).unwrap();
    file.extend(key); // as who puts two copies together might have it
    fs::write(dir.path().join("keys"), file).unwrap();
    let store = open(dir.path());
    assert!(matches!(store.look_up(ada).unwrap(), Lookup::Erased(5)));
    assert!(store.get("ada").unwrap().is_none());
    assert!(!holds(dir.path(), &bytes));
}

#[test]
fn a_file_that_ends_anywhere_has_all_before() {
    let (dir, cut) = (dir(), dir());
    let store = open(dir.path());
    let ids: Vec<_> = (0..5).map(|number| store.get_or_make(&format!("s{number}")).unwrap().id).collect();
    drop(store);
    let whole = fs::read(dir.path().join("keys")).unwrap();
    assert_eq!(whole.len(), FRAME * 6);
    for length in FRAME..=whole.len() {
        fs::write(cut.path().join("keys"), &whole[..length]).unwrap();
        let store = KeyStore::open(cut.path(), &KEK).unwrap();
        for (number, id) in ids.iter().enumerate() {
            let found = store.get(&format!("s{number}")).unwrap().map(|key| key.id);
            assert_eq!(found, (length >= FRAME * (number + 2)).then_some(*id), "{length} bytes");
        }
        let new = store.get_or_make("new").unwrap().id;
        drop(store);
        assert_eq!(KeyStore::open(cut.path(), &KEK).unwrap().get("new").unwrap().unwrap().id, new, "{length} bytes");
    }
    for length in 0..FRAME {
        fs::write(cut.path().join("keys"), &whole[..length]).unwrap();
        assert!(matches!(KeyStore::open(cut.path(), &KEK).err(), Some(Error::Damaged { at: 0, .. })), "its first frame is there from the start");
    }
}

#[test]
fn damage_is_told_from_another_kek_and_from_holes() {
    let dir = dir();
    let store = open(dir.path());
    (0..3).for_each(|number| drop(store.get_or_make(&format!("s{number}")).unwrap()));
    drop(store);
    let (path, other) = (dir.path().join("keys"), KeyStore::open(dir.path(), &NEW_KEK).err().unwrap());
    assert!(matches!(other, Error::WrongKek(_)) && other.to_string().contains("sound"), "{other}");
    let whole = fs::read(&path).unwrap();
    for at in [0, 40, FRAME + 5, 2 * FRAME + 60, 3 * FRAME + 127] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let failed = KeyStore::open(dir.path(), &KEK).err().unwrap();
        assert!(matches!(failed, Error::Damaged { at: found, .. } if found as usize == at / FRAME * FRAME), "{failed}");
    }
    let mut bytes = whole.clone();
    bytes[2 * FRAME..3 * FRAME].fill(0); // a sector that did not reach the disk before the power went
    bytes.extend([0; 700]);
    fs::write(&path, bytes).unwrap();
    let store = KeyStore::open(dir.path(), &KEK).unwrap();
    assert!(store.get("s0").unwrap().is_some() && store.get("s1").unwrap().is_none() && store.get("s2").unwrap().is_some());
    store.get_or_make("s1").unwrap();
    store.erase("s0", 1).unwrap();
    drop(store);
    let store = KeyStore::open(dir.path(), &KEK).unwrap();
    assert!(store.get("s0").unwrap().is_none() && store.get("s1").unwrap().is_some() && store.get("s2").unwrap().is_some());
}

#[test]
fn another_kek_takes_over_whole_or_not_at_all() {
    let dir = dir();
    let store = open(dir.path());
    let ids: Vec<_> = (0..20).map(|number| store.get_or_make(&format!("s{number}")).unwrap().id).collect();
    store.erase("s7", 1).unwrap();
    let before = fs::read(dir.path().join("keys")).unwrap();
    let old = wrapped(dir.path(), 3);
    assert!(matches!(store.rewrap(&[9; 32], &NEW_KEK).err(), Some(Error::WrongKek(_))));
    assert_eq!(store.rewrap(&KEK, &NEW_KEK).unwrap(), 19);
    assert_eq!(store.rewrap(&KEK, &NEW_KEK).unwrap(), 0, "done already");
    assert!(!holds(dir.path(), &old));
    let late = store.get_or_make("late").unwrap().id;
    drop(store);
    let after = fs::read(dir.path().join("keys")).unwrap();
    assert!(matches!(KeyStore::open(dir.path(), &KEK).err(), Some(Error::WrongKek(_))));
    let store = KeyStore::open(dir.path(), &NEW_KEK).unwrap();
    assert_eq!(store.get("late").unwrap().unwrap().id, late);
    ids.iter().enumerate().filter(|(number, _)| *number != 7).for_each(|(number, id)| assert_eq!(store.get(&format!("s{number}")).unwrap().unwrap().id, *id));
    drop(store);

    for length in (0..after.len()).step_by(61) {
        fs::write(dir.path().join("keys"), &before).unwrap(); // killed while it wrote the other file
        fs::write(dir.path().join("keys.new"), &after[..length]).unwrap();
        let store = KeyStore::open(dir.path(), &KEK).unwrap();
        assert!(!dir.path().join("keys.new").exists());
        assert_eq!(store.get("s3").unwrap().unwrap().id, ids[3]);
    }
}

#[test]
fn threads_share_writes_and_agree_on_keys() {
    let dir = dir();
    let store = open(dir.path());
    let found = std::thread::scope(|scope| {
        let of = |thread: usize| {
            let store = &store;
            scope.spawn(move || (0..40).map(|number| store.get_or_make(&format!("s{}", (number + thread) % 50)).unwrap().id).zip(0..).collect::<Vec<_>>())
        };
        let threads: Vec<_> = (0..8).map(of).collect();
        let eraser = scope.spawn(|| (0..10).for_each(|at| drop(store.erase("gone", at).unwrap())));
        let rewrapper = scope.spawn(|| {
            (0..5).for_each(|_| {
                store.rewrap(&KEK, &NEW_KEK).unwrap();
                store.rewrap(&NEW_KEK, &KEK).unwrap();
            });
        });
        let maker = scope.spawn(|| (0..10).for_each(|_| drop(store.get_or_make("gone").unwrap())));
        [eraser, rewrapper, maker].into_iter().for_each(|thread| thread.join().unwrap());
        threads.into_iter().enumerate().map(|(thread, of)| (thread, of.join().unwrap())).collect::<Vec<_>>()
    });
    let mut known = BTreeMap::new();
    for (thread, ids) in found {
        ids.into_iter().for_each(|(id, number)| assert_eq!(*known.entry((number + thread) % 50).or_insert(id), id));
    }
    drop(store);
    let store = KeyStore::open(dir.path(), &KEK).unwrap();
    known.iter().for_each(|(number, id)| assert_eq!(store.get(&format!("s{number}")).unwrap().unwrap().id, *id));
}

#[derive(Clone, Debug)]
enum Step {
    Make(u8),
    Erase(u8),
    Reopen,
    Backup,
    Restore,
    Rewrap,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_u8).prop_map(Step::Make),
        2 => (0..6_u8).prop_map(Step::Erase),
        1 => Just(Step::Reopen),
        1 => Just(Step::Backup),
        1 => Just(Step::Restore),
        1 => Just(Step::Rewrap),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever happens, a key that was erased is never seen again, and one that was not is there unless its copy is older.
    #[test]
    fn erasures_outlive_everything(steps in prop::collection::vec(step(), 1..40)) {
        let (dir, backup) = (dir(), dir());
        let (mut store, mut kek, mut backup_kek) = (Some(open(dir.path())), KEK, None);
        let (mut live, mut saved, mut erased) = (BTreeMap::new(), BTreeMap::new(), Vec::<Tombstone>::new());
        for step in steps {
            let now = store.as_ref().unwrap();
            match step {
                Step::Make(subject) => {
                    let id = now.get_or_make(&subject.to_string()).unwrap().id;
                    prop_assert_eq!(*live.entry(subject).or_insert(id), id);
                }
                Step::Erase(subject) => {
                    let gone = now.erase(&subject.to_string(), 9).unwrap();
                    prop_assert_eq!(gone.iter().map(|tombstone| tombstone.key).next(), live.remove(&subject));
                    erased.extend(gone);
                }
                Step::Reopen => {
                    drop(store.take());
                    store = Some(KeyStore::open(dir.path(), &kek).unwrap());
                }
                Step::Backup => {
                    copy(dir.path(), backup.path());
                    (saved, backup_kek) = (live.clone(), Some(kek));
                }
                Step::Restore => if let Some(of) = backup_kek {
                    drop(store.take());
                    copy(backup.path(), dir.path());
                    let restored = KeyStore::open(dir.path(), &of).unwrap();
                    restored.absorb_tombstones(&erased).unwrap();
                    (store, kek, live) = (Some(restored), of, saved.clone());
                    live.retain(|_, id| !erased.iter().any(|tombstone| tombstone.key == *id));
                },
                Step::Rewrap => {
                    let other = if kek == KEK { NEW_KEK } else { KEK };
                    now.rewrap(&kek, &other).unwrap();
                    kek = other;
                }
            }
            let now = store.as_ref().unwrap();
            for subject in 0..6_u8 {
                prop_assert_eq!(now.get(&subject.to_string()).unwrap().map(|key| key.id), live.get(&subject).copied());
            }
            for tombstone in &erased {
                prop_assert!(matches!(now.look_up(tombstone.key).unwrap(), Lookup::Erased(9)));
            }
        }
    }
}
