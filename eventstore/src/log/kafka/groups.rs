//! Where a group stands at the broker: its positions in all that it reads, and whether members live that share their
//! partitions in another way. Asks and commits; decides nothing about records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::groups::GroupInfo;
use rdkafka::topic_partition_list::Offset as At;
use schemas::{Partition, Topic};

use super::assignments::Table;
use super::cluster::Cluster;
use super::config::SESSION_MS;
use super::fault::fault;
use super::group_consumer::{Inbox, Served};
use super::producer::{Consumed, TransactionEnd};
use super::reader::add;
use crate::log::{Begin, Fault, Group, Offset};

/// How long the broker may take for positions.
const ASK: Duration = Duration::from_secs(10);
/// How long it may take to say who is in a group.
const DESCRIBE: Duration = Duration::from_secs(2);
/// Members that ended without a word are members for this long.
const GONE: Duration = Duration::from_millis(SESSION_MS as u64 + 2_000);
/// Pause before standing positions are committed again that could not be.
const AGAIN: Duration = Duration::from_secs(60);

impl Inbox {
    /// Where each input of the owned partitions goes on: at its committed position, or where it begins if the group has never
    /// been there, as `assignments` tell (without them it has). Waits for open transactions of the group.
    pub(super) fn positions(&self, consumer: &BaseConsumer<Served>, owned: &[Partition], assignments: Option<&Table>) -> Result<TopicPartitionList, Fault> {
        let failed = |error: KafkaError| fault(&format!("positions of group {}", self.group.name), error);
        let (mut all, mut begins) = (TopicPartitionList::new(), BTreeMap::new());
        for input in &self.group.inputs {
            let name = self.cluster.settings.named(&input.topic);
            for partition in owned {
                all.add_partition(&name, i32::from(partition.0));
            }
            begins.insert(name, input);
        }
        // It waits for transactions that hold positions; the dead owners' have ended by now.
        let committed = consumer.committed_offsets(all, ASK).map_err(|why| match failed(why) {
            Fault::Retry(why) => Fault::Retry(format!("{why}. If this lasts, a transaction hangs at the broker: infra/kafka/README.md says how to end it")),
            other => other,
        })?;
        let (mut positions, mut stands) = (TopicPartitionList::new(), BTreeMap::new());
        for element in committed.elements() {
            element.error().map_err(failed)?;
            let Some(input) = begins.get(element.topic()) else { continue };
            let partition = Partition(u16::try_from(element.partition()).unwrap_or(u16::MAX));
            let last = |assignments: &Table| {
                assignments.last(&self.group.name, partition).is_some_and(|last| last.topics.iter().any(|known| known == input.topic.as_str()))
            };
            let next = match (element.offset(), input.begin) {
                (At::Offset(next), _) => Offset(u64::try_from(next).unwrap_or_default()),
                _ if assignments.is_none_or(last) => return Err(self.forgotten(&input.topic, partition)),
                (_, Begin::First) => self.cluster.start(&input.topic, partition)?,
                (_, Begin::Next) => self.cluster.end(&input.topic, partition)?,
            };
            add(&mut positions, &self.cluster.settings, &input.topic, partition, next).map_err(failed)?;
            stands.insert((input.topic.clone(), partition), next);
        }
        let mut state = self.state.lock();
        (state.reached, state.stands) = (stands.clone(), stands);
        Ok(positions)
    }

    fn forgotten(&self, topic: &Topic, partition: Partition) -> Fault {
        let settings = &self.cluster.settings;
        Fault::Fatal(format!(
            "group {} had a position in {topic}/{partition}, and the broker has forgotten it (offsets.retention.minutes): from the start, everything \
             would be done again. Set it where it belongs: kafka-consumer-groups --reset-offsets --group {} --topic {} --to-offset <next>",
            self.group.name,
            settings.named_group(&self.group.name),
            settings.named(topic)
        ))
    }

