//! The integration tests of `projections`, one binary: views over a real embedded log.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

extern crate daybook_projections as projections;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use eventstore::control::{Control, Ruling, Settled};
use eventstore::embedded::{Embedded, Settings};
use eventstore::log::TopicSpec;
use eventstore::memory::Memory;
use eventstore::rows::{Changes, Rows};
use eventstore::{Fault, Limits, Log, Message, Offset};
use projections::{FoldError, Folding, Overlay, Projection, Proof, ReadError, Seen, View};
use schemas::envelope::{Kind, Malformed};
use schemas::{Envelope, Partition, Topic, anchor_key, partition_of};
use tempfile::TempDir;

mod rebuild;

fn events() -> Topic {
    Topic::named("letters.events")
}

/// Counts letters: `+x` adds one, `-x` removes the row, `=x` lists it and makes its row a long one, `?` is an event nobody knows.
fn count(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let text = String::from_utf8_lossy(seen.body()).into_owned();
    match text.split_at(1) {
        ("+", letter) => rows.update::<u64>(letter, |count| *count += 1)?,
        ("-", letter) => rows.delete(letter.to_owned()),
        ("=", letter) => {
            rows.put(format!("by/{letter}"), letter.to_owned());
            rows.put(letter.to_owned(), letter.repeat(1_000));
        }
        ("!", _) => panic!("a broken rule"),
        _ => return Err(Malformed::UnknownKind(text).into()),
    }
    Ok(())
}

fn view() -> Arc<View> {
    Arc::new(View { name: "letters".into(), shape: 1, topic: events(), fold: count, queue: Some("q/"), readable_from: 1 })
}

struct Bench {
    dir: TempDir,
    log: Arc<dyn Log>,
    control: Arc<Control>,
    steps: Arc<AtomicU32>,
}

