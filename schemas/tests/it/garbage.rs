//! Whatever comes in: decoding answers, never panics, and what it takes it can write and take again.

use domain::cart::Cart;
use domain::customer::Customer;
use domain::order::Order;
use domain::payment::Payment;
use domain::product::Product;
use domain::replica::Replica;
use domain::stock::StockItem;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use schemas::codec::{load, save};
use schemas::envelope::Kind;
use schemas::wire::shapes;
use schemas::{Codec, Envelope, Headers};

use crate::envelope::full;
use crate::golden::dir;

/// What decodes must encode, and decode to itself. A command's fields go into its events: one that did not come back
/// would stop a partition.
fn events<A: Codec>(kind: &Kind, body: &[u8]) {
    if let Ok(event) = A::decode_event(kind, body) {
        let (kind, body) = A::encode_event(&event);
        assert_eq!(A::decode_event(&kind, &body), Ok(event));
    }
}

fn commands<A: Codec>(kind: &Kind, body: &[u8]) {
    if let Ok(command) = A::decode_command(kind, body) {
        let (kind, body) = A::encode_command(&command);
        assert_eq!(A::decode_command(&kind, &body), Ok(command));
    }
}

/// Every decoder with this body; most know nothing of the kind.
fn decode_all(kind: &Kind, body: &[u8]) {
    fn both<A: Codec>(kind: &Kind, body: &[u8]) {
        events::<A>(kind, body);
        commands::<A>(kind, body);
    }
    for decode in [both::<Product>, both::<Replica>, both::<Customer>, both::<Cart>, both::<StockItem>, both::<Order>, both::<Payment>] {
        decode(kind, body);
    }
}

/// A golden record and its kind.
fn golden() -> impl Strategy<Value = (Kind, Vec<u8>)> {
    let records: Vec<(Kind, Vec<u8>)> = shapes()
        .into_iter()
        .map(|shape| {
            let file = format!("{}.{}.v{}.json", shape.kind.aggregate, shape.kind.name, shape.kind.version);
            let body = std::fs::read(dir("golden").join(shape.group).join(file)).unwrap();
            (shape.kind, body)
        })
        .collect();
    select(records)
}

/// What JSON is made of, and what breaks it.
fn splice() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "0",
        "-1",
        "18446744073709551616",
        "1e309",
        "1.5",
        "\"\"",
        "null",
        "true",
        "{}",
        "[]",
        "{",
        "[[[[",
        "\\u0000",
        "\\ud800",
        "\"17-1\"",
        "XXX",
        "9999-12-31T23:59:60Z",
    ];
    prop_oneof![select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec()), prop::collection::vec(any::<u8>(), 0..8)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bodies_are_answered(name in select(shapes().into_iter().map(|shape| shape.kind).collect::<Vec<_>>()), version in 0_u16..4, body in prop::collection::vec(any::<u8>(), 0..64)) {
        decode_all(&Kind { version, ..name }, &body);
    }

    #[test]
    fn damaged_records_are_answered((kind, body) in golden(), at in any::<Index>(), cut in 0_usize..12, splice in splice()) {
        let mut damaged = body.clone();
        let from = at.index(body.len());
        damaged.splice(from..(from + cut).min(body.len()), splice);
        decode_all(&kind, &damaged);
    }

    #[test]
    fn a_kind_has_one_text(text in "(dev\\.daybook\\.)?[a-z.+ -]{0,12}(\\.v)?[0-9+]{0,6}") {
        if let Ok(kind) = text.parse::<Kind>() {
            prop_assert_eq!(kind.to_string(), text);
        }
    }

    #[test]
    fn kinds_come_back(aggregate in "[a-z][a-z-]{0,20}", name in "[a-z][a-z.-]{0,20}", version in 1_u16..) {
        let kind = Kind { aggregate: aggregate.into(), name: name.into(), version };
        prop_assert_eq!(kind.to_string().parse(), Ok(kind));
    }

    #[test]
    fn headers_that_are_read_are_read_again(at in any::<Index>(), value in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "[+-]?[0-9]{1,20}".prop_map(String::into_bytes),
        "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\\.[0-9]{1,9})?(Z|[+-][0-2][0-9]:[0-5][0-9])".prop_map(String::into_bytes),
        "(0000|9999)-(01-01T00|12-31T23):(00|59):(00|59|60)(Z|[+-]00:01)".prop_map(String::into_bytes),
    ]) {
        let before = full().headers();
        let at = at.index(before.len());
        let headers: Headers = before.iter().enumerate().map(|(place, (name, known))| (name.to_owned(), if place == at { value.clone() } else { known.to_vec() })).collect();
        if let Ok(envelope) = Envelope::read(&headers) {
            prop_assert_eq!(Envelope::read(&envelope.headers()), Ok(envelope));
        }
    }

    #[test]
    fn saved_rows_come_back_and_damaged_ones_are_answered(shape in any::<u8>(), row in any::<(u64, i64, String, Vec<Option<bool>>)>(), at in any::<Index>(), splice in prop::collection::vec(any::<u8>(), 0..12)) {
        type Row = (u64, i64, String, Vec<Option<bool>>);
        let mut bytes = save(shape, &row).unwrap();
        prop_assert_eq!(load::<Row>(shape, &bytes), Ok(Some(row)));
        prop_assert_eq!(load::<Row>(shape.wrapping_add(1), &bytes), Ok(None));
        let from = at.index(bytes.len());
        bytes.splice(from.., splice);
        let _ = load::<Row>(shape, &bytes);
        let _ = load::<Cart>(shape, &bytes);
    }
}