    /// Commits all positions that stand once more, when it is time. They are what is committed already, so that nothing
    /// moves, however this ends.
    pub(super) fn commit_again(&self, consumer: &BaseConsumer<Served>) -> Result<(), Fault> {
        let every = self.cluster.settings.commits_again;
        if self.state.lock().committed.elapsed() < every {
            return Ok(());
        }
        let mut producers = self.turn.lock(); // while it is held no position moves
        let (assignment, stands) = {
            let mut state = self.state.lock();
            state.committed = Instant::now();
            (state.assignment.clone(), state.stands.clone())
        };
        if assignment.partitions.is_empty() || !self.holds(&assignment, std::iter::empty()) {
            return Ok(()); // the next owner commits them all at its beginning
        }
        let mut positions = TopicPartitionList::new();
        for ((topic, partition), next) in stands {
            add(&mut positions, &self.cluster.settings, &topic, partition, next).map_err(|why| fault("positions", why))?;
        }
        match producers.run(&[], Some(Consumed { positions, proof: &|| self.proof(consumer, &assignment) })) {
            TransactionEnd::Committed(_) => drop(self.cluster.committed_again.fetch_add(1, Ordering::Relaxed)),
            TransactionEnd::Lost(_) => {}
            TransactionEnd::Fenced(why, _) => return Err(Fault::Retry(format!("group {}: fenced, joining again: {why}", self.group.name))),
            ended @ (TransactionEnd::Not(_) | TransactionEnd::Unknown(..)) => {
                tracing::warn!(group = self.group.name, ?ended, "standing positions are committed again later");
                self.state.lock().committed = Instant::now().checked_sub(every.saturating_sub(AGAIN)).unwrap_or_else(Instant::now);
            }
        }
        Ok(())
    }
}

/// Refuses to join a group beside members that are subscribed to more than its command topic: those of the version before
/// shared the partitions of all inputs, and neither kind would be given what it needs.
pub fn alike(cluster: &Cluster, group: &Group) -> Result<(), Fault> {
    let (name, commands, deadline) = (cluster.settings.named_group(&group.name), cluster.settings.named(&group.commands), Instant::now() + GONE);
    loop {
        let groups = match cluster.probe.groups(&name, DESCRIBE) {
            Ok(groups) => groups,
            Err(fault) => {
                // Whoever is there will find out for himself; the check only says it better.
                tracing::debug!(group = group.name, %fault, "who is in the group is not known");
                return Ok(());
            }
        };
        let (mut others, mut settled) = (BTreeSet::new(), true);
        for found in groups.groups().iter().filter(|found| found.name() == name) {
            settled = matches!(found.state(), "Stable" | "Empty" | "Dead");
            others.extend(different(found, &commands));
        }
        if others.is_empty() && (settled || Instant::now() > deadline) {
            return Ok(());
        }
        if !others.is_empty() && Instant::now() > deadline {
            return Err(Fault::Fatal(format!(
                "group {name} has members of the version before, which share its partitions in another way: {}. The two cannot run side by side: stop all \
                 instances of the version before, then start this one (positions stay where they are)",
                others.into_iter().collect::<Vec<_>>().join("; ")
            )));
        }
        std::thread::sleep(Duration::from_millis(250)); // they may be gone, or the group on its way
    }
}

/// The members that are subscribed to something else than `commands`.
fn different(group: &GroupInfo, commands: &str) -> Vec<String> {
    let said = |member: &rdkafka::groups::GroupMemberInfo| {
        let topics = subscription(member.metadata()?)?;
        let other = topics.len() != 1 || topics[0] != commands;
        other.then(|| format!("{} at {} reads {}", member.id(), member.client_host(), topics.join(", ")))
    };
    group.members().iter().filter_map(said).collect()
}

/// The topics in a member's metadata of the consumer protocol: a version, then names.
fn subscription(metadata: &[u8]) -> Option<Vec<String>> {
    let (_version, rest) = metadata.split_first_chunk::<2>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut topics = vec![];
    for _ in 0..i32::from_be_bytes(*count) {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let (name, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        topics.push(String::from_utf8_lossy(name).into_owned());
        rest = tail;
    }
    Some(topics)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_read_whole_or_not_at_all() {
        let metadata = [&[0, 1, 0, 0, 0, 2, 0, 1][..], b"a", &[0, 3], b"b.c", &[0, 0, 0, 0]].concat();
        assert_eq!(subscription(&metadata).unwrap(), ["a", "b.c"]);
        for cut in 0..metadata.len() - 4 {
            assert_eq!(subscription(&metadata[..cut]), None, "of {cut} bytes");
        }
        assert_eq!(subscription(&[0, 0, 0, 0, 0, 0]).unwrap(), Vec::<String>::new());
    }
}