impl Bench {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let log = Embedded::open(&dir.path().join("log"), Settings { partitions: Some(2), gaps: Some(9), ..Settings::default() }).unwrap();
        let specs = [events(), Topic::named("other.events")].map(|topic| TopicSpec { topic, retention: None });
        log.provision(&[&specs[..], &[Control::spec()]].concat()).unwrap();
        let log: Arc<dyn Log> = Arc::new(log);
        let control = Control::open(Arc::clone(&log)).unwrap();
        Self { dir, log, control, steps: Arc::default() }
    }

    fn write(&self, partition: u16, text: &str) -> Offset {
        let envelope = Envelope::new("e", "/letters/letter", Kind::of("letter", "counted", 1), "x");
        let (partition, value) = (Partition(partition), Some(text.as_bytes().to_vec()));
        let key = anchor_key(partition, self.log.partitions()).into_bytes(); // which leads there
        let message = Message { topic: events(), partition, key, headers: envelope.headers(), value };
        self.log.append(vec![message]).unwrap()[0].next()
    }

    fn open(&self) -> Projection {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<Projection, Fault> {
        self.open_view(view())
    }

    /// Another program's.
    fn open_as(&self, view: View) -> Result<Projection, Fault> {
        self.open_view(Arc::new(view))
    }

    fn open_view(&self, view: Arc<View>) -> Result<Projection, Fault> {
        let steps = Arc::clone(&self.steps);
        Projection::open(
            view,
            &self.control,
            &self.dir.path().join("views"),
            &Memory::default(),
            Box::new(move || {
                steps.fetch_add(1, Ordering::Relaxed);
            }),
        )
    }

    fn verify(&self, projection: &Projection) -> projections::Verdict {
        let scratch: &Path = &self.dir.path().join("scratch");
        let topic = events();
        let proof =
            Proof { name: "letters", log: self.log.as_ref(), live: &projection.rows(), scratch, kept: None, full: true, whole: Some(&topic), runs: true };
        let skips = Arc::clone(self.control.skips());
        let verdict = proof.verify(|rows| Box::new(Folding::new(view(), rows).honouring(skips))).unwrap();
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
fn a_page_through_ids_is_bounded_by_the_rows_they_name() {
    let bench = Bench::new();
    for text in ["=a", "=b", "=c", "=d", "=e", "-b"] {
        bench.write(0, text); // b is named, and not there
    }
    let projection = bench.open();
    follow(&projection);
    let page = |from: Option<&str>, most, bytes| {
        let (rows, next) = projection.page_through::<String>("by/", from, str::to_owned, most, bytes).unwrap();
        (rows.iter().map(|row| &row[..1]).collect::<String>(), next)
    };
    assert_eq!(page(None, 9, usize::MAX), ("acde".to_owned(), None));
    assert_eq!(page(None, 3, usize::MAX), ("ac".to_owned(), Some("by/d".to_owned())));
    assert_eq!(page(None, 9, 2_500), ("ac".to_owned(), Some("by/d".to_owned())));
    assert_eq!(page(Some("by/d"), 9, 2_500), ("de".to_owned(), None));
    assert_eq!(page(Some("by/d"), 9, 500), ("d".to_owned(), Some("by/e".to_owned())));
}

#[test]
fn nothing_is_served_before_it_has_caught_up() {
    let bench = Bench::new();
    for _ in 0..5 {
        bench.write(0, "+a");
    }
    let projection = bench.open();
    assert!(matches!(projection.serves(&vec![], None), Err(ReadError::Rebuilding(_))));
    projection.turn(Duration::ZERO, Limits::test_min()).unwrap();
    assert!(matches!(projection.serves(&vec![], None), Err(ReadError::Rebuilding(_))), "two of five records are folded");
    follow(&projection);
    assert!(projection.serves(&vec![], None).is_ok() && bench.steps.load(Ordering::Relaxed) >= 3);
    assert_eq!((projection.get::<u64>("a").unwrap(), projection.get::<u64>("b").unwrap()), (Some(5), None));
}

#[test]
fn a_token_is_waited_for_and_must_fit() {
    let bench = Bench::new();
    let projection = bench.open();
    follow(&projection);
    let token = |topic: Topic, next| vec![(topic, Partition(1), next)];
    let next = bench.write(1, "+a");
    assert!(matches!(projection.serves(&token(events(), next), None), Err(ReadError::Behind(_))));
    follow(&projection);
    assert!(projection.serves(&token(events(), next), None).is_ok());
    assert!(projection.serves(&token(Topic::named("other.events"), next), None).is_ok(), "what is said of another topic concerns other views");
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
    assert!(!projection.turn(Duration::ZERO, Limits::default()).unwrap() && projection.serves(&vec![], None).is_ok(), "it stood at the end already");
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

fn settle(bench: &Bench, offset: Offset, reason: &str) {
    settle_at(bench, Partition(0), offset, reason);
}

fn settle_at(bench: &Bench, partition: Partition, offset: Offset, reason: &str) {
    let readers = ["view:letters".to_owned()].into();
    let order = Ruling { readers, topic: events(), partition, offset, reason: reason.to_owned(), actor: None };
    bench.control.settle(&Settled::Skip(order)).unwrap();
}

#[test]
fn an_event_it_cannot_read_stops_its_partition_and_no_other() {
    for wrong in ["?what", "!panic"] {
        let bench = Bench::new();
        bench.write(0, "+a");
        let projection = bench.open();
        follow(&projection);
        bench.write(0, "+b");
        let at = Offset(bench.write(0, wrong).0 - 1);
        bench.write(0, "+c");
        bench.write(1, "+z");
        follow(&projection);
        let stops = projection.stops();
        assert!(matches!(&stops[..], [stuck] if stuck.topic == events() && stuck.partition == Partition(0) && stuck.offset == at), "{stops:?}");
        assert!(stops[0].to_string().contains(if wrong == "?what" { "?what" } else { "a broken rule" }), "{stops:?}");
        let rows = |projection: &Projection| projection.scan::<u64>("", None, 10).unwrap().into_iter().map(|(key, _)| key).collect::<String>();
        assert_eq!(rows(&projection), "abz", "what lies before it, and the other partition, are folded");
        assert!(projection.serves(&vec![], None).is_ok() && projection.serves(&vec![], Some(Partition(1))).is_ok());
        assert!(matches!(projection.serves(&vec![], Some(Partition(0))), Err(ReadError::Stopped { why, .. }) if why.contains("letters.events/0")));
        let beyond = vec![(events(), Partition(0), at.next())];
        assert!(matches!(projection.serves(&beyond, None), Err(ReadError::Stopped { .. })), "nobody waits for what does not come");
        let verdict = bench.verify(&projection);
        assert!(verdict.live == verdict.rebuilt && verdict.wrong.as_ref().is_some_and(|why| why.contains("letters.events/0")), "{verdict:?}");
        drop(projection);
        // A start does not wait for it.
        let projection = bench.open();
        follow(&projection);
        assert!(projection.is_ready() && projection.stops().len() == 1);
        settle(&bench, at, "nobody wrote that");
        follow(&projection);
        assert_eq!((rows(&projection).as_str(), projection.stops().len()), ("abcz", 0));
        assert!(bench.verify(&projection).matches());
        drop(projection);
        let projection = bench.open();
        follow(&projection);
        assert!(bench.verify(&projection).matches() && rows(&projection) == "abcz");
    }
}

#[test]
fn an_event_where_its_key_does_not_lead_stops_its_partition() {
    let bench = Bench::new();
    bench.write(1, "+z");
    let envelope = Envelope::new("e", "/letters/letter", Kind::of("letter", "counted", 1), "x");
    for key in [anchor_key(Partition(1), bench.log.partitions()), "x".to_owned()] {
        let partition = if key == "x" { Partition(1 - partition_of(b"x", bench.log.partitions()).0) } else { Partition(0) };
        let message = Message { topic: events(), partition, key: key.into_bytes(), headers: envelope.headers(), value: Some(b"+a".to_vec()) };
        let at = bench.log.append(vec![message]).unwrap()[0];
        let projection = bench.open();
        follow(&projection);
        let stops = projection.stops();
        assert!(stops.iter().any(|stuck| (stuck.partition, stuck.offset) == (partition, at) && stuck.why.contains("misrouted")), "{stops:?}");
        drop(projection);
        settle_at(&bench, partition, at, "nobody wrote that");
    }
}

#[test]
fn what_was_folded_and_is_passed_over_later_is_folded_anew() {
    let bench = Bench::new();
    let at = Offset(bench.write(0, "+a").0 - 1);
    bench.write(0, "+b");
    let projection = bench.open();
    follow(&projection);
    settle(&bench, at, "it never happened");
    let fault = projection.turn(Duration::ZERO, Limits::default()).unwrap_err().to_string();
    assert!(fault.contains("folded anew") && projection.failed().is_some(), "{fault}");
    drop(projection);
    let projection = bench.open();
    follow(&projection);
    assert_eq!(projection.scan::<u64>("", None, 9).unwrap(), [("b".to_owned(), 1)]);
    assert!(bench.verify(&projection).matches());
}

#[test]
fn rows_of_another_log_are_refused() {
    let (one, other) = (Bench::new(), Bench::new());
    one.write(0, "+a");
    follow(&one.open());
    (0..5).for_each(|_| _ = other.write(0, "+b")); // longer than the one the rows are of
    std::fs::rename(one.dir.path().join("views"), other.dir.path().join("views")).unwrap();
    let refused = other.try_open().err().unwrap().to_string();
    assert!(refused.contains("another log") && refused.contains("--data"), "{refused}");
}

#[test]
fn a_log_older_than_its_rows_is_noticed() {
    // The same log, restored from a copy: it has the identity, and at the last place another record, or none.
    for after in [&[][..], &["+x", "+x", "+x"]] {
        let bench = Bench::new();
        bench.write(0, "+a");
        let copied = bench.dir.path().join("copy");
        let Bench { dir, log, control, steps } = bench;
        let settings = || Settings { partitions: Some(2), ..Settings::default() };
        let open = |dir: &Path| {
            let log: Arc<dyn Log> = Arc::new(Embedded::open(&dir.join("log"), settings()).unwrap());
            Bench { dir: TempDir::new().unwrap(), control: Control::open(Arc::clone(&log)).unwrap(), log, steps: Arc::default() }
        };
        drop((log, control, steps));
        copy(&dir.path().join("log"), &copied.join("log"));
        let newer = open(dir.path());
        newer.write(0, "+b");
        follow(&newer.open());
        let views = newer.dir.path().join("views");
        let older = open(&copied);
        std::fs::rename(views, older.dir.path().join("views")).unwrap();
        after.iter().for_each(|text| _ = older.write(0, text));
        let projection = older.open();
        let fault = projection.turn(Duration::ZERO, Limits::default()).unwrap_err().to_string();
        assert!(fault.contains("letters.events/0") && fault.contains("move heads/ and views/"), "{fault}");
        assert!(matches!(projection.serves(&vec![], None), Err(ReadError::Stopped { .. })));
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn a_proof_changes_nothing_and_fails_where_it_proves_nothing() {
    let bench = Bench::new();
    bench.write(0, "+a");
    bench.write(1, "+b");
    let projection = bench.open();
    follow(&projection);
    // A partition that the rows do not know.
    let mut lost = Changes::default();
    lost.delete_standing(&events(), Partition(1));
    projection.rows().write(lost).unwrap();
    let verdict = bench.verify(&projection);
    assert!(!verdict.matches() && verdict.wrong.as_ref().is_some_and(|why| why.contains("letters.events/1")), "{verdict:?}");
    drop(projection);
    let dir = bench.dir.path().join("views/letters");
    let look = |shape: &str, log: &str| Rows::look(&dir, shape, Some(log), &Memory::default());
    let (wrong, other) = (look("letters 2", bench.control.id()).err().unwrap().to_string(), look("letters 1", "x").err().unwrap().to_string());
    assert!(wrong.contains("'letters 1'") && other.contains("another log"), "{wrong} {other}");
    let before: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(look("letters 1", bench.control.id()).unwrap().get(b"a").unwrap().as_deref(), Some(&b"1"[..]), "and everything is still there");
    assert_eq!(std::fs::read_dir(&dir).unwrap().map(|file| file.unwrap().file_name()).collect::<Vec<_>>(), before);
}

#[test]
fn a_view_that_does_not_advance_proves_nothing() {
    let bench = Bench::new();
    bench.write(0, "+a");
    let projection = bench.open();
    follow(&projection);
    bench.write(0, "+b"); // and nobody turns it
    let verdict = bench.verify(&projection);
    assert!(verdict.live == verdict.rebuilt && verdict.wrong.is_some_and(|why| why.contains("stands still")));
}
