//! The integration tests of `projections`, one binary: views over a real embedded log.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use eventstore::embedded::{Embedded, Settings};
use eventstore::log::TopicSpec;
use eventstore::rows::{Changes, Memory};
use eventstore::{Limits, Log, Message, Offset};
use projections::{Folding, NotServed, Overlay, Projection, Seen, Unfolded, View, verify};
use schemas::envelope::{Kind, Malformed};
use schemas::{Envelope, Partition, Topic};
use tempfile::TempDir;

fn events() -> Topic {
    Topic::named("letters.events")
}

/// Counts letters: `+x` adds one, `-x` removes the row, `?` is an event nobody knows.
fn count(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), Unfolded> {
    let text = String::from_utf8_lossy(seen.body()).into_owned();
    match text.split_at(1) {
        ("+", letter) => rows.update::<u64>(letter, |count| *count += 1)?,
        ("-", letter) => rows.delete(letter.to_owned()),
        _ => return Err(Malformed::UnknownKind(text).into()),
    }
    Ok(())
}

fn view() -> Arc<View> {
    Arc::new(View { name: "letters".into(), shape: 1, topic: events(), fold: count, queue: Some("q/") })
}

struct Bench {
    dir: TempDir,
    log: Arc<dyn Log>,
    steps: Arc<AtomicU32>,
}

impl Bench {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let log = Embedded::open(&dir.path().join("log"), Settings { partitions: Some(2), gaps: Some(9), ..Settings::default() }).unwrap();
        log.provision(&[TopicSpec { topic: events(), retention: None }, TopicSpec { topic: Topic::named("other.events"), retention: None }]).unwrap();
        Self { dir, log: Arc::new(log), steps: Arc::default() }
    }

    fn write(&self, partition: u16, text: &str) -> Offset {
        let envelope = Envelope::new("e", "/letters/letter", Kind::of("letter", "counted", 1), "x");
        let message =
            Message { topic: events(), partition: Partition(partition), key: vec![], headers: envelope.headers(), value: Some(text.as_bytes().to_vec()) };
        self.log.append(vec![message]).unwrap()[0].next()
    }

    fn open(&self) -> Projection {
        let steps = Arc::clone(&self.steps);
        Projection::open(
            view(),
            Arc::clone(&self.log),
            &self.dir.path().join("views"),
            &Memory::default(),
            Box::new(move || {
                steps.fetch_add(1, Ordering::Relaxed);
            }),
        )
        .unwrap()
    }

    fn verify(&self, projection: &Projection) -> projections::Verdict {
        let scratch: &Path = &self.dir.path().join("scratch");
        let verdict = verify("letters", self.log.as_ref(), projection.rows(), scratch, |rows| Box::new(Folding::new(view(), rows))).unwrap();
        std::fs::remove_dir_all(scratch).unwrap();
        verdict
    }
}

fn follow(projection: &Projection) {
    while projection.turn(Duration::ZERO, Limits::test_min()).unwrap() {}
}

#[test]
fn a_queue_is_what_its_rows_say() {
    let bench = Bench::new();
    let projection = bench.open();
    let queued = |projection: &Projection, from: &str| projection.queue().unwrap().first(from);
    ["+q/b", "+q/a", "+q/a", "+r", "+q/c"].iter().for_each(|text| _ = bench.write(0, text));
    follow(&projection);
    assert_eq!((queued(&projection, "q/").as_deref(), queued(&projection, "q/b").as_deref(), queued(&projection, "q/d")), (Some("q/a"), Some("q/b"), None));
    ["-q/a", "-r", "-q/c", "+q/d", "+q/c"].iter().for_each(|text| _ = bench.write(1, text));
    follow(&projection);
    let find = |most: usize, unwanted: &str| projection.queue().unwrap().find("q/", most, |key| key != unwanted);
    assert_eq!((find(9, "q/b").as_deref(), find(1, "q/b"), find(1, "").as_deref()), (Some("q/c"), None, Some("q/b")));
    drop(projection);
    let projection = bench.open();
    assert_eq!((queued(&projection, "q/").as_deref(), queued(&projection, "q/cc").as_deref(), queued(&projection, "q/e")), (Some("q/b"), Some("q/d"), None));
}

