//! Views folded anew beside what they serve, and swapped in.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use eventstore::rows::Changes;
use eventstore::{Limits, Offset};
use projections::{Phase, Projection, Rebuild, Step};
use schemas::Partition;

use crate::{Bench, count, events, follow, view};

const ASKED: Rebuild = Rebuild { until: None, rate: None, swaps: true, accepts: false, keeps: true, actor: None, dry_run: false };

/// Steps until nothing more is done; how many rows differed, if it was swapped in.
fn stepped(projection: &Projection) -> Option<Option<usize>> {
    let mut swapped = None;
    loop {
        match projection.step(Instant::now()).unwrap() {
            Step::Idle => return swapped,
            Step::Swapped(_, found) => swapped = Some(found),
            Step::Worked | Step::Failed(_) => {}
        }
    }
}

fn held(projection: &Projection) -> String {
    match projection.standing(Instant::now()).unwrap().beside.map(|beside| beside.phase) {
        Some(Phase::Held(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn generation(projection: &Projection) -> (u32, Option<u32>) {
    let standing = projection.standing(Instant::now()).unwrap();
    (standing.serving.0, standing.previous.map(|previous| previous.0))
}

fn written(bench: &Bench, letters: u32) -> Projection {
    (0..letters).for_each(|number| _ = bench.write(u16::try_from(number % 2).unwrap(), ["+a", "+b", "+c", "-b", "=d", "+q/e"][number as usize % 6]));
    let projection = bench.open();
    follow(&projection);
    projection
}

#[test]
fn it_is_swapped_in_where_it_is_the_same_and_no_reader_goes_back() {
    let bench = Bench::new();
    let projection = written(&bench, 60);
    assert_eq!(projection.rebuild(ASKED).unwrap(), 1);
    assert!(projection.rebuild(ASKED).unwrap_err().to_string().contains("already"), "one at a time");
    // Events come and are read all the while; every token that was ever given is served from then on.
    let swapped = std::thread::scope(|scope| {
        let stepping = scope.spawn(|| stepped(&projection));
        let mut read = 0;
        while !stepping.is_finished() {
            bench.write(0, "+a");
            follow(&projection);
            let token = projection.positions();
            let now = projection.get::<u64>("a").unwrap().unwrap();
            assert!(now > read && projection.serves(&token, None).is_ok(), "{now} after {read}");
            read = now;
        }
        stepping.join().unwrap()
    });
    assert_eq!((swapped, generation(&projection)), (Some(Some(0)), (1, Some(0))));
    follow(&projection);
    assert!(bench.verify(&projection).matches());
    let first = |projection: &Projection| projection.queue().unwrap().first("q/");
    assert_eq!(first(&projection).as_deref(), Some("q/e"), "its queue as well");
    // And back: what was served before has to catch up first.
    bench.write(1, "+f");
    follow(&projection);
    assert_eq!(projection.rollback(None).unwrap(), Some(0));
    assert_eq!((stepped(&projection), generation(&projection)), (Some(None), (0, Some(1))));
    assert_eq!(projection.get::<u64>("f").unwrap(), Some(1));
    assert!(bench.verify(&projection).matches());
    let dirs = || ["letters", "letters.1"].map(|dir| bench.dir.path().join("views").join(dir).exists());
    assert_eq!(dirs(), [true, true]);
    projection.swap(false, false, None).unwrap();
    assert_eq!((dirs(), generation(&projection)), ([true, false], (0, None)));
    assert!(projection.rollback(None).unwrap_err().to_string().contains("nothing was served before"));
}

#[test]
fn a_kill_at_any_step_leaves_one_that_serves_and_one_that_goes_on() {
    let bench = Bench::new();
    drop(written(&bench, 40));
    let mut asked = Some(ASKED);
    for kill in 1.. {
        assert!(kill < 50, "it never comes to an end");
        let projection = bench.open(); // as after a kill: nothing was closed in order
        follow(&projection);
        assert!(projection.serves(&vec![], None).is_ok());
        if let Some(asked) = asked.take() {
            projection.rebuild(Rebuild { rate: Some(20), ..asked }).unwrap();
        }
        bench.write(0, "+a");
        let stepped = projection.step(Instant::now()).unwrap();
        if generation(&projection).0 == 1 {
            assert!(matches!(stepped, Step::Swapped(_, Some(0))));
            break;
        }
        assert!(projection.standing(Instant::now()).unwrap().beside.is_some(), "after kill {kill}");
    }
    let projection = bench.open();
    follow(&projection);
    assert_eq!(generation(&projection), (1, Some(0)));
    assert!(bench.verify(&projection).matches());
}

#[test]
fn what_differs_is_named_and_not_served_unless_that_is_accepted() {
    let bench = Bench::new();
    let projection = written(&bench, 30);
    let mut wrong = Changes::default();
    wrong.put(b"a", b"700");
    projection.rows().write(wrong).unwrap();
    projection.rebuild(ASKED).unwrap();
    stepped(&projection);
    assert!(held(&projection).contains("--accept-differences"));
    let found = projection.standing(Instant::now()).unwrap().beside.unwrap().verdict.unwrap().differences;
    assert_eq!((found.len(), found[0].key.as_str(), found[0].live.as_deref(), found[0].rebuilt.as_deref()), (1, "a", Some("700"), Some("5")));
    assert_eq!(projection.get::<u64>("a").unwrap(), Some(700), "what was served is served");
    let diff = projection.diff(None, &bench.dir.path().join("diff")).unwrap();
    assert_eq!(diff.differences, found);
    projection.swap(true, true, None).unwrap();
    assert_eq!((stepped(&projection), projection.get::<u64>("a").unwrap()), (Some(Some(1)), Some(5)));
    assert!(bench.verify(&projection).matches());
}

#[test]
fn a_fold_that_was_changed_is_found_before_it_is_served() {
    let bench = Bench::new();
    drop(written(&bench, 30));
    // A program that counts one letter double, and forgot to raise the shape.
    let changed: projections::FoldEvent = |seen, rows| {
        let doubled = seen.body() == b"+c";
        count(seen, rows).and_then(|()| if doubled { count(seen, rows) } else { Ok(()) })
    };
    let projection = bench.open_as(projections::View { fold: changed, ..view_now() }).unwrap();
    follow(&projection);
    let diff = projection.diff(None, &bench.dir.path().join("diff")).unwrap().differences;
    assert_eq!((diff.len(), diff[0].key.as_str(), diff[0].live.as_deref(), diff[0].rebuilt.as_deref()), (1, "c", Some("5"), Some("10")));
    projection.rebuild(ASKED).unwrap();
    stepped(&projection);
    assert!(held(&projection).contains("--accept-differences"));
    assert_eq!(projection.standing(Instant::now()).unwrap().beside.unwrap().verdict.unwrap().differences, diff);
    assert_eq!((projection.get::<u64>("c").unwrap(), generation(&projection).0), (Some(5), 0), "what was served is served");
    projection.rollback(None).unwrap();
    assert_eq!(stepped(&projection), None);
}

#[test]
fn it_goes_as_far_as_it_is_told_and_waits_where_it_is_told() {
    let bench = Bench::new();
    let projection = written(&bench, 30);
    let until = BTreeMap::from([(Partition(0), Offset(4)), (Partition(1), Offset(0))]);
    let beyond = BTreeMap::from([(Partition(0), Offset(4_000))]);
    assert!(projection.rebuild(Rebuild { until: Some(beyond), ..ASKED }).unwrap_err().to_string().contains("lies beyond"));
    projection.rebuild(Rebuild { until: Some(until.clone()), ..ASKED }).unwrap();
    stepped(&projection);
    assert!(held(&projection).contains("resume") && projection.standing(Instant::now()).unwrap().beside.unwrap().done == (4, 4));
    assert!(projection.swap(true, true, None).unwrap_err().to_string().contains("see less"), "readers would go back");
    let then = projection.diff(Some(&until), &bench.dir.path().join("then")).unwrap();
    assert!(then.live != then.rebuilt && !then.differences.is_empty());
    projection.pause(false, true).unwrap();
    projection.pause(true, true).unwrap();
    assert_eq!((stepped(&projection), projection.is_paused()), (None, false), "it is paused");
    projection.pause(false, true).unwrap();
    assert_eq!(stepped(&projection), Some(Some(0)));
    // What is paused stands still, over the next start, too, and serves.
    projection.pause(true, false).unwrap();
    bench.write(0, "+z");
    follow(&projection);
    assert_eq!((projection.get::<u64>("z").unwrap(), projection.serves(&vec![], None).is_ok()), (None, true));
    drop(projection);
    let projection = bench.open();
    assert!(!projection.turn(Duration::ZERO, Limits::default()).unwrap() && projection.is_paused());
    projection.pause(false, false).unwrap();
    follow(&projection);
    assert_eq!(projection.get::<u64>("z").unwrap(), Some(1));
}

#[test]
fn rows_of_an_earlier_shape_are_served_until_there_are_others() {
    let bench = Bench::new();
    drop(written(&bench, 30));
    // A program whose fold counts double, and that can read the rows of before.
    let doubled: projections::FoldEvent = |seen, rows| count(seen, rows).and_then(|()| count(seen, rows));
    let next = |readable_from| projections::View { name: "letters".into(), shape: 2, topic: events(), fold: doubled, queue: Some("q/"), readable_from };
    let projection = bench.open_as(next(1)).unwrap();
    assert_eq!(projection.earlier_shape().as_deref(), Some("letters 1"));
    follow(&projection);
    assert_eq!((projection.serves(&vec![], None).is_ok(), projection.get::<u64>("a").unwrap()), (true, Some(5)));
    bench.write(0, "+a");
    follow(&projection);
    assert_eq!(projection.get::<u64>("a").unwrap(), Some(7), "today's fold goes on with them");
    assert!(projection.rollback(None).unwrap_err().to_string().contains("is needed"));
    assert_eq!(stepped(&projection), Some(None));
    assert_eq!((projection.get::<u64>("a").unwrap(), projection.earlier_shape(), generation(&projection)), (Some(12), None, (1, Some(0))));
    drop(projection);
    // The program of before finds its own rows, and catches up.
    let projection = bench.open();
    follow(&projection);
    assert_eq!((generation(&projection), projection.get::<u64>("a").unwrap()), ((0, Some(1)), Some(7)));
    drop(projection);
    // One that cannot read them folds anew, serves nothing until then, and leaves them for the one that can.
    let projection = bench.open_as(projections::View { shape: 3, ..next(3) }).unwrap();
    assert!(projection.serves(&vec![], None).is_err());
    follow(&projection);
    assert_eq!((projection.get::<u64>("a").unwrap(), generation(&projection).1), (Some(12), Some(0)));
    assert!(projection.rollback(None).unwrap_err().to_string().contains("does not read"));
}

#[test]
fn what_cannot_be_folded_is_given_up_and_leaves_nothing() {
    let bench = Bench::new();
    drop(written(&bench, 30));
    let broken: projections::FoldEvent = |seen, _| panic!("a broken rule at {}", seen.record.offset);
    let projection = bench.open_as(projections::View { shape: 2, fold: broken, readable_from: 1, ..view_now() }).unwrap();
    follow(&projection);
    assert!(matches!(projection.step(Instant::now()).unwrap(), Step::Failed(why) if why.contains("a broken rule")));
    let standing = projection.standing(Instant::now()).unwrap();
    assert!(standing.beside.is_none() && standing.ended.unwrap().contains("a broken rule") && projection.serves(&vec![], None).is_ok());
    assert_eq!(projection.step(Instant::now()).unwrap(), Step::Idle);
    assert!(!bench.dir.path().join("views/letters.1").exists(), "its room is given back");
}

fn view_now() -> projections::View {
    let view = view();
    projections::View {
        name: view.name.clone(),
        shape: view.shape,
        topic: view.topic.clone(),
        fold: view.fold,
        queue: view.queue,
        readable_from: view.readable_from,
    }
}

#[test]
fn what_cannot_be_written_has_not_happened() {
    let bench = Bench::new();
    let projection = written(&bench, 30);
    projection.rebuild(ASKED).unwrap();
    assert_eq!(stepped(&projection), Some(Some(0)));
    let before = projection.standing(Instant::now()).unwrap();
    // A directory in the place of the file that is written first.
    std::fs::create_dir(bench.dir.path().join("views/letters.generations.new")).unwrap();
    assert!(projection.pause(true, false).is_err() && !projection.is_paused());
    assert!(projection.swap(false, false, None).is_err() && projection.rollback(None).is_err());
    assert!(projection.rebuild(ASKED).is_err());
    let after = projection.standing(Instant::now()).unwrap();
    assert_eq!((after.serving, after.previous, after.paused, after.beside.is_none()), (before.serving, before.previous, false, true));
    std::fs::remove_dir(bench.dir.path().join("views/letters.generations.new")).unwrap();
    drop(projection);
    // And what is nobody's is cleared away at the next start.
    std::fs::create_dir(bench.dir.path().join("views/letters.77")).unwrap();
    let projection = bench.open();
    follow(&projection);
    assert!(!bench.dir.path().join("views/letters.77").exists() && !projection.is_paused());
    assert_eq!(projection.rollback(None).unwrap(), Some(0));
    assert_eq!(stepped(&projection), Some(None));
}

#[test]
fn a_damaged_list_of_generations_is_made_anew_from_what_is_there() {
    let bench = Bench::new();
    let projection = written(&bench, 30);
    projection.rebuild(ASKED).unwrap();
    assert_eq!(stepped(&projection), Some(Some(0)));
    let digest = projection.standing(Instant::now()).unwrap().digest;
    drop(projection);
    let (views, file) = (bench.dir.path().join("views"), bench.dir.path().join("views/letters.generations"));
    // Where only the newest is left that alone can be served; another view's list is nobody's.
    std::fs::remove_dir_all(views.join("letters")).unwrap();
    for damaged in ["", "{", r#"{"serving":0,"previous":0,"shapes":{"0":"letters 1"}}"#, r#"{"serving":0,"shapes":{"0":"numbers 1"}}"#] {
        std::fs::write(&file, damaged).unwrap();
        let projection = bench.open();
        assert_eq!(generation(&projection), (1, None), "{damaged}");
        let folded = projection.standing(Instant::now()).unwrap().digest;
        assert_eq!(folded, digest, "{damaged}: nothing is folded anew");
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(generation(&bench.open()), (1, None), "nor where it is lost");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(bench.try_open().err().unwrap().to_string().contains("folded anew"));
}

#[test]
fn what_is_folded_beside_and_damaged_begins_anew() {
    for damage in [
        |dir: &Path| std::fs::write(dir.join("CURRENT"), "nothing").unwrap(),
        |dir: &Path| {
            std::fs::remove_dir_all(dir).unwrap();
            std::fs::write(dir, "no directory").unwrap();
        },
    ] {
        let bench = Bench::new();
        let projection = written(&bench, 30);
        projection.rebuild(ASKED).unwrap();
        drop(projection);
        damage(&bench.dir.path().join("views/letters.1"));
        let projection = bench.open();
        follow(&projection);
        assert_eq!(stepped(&projection), Some(Some(0)));
        assert_eq!(generation(&projection), (1, Some(0)));
    }
}
