//! The envelope: what is written is read back, and what is wrong is named.

use kernel::Timestamp;
use schemas::codec::{load, save};
use schemas::envelope::{Kind, Malformed, caused_id, event_id};
use schemas::{Envelope, Headers, TraceContext};

/// With every header.
pub fn full() -> Envelope {
    let mut envelope = Envelope::new("id-1", "/cart/cart", Kind::of("cart", "added", 1), "17");
    envelope.time = Some(Timestamp(1_291_191_960_123_456));
    envelope.occurred_at = Some(Timestamp(1_291_191_960_000_000));
    (envelope.version, envelope.expected_version) = (Some(3), Some(2));
    (envelope.causation, envelope.correlation, envelope.actor) = (Some("a".into()), Some("b".into()), Some("c".into()));
    (envelope.answers, envelope.body_hash, envelope.reply_to) = (Some("d".into()), Some("e".into()), Some("f@1".into()));
    envelope.trace = TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
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

/// It is copied into all that follows: what is no trace context is left behind, whatever its size.
#[test]
fn a_trace_that_is_none_is_passed_over() {
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let long = "0".repeat(100_000);
    for bad in [
        "",
        "x",
        &long,
        &good[1..],
        &format!("{good}-01"),
        &good.replace('0', "g"),
        &good.to_uppercase(),
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
    ] {
        assert_eq!(Envelope::read(&with("traceparent", bad.as_bytes())).unwrap().trace, None, "{bad:.80}");
    }
    assert_eq!(Envelope::read(&with("ce_traceparent", good.as_bytes())).unwrap().trace.map(|trace| trace.to_string()).as_deref(), Some(good));
    assert_eq!(Envelope::read(&full().headers()).unwrap().trace.map(|trace| trace.to_string()).as_deref(), Some(good));
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
        assert_eq!(Envelope::read(&with(name, b"")), Err(Malformed::Missing(name)));
    }
    for (name, value) in [
        ("ce_specversion", "2.0"),
        ("ce_type", "cart.added"),
        ("ce_type", "dev.daybook.cart.added.v0"),
        ("ce_type", "dev.daybook.cart.added.v01"),
        ("ce_type", "dev.daybook.cart.added.v+1"),
        ("ce_type", "dev.daybook..added.v1"),
        ("ce_type", "dev.daybook.cart..v1"),
        ("ce_time", "yesterday"),
        ("ce_occurredat", "2010-12-01"),
        ("ce_sequence", "x"),
        ("ce_sequence", "-1"),
        ("ce_expectedversion", "1.5"),
        ("content-type", "text/xml"),
        ("content-type", "application/json-seq"),
    ] {
        let why = Envelope::read(&with(name, value.as_bytes())).unwrap_err().to_string();
        assert!(why.contains(name) && why.contains(value), "{why}");
    }
    // Whatever a header is called, bytes that are no text are told with its name.
    for (name, _) in full().headers().iter() {
        let why = Envelope::read(
            &full().headers().iter().map(|(known, value)| (known.to_owned(), if known == name { vec![0xff] } else { value.to_vec() })).collect(),
        );
        assert!(matches!(&why, Err(Malformed::Header { name: told, .. }) if *told == name), "{name}: {why:?}");
    }
    for json in ["application/json", "Application/JSON; charset=utf-8"] {
        assert_eq!(Envelope::read(&with("content-type", json.as_bytes())), Ok(full()));
    }
}

/// A command's times are copied into its events. One that reads but cannot be read again would stop a partition.
#[test]
fn a_time_that_is_read_can_be_read_again() {
    for text in ["9999-12-31T23:59:60Z", "0000-01-01T00:00:00+23:59", "9999-12-31T23:59:59-00:01"] {
        let why = Envelope::read(&with("ce_occurredat", text.as_bytes())).unwrap_err().to_string();
        assert!(why.contains("ce_occurredat") && why.contains(text), "{why}");
    }
    for text in ["9999-12-31T23:59:59.9999999Z", "0000-01-01T00:00:00Z", "2016-12-31T23:59:60Z", "1969-12-31T23:59:59.9999995+01:00"] {
        let once = Envelope::read(&with("ce_occurredat", text.as_bytes())).unwrap();
        assert_eq!(Envelope::read(&once.headers()), Ok(once), "{text}");
    }
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
