//! What is promised about signing keys and their file.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;

struct Place {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    Place { path: dir.path().join("signing.json"), _dir: dir }
}

fn kids(keys: &SigningKeys) -> Vec<String> {
    keys.0.iter().map(|key| key.kid.clone()).collect()
}

#[test]
fn a_file_is_made_once_and_for_its_owner_alone() {
    let Place { path, _dir } = place();
    let first = SigningKeys::open_or_make(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(first.0.len(), 1);
    assert_eq!(first.signs(0).unwrap().signs_from(), 0, "it signs at once, whatever the clock says");
    assert!(first.signs(-1).is_none());
    assert_eq!(kids(&first), kids(&SigningKeys::open_or_make(&path).unwrap()));
    let names: Vec<_> = std::fs::read_dir(_dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "the file and its lock, no more: {names:?}");
}

#[test]
fn many_that_make_it_at_once_make_one() {
    let Place { path, _dir } = place();
    let made: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| kids(&SigningKeys::open_or_make(&path).unwrap()))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(made.iter().all(|kids| *kids == made[0]), "{made:?}");
}

#[test]
fn a_file_that_is_there_needs_no_writing_beside_it() {
    let Place { path, _dir } = place();
    SigningKeys::open_or_make(&path).unwrap();
    std::fs::remove_file(file_beside(&path, "lock")).unwrap();
    SigningKeys::open_or_make(&path).unwrap();
    assert!(!file_beside(&path, "lock").exists());
}

fn file_beside(path: &Path, ending: &str) -> PathBuf {
    path.with_file_name(format!("signing.json.{ending}"))
}

#[test]
fn a_file_that_others_can_read_is_refused_with_the_fix() {
    let Place { path, _dir } = place();
    SigningKeys::open_or_make(&path).unwrap();
    for mode in [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o777] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let why = format!("{:#}", SigningKeys::open_or_make(&path).unwrap_err());
        assert!(why.contains(&format!("chmod 600 {}", path.display())), "{why}");
        assert!(SigningKeys::rotate(&path, 0, STARTS_AFTER).is_err());
    }
}

#[test]
fn what_is_broken_is_refused_without_showing_a_seed() {
    let Place { path, _dir } = place();
    SigningKeys::open_or_make(&path).unwrap();
    let good = std::fs::read_to_string(&path).unwrap();
    let seed = good.split("\"seed\": \"").nth(1).unwrap()[..43].to_owned();
    let kid = good.split("\"kid\": \"").nth(1).unwrap()[..16].to_owned();
    let key = good.split('[').nth(1).unwrap().split(']').next().unwrap();
    for (name, bad) in [
        ("empty", String::new()),
        ("no keys", good.replace(key, "")),
        ("cut", good[..good.len() - 10].to_owned()),
        ("another kid", good.replace(&kid, "0123456789abcdef")),
        ("another seed", good.replace(&seed, &format!("{}A", "A".repeat(42)))),
        ("short seed", good.replace(&seed, &seed[..42])),
        ("long seed", good.replace(&seed, &format!("{seed}A"))),
        ("padded seed", good.replace(&seed, &format!("{seed}="))),
        ("seed as a number", good.replace(&format!("\"{seed}\""), "7")),
        ("seed under another name", good.replace("\"seed\"", "\"sead\"")),
        ("seed where the file should be", format!("\"{seed}\"")),
        ("twice the key", good.replace(key, &format!("{key},{key}"))),
        ("twice the member", good.replacen("\"kid\"", "\"kid\":\"x\",\"kid\"", 1)),
        ("no time", good.replace("1970-01-01T00:00:00Z", "yesterday")),
        ("something more", good.replacen("\"kid\"", "\"more\":1,\"kid\"", 1)),
        ("trailing", format!("{good}x")),
        ("huge", good.replacen("\"kid\"", &format!("{}\"kid\"", " ".repeat(70_000)), 1)),
    ] {
        assert_ne!(bad, good, "{name}");
        std::fs::write(&path, bad).unwrap();
        let why = format!("{:#}", SigningKeys::open_or_make(&path).expect_err(name));
        assert!(why.contains("signing.json"), "{name}: {why}");
        assert!(!why.contains(&seed[..42]), "{name} shows the seed: {why}");
        assert!(SigningKeys::rotate(&path, 0, STARTS_AFTER).is_err(), "{name}");
    }
    std::fs::write(&path, &good).unwrap();
    SigningKeys::open_or_make(&path).unwrap();
}

