//! The envelope: what is written is read back, and what is wrong is named.

use domain::Timestamp;
use schemas::codec::{load, save};
use schemas::envelope::{Kind, Malformed, caused_id, event_id};
use schemas::{Codec, Envelope, Headers};

fn full() -> Envelope {
    let mut envelope = Envelope::new("id-1", "/cart/cart", Kind::of("cart", "added", 1), "17");
    envelope.time = Some(Timestamp(1_291_191_960_123_456));
    envelope.occurred_at = Some(Timestamp(1_291_191_960_000_000));
    (envelope.version, envelope.expected_version) = (Some(3), Some(2));
    (envelope.causation, envelope.correlation, envelope.actor) = (Some("a".into()), Some("b".into()), Some("c".into()));
    (envelope.answers, envelope.body_hash, envelope.reply_to) = (Some("d".into()), Some("e".into()), Some("f@1".into()));
    envelope.trace = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    envelope
}

fn without(name: &str) -> Headers {
    full().headers().iter().filter(|(known, _)| *known != name).map(|(name, value)| (name.to_owned(), value.to_vec())).collect()
}

fn with(name: &'static str, value: &[u8]) -> Headers {
    let mut headers = without(name);
    headers.push(name, value);
    headers
}

#[test]
fn it_is_read_as_it_was_written() {
    assert_eq!(Envelope::read(&full().headers()), Ok(full()));
    let bare = Envelope::new("i", "/s/a", Kind::of("a", "b", 2), "1");
    assert_eq!(Envelope::read(&bare.headers()), Ok(bare));
}

#[test]
fn it_is_cloud_events_in_binary_mode() {
    let headers = full().headers();
    assert_eq!(headers.text("content-type"), Some("application/json"));
    assert_eq!(headers.text("ce_specversion"), Some("1.0"));
    assert_eq!(headers.text("ce_type"), Some("dev.daybook.cart.added.v1"));
    assert_eq!(headers.text("ce_time"), Some("2010-12-01T08:26:00.123456Z"));
    assert_eq!(headers.text("ce_sequence"), Some("00000000000000000003"));
    assert!(headers.iter().all(|(name, value)| name == name.to_ascii_lowercase() && std::str::from_utf8(value).is_ok()));
}

#[test]
fn what_is_wrong_is_named() {
    for name in ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject"] {
        assert_eq!(Envelope::read(&without(name)), Err(Malformed::Missing(name)));
    }
    for (name, value) in [
        ("ce_specversion", "2.0"),
        ("ce_type", "cart.added"),
        ("ce_type", "dev.daybook.cart.added.v0"),
        ("ce_time", "yesterday"),
        ("ce_sequence", "x"),
        ("content-type", "text/xml"),
    ] {
        let why = Envelope::read(&with(name, value.as_bytes())).unwrap_err().to_string();
        assert!(why.contains(name) && why.contains(value), "{why}");
    }
    assert!(Envelope::read(&with("ce_actor", &[0xff])).unwrap_err().to_string().contains("ce_actor"));
}

#[test]
fn unknown_kinds_and_newer_versions_differ() {
    let decode = |kind: Kind| domain::cart::Cart::decode_event(&kind, b"{}").unwrap_err();
    assert!(matches!(decode(Kind::of("cart", "sunk", 1)), Malformed::UnknownKind(_)));
    assert!(matches!(decode(Kind::of("cart", "added", 9)), Malformed::FromTheFuture(_)));
    assert!(matches!(decode(Kind::of("cart", "added", 1)), Malformed::Body { .. }));
}

#[test]
fn sealed_personal_data_says_so() {
    let body = br#"{"personal":{"sealed":{"key":"k","data":"x"}}}"#;
    let why = domain::customer::Customer::decode_event(&Kind::of("customer", "registered", 1), body).unwrap_err().to_string();
    assert!(why.contains("sealed"), "{why}");
}

#[test]
fn ids_are_the_same_for_ever() {
    assert_eq!(event_id("/cart/cart", "17", "17", 1), "8046ea42-e743-570d-a7f8-5a319626c29a");
    assert_ne!(event_id("/cart/cart", "17", "17", 1), event_id("/cart/cart", "17", "17", 2));
    assert_ne!(caused_id("e", "p", 0), caused_id("e", "p", 1));
}

#[test]
fn saved_rows_of_another_shape_are_not_read() {
    let row = save(1, &(7_u64, "seven".to_owned())).unwrap();
    assert_eq!(load::<(u64, String)>(1, &row), Ok(Some((7, "seven".to_owned()))));
    assert_eq!(load::<(u64, String)>(2, &row), Ok(None));
    assert!(load::<u64>(1, &row).unwrap_err().contains("left over"));
}
