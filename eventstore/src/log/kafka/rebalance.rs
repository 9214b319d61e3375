//! Rebalances: what a consumer does when its group gives it partitions, and when it takes them away. Runs on the consumer's
//! thread, at once; decides nothing about records.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use schemas::Partition;

use super::assignments::{AssignmentRecord, Table};
use super::config::assignments;
use super::fault::fault;
use super::ffi;
use super::group_consumer::{Inbox, News, Served};
use super::logged::{log, stranger};
use super::producer::{Consumed, TransactionEnd, fence};
use super::reader::add;
use crate::log::{Assignment, Fault};

impl Inbox {
    /// Before anything is read: ends what the last owners left open, and says who owns now.
    fn take_over(&self, consumer: &BaseConsumer<Served>, all: &TopicPartitionList) -> Result<TopicPartitionList, Fault> {
        let owned = self.owned(all);
        let Some((member, generation)) = ffi::standing(consumer) else { return Err(Fault::Retry(format!("group {} lost this member", self.group.name))) };
        let ids = {
            let mut producers = self.turn.lock();
            producers.mend()?;
            producers.ids().to_vec()
        };
        let (mut table, mut heirless) = (Table::default(), BTreeSet::new());
        for partition in &owned {
            self.cluster.refresh(&mut table, *partition, self.cluster.end(&assignments(), *partition)?)?;
            let last = table.last(&self.group.name, *partition).filter(|last| !last.released);
            heirless.extend(last.iter().flat_map(|last| &last.ids).filter(|id| !ids.contains(id)).cloned());
        }
        if !heirless.is_empty() {
            tracing::info!(group = self.group.name, ?heirless, "ending what the last owner left open");
            fence(&self.cluster.settings, &heirless)?;
        }
        let positions = self.positions(consumer, &owned, Some(&table))?;
        let assignment = Assignment { epoch: generation, partitions: owned };
        self.state.lock().member = member;
        self.write_claims(consumer, &assignment, &positions, &table)?;
        let mut state = self.state.lock();
        (state.assignment, state.claimed) = (assignment, table);
        (state.news, state.rewind, state.paused, state.bytes) = (Some(News::Assigned), false, false, 0);
        state.committed = Instant::now();
        state.records.clear();
        Ok(positions)
    }

    /// Claims and positions in one transaction: whoever finds an assignment later must find positions too.
    fn write_claims(&self, consumer: &BaseConsumer<Served>, assignment: &Assignment, positions: &TopicPartitionList, last: &Table) -> Result<(), Fault> {
        if assignment.partitions.is_empty() {
            return Ok(());
        }
        let mut producers = self.turn.lock();
        let assignments = self.assignments(&assignment.partitions, producers.ids(), false, last);
        match producers.run(&assignments, Some(Consumed { positions: positions.clone(), proof: &|| self.proof(consumer, assignment) })) {
            TransactionEnd::Committed(_) => Ok(()),
            TransactionEnd::Not(fault) => Err(fault),
            TransactionEnd::Lost(why) | TransactionEnd::Unknown(why, _) | TransactionEnd::Fenced(why, _) => {
                Err(Fault::Retry(format!("assignments of group {}: {why}", self.group.name)))
            }
        }
    }

    /// The topics in an assignment are all that the group ever had positions in there, another version's among them.
    fn assignments(&self, owned: &[Partition], ids: &[String], released: bool, last: &Table) -> Vec<crate::log::Message> {
        let own = || self.group.inputs.iter().map(|input| input.topic.to_string());
        let earlier = |partition: &Partition| last.last(&self.group.name, *partition).into_iter().flat_map(|last| last.topics.iter().cloned());
        let assignment = |partition: &Partition| AssignmentRecord {
            group: self.group.name.clone(),
            partition: partition.0,
            topics: own().chain(earlier(partition)).collect::<BTreeSet<_>>().into_iter().collect(),
            ids: ids.to_vec(),
            url: self.cluster.settings.advertised.clone(),
            released,
        };
        owned.iter().map(|partition| assignment(partition).message()).collect()
    }

    /// The partitions of the command topic that were assigned.
    fn owned(&self, all: &TopicPartitionList) -> Vec<Partition> {
        let commands = self.cluster.settings.named(&self.group.commands);
        let numbers = all.elements_for_topic(&commands).into_iter().filter_map(|element| u16::try_from(element.partition()).ok());
        numbers.map(Partition).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// What is owned goes to others: after the running transaction, with a last one that says so.
    fn give_back(&self, consumer: &BaseConsumer<Served>) {
        let mut producers = self.turn.lock();
        let lost = consumer.assignment_lost();
        let (assignment, last) = {
            let mut state = self.state.lock();
            let assignment = state.assignment.clone();
            state.assignment.partitions.clear();
            (state.news, state.bytes, state.rewind) = (Some(News::Revoked), 0, false);
            state.records.clear();
            (assignment, std::mem::take(&mut state.claimed))
        };
        let standing = self.standing();
        self.told.notify_all();
        let Some((topic, partition, next)) = standing.filter(|_| !lost && !assignment.partitions.is_empty() && self.releases.load(Ordering::Acquire)) else {
            return;
        };
        let mut positions = TopicPartitionList::new();
        if add(&mut positions, &self.cluster.settings, &topic, partition, next).is_err() {
            return;
        }
        let releases = self.assignments(&assignment.partitions, producers.ids(), true, &last);
        let ended = producers.run(&releases, Some(Consumed { positions, proof: &|| self.proof(consumer, &assignment) }));
        if !matches!(ended, TransactionEnd::Committed(_)) {
            tracing::warn!(group = self.group.name, ?ended, "partitions were not released: their heir fences this process");
        }
    }
}

impl ClientContext for Served {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }
    fn error(&self, error: KafkaError, text: &str) {
        stranger(&error, text); // every other comes by poll too
    }
}

impl ConsumerContext for Served {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, all: &mut TopicPartitionList) {
        let inbox = &self.0;
        let done = if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            match inbox.take_over(consumer, all) {
                Ok(positions) => consumer.assign(&positions),
                Err(fault) => {
                    inbox.fail(fault);
                    consumer.unassign()
                }
            }
        } else {
            inbox.give_back(consumer);
            consumer.unassign()
        };
        if let Err(error) = done {
            inbox.fail(fault(&format!("group {}", inbox.group.name), error));
        }
        inbox.told.notify_all();
    }
}
