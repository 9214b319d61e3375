//! A cluster of three nodes, of which some are killed under load: whoever works on it goes on by himself, and soon, and
//! nothing is lost or doubled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use eventstore::kafka::{Kafka, Settings};
use eventstore::log::TopicSpec;
use eventstore::{Limits, Log, Message, Offset, Positions};
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use schemas::{Headers, Partition, Stream, Topic, topic};

use crate::broker::Nodes;
use crate::rolling::{Instance, causes, event, provision};

/// From a healthy cluster to work that is done again.
const RECOVERY: Duration = Duration::from_secs(10);
/// What is written by those who only try.
const PROBE: &str = "probe";
/// What a machine busy with other tests, and three brokers that have just begun, may add.
const SLACK: Duration = Duration::from_secs(15);
/// Until the cluster itself has noticed a death (`broker.session.timeout.ms`, 9 s) and a client that has just come can write.
const HEALTHY: Duration = Duration::from_secs(60);

/// What a client that has just come sees: the leader of each partition of all topics, if all have one, and with so many
/// replicas in sync.
fn leaders(nodes: &Nodes, in_sync: usize) -> Option<BTreeMap<(String, i32), usize>> {
    let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", nodes.addresses()).create().unwrap();
    let metadata = client.fetch_metadata(None, Duration::from_secs(2)).ok()?;
    let mut leaders = BTreeMap::new();
    let replicated = metadata.topics().iter().filter(|topic| !topic.name().starts_with("single."));
    for (topic, partition) in replicated.flat_map(|topic| topic.partitions().iter().map(move |partition| (topic.name(), partition))) {
        if partition.isr().len() < in_sync {
            return None;
        }
        leaders.insert((topic.to_owned(), partition.id()), usize::try_from(partition.leader()).ok()?);
    }
    Some(leaders)
}

/// Whether a client that has just come can write to every partition.
fn is_written(settings: &Settings) -> bool {
    let Ok(log) = Kafka::open(settings.clone()) else { return false };
    let probe = Topic::named(PROBE);
    let message = |partition| Message { topic: probe.clone(), partition, key: vec![], headers: Headers::default(), value: None };
    log.send((0..log.partitions()).map(Partition).map(message).collect()).iter().all(Result::is_ok)
}

/// The partition of the offsets' topic that a group belongs to, as brokers reckon.
fn coordinated_by(group: &str) -> i32 {
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (hash & i32::MAX) % 4
}

/// Events that are written all the time, and how far it has come.
struct Load {
    written: Mutex<usize>,
    stop: AtomicBool,
}

impl Load {
    fn run(&self, log: &dyn Log) {
        while !self.stop.load(Ordering::Acquire) {
            let mut written = self.written.lock();
            let next = *written;
            // One that was perhaps not written is written once more: then it is there twice, and has its effect twice.
            let mut waiting: Vec<_> = (next..next + 4).map(|n| event(log, "one", n)).collect();
            while !waiting.is_empty() && !self.stop.load(Ordering::Acquire) {
                let ended = log.send(waiting.clone());
                waiting = waiting.into_iter().zip(ended).filter(|(_, ended)| ended.is_err()).map(|(message, _)| message).collect();
            }
            *written += 4;
            drop(written);
            std::thread::sleep(Duration::from_millis(40));
        }
    }
}

/// Where the tally's events end, as a log that was open all the time says.
fn ends(log: &dyn Log) -> Positions {
    let own = topic(Stream::Events("tally"));
    let end = |partition: Partition| loop {
        if let Ok(end) = log.end(&own, partition) {
            return (own.clone(), partition, end);
        }
    };
    (0..log.partitions()).map(Partition).map(end).collect()
}

