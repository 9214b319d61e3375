//! A member's consumer in its group: the consumer and the thread that serves it, so that a rebalance is answered at once
//! however long the member works. What it reads waits in a bounded inbox; what the group decides voids the assignment.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use schemas::{Partition, Topic};

use super::access::polled;
use super::assignments::Table;
use super::fault::fault;
use super::probe::Watch;
use super::producer::Producers;
use super::reader::{WATCH, record};
use super::{closing, cluster::Cluster, ffi};
use crate::log::{Assignment, Fault, Group, Offset, Record};

/// Above this the inbox takes no more, below half of it again. Large, since a pause costs up to a fetch's wait: what is
/// under way to the broker when it ends must come back first, and what was fetched meanwhile is thrown away.
const INBOX_RECORDS: usize = 50_000;
const INBOX_BYTES: usize = 16 * 1024 * 1024;
/// How long a poll of the consumer lasts.
const SLICE: Duration = Duration::from_millis(25);
/// Records that wait this long for a member that does not poll belong to another member.
const STALLED: Duration = Duration::from_secs(60);

/// What the group has decided since the last poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// these partitions are owned now
    Assigned,
    /// and these no longer
    Revoked,
}

/// What the consumer's thread and its member share.
pub struct Inbox {
    pub(super) cluster: Arc<Cluster>,
    pub(super) group: Group,
    pub(super) state: Mutex<State>,
    pub(super) told: Condvar,
    /// Held while a transaction runs: a revocation waits for its end.
    pub(super) turn: Mutex<Producers>,
    stop: AtomicBool,
    /// whether a revocation may write that it hands over
    pub(super) releases: AtomicBool,
}

pub(super) struct State {
    pub records: VecDeque<Record>,
    pub bytes: usize,
    pub assignment: Assignment,
    /// what was claimed before
    pub claimed: Table,
    pub member: String,
    pub news: Option<News>,
    /// read again from what is committed
    pub rewind: bool,
    /// what is committed of all that is owned, or where it begins
    pub stands: BTreeMap<(Topic, Partition), Offset>,
    /// how far the client has read since then
    pub reached: BTreeMap<(Topic, Partition), Offset>,
    watch: Watch,
    pub failed: Option<Fault>,
    /// when the member polled last
    pub polled: Instant,
    /// when all that stands was committed last
    pub committed: Instant,
    pub paused: bool,
}

/// Serves rebalances, on the consumer's thread.
pub struct Served(pub(super) Arc<Inbox>);

/// The consumer.
pub struct GroupConsumer {
    pub(super) inbox: Arc<Inbox>,
    consumer: Arc<BaseConsumer<Served>>,
    thread: JoinHandle<()>,
}

impl GroupConsumer {
    /// Joins the group.
    pub fn take(cluster: Arc<Cluster>, group: Group, producers: Producers) -> Result<Self, Fault> {
        let failed = |error: KafkaError| fault(&format!("joining group {}", group.name), error);
        let state = State {
            records: VecDeque::new(),
            bytes: 0,
            assignment: Assignment { epoch: 0, partitions: vec![] },
            claimed: Table::default(),
            member: String::new(),
            news: None,
            rewind: false,
            stands: BTreeMap::new(),
            reached: BTreeMap::new(),
            watch: Watch::default(),
            failed: None,
            polled: Instant::now(),
            committed: Instant::now(),
            paused: false,
        };
        let config = cluster.settings.member(&group.name);
        let commands = cluster.settings.named(&group.commands);
        let inbox = Arc::new(Inbox {
            cluster,
            group: group.clone(),
            state: Mutex::new(state),
            told: Condvar::new(),
            turn: Mutex::new(producers),
            stop: AtomicBool::new(false),
            releases: AtomicBool::new(true),
        });
        let consumer: BaseConsumer<Served> = config.create_with_context(Served(Arc::clone(&inbox))).map_err(failed)?;
        consumer.subscribe(&[&commands]).map_err(failed)?;
        let consumer = Arc::new(consumer);
        let (of_thread, served) = (Arc::clone(&inbox), Arc::clone(&consumer));
        let run = move || {
            of_thread.run(&served);
            drop(served); // the last one: leaves the group, which is served as a revocation
        };
        let thread = std::thread::Builder::new().name(format!("{} consumer", group.name)).spawn(run);
        let thread = thread.map_err(|why| Fault::Fatal(format!("no thread for group {}: {why}", group.name)))?;
        Ok(Self { inbox, consumer, thread })
    }

