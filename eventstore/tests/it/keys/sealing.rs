//! Tests of sealing: what opens, and that nothing else does. Never looks into the key store.

use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use eventstore::keystore::{self, KeyStore};
use eventstore::sealing::bodies::{self, Unopened};
use eventstore::sealing::{Body, Error, Opened, STEP_BYTES, Sealer};
use kernel::{Sealed, SealedFor};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;
use zeroize::Zeroizing;

fn about(event: &str, kind: &str, subject: &str, field: &str) -> SealedFor {
    SealedFor { event: event.to_owned(), kind: kind.to_owned(), subject: subject.to_owned(), field: field.to_owned() }
}

fn of(subject: &str) -> SealedFor {
    about("e-1", "customer.registered", subject, "name")
}

fn sealer() -> (TempDir, Arc<KeyStore>, Sealer) {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(KeyStore::open_or_make(dir.path(), &[1; 32]).unwrap());
    (dir, Arc::clone(&store), Sealer::new(store))
}

fn clear(bytes: &[u8]) -> Opened {
    Opened::Clear(Zeroizing::new(bytes.to_vec()))
}

#[track_caller]
fn refused(opened: Result<Opened, Error>) {
    assert!(matches!(opened, Err(Error::Refused { .. })), "{opened:?}");
}

#[test]
fn opens_where_it_belongs_and_nowhere_else() {
    let (_dir, _, sealer) = sealer();
    let sealed = sealer.seal(&of("ada"), b"Ada Lovelace").unwrap();
    assert_eq!(sealer.open(&sealed).unwrap(), clear(b"Ada Lovelace"));
    let moved = |about| sealer.open(&Sealed { about: Some(about), ..sealed.clone() });
    refused(moved(about("e-2", "customer.registered", "ada", "name")));
    refused(moved(about("e-1", "customer.renamed", "ada", "name")));
    refused(moved(about("e-1", "customer.registered", "ada", "street")));
    refused(moved(of("bob")));
    refused(moved(about("e-1c", "ustomer.registered", "ada", "name")));
    let bob = sealer.seal(&of("bob"), b"Bob").unwrap();
    refused(sealer.open(&Sealed { data: sealed.data.clone(), ..bob.clone() }));
    refused(sealer.open(&Sealed { key: bob.key, ..sealed.clone() }));
    for data in ["", "AAAA", "not base64!", &sealed.data[1..], &sealed.data[..sealed.data.len() - 4]] {
        refused(sealer.open(&Sealed { data: data.to_owned(), ..sealed.clone() }));
    }
    let unknown = sealer.open(&Sealed { key: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(), ..sealed.clone() });
    assert!(matches!(unknown, Err(Error::Keys(keystore::Error::Lost { .. }))), "{unknown:?}");
    let no_id = sealer.open(&Sealed { key: "?".to_owned(), ..sealed.clone() });
    assert!(matches!(no_id, Err(Error::Keys(keystore::Error::NoId(_)))), "{no_id:?}");
    assert!(matches!(sealer.open(&Sealed { about: None, ..sealed }), Err(Error::Homeless)));
}

#[test]
fn erased_is_another_thing_than_broken() {
    let (_dir, store, sealer) = sealer();
    let sealed = sealer.seal(&of("ada"), b"Ada").unwrap();
    store.erase("ada", 1).unwrap();
    assert_eq!(sealer.open(&sealed).unwrap(), Opened::Erased);
    let again = sealer.seal(&of("ada"), b"Ada once more").unwrap();
    assert_ne!(again.key, sealed.key);
    assert_eq!(sealer.open(&again).unwrap(), clear(b"Ada once more"));
    assert_eq!(sealer.open(&sealed).unwrap(), Opened::Erased);
}

#[test]
fn survives_another_kek() {
    let (_dir, store, sealer) = sealer();
    let sealed = sealer.seal(&of("ada"), b"Ada").unwrap();
    store.rewrap(&[1; 32], &[2; 32]).unwrap();
    assert_eq!(sealer.open(&sealed).unwrap(), clear(b"Ada"));
}

#[test]
fn tells_lengths_in_steps_alone() {
    let (_dir, _, sealer) = sealer();
    let length = |bytes: usize| sealer.seal(&of("ada"), &vec![0; bytes]).unwrap().data.len();
    assert_eq!(length(0), length(STEP_BYTES - 1));
    assert!(length(STEP_BYTES - 1) < length(STEP_BYTES));
    assert_eq!(length(STEP_BYTES), length(2 * STEP_BYTES - 1));
}

const CARRIED: &str = r#"{"event":"e-9","type":"cart.checked-out","subject":"ada","field":"/personal"}"#;