/// Waits until every partition has a leader that lives, as far as the cluster says.
fn healthy(nodes: &Nodes, dead: &[usize], in_sync: usize) -> BTreeMap<(String, i32), usize> {
    let since = Instant::now();
    loop {
        if let Some(leaders) = leaders(nodes, in_sync).filter(|leaders| !leaders.values().any(|leader| dead.contains(leader))) {
            return leaders;
        }
        assert!(since.elapsed() < HEALTHY, "the cluster itself is not healthy");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits for a healthy cluster, and then for new effects in every partition.
fn recover(nodes: &Nodes, dead: &[usize], log: &dyn Log, settings: &Settings, instances: &[Instance], what: &str) {
    let killed = Instant::now();
    healthy(nodes, dead, 2);
    while !is_written(settings) {
        assert!(killed.elapsed() < HEALTHY, "{what}: nobody can write");
    }
    let (healthy, noticed) = (Instant::now(), killed.elapsed());
    let mut stood = ends(log);
    while !stood.is_empty() {
        assert!(
            healthy.elapsed() < RECOVERY + SLACK,
            "{what}: {:?} after the cluster was healthy nothing was done in {stood:?}; {:?}; instances that ended by themselves: {:?}",
            healthy.elapsed(),
            log.counts(),
            instances.iter().map(Instance::has_ended).collect::<Vec<_>>()
        );
        let _one_has_moved = log.wait(&stood, Duration::from_millis(200));
        stood.retain(|place| !log.wait(std::slice::from_ref(place), Duration::ZERO).unwrap_or(false));
    }
    println!("{what}: healthy after {noticed:?}, work in every partition {:?} later (limit {RECOVERY:?}); {:?}", healthy.elapsed(), log.counts());
}

/// `NODE_KILLS` sets how many nodes are killed, one after the other, before those that are killed for what they lead.
#[test]
fn nodes_that_are_killed_under_load_stop_nobody_for_long() {
    let mut nodes = Nodes::start();
    let settings = Settings { namespace: "n.".into(), ..Settings::new(nodes.addresses()) };
    let log: Arc<dyn Log> = Arc::new(Kafka::open(settings.clone()).unwrap());
    provision(log.as_ref());
    log.provision(&[TopicSpec { topic: Topic::named(PROBE), retention: None }]).unwrap();
    // With one copy, a partition whose node is dead has no leader: what is heard of it then must not be believed for ever.
    let single = Kafka::open(Settings { namespace: "single.".into(), replication: Some(1), ..settings.clone() }).unwrap();
    let alone = Topic::named("alone");
    single.provision(&[TopicSpec { topic: alone.clone(), retention: None }]).unwrap();
    let unled = || {
        let ask = |partition| single.end(&alone, Partition(partition)).is_err();
        std::thread::scope(|scope| [0, 1, 2, 3, 4, 5, 6, 7].map(|partition| scope.spawn(move || ask(partition))).map(|asked| asked.join().unwrap()))
            .into_iter()
            .filter(|unled| *unled)
            .count()
    };
    let instances = ["a", "b"].map(|member| Instance::start(settings.clone(), &["one"], member));
    let load = Load { written: Mutex::new(0), stop: AtomicBool::new(false) };
    std::thread::scope(|scope| {
        scope.spawn(|| load.run(log.as_ref()));
        let _stops = Stops(&load.stop);
        recover(&nodes, &[], log.as_ref(), &settings, &instances, "at the beginning");
        for kill in 0..std::env::var("NODE_KILLS").map_or(0, |kills| kills.parse().unwrap()) {
            let node = kill % 3 + 1;
            nodes.kill(&[node]);
            recover(&nodes, &[node], log.as_ref(), &settings, &instances, &format!("kill {kill}, of node {node}"));
            nodes.go(&[node]);
            healthy(&nodes, &[], 3);
        }
        let led = healthy(&nodes, &[], 3);
        let leader = led[&("n.one.events".to_owned(), 0)];
        nodes.kill(&[leader]);
        recover(&nodes, &[leader], log.as_ref(), &settings, &instances, &format!("the leader of a partition, node {leader}, killed"));
        nodes.go(&[leader]);
        let led = healthy(&nodes, &[], 3); // before it is in sync again another death would stop all writes
        let coordinator = led[&("__consumer_offsets".to_owned(), coordinated_by("n.tally"))];
        nodes.kill(&[coordinator]);
        let asked = scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(12)); // when its death is noticed
            unled()
        });
        recover(&nodes, &[coordinator], log.as_ref(), &settings, &instances, &format!("the group's coordinator, node {coordinator}, killed"));
        let unled_then = asked.join().unwrap();
        assert!(unled_then > 0, "node {coordinator} led none of eight partitions");
        nodes.go(&[coordinator]);
        healthy(&nodes, &[], 3);
        let began = Instant::now();
        while unled() > 0 {
            assert!(began.elapsed() < RECOVERY + SLACK, "{} ends are not known {:?} after all nodes were back", unled(), began.elapsed());
        }
        println!("{unled_then} partitions had no leader; all of their ends known {:?} after it was back", began.elapsed());
        nodes.kill(&[1, 2, 3]);
        std::thread::sleep(Duration::from_secs(2));
        nodes.go(&[1, 2, 3]);
        recover(&nodes, &[], log.as_ref(), &settings, &instances, "all three killed and started");
    });
    // To the end of what was written: as many effects of each event as it lies in the log.
    let (other, mut written) = (topic(Stream::Events("one")), BTreeMap::<String, usize>::new());
    for partition in (0..log.partitions()).map(Partition) {
        let (mut from, end) = (Offset(0), log.end(&other, partition).unwrap());
        while from < end {
            let page = log.read(&other, partition, from, Limits::default()).unwrap();
            for record in &page.records {
                *written.entry(record.envelope().unwrap().id.clone()).or_default() += 1;
            }
            from = page.next;
        }
    }
    let began = Instant::now();
    let found = loop {
        let found = causes(log.as_ref());
        if found.values().sum::<usize>() >= written.values().sum() || began.elapsed() > Duration::from_secs(30) {
            break found;
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    for instance in instances {
        instance.leave();
    }
    println!("{} events, {} records of them, {} effects", written.len(), written.values().sum::<usize>(), found.values().sum::<usize>());
    let differ: Vec<_> = written.iter().filter(|(id, count)| found.get(*id) != Some(count)).take(10).collect();
    assert!(differ.is_empty() && found.len() == written.len(), "lost or doubled: {differ:?}");
}

/// Ends the load also when the test fails.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
