//! Log time under clocks that are wrong: set back, set forward, ahead once, or another's.

use std::sync::Arc;
use std::time::Duration;

use eventstore::clock::{Clock, FOREIGN_AHEAD_MAX, SystemClock};
use eventstore::embedded::{Embedded, Settings};
use eventstore::log::TopicSpec;
use eventstore::{Limits, Log, Message, Offset, kafka};
use schemas::{Headers, Partition, Topic};
use tempfile::TempDir;

use crate::broker::Broker;
use crate::tally::{Bench, Hands, Moved, alone, settle};

const DAY: i64 = 86_400;

#[test]
fn a_deadline_fires_although_the_wall_clock_was_set_back() {
    let bench = Bench::of(alone(), 4);
    let mut worker = bench.worker();
    bench.send(bench.command("a", "17", 5));
    settle(&mut worker);
    bench.clock.set_by(-3_600);
    bench.clock.by(59);
    settle(&mut worker);
    assert_eq!(bench.count("17"), (1, 5));
    bench.clock.by(2);
    settle(&mut worker);
    assert_eq!((bench.count("17"), bench.kinds()), ((2, 0), vec!["counted".to_owned(), "emptied".into()]));
    assert_eq!(bench.log.ahead() / 1_000_000, 3_600);
}

#[test]
fn a_wall_clock_set_forward_fires_no_deadline() {
    let bench = Bench::of(alone(), 4);
    let mut worker = bench.worker();
    bench.send(bench.command("a", "17", 5));
    settle(&mut worker);
    bench.clock.set_by(30 * DAY);
    bench.clock.by(59);
    settle(&mut worker);
    assert_eq!(bench.count("17"), (1, 5), "a clock set forward fired it");
    bench.clock.by(2);
    settle(&mut worker);
    assert_eq!(bench.count("17"), (2, 0));
}

/// The clock is a month ahead at one start, and right at all others.
#[test]
fn after_a_clock_that_was_ahead_once_time_goes_on() {
    let (dir, clock, topic) = (TempDir::new().unwrap(), Arc::new(Moved::default()), Topic::named("in"));
    clock.by(1_000_000);
    let open = || Embedded::open(dir.path(), Settings { clock: Arc::new(Hands(Arc::clone(&clock))), gaps: Some(3), ..Settings::default() }).unwrap();
    let message = || Message { topic: topic.clone(), partition: Partition(0), key: vec![], headers: Headers::default(), value: None };
    clock.set_by(30 * DAY);
    let log = open();
    log.provision(&[TopicSpec { topic: topic.clone(), retention: None }]).unwrap();
    log.append(vec![message(), message()]).unwrap();
    drop(log);
    clock.set_by(-30 * DAY);
    for _ in 0..2 {
        let log = open();
        for _ in 0..20 {
            log.append(vec![message(), message()]).unwrap(); // no time passes
        }
        let before = log.now();
        clock.by(5);
        log.append(vec![message()]).unwrap();
        assert!(log.now().0 - before.0 > 4_999_000, "log time stands still: {before}, and five seconds later {}", log.now());
        assert!((log.ahead() / 1_000_000 - 30 * DAY).abs() < 60, "{} s ahead are said", log.ahead() / 1_000_000);
    }
    let records = open().read(&topic, Partition(0), Offset(0), Limits::default()).unwrap().records;
    let times: Vec<_> = records.iter().map(|record| record.recorded_at).collect();
    assert!(times.len() == 84 && times.is_sorted_by(|one, other| one < other), "recorded times do not rise: {times:?}");
}

/// To a process whose clock is right, the broker's is a day ahead: here the process is set a day back.
#[test]
fn a_broker_whose_clock_is_a_day_ahead_moves_time_a_little() {
    struct Late(SystemClock);
    impl Clock for Late {
        fn wall(&self) -> kernel::Timestamp {
            self.0.wall().plus_seconds(-DAY)
        }
        fn monotonic(&self) -> Duration {
            self.0.monotonic()
        }
    }
    let clock = Arc::new(Late(SystemClock::default()));
    let settings =
        kafka::Settings { namespace: Broker::namespace(), clock: Arc::clone(&clock) as Arc<dyn Clock>, ..kafka::Settings::new(Broker::shared().address()) };
    let log = kafka::Kafka::open(settings).unwrap();
    let topic = Topic::named("in");
    log.provision(&[TopicSpec { topic: topic.clone(), retention: None }]).unwrap();
    let mut last = log.now();
    for n in 0..3 {
        let message = Message { topic: topic.clone(), partition: Partition(0), key: vec![], headers: Headers::default(), value: None };
        log.append(vec![message]).unwrap();
        let read = log.read(&topic, Partition(0), Offset(n), Limits::default()).unwrap();
        assert!(read.records[0].recorded_at > clock.wall().plus_seconds(DAY - 60), "the broker's clock is no day ahead");
        std::thread::sleep(Duration::from_millis(5));
        let now = log.now();
        assert!(now > last, "log time stands still at {now}");
        assert!(now <= clock.wall().plus_seconds(FOREIGN_AHEAD_MAX.as_secs() as i64 + 5), "a foreign record moved log time to {now}");
        last = now;
    }
}

/// What others wrote into the events says that it is of the year 9999.
#[test]
fn an_event_of_others_far_ahead_moves_time_a_day_at_most() {
    let bench = Bench::of(alone(), 5);
    let mut foreign = bench.own_event("17", 1, 5);
    foreign.headers.push("ce_time", "9999-12-31T23:59:59Z");
    bench.send(foreign);
    let now = bench.log.now();
    bench.send(bench.command("a", "17", 5));
    settle(&mut bench.worker());
    assert_eq!(bench.count("17"), (2, 10), "it was folded");
    let written = bench.all(&bench.service.events());
    let times: Vec<_> = written.iter().filter_map(|record| schemas::Envelope::read(&record.headers).unwrap().time).collect();
    let ahead = times.last().unwrap().0 - now.0;
    assert!(times.len() == 2 && (0..=(DAY + 60) * 1_000_000).contains(&ahead), "{times:?}");
    bench.assert_equals_a_fold_from_zero();
}
