//! Every kind against its golden record.

use std::path::PathBuf;

use domain::cart::{self, Cart};
use domain::customer::{self, Customer};
use domain::delivery::{self, DeliveryRun};
use domain::order::{self, Order};
use domain::payment::{self, Payment};
use domain::product::{self, Product};
use domain::rating::{self, Rating};
use domain::replica::{self, ProductCopy};
use domain::sale::{self, Sale};
use domain::seller::{self, Seller};
use domain::shipment::{self, Shipment};
use domain::stock::{self, StockItem};
use schemas::Codec;
use schemas::envelope::{Kind, Malformed};
use schemas::golden::check;
use shapes::Marketplace;

pub fn dir(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn every_kind_has_its_golden_record() {
    let dir = dir("golden");
    for held in [
        check::<Product, _>(&dir, &product::sample::events(), &product::sample::commands()),
        check::<Rating, _>(&dir, &rating::sample::events(), &rating::sample::commands()),
        check::<ProductCopy, _>(&dir, &replica::sample::events(), &replica::sample::commands()),
        check::<Customer, _>(&dir, &customer::sample::events(), &customer::sample::commands()),
        check::<Cart, _>(&dir, &cart::sample::events(), &cart::sample::commands()),
        check::<StockItem, _>(&dir, &stock::sample::events(), &stock::sample::commands()),
        check::<Order, _>(&dir, &order::sample::events(), &order::sample::commands()),
        check::<Payment, _>(&dir, &payment::sample::events(), &payment::sample::commands()),
        check::<Seller, _>(&dir, &seller::sample::events(), &seller::sample::commands()),
        check::<Shipment, _>(&dir, &shipment::sample::events(), &shipment::sample::commands()),
        check::<DeliveryRun, _>(&dir, &delivery::sample::events(), &delivery::sample::commands()),
        check::<Sale, _>(&dir, &sale::sample::events(), &sale::sample::commands()),
    ] {
        held.unwrap();
    }
}

/// Old readers and new writers: a field that a later release adds is passed over.
#[test]
fn fields_of_a_later_release_are_passed_over() {
    fn hold<A: Codec<Marketplace>>(events: Vec<A::Event>, commands: Vec<A::Command>) {
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
    hold::<Rating>(rating::sample::events(), rating::sample::commands());
    hold::<ProductCopy>(replica::sample::events(), replica::sample::commands());
    hold::<Customer>(customer::sample::events(), customer::sample::commands());
    hold::<Cart>(cart::sample::events(), cart::sample::commands());
    hold::<StockItem>(stock::sample::events(), stock::sample::commands());
    hold::<Order>(order::sample::events(), order::sample::commands());
    hold::<Payment>(payment::sample::events(), payment::sample::commands());
}

#[test]
fn unknown_kinds_and_newer_versions_differ() {
    let decode = |kind: Kind| Cart::decode_event(&kind, b"{}").unwrap_err();
    assert!(matches!(decode(Kind::of("cart", "sunk", 1)), Malformed::UnknownKind(_)));
    assert!(matches!(decode(Kind::of("cart", "added", 9)), Malformed::FromTheFuture(_)));
    assert!(matches!(decode(Kind::of("cart", "added", 1)), Malformed::Body { .. }));
}

/// Sealed data lies in logs as it does here, for ever.
#[test]
fn sealed_personal_data_is_read_and_passed_on() {
    let about = r#""about":{"event":"e","type":"t","subject":"customer/17","field":"/personal"}"#;
    let body = format!(r#"{{"personal":{{"sealed":{{"key":"k","data":"x",{about}}}}},"card":null,"data":""}}"#);
    let kind = Kind::of("customer", "registered", 1);
    let event = Customer::decode_event(&kind, body.as_bytes()).unwrap();
    assert_eq!(Customer::encode_event(&event), (kind.clone(), body.into_bytes()));
    let wrong = Customer::decode_event(&kind, br#"{"personal":{"hidden":{}}}"#).unwrap_err().to_string();
    assert!(wrong.contains("hidden"), "{wrong}");
}