    /// The member's metadata of now, if it stands where it stood when `assignment` was given.
    pub fn proof(&self, assignment: &Assignment) -> Option<ConsumerGroupMetadata> {
        self.inbox.proof(&self.consumer, assignment)
    }

    /// How many offsets of each place that is owned are not committed, as the last fetches told of ends.
    pub fn behind(&self) -> Vec<(Topic, u64)> {
        let (state, settings) = (self.inbox.state.lock(), &self.inbox.cluster.settings);
        let behind = |((topic, partition), stands): (&(Topic, Partition), &Offset)| {
            let name = CString::new(settings.named(topic)).ok();
            let end = name.and_then(|name| ffi::end_seen(&self.consumer, &name, i32::from(partition.0))).unwrap_or_default();
            // Ends of transactions take offsets, and are read without being anybody's to commit.
            let read = state.records.is_empty() && state.reached.get(&(topic.clone(), *partition)).is_some_and(|reached| reached.0 >= end);
            (topic.clone(), if read { 0 } else { end.saturating_sub(stands.0) })
        };
        state.stands.iter().map(behind).collect()
    }

    /// Gives the consumer up: with a release of the assignments, unless an heir has them already.
    pub fn leave(self, release: bool) -> Result<(), Fault> {
        let Self { inbox, consumer, thread } = self;
        inbox.releases.store(release, Ordering::Release);
        inbox.stop.store(true, Ordering::Release);
        // Where its thread has ended by a fault this is the last one, and closes it.
        let ended = closing::within("closing", closing::PATIENCE, move || {
            drop(consumer);
            thread.join()
        });
        match ended {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) => Err(Fault::Fatal(format!("the consumer in group {} panicked", inbox.group.name))),
            None => Err(Fault::Retry(format!("leaving group {} takes long: it goes on in the background", inbox.group.name))),
        }
    }
}

impl Inbox {
    /// Whether the assignment is true and covers these places.
    pub(super) fn holds(&self, assignment: &Assignment, places: impl Iterator<Item = Partition>) -> bool {
        let state = self.state.lock();
        !state.rewind
            && state.assignment == *assignment
            && !assignment.partitions.is_empty()
            && places.into_iter().all(|partition| assignment.partitions.contains(&partition))
    }

    /// Positions for a transaction that consumed nothing: one that is committed already, committed again as a proof.
    pub(super) fn standing(&self) -> Option<(Topic, Partition, Offset)> {
        self.state.lock().stands.iter().next().map(|((topic, partition), next)| (topic.clone(), *partition, *next))
    }

    /// These positions are committed.
    pub(super) fn stands(&self, positions: &[(Topic, Partition, Offset)]) {
        let mut state = self.state.lock();
        for (topic, partition, next) in positions {
            if let Some(stands) = state.stands.get_mut(&(topic.clone(), *partition)) {
                *stands = *next;
            }
        }
    }

    /// Throws away what was read; the next records are those after the committed positions. Until these have been read
    /// again nothing stands: a commit that ended badly may have moved them, and what was known of them must not be
    /// committed once more.
    pub(super) fn rewind(&self) {
        let mut state = self.state.lock();
        (state.bytes, state.rewind) = (0, true);
        state.records.clear();
        state.stands.clear();
    }

    pub(super) fn proof(&self, consumer: &BaseConsumer<Served>, assignment: &Assignment) -> Option<ConsumerGroupMetadata> {
        let metadata = consumer.group_metadata()?; // first: what is lost later is refused by the broker
        let (member, generation) = ffi::standing(consumer)?;
        let same = generation == assignment.epoch && member == self.state.lock().member;
        if same && !consumer.assignment_lost() { Some(metadata) } else { None }
    }

    fn run(&self, consumer: &BaseConsumer<Served>) {
        let (mut watched, mut signed_in) = (Instant::now(), 0);
        let topics: Vec<Topic> = self.group.inputs.iter().map(|input| input.topic.clone()).collect();
        while !self.stop.load(Ordering::Acquire) {
            self.cluster.settings.credentials.renew(&mut signed_in, consumer.client());
            if let Some(mut producers) = self.turn.try_lock() {
                producers.sign_in(); // whoever holds them does it too
            }
            let turned = match consumer.poll(SLICE) {
                Some(Ok(message)) => {
                    self.put(record(&self.cluster.settings, &message));
                    Ok(())
                }
                Some(Err(error)) => match polled(&self.cluster.settings, &format!("group {}", self.group.name), &self.group.name, &topics, error) {
                    Fault::Retry(why) => {
                        tracing::debug!(group = self.group.name, why, "reading goes on"); // the client finds its way back
                        Ok(())
                    }
                    fault => Err(fault),
                },
                None => Ok(()),
            };
            let turned = turned.and_then(|()| self.keep_up(consumer)).and_then(|()| self.commit_again(consumer)).and_then(|()| {
                if watched.elapsed() < WATCH {
                    return Ok(());
                }
                watched = Instant::now();
                self.watch()
            });
            if let Err(fault) = turned {
                self.fail(fault);
                break;
            }
        }
    }