#[test]
fn a_rotation_signs_later_and_drops_what_is_needless() {
    let Place { path, _dir } = place();
    let first = kids(&SigningKeys::open_or_make(&path).unwrap())[0].clone();
    let second = SigningKeys::rotate(&path, 10_000, STARTS_AFTER).unwrap();
    assert_eq!((second.signs_from, &second.dropped), (10_060, &vec![]));
    let keys = SigningKeys::open_or_make(&path).unwrap();
    assert_eq!(keys.signs(10_059).unwrap().kid(), first);
    assert_eq!(keys.signs(10_060).unwrap().kid(), second.added);

    // Up to the last second that a token of the first may be good, it stays.
    let last = 10_060 + KEPT_SECONDS;
    let third = SigningKeys::rotate(&path, last, STARTS_AFTER).unwrap();
    assert_eq!(third.dropped, Vec::<String>::new());
    let fourth = SigningKeys::rotate(&path, last + 1, STARTS_AFTER).unwrap();
    assert_eq!(fourth.dropped, vec![first]);
    assert_eq!(kids(&SigningKeys::open_or_make(&path).unwrap()), [second.added, third.added, fourth.added]);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn a_key_never_comes_before_the_newest() {
    let Place { path, _dir } = place();
    SigningKeys::open_or_make(&path).unwrap();
    SigningKeys::rotate(&path, 1000, Duration::from_secs(500)).unwrap();
    let why = SigningKeys::rotate(&path, 1000, STARTS_AFTER).unwrap_err().to_string();
    assert!(why.contains("1970-01-01T00:25:00Z"), "{why}");
    assert!(SigningKeys::rotate(&path, i64::MAX, STARTS_AFTER).is_err());
    assert!(SigningKeys::rotate(&path, i64::MAX - 100, STARTS_AFTER).is_err());
    assert_eq!(SigningKeys::open_or_make(&path).unwrap().0.len(), 2);
}

#[test]
fn there_is_a_limit_of_keys() {
    let Place { path, _dir } = place();
    SigningKeys::open_or_make(&path).unwrap();
    for at in 1..KEYS_MAX as i64 {
        SigningKeys::rotate(&path, at, STARTS_AFTER).unwrap();
    }
    assert!(SigningKeys::rotate(&path, 100, STARTS_AFTER).is_err());
    let rotation = SigningKeys::rotate(&path, 100 + KEPT_SECONDS, STARTS_AFTER).unwrap();
    assert_eq!(rotation.dropped.len(), KEYS_MAX - 1);
}

#[test]
fn two_rotations_never_lose_a_key() {
    let Place { path, _dir } = place();
    SigningKeys::open_or_make(&path).unwrap();
    let held = file::lock(&path).unwrap();
    let why = format!("{:#}", SigningKeys::rotate(&path, 1, STARTS_AFTER).unwrap_err());
    assert!(why.contains("another process"), "{why}");
    drop(held);
    let added: Vec<String> = std::thread::scope(|scope| {
        let one = |at| {
            let path = &path;
            scope.spawn(move || SigningKeys::rotate(path, at, STARTS_AFTER).ok().map(|rotation| rotation.added))
        };
        let threads: Vec<_> = (1..9).map(one).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    let there = kids(&SigningKeys::open_or_make(&path).unwrap());
    assert!(!added.is_empty());
    assert_eq!(there.len(), added.len() + 1);
    assert!(added.iter().all(|kid| there.contains(kid)));
}

#[test]
fn only_public_halves_are_shown() {
    let Place { path, _dir } = place();
    SigningKeys::open_or_make(&path).unwrap();
    SigningKeys::rotate(&path, 1000, STARTS_AFTER).unwrap();
    let keys = SigningKeys::open_or_make(&path).unwrap();
    let jwks = keys.jwks();
    let shown = jwks["keys"].as_array().unwrap();
    assert_eq!(shown.len(), 2, "the one to come too");
    for (key, shown) in keys.0.iter().zip(shown) {
        let members: Vec<&str> = shown.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x"]);
        let public = Base64UrlUnpadded::decode_vec(shown["x"].as_str().unwrap()).unwrap();
        assert_eq!(kid(public.as_slice().try_into().unwrap()), key.kid);
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    let seeds: Vec<&str> = kept.split("\"seed\": \"").skip(1).map(|rest| &rest[..43]).collect();
    for text in [jwks.to_string(), format!("{keys:?}")] {
        assert!(seeds.iter().all(|seed| !text.contains(seed)), "{text}");
    }
}

#[test]
fn the_name_of_a_key_is_as_it_always_was() {
    let public = eddsa::public(&[7; 32]);
    assert_eq!(kid(&public), blake3::hash(&public).to_hex().as_str()[..16]);
    let kept = KeptKey { kid: kid(&public), seed: Zeroizing::new(Base64UrlUnpadded::encode_string(&[7; 32])), signs_from: "2026-11-26T12:00:00+01:00".into() };
    assert_eq!(Key::of(&kept).unwrap().signs_from(), 1_795_690_800);
}
