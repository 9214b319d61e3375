//! Rules of the program that break, wherever they are: one record's trouble, never the process's.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use eventstore::Limits;
use eventstore::log::Stuck;
use eventstore::observer::Observer;
use eventstore::reactions::{Writer, anchors};
use eventstore::router::Router;
use eventstore::worker::{Progress, Worker};
use parking_lot::Mutex;
use schemas::envelope::{DLT_COMMAND, DLT_POLICY, DLT_TOPIC};
use schemas::{Partition, partition_of};

use crate::tally::{Across, BREAKS_DEADLINE, BREAKS_EVOLVE, BREAKS_REACT, BREAKS_SECOND, Bench, Echo, MENDED, alone, settle};

/// Hears of stopped partitions.
#[derive(Default)]
struct Heard(Mutex<Vec<Stuck>>);
impl Observer for Heard {
    fn stopped(&self, _: &str, stuck: &Stuck) {
        self.0.lock().push(stuck.clone());
    }
}

fn watched(bench: &Bench) -> (Worker, Arc<Heard>) {
    let (heard, service, log) = (Arc::new(Heard::default()), Arc::clone(&bench.service), Arc::clone(&bench.log));
    let worker = Worker::join(service, log, Arc::clone(&bench.rows), "worker", Limits::test_min(), Arc::clone(&heard) as Arc<dyn Observer>);
    (worker.unwrap(), heard)
}

/// What a command decides is folded before any of it is written: if that breaks, the command is a dead letter, its
/// neighbours in the batch are as they were, and the head is what was committed.
#[test]
fn events_that_cannot_be_folded_are_never_written() {
    for (broken, limits) in
        [BREAKS_EVOLVE, BREAKS_SECOND, BREAKS_DEADLINE - 3].into_iter().flat_map(|broken| [(broken, Limits::test_min()), (broken, Limits::default())])
    {
        let bench = Bench::of(alone(), 31);
        let subjects = Bench::subjects();
        for (id, more) in [("a", 3), ("b", broken), ("c", 2), ("b", broken)] {
            bench.send(bench.command(id, subjects[0], more));
            bench.send(bench.command(id, subjects[1], 1));
        }
        let mut worker = Worker::join(Arc::clone(&bench.service), Arc::clone(&bench.log), Arc::clone(&bench.rows), "worker", limits, Arc::new(())).unwrap();
        settle(&mut worker);
        let reasons: Vec<String> = bench.letters().into_iter().map(|(reason, _)| reason).collect();
        // Sent again it is decided again: the tally has moved on, and its deadline breaks no more.
        let (counted, letters) = if broken == BREAKS_DEADLINE - 3 { ((3, 5 + broken), 1) } else { ((2, 5), 2) };
        assert_eq!((bench.count(subjects[0]), bench.count(subjects[1])), (counted, (3, 3)), "{broken}");
        assert_eq!(reasons, vec!["panicked"; letters], "{broken}");
        bench.assert_equals_a_fold_from_zero();
    }
}

/// What is taken back is made anew of the batch's earlier events of that aggregate alone.
#[test]
fn a_head_that_is_taken_back_keeps_its_own_earlier_events_and_no_others() {
    let bench = Bench::of(alone(), 38);
    let own = Bench::subjects()[0];
    let neighbour = (0..).map(|n| format!("neighbour{n}")).find(|subject| partition_of(subject.as_bytes(), 3) == Partition(0)).unwrap();
    for (id, subject, more) in [("a", own, 3), ("b", &neighbour, 4), ("c", own, 5), ("d", own, BREAKS_SECOND), ("e", own, 2), ("f", &neighbour, 1)] {
        bench.send(bench.command(id, subject, more));
    }
    settle(&mut bench.worker_of(Limits::default()));
    assert_eq!((bench.count(own), bench.count(&neighbour)), ((3, 10), (2, 5)));
    bench.assert_equals_a_fold_from_zero();
}

/// An event in the log that breaks the fold stops its partition at that record, in a fold from zero too.
#[test]
fn an_own_event_that_breaks_the_fold_stops_its_partition_and_no_other() {
    for (more, gap) in [(BREAKS_EVOLVE, 0), (BREAKS_DEADLINE, 0), (1, 1)] {
        let bench = Bench::of(alone(), 32);
        let subjects = Bench::subjects();
        let offset = bench.log.append(vec![bench.own_event(subjects[0], 1 + gap, more)]).unwrap()[0];
        for (n, subject) in subjects.iter().enumerate() {
            bench.send(bench.command(&format!("c{n}"), subject, 1));
        }
        let (mut worker, heard) = watched(&bench);
        settle(&mut worker);
        assert_eq!(subjects.map(|subject| bench.count(subject)), [(0, 0), (1, 1), (1, 1)], "{more}");
        let stopped = heard.0.lock().clone();
        let [stuck] = &stopped[..] else { panic!("{stopped:?}") };
        assert_eq!((&stuck.topic, stuck.partition, stuck.offset), (&bench.service.events(), Partition(0), offset), "{stuck}");
    }
}

