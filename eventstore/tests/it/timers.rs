//! Deadlines that change nothing, or fail; and times that go back.

use std::sync::Arc;
use std::time::Duration;

use eventstore::Limits;
use eventstore::fold::replay;
use eventstore::heads::Heads;
use eventstore::memory::Memory;
use eventstore::rows::Rows;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use schemas::envelope::{DLT_DEADLINE, DLT_TOPIC};
use schemas::{Envelope, Partition};

use crate::tally::{Bench, DUE_BREAKS, DUE_REFUSED, DUE_TOO_LARGE, REMEMBERED, SLEEPS, alone, settle};

/// A partition's subjects, as many as asked for.
fn subjects(count: usize) -> Vec<String> {
    (0..).map(|n: u32| n.to_string()).filter(|subject| schemas::partition_of(subject.as_bytes(), 3) == Partition(0)).take(count).collect()
}

/// More deadlines that change nothing than are looked at in one turn, all before the one that does.
#[test]
fn deadlines_without_effect_starve_nobody() {
    let bench = Bench::of(alone(), 41);
    let all = subjects(2_501);
    let (good, sleepers) = all.split_last().unwrap();
    for chunk in sleepers.chunks(500) {
        bench.log.append(chunk.iter().map(|subject| bench.command(subject, subject, SLEEPS)).collect()).unwrap();
    }
    let mut worker = bench.worker_of(Limits::default());
    settle(&mut worker);
    bench.clock.by(1);
    bench.send(bench.command("good", good, 1));
    settle(&mut worker);
    bench.clock.by(61);
    for _ in 0..40 {
        worker.turn(Duration::ZERO).unwrap();
    }
    assert_eq!(bench.count(good), (2, 0), "its deadline has come, behind {} that change nothing", sleepers.len());
    // They are not woken again at the same instant, and a new one is seen at once.
    let later = &subjects(2_502)[2_501];
    bench.send(bench.command("later", later, 1));
    settle(&mut worker);
    bench.clock.by(61);
    settle(&mut worker);
    assert_eq!(bench.count(later), (2, 0));
    bench.assert_equals_a_fold_from_zero();
}

/// A deadline's command that fails is a dead letter that is the command itself: one, however many turns follow.
#[test]
fn a_deadline_that_fails_is_one_dead_letter() {
    for (more, reason) in [(DUE_REFUSED, "refused"), (DUE_BREAKS, "panicked"), (DUE_TOO_LARGE, "too-large")] {
        let bench = Bench::of(alone(), 42);
        let mut worker = bench.worker();
        bench.send(bench.command("a", "17", more));
        bench.send(bench.command("b", "18", 1));
        settle(&mut worker);
        bench.clock.by(61);
        for _ in 0..30 {
            worker.turn(Duration::ZERO).unwrap();
        }
        assert_eq!(bench.count("18"), (2, 0));
        let letters = bench.letters();
        let [(found, letter)] = &letters[..] else { panic!("{reason}: {} letters", letters.len()) };
        let envelope = Envelope::read(&letter.headers).unwrap();
        assert_eq!((found.as_str(), envelope.subject.as_str(), envelope.source.as_str()), (reason, "17", "/tally/deadline"));
        assert!(envelope.kind.aggregate == "tally" && letter.headers.text(DLT_DEADLINE).is_some() && letter.value.is_some());
        assert_eq!(letter.headers.text(DLT_TOPIC), Some("tally.events"));
        // It is signed as it is, so that it can be written once more.
        assert!(eventstore::inside::is_signed(&bench.log.secret(), &letter.key, &without_notes(letter), letter.body()));
        bench.assert_equals_a_fold_from_zero();
    }
}

fn without_notes(letter: &eventstore::Record) -> schemas::Headers {
    letter.headers.iter().filter(|(name, _)| !name.starts_with("dlt-")).map(|(name, value)| (name.to_owned(), value.to_vec())).collect()
}

/// An own event of an owner whose clock was ahead of everybody's: the next one's decisions are not before it, and time
/// goes on. (Its deadline is counted from there.)
#[test]
fn event_times_never_go_back_between_owners() {
    const DAY: i64 = 24 * 60 * 60 * 1_000_000;
    let bench = Bench::of(alone(), 43);
    let ahead = bench.log.now().0 + DAY;
    let mut own = bench.own_event("17", 1, 1);
    let mut envelope = Envelope::read(&own.headers).unwrap();
    envelope.time = Some(kernel::Timestamp(ahead));
    own.headers = envelope.headers();
    bench.send(own);
    let mut worker = bench.worker();
    for n in 0..5 {
        bench.send(bench.command(&format!("c{n}"), "17", 1));
        settle(&mut worker);
        bench.clock.by(10);
        if n == 2 {
            worker = bench.worker(); // another owner, who learns it from the rows
        }
    }
    let times: Vec<i64> = bench.all(&bench.service.events()).iter().map(|record| Envelope::read(&record.headers).unwrap().time.unwrap().0).collect();
    assert!(times[0] == ahead && times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    bench.assert_equals_a_fold_from_zero();
}

/// One history, whose times go back by more than ids are remembered, and in which ids come again: however it is divided
/// into pages, and whoever folds it, the rows are the same.
#[test]
fn rows_do_not_depend_on_pages_whatever_times_do() {
    for seed in 0..15 {
        let bench = Bench::of(alone(), seed);
        let mut random = StdRng::seed_from_u64(seed);
        let mut versions = std::collections::BTreeMap::<String, u64>::new();
        for n in 0..80 {
            let subject = format!("{}", random.random_range(0..6));
            let version = versions.entry(subject.clone()).or_default();
            *version += 1;
            let mut own = bench.own_event(&subject, *version, 1);
            let mut envelope = Envelope::read(&own.headers).unwrap();
            let at = random.random_range(0..3) * REMEMBERED + [0, 1, n, -n][n as usize % 4];
            envelope.time = Some(kernel::Timestamp(at * 1_000_000));
            envelope.causation = Some(format!("id{}", random.random_range(0..8)));
            envelope.body_hash = Some("0123456789abcdef0123456789abcdef".into());
            envelope.fingerprints = [None, Some("m-a".into()), Some("m-a.kept".into())][random.random_range(0..3)].clone();
            own.headers = envelope.headers();
            bench.send(own);
        }
        let mut first = None;
        for pages in [1, 2, 3, 7, 1_000] {
            let dir = tempfile::TempDir::new().unwrap();
            let rows = Arc::new(Rows::open(dir.path(), &eventstore::heads::shape(&bench.service), &Memory::default()).unwrap());
            let mut heads = Heads::new(Arc::clone(&bench.service), Arc::clone(&rows));
            for partition in (0..3).map(Partition) {
                let (limits, events) = (Limits { records: pages, ..Limits::default() }, bench.service.events());
                replay(bench.log.as_ref(), &events, partition, &mut heads, limits).unwrap();
                if random.random_bool(0.3) {
                    heads = Heads::new(Arc::clone(&bench.service), Arc::clone(&rows)); // a restart
                }
            }
            let found: Vec<_> = rows.freeze().rows().collect::<Result<_, _>>().unwrap();
            assert_eq!(*first.get_or_insert(found.clone()), found, "SEED={seed}, pages of {pages}");
        }
    }
}
