//! Whatever comes in: decoding answers, never panics, and what it takes it can write and take again.

use domain::cart::Cart;
use domain::customer::Customer;
use domain::order::Order;
use domain::payment::Payment;
use domain::product::Product;
use domain::rating::Rating;
use domain::replica::ProductCopy;
use domain::stock::StockItem;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use schemas::Codec;
use schemas::codec::load;
use schemas::envelope::Kind;
use shapes::{Marketplace, shapes};

use crate::documents::records;

/// What decodes must encode, and decode to itself. A command's fields go into its events: one that did not come back
/// would stop a partition.
fn events<A: Codec<Marketplace>>(kind: &Kind, body: &[u8]) {
    if let Ok(event) = A::decode_event(kind, body) {
        let (kind, body) = A::encode_event(&event);
        assert_eq!(A::decode_event(&kind, &body), Ok(event));
    }
}

fn commands<A: Codec<Marketplace>>(kind: &Kind, body: &[u8]) {
    if let Ok(command) = A::decode_command(kind, body) {
        let (kind, body) = A::encode_command(&command);
        assert_eq!(A::decode_command(&kind, &body), Ok(command));
    }
}

/// Every decoder with this body; most know nothing of the kind.
fn decode_all(kind: &Kind, body: &[u8]) {
    fn both<A: Codec<Marketplace>>(kind: &Kind, body: &[u8]) {
        events::<A>(kind, body);
        commands::<A>(kind, body);
    }
    for decode in [both::<Product>, both::<Rating>, both::<ProductCopy>, both::<Customer>, both::<Cart>, both::<StockItem>, both::<Order>, both::<Payment>] {
        decode(kind, body);
    }
}

/// A golden record and its kind.
fn golden() -> impl Strategy<Value = (Kind, Vec<u8>)> {
    let records: Vec<(Kind, Vec<u8>)> = shapes()
        .into_iter()
        .map(|shape| {
            let file = format!("{}.{}.v{}.json", shape.kind.aggregate, shape.kind.name, shape.kind.version);
            let body = std::fs::read(records(shape.group).join(shape.group).join(file)).unwrap();
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
        let _ = load::<Cart>(1, &damaged); // a saved state, as little
    }
}
