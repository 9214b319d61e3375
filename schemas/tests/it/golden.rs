//! Every kind against its golden record.

use std::path::PathBuf;

use domain::cart::{self, Cart};
use domain::customer::{self, Customer};
use domain::order::{self, Order};
use domain::payment::{self, Payment};
use domain::product::{self, Product};
use domain::replica::{self, Replica};
use domain::stock::{self, StockItem};
use schemas::codec::to_json;
use schemas::envelope::Kind;
use schemas::golden::{check, golden};
use schemas::wire::{AcceptedV1, RefusedV1, ReplyV1, Shape, marker, shapes};

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
fn a_changed_shape_is_noticed() {
    let (kind, mut body) = <Product as schemas::Codec>::encode_event(&product::sample::events()[0]);
    let dir = std::env::temp_dir().join(format!("golden-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("events")).unwrap();
    std::fs::write(dir.join("events/product.registered.v1.json"), &body).unwrap();
    assert_eq!(golden(&dir, "events", &kind, &body), Ok(body.clone()));
    body.push(b' ');
    let why = golden(&dir, "events", &kind, &body).unwrap_err();
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(why.contains("add a version"), "{why}");
}
