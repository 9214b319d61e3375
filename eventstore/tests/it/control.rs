//! The control topic: one identity for each log, orders that reach every instance, and what others write there.

use std::sync::Arc;
use std::time::Duration;

use eventstore::control::{Control, Ruling, Settled};
use eventstore::embedded::{Embedded, Settings};
use eventstore::inside::sign;
use eventstore::{Log, Message, Offset};
use schemas::{Headers, Partition, Stream, Topic, topic};
use tempfile::TempDir;

fn open(dir: &TempDir) -> Arc<dyn Log> {
    let log = Embedded::open(dir.path(), Settings::default()).unwrap();
    log.provision(&[Control::spec()]).unwrap();
    Arc::new(log)
}

fn write(log: &dyn Log, text: &str, signed: bool) {
    let mut headers = Headers::default();
    if signed {
        sign(&log.secret(), b"", &mut headers, text.as_bytes());
    }
    log.append(vec![Message { topic: topic(Stream::Control), partition: Partition(0), key: vec![], headers, value: Some(text.into()) }]).unwrap();
}

#[test]
fn a_log_has_one_identity_for_life_and_orders_reach_everybody() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir);
    let (one, other) = (Control::open(Arc::clone(&log)).unwrap(), Control::open(Arc::clone(&log)).unwrap());
    assert!(one.id().len() == 32 && one.id() == other.id() && log.secret() != [0; 32]);
    let (id, secret) = (one.id().to_owned(), log.secret());
    let order = Ruling {
        readers: ["view:x".to_owned()].into(),
        topic: Topic::named("x.events"),
        partition: Partition(1),
        offset: Offset(7),
        reason: "garbage".to_owned(),
        actor: None,
    };
    one.settle(&Settled::Skip(order)).unwrap();
    assert_eq!((one.orders(), other.orders()), (1, 0));
    assert!(other.follow(Duration::from_secs(5)).unwrap() && other.orders() == 1);
    drop((one, other, log));
    let log = open(&dir);
    let again = Control::open(Arc::clone(&log)).unwrap();
    assert_eq!((again.id(), log.secret(), again.orders()), (id.as_str(), secret, 1));
    assert_eq!(again.skips().places("view:x", &Topic::named("x.events")), [(Partition(1), Offset(7))]);
    assert!(again.skips().places("view:y", &Topic::named("x.events")).is_empty());
    assert_ne!(Control::open(open(&TempDir::new().unwrap())).unwrap().id(), id);
}

#[test]
fn what_others_write_there_keeps_nothing_from_starting() {
    let dir = TempDir::new().unwrap();
    let log = open(&dir);
    let skip = r#"{"kind":"skip","readers":["view:x"],"topic":"x.events","partition":1,"offset":7,"reason":"forged"}"#;
    let garbage = ["", "garbage", "{}", "{\"kind\":\"skip\"}", "{\"kind\":7}", "[1]", "{\"kind\":\"zzz\"}", skip, r#"{"kind":"log","id":"x","secret":"zz"}"#];
    garbage.iter().for_each(|garbage| write(log.as_ref(), garbage, false));
    let control = Control::open(Arc::clone(&log)).unwrap();
    assert!(control.id().len() == 32 && control.orders() == 0);
    // Nor does it reach whoever runs already. A second identity is none: the first counts.
    garbage.iter().for_each(|garbage| write(log.as_ref(), garbage, false));
    write(log.as_ref(), &format!(r#"{{"kind":"log","id":"forged","secret":"{}"}}"#, "00".repeat(32)), false);
    assert!(control.follow(Duration::from_secs(5)).unwrap() && control.orders() == 0);
    let again = Control::open(Arc::clone(&log)).unwrap();
    assert!(again.id() == control.id() && again.skips().places("view:x", &Topic::named("x.events")).is_empty());
    // But what a newer version settles must be honoured, or nothing begun.
    write(log.as_ref(), "{\"kind\":\"close\",\"readers\":[]}", true);
    let refused = Control::open(log).err().unwrap().to_string();
    assert!(refused.contains("newer version") && refused.contains("`close`"), "{refused}");
}
