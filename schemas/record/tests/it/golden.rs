//! The platform's own kinds and headers against their golden records.

use std::path::PathBuf;

use schemas::codec::to_json;
use schemas::envelope::Kind;
use schemas::golden::golden;
use schemas::wire::{AcceptedV1, RefusedV1, ReplyV1, marker};
use schemas::{Envelope, Headers};

fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

#[test]
fn the_platforms_own_kinds_have_theirs() {
    let refused = RefusedV1 { code: "empty-cart".into(), detail: "the cart is empty".into() };
    let reply = ReplyV1 {
        command_id: "c-1".into(),
        outcome: "accepted".into(),
        code: None,
        detail: None,
        aggregate: "order".into(),
        subject: "17-1".into(),
        version: Some(4),
        ended: Some("paid".into()),
        decided_as: None,
    };
    for (kind, body) in [
        (Kind::of("daybook", marker::ACCEPTED, 1), to_json(&AcceptedV1 { version: 3 })),
        (Kind::of("daybook", marker::REFUSED, 1), to_json(&refused)),
        (marker::reply_kind(), to_json(&reply)),
    ] {
        golden(&dir(), "platform", &kind, &body).unwrap();
    }
}

#[test]
fn a_changed_shape_is_noticed_and_a_record_never_written_over() {
    let (kind, mut body) = (Kind::of("bell", "rung", 1), br#"{"times":3}"#.to_vec());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("events/bell.rung.v1.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, &body).unwrap();
    assert_eq!(golden(dir.path(), "events", &kind, &body), Ok(body.clone()));
    let before = body.clone();
    body.push(b' ');
    // True with and without UPDATE=1 around this test.
    let why = golden(dir.path(), "events", &kind, &body).unwrap_err();
    assert!(why.contains("add a version"), "{why}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

/// Headers are frozen too: their names, their order and how each value is spelled.
#[test]
fn headers_have_their_golden_record() {
    let written = crate::envelope::full().headers();
    let lines: String = written.iter().map(|(name, value)| format!("{name}: {}\n", std::str::from_utf8(value).unwrap())).collect();
    let file = dir().join("headers.v1.txt");
    if std::env::var_os("UPDATE").is_some() && !file.exists() {
        std::fs::write(&file, &lines).unwrap();
    }
    let known = std::fs::read_to_string(&file).expect("run UPDATE=1 cargo test --release -p daybook-schemas and commit the file");
    assert_eq!(lines, known, "headers are read by everyone, and names never change: a new one is optional and has a file of its own");
    let headers: Headers = known.lines().map(|line| line.split_once(": ").unwrap()).map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(Envelope::read(&headers), Ok(crate::envelope::full()));
}