#[test]
fn nothing_is_served_before_it_has_caught_up() {
    let bench = Bench::new();
    for _ in 0..5 {
        bench.write(0, "+a");
    }
    let projection = bench.open();
    assert!(matches!(projection.serves(&vec![]), Err(NotServed::Rebuilding(_))));
    projection.turn(Duration::ZERO, Limits::test_min()).unwrap();
    assert!(matches!(projection.serves(&vec![]), Err(NotServed::Rebuilding(_))), "two of five records are folded");
    follow(&projection);
    assert!(projection.serves(&vec![]).is_ok() && bench.steps.load(Ordering::Relaxed) >= 3);
    assert_eq!((projection.get::<u64>("a").unwrap(), projection.get::<u64>("b").unwrap()), (Some(5), None));
}

#[test]
fn a_token_is_waited_for_and_must_fit() {
    let bench = Bench::new();
    let projection = bench.open();
    let token = |topic: Topic, next| vec![(topic, Partition(1), next)];
    let next = bench.write(1, "+a");
    assert!(matches!(projection.serves(&token(events(), next)), Err(NotServed::Behind(_))));
    follow(&projection);
    assert!(projection.serves(&token(events(), next)).is_ok());
    assert!(matches!(projection.serves(&token(Topic::named("other.events"), next)), Err(NotServed::OtherTopic { .. })));
    assert_eq!(projection.lag().unwrap(), [(Partition(0), 0), (Partition(1), 0)]);
}

#[test]
fn rows_and_position_move_together_and_stand_for_ever() {
    let bench = Bench::new();
    for text in ["+a", "+b", "-a", "+a", "+c", "-c"] {
        bench.write(0, text);
        bench.write(1, "+z");
        let projection = bench.open(); // as after a kill: a new one, on what is written
        follow(&projection);
    }
    let projection = bench.open();
    assert!(projection.serves(&vec![]).is_ok(), "it stood at the end already");
    let rows: Vec<(String, u64)> = projection.scan("", None, 10).unwrap();
    assert_eq!(rows, [("a".to_owned(), 1), ("b".to_owned(), 1), ("z".to_owned(), 6)]);
    assert_eq!(projection.scan::<u64>("", Some("b"), 1).unwrap(), [("b".to_owned(), 1)]);
    let verdict = bench.verify(&projection);
    assert!(verdict.matches() && verdict.rows == 3 && verdict.records == 12, "{verdict:?}");
}

#[test]
fn a_proof_names_what_differs() {
    let bench = Bench::new();
    for text in ["+a", "+b", "+c"] {
        bench.write(0, text);
    }
    let projection = bench.open();
    follow(&projection);
    let mut tampered = Changes::default();
    tampered.put(b"a", b"7");
    tampered.delete(b"b");
    tampered.put(b"d", b"1");
    projection.rows().write(tampered).unwrap();
    let verdict = bench.verify(&projection);
    let found: Vec<_> = verdict.differences.iter().map(|row| (row.key.as_str(), row.live.as_deref(), row.rebuilt.as_deref())).collect();
    assert_eq!(found, [("a", Some("7"), Some("1")), ("b", None, Some("1")), ("d", Some("1"), None)]);
    assert!(!verdict.matches() && verdict.live != verdict.rebuilt);
}

#[test]
fn an_event_it_cannot_read_stops_it_and_says_where() {
    let bench = Bench::new();
    bench.write(0, "+a");
    let projection = bench.open();
    follow(&projection);
    bench.write(0, "?what");
    let stopped = projection.turn(Duration::ZERO, Limits::default()).unwrap_err().to_string();
    assert!(stopped.contains("letters.events/0") && stopped.contains("?what"), "{stopped}");
    assert!(matches!(projection.serves(&vec![]), Err(NotServed::Stopped { .. })));
}