    pub(super) fn fail(&self, fault: Fault) {
        let mut state = self.state.lock();
        state.assignment.partitions.clear();
        state.failed = Some(fault);
        self.told.notify_all();
    }

    fn put(&self, record: Record) {
        self.cluster.clock.seen(record.recorded_at);
        let mut state = self.state.lock();
        if !state.rewind && state.assignment.partitions.contains(&record.partition) {
            state.bytes += record.bytes();
            state.reached.insert((record.topic.clone(), record.partition), record.offset.next());
            state.records.push_back(record);
            self.told.notify_all();
        }
    }

    /// Pauses, resumes and rewinds as the inbox asks.
    fn keep_up(&self, consumer: &BaseConsumer<Served>) -> Result<(), Fault> {
        let failed = |error: KafkaError| fault(&format!("group {}", self.group.name), error);
        let (rewind, full, empty, paused) = {
            let state = self.state.lock();
            let over = |part: usize| state.records.len() * part > INBOX_RECORDS || state.bytes * part > INBOX_BYTES;
            (state.rewind, over(1), !over(2), state.paused)
        };
        if rewind {
            return self.read_again(consumer);
        }
        if (full && !paused) || (empty && paused) {
            let assigned = consumer.assignment().map_err(failed)?;
            if full { consumer.pause(&assigned) } else { consumer.resume(&assigned) }.map_err(failed)?;
            self.state.lock().paused = full;
        }
        Ok(())
    }

    fn read_again(&self, consumer: &BaseConsumer<Served>) -> Result<(), Fault> {
        let assignment = self.state.lock().assignment.clone();
        if !assignment.partitions.is_empty() {
            // What a producer left open may hold positions: it ends first.
            if let Err(fault) = self.turn.lock().mend() {
                return if matches!(fault, Fault::Retry(_)) { Ok(()) } else { Err(fault) };
            }
            let positions = match self.positions(consumer, &assignment.partitions, None) {
                Err(Fault::Retry(_)) => return Ok(()), // asked again in the next turn
                other => other?,
            };
            let failed = |error: KafkaError| fault(&format!("group {}", self.group.name), error);
            consumer.assign(&positions).map_err(failed)?;
            consumer.resume(&positions).map_err(failed)?;
        }
        let mut state = self.state.lock();
        (state.rewind, state.paused) = (false, false);
        self.told.notify_all();
        Ok(())
    }

    /// Looks for a member that does not poll, and for a consumer that does not read.
    fn watch(&self) -> Result<(), Fault> {
        let (waiting, polled, reached) = {
            let state = self.state.lock();
            let reads = !state.rewind && !state.paused && !state.assignment.partitions.is_empty();
            let reached = state.reached.iter().filter(|_| reads).map(|((topic, partition), next)| (topic.clone(), *partition, *next));
            (!state.records.is_empty(), state.polled.elapsed(), reached.collect::<Vec<_>>())
        };
        let group = &self.group.name;
        if waiting && polled > STALLED {
            return Err(Fault::Retry(format!("group {group}: records wait, and nobody has polled for {polled:?}: the partitions go to another member")));
        }
        // Where the ends are not known by now, nothing is known.
        let Ok(ends) = self.cluster.probe.ends(reached.iter().map(|(topic, partition, _)| (topic.clone(), *partition))) else { return Ok(()) };
        let still = self.state.lock().watch.look(&reached, &ends);
        for (topic, partition, next) in still {
            let Ok(page) = self.cluster.read(&topic, partition, next, crate::log::Limits::test_min()) else { continue };
            if !page.records.is_empty() {
                return Err(Fault::Retry(format!("group {group}: {topic}/{partition} has records from {next} on, and the client reads none")));
            }
            // Markers alone, or what is not committed yet.
            if let Some(reached) = self.state.lock().reached.get_mut(&(topic, partition)).filter(|reached| **reached == next) {
                *reached = page.next;
            }
        }
        Ok(())
    }
}
