//! Every kind against its golden record.

use std::path::PathBuf;

use domain::cart::{self, Cart};
use domain::customer::{self, Customer};
use domain::delivery::{self, Delivery};
use domain::order::{self, Order};
use domain::payment::{self, Payment};
use domain::product::{self, Product};
use domain::replica::{self, Replica};
use domain::sale::{self, Sale};
use domain::seller::{self, Seller};
use domain::shipment::{self, Shipment};
use domain::stock::{self, StockItem};
use schemas::codec::to_json;
use schemas::envelope::Kind;
use schemas::golden::{check, golden};
use schemas::wire::{AcceptedV1, RefusedV1, ReplyV1, Shape, marker, shapes};
use schemas::{Codec, Envelope, Headers};

pub fn dir(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn of(aggregate: &str) -> Vec<Shape> {
    shapes().into_iter().filter(|shape| shape.kind.aggregate == aggregate).collect()
}

#[test]
fn every_kind_has_its_golden_record() {
    let dir = dir("golden");
    for held in [
        check::<Product>(&dir, &of("product"), &product::sample::events(), &product::sample::commands()),
        check::<Replica>(&dir, &of("replica"), &replica::sample::events(), &replica::sample::commands()),
        check::<Customer>(&dir, &of("customer"), &customer::sample::events(), &customer::sample::commands()),
        check::<Cart>(&dir, &of("cart"), &cart::sample::events(), &cart::sample::commands()),
        check::<StockItem>(&dir, &of("stock-item"), &stock::sample::events(), &stock::sample::commands()),
        check::<Order>(&dir, &of("order"), &order::sample::events(), &order::sample::commands()),
        check::<Payment>(&dir, &of("payment"), &payment::sample::events(), &payment::sample::commands()),
        check::<Seller>(&dir, &of("seller"), &seller::sample::events(), &seller::sample::commands()),
        check::<Shipment>(&dir, &of("shipment"), &shipment::sample::events(), &shipment::sample::commands()),
        check::<Delivery>(&dir, &of("delivery"), &delivery::sample::events(), &delivery::sample::commands()),
        check::<Sale>(&dir, &of("sale"), &sale::sample::events(), &sale::sample::commands()),
    ] {
        held.unwrap();
    }
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
        golden(&dir("golden"), "platform", &kind, &body).unwrap();
    }
}

#[test]
fn a_changed_shape_is_noticed_and_a_record_never_written_over() {
    let (kind, mut body) = Product::encode_event(&product::sample::events()[0]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("events/product.registered.v1.json");
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
    let file = dir("golden").join("headers.v1.txt");
    if std::env::var_os("UPDATE").is_some() && !file.exists() {
        std::fs::write(&file, &lines).unwrap();
    }
    let known = std::fs::read_to_string(&file).expect("run UPDATE=1 cargo test --release -p schemas and commit the file");
    assert_eq!(lines, known, "headers are read by everyone, and names never change: a new one is optional and has a file of its own");
    let headers: Headers = known.lines().map(|line| line.split_once(": ").unwrap()).map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(Envelope::read(&headers), Ok(crate::envelope::full()));
}

/// Old readers and new writers: a field that a later release adds is passed over.
#[test]
fn fields_of_a_later_release_are_passed_over() {
    fn hold<A: Codec>(events: Vec<A::Event>, commands: Vec<A::Command>) {
        let later = |body: Vec<u8>| {
            let mut body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            body["of-a-later-release"] = serde_json::json!({ "more": [1, null] });
            body.to_string().into_bytes()
        };
        for event in events {
            let (kind, body) = A::encode_event(&event);
            assert_eq!(A::decode_event(&kind, &later(body)), Ok(event));
        }
        for command in commands {
            let (kind, body) = A::encode_command(&command);
            assert_eq!(A::decode_command(&kind, &later(body)), Ok(command));
        }
    }
    hold::<Product>(product::sample::events(), product::sample::commands());
    hold::<Replica>(replica::sample::events(), replica::sample::commands());
    hold::<Customer>(customer::sample::events(), customer::sample::commands());
    hold::<Cart>(cart::sample::events(), cart::sample::commands());
    hold::<StockItem>(stock::sample::events(), stock::sample::commands());
    hold::<Order>(order::sample::events(), order::sample::commands());
    hold::<Payment>(payment::sample::events(), payment::sample::commands());
}