#[test]
fn a_clients_command_brings_only_what_was_sealed_for_it() {
    let (_dir, store, sealer) = sealer();
    let own = Body { id: "c-1", kind: "customer.register", subject: "ada" };
    let body = br#"{"data":"d","personal":{"clear":{"name":"Ada"}},"lines":[{"personal":{"clear":{"name":"Lovelace"}}}]}"#;
    let sealed = sealer.seal_command(own, body).unwrap().unwrap();
    let text = String::from_utf8(sealed.clone()).unwrap();
    assert!(!text.contains("Ada") && !text.contains("Lovelace") && !text.contains("about"), "{text}");
    let value = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    assert_eq!(value(&sealer.open_command(own, &sealed, true).unwrap().unwrap()), value(body));
    // What was sealed for another command, person or place opens in none.
    let other = |own: Body<'_>, body: &[u8]| matches!(sealer.open_command(own, body, true), Err(Unopened::Command(_)));
    assert!(
        other(Body { id: "c-2", ..own }, &sealed) && other(Body { subject: "bob", ..own }, &sealed) && other(Body { kind: "customer.rename", ..own }, &sealed)
    );
    let swapped = text.replace(r#"{"data":"d""#, r#"{"data":"d","other":0"#).replacen("\"lines\"", "\"rows\"", 1);
    assert!(other(own, swapped.as_bytes()));
    // Nor does what stands in an event for all to read, whatever it says of itself; spelt otherwise it is the same.
    let event = sealer.seal_event(Body { id: "e-9", kind: "cart.checked-out", ..own }, br#"{"personal":{"clear":{"name":"Ada"}}}"#).unwrap().unwrap();
    let copied = String::from_utf8(event.clone()).unwrap();
    assert!(copied.contains("\"about\"") && other(own, &event) && other(own, copied.replace("personal", "person\\u0061l").as_bytes()), "{copied}");
    let bare = copied.replace(&format!(r#""about":{CARRIED},"#), "");
    assert!(other(own, bare.as_bytes()));
    // Inside commands pass it on, unopened.
    assert_eq!(sealer.open_command(own, &event, false).unwrap(), None);
    // Without keys nothing sealed is taken.
    assert!(bodies::clear(&event).is_err() && bodies::clear(&sealed).is_err() && bodies::clear(body).is_ok() && bodies::clear(b"no json").is_ok());
    // Of who was erased nothing opens, and the command goes on without it.
    store.erase("ada", 1).unwrap();
    let gone = value(&sealer.open_command(own, &sealed, true).unwrap().unwrap());
    assert_eq!(gone["personal"]["sealed"]["about"], json!({ "event": "c-1", "type": "customer.register", "subject": "ada", "field": "/personal" }));
}

#[test]
fn what_cannot_be_read_is_sealed_as_it_is() {
    let (_dir, store, sealer) = sealer();
    let own = Body { id: "c-1", kind: "customer.register", subject: "ada" };
    for body in [b"Ada {".as_slice(), b"", b"{}", &[0xff, 0xfe], br#"{"name":"Ada"}"#] {
        let whole = sealer.seal_whole(own, body).unwrap();
        assert!(!String::from_utf8_lossy(&whole).contains("Ada"));
        assert_eq!(sealer.open_command(own, &whole, true).unwrap().unwrap(), body);
        assert!(matches!(sealer.open_command(Body { id: "c-2", ..own }, &whole, true), Err(Unopened::Command(_))));
    }
    let whole = sealer.seal_whole(own, b"Ada").unwrap();
    store.erase("ada", 1).unwrap();
    assert!(matches!(sealer.open_command(own, &whole, true), Err(Unopened::Command(_))));
}

#[test]
fn equal_data_leaves_nothing_equal() {
    let (_dir, _, sealer) = sealer();
    let prints = || eventstore::fingerprint::Fingerprints { sent: "a".repeat(32), meaning: Some("b".repeat(32)), request: None, kept: false };
    let blind = |subject, id| sealer.blind(subject, id, prints()).unwrap();
    assert_eq!(blind("ada", "c-1"), blind("ada", "c-1"), "a repeat is known");
    let all = [blind("ada", "c-1"), blind("ada", "c-2"), blind("bob", "c-1")];
    let texts: std::collections::BTreeSet<_> = all.iter().flat_map(|prints| [Some(&prints.sent), prints.meaning.as_ref()]).flatten().collect();
    assert_eq!(texts.len(), 6);
}

#[test]
fn a_held_sealer_waits() {
    let (_dir, _, sealer) = sealer();
    let sealed = sealer.seal(&of("ada"), b"Ada").unwrap();
    let held = sealer.held();
    assert!(matches!(held.open(&sealed), Err(Error::Starting)) && matches!(held.seal(&of("ada"), b"Ada"), Err(Error::Starting)));
    held.release();
    assert_eq!(held.open(&sealed).unwrap(), clear(b"Ada"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_sealed_comes_back_and_no_changed_bit_does(bytes in prop::collection::vec(prop_oneof![Just(0_u8), Just(0x80), any::<u8>()], 0..300), flip in any::<prop::sample::Index>()) {
        let (_dir, _, sealer) = sealer();
        let sealed = sealer.seal(&of("ada"), &bytes).unwrap();
        prop_assert_eq!(sealer.open(&sealed).unwrap(), clear(&bytes));
        prop_assert_ne!(&sealer.seal(&of("ada"), &bytes).unwrap().data, &sealed.data);
        let mut data = Base64UrlUnpadded::decode_vec(&sealed.data).unwrap();
        let bit = flip.index(data.len() * 8);
        data[bit / 8] ^= 1 << (bit % 8);
        let changed = Sealed { data: Base64UrlUnpadded::encode_string(&data), ..sealed };
        let opened = sealer.open(&changed);
        prop_assert!(matches!(opened, Err(Error::Refused { .. })), "{:?}", opened);
    }

    /// No two ways to cut the same letters into parts belong together.
    #[test]
    fn parts_are_not_mixed_up(a in "[ab]{0,3}", b in "[ab]{0,3}", c in "[ab]{0,3}", x in "[ab]{0,3}", y in "[ab]{0,3}", z in "[ab]{0,3}") {
        let (_dir, _, sealer) = sealer();
        let (one, other) = (about(&a, &b, "ada", &c), about(&x, &y, "ada", &z));
        let sealed = sealer.seal(&one, b"1").unwrap();
        prop_assert_eq!(sealer.open(&Sealed { about: Some(other.clone()), ..sealed }).is_ok(), one == other);
    }
}