/// A head that an older program saved, and that this one cannot look at.
#[test]
fn a_saved_state_that_breaks_stops_its_partition_at_its_last_event() {
    let bench = Bench::of(alone(), 33);
    let subjects = Bench::subjects();
    settle(&mut bench.worker());
    let offset = bench.log.append(vec![bench.own_event(subjects[0], 1, 7)]).unwrap()[0];
    settle(&mut bench.worker());
    assert_eq!(bench.count(subjects[0]), (1, 7));
    // Its row as a program would have left it to which this count means nothing bad.
    let row = eventstore::rows::Rows::get(&bench.rows, &bench.head_row(subjects[0])).unwrap().unwrap();
    let broken = bench.saved(1, BREAKS_DEADLINE);
    assert_ne!(row, broken);
    let mut changes = eventstore::rows::Changes::default();
    changes.put(&bench.head_row(subjects[0]), &broken);
    bench.rows.write(changes).unwrap();
    for (n, subject) in subjects.iter().enumerate() {
        bench.send(bench.command(&format!("c{n}"), subject, 1));
    }
    let (mut worker, heard) = watched(&bench);
    settle(&mut worker);
    assert_eq!([bench.count(subjects[1]), bench.count(subjects[2])], [(1, 1); 2]);
    let stopped = heard.0.lock().clone();
    assert!(
        matches!(&stopped[..], [stuck] if stuck.partition == Partition(0) && stuck.offset == offset && stuck.why.contains("a broken deadline")),
        "{stopped:?}"
    );
}

/// A policy that breaks over one event: a dead letter that names event and policy; the next event is taken. Once it is
/// mended, the letter is written once more, on both paths, and has its effect once however often that is done.
#[test]
fn a_policy_that_breaks_leaves_a_letter_that_can_be_retried() {
    let bench = Bench::of(alone().follows::<Echo, _>("other").follows_across::<Across, _>("other"), 34);
    bench.send(bench.event("e1", "17", 1, BREAKS_REACT));
    bench.send(bench.event("e2", "17", 2, 1));
    let mut worker = bench.worker();
    let mut router = Router::join(Arc::clone(&bench.service), bench.log.as_ref(), "router", Limits::test_min(), Arc::new(())).unwrap().unwrap();
    let mut run = || {
        for _ in 0..2 {
            settle(&mut worker);
            assert!((0..20).any(|_| router.turn(Duration::ZERO).unwrap() == Progress::Idle));
        }
        settle(&mut worker);
    };
    run();
    assert_eq!((bench.count("17"), bench.count("all")), ((1, 1), (1, 1)));
    let letters = bench.letters();
    let named = |policy: &str| {
        let found = letters.iter().find(|(reason, letter)| reason == "panicked" && letter.headers.text(DLT_POLICY) == Some(policy));
        let (_, letter) = found.unwrap_or_else(|| panic!("{letters:?}"));
        assert_eq!((letter.headers.text(DLT_TOPIC), letter.headers.text("ce_id"), letter.headers.text(DLT_COMMAND)), (Some("other.events"), Some("e1"), None));
    };
    ["echo", "across"].into_iter().for_each(named);
    assert_eq!(letters.len(), 2);
    let cause = bench.all(&schemas::topic(schemas::Stream::Events("other")))[0].clone();
    let anchors = anchors(3);
    let writer = Writer::new(&bench.service, &anchors, bench.log.secret(), bench.log.rules());
    assert!(writer.again(&cause, "echo", None).is_err_and(|why| why.contains("a broken policy")));
    MENDED.store(true, Ordering::Relaxed);
    for policy in ["echo", "across", "echo", "across"] {
        writer.again(&cause, policy, None).unwrap().into_iter().for_each(|message| bench.send(message));
    }
    MENDED.store(false, Ordering::Relaxed);
    run();
    assert_eq!((bench.count("17"), bench.count("all")), ((2, 1 + BREAKS_REACT), (2, 1 + BREAKS_REACT)));
    bench.assert_equals_a_fold_from_zero();
}
