//! Questions to the cluster about itself: topics, ends, groups. A client that goes on giving wrong answers is dropped and made
//! anew.
//!
//! It must be: librdkafka keeps what it has heard of a topic, and where that says that a partition has no leader (heard while a
//! broker was gone) it takes this for settled. It then answers *unknown partition* at once, without asking anybody, until the
//! entry expires, a quarter of an hour later (`rd_kafka_topic_partition_list_get_leaders`). Asking for the topic's metadata
//! replaces the entry; where that does not help, a new client does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::groups::GroupList;
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::Offset as At;
use schemas::{Partition, Topic};

use super::config::Settings;
use super::fault::{fault, is_stranger};
use super::{closing, logged::Logged};
use crate::log::{Fault, Offset, Positions};

/// How long the broker may take to answer a question.
pub const ASK: Duration = Duration::from_secs(10);
/// How long one attempt of it may take: behind a leader that has just gone there is another.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How long the first attempt of all may take, before it is looked whether the broker said something else.
const FIRST: Duration = Duration::from_secs(1);
/// How long it is listened for that.
const LISTEN: Duration = Duration::from_millis(50);
/// How long a look at many ends may take: it is done in passing, by threads that have other things to do.
const MOMENT: Duration = Duration::from_millis(500);
/// A client that has not given a single good answer for this long is made anew.
const RENEW: Duration = Duration::from_secs(3);

/// See the module.
pub struct Probe {
    settings: Arc<Settings>,
    client: Mutex<Arc<BaseConsumer<Logged>>>,
    /// since when it has answered wrongly
    wrong: Mutex<Option<Instant>>,
    renewed: AtomicU64,
    /// the credentials that its client was given
    signed_in: Mutex<u64>,
}

fn client(settings: &Settings) -> Result<Arc<BaseConsumer<Logged>>, Fault> {
    let made = BaseConsumer::from_config_and_context(&settings.probe(), Logged::default());
    made.map(Arc::new).map_err(|why| Fault::Fatal(format!("Kafka settings: {why}")))
}

impl Probe {
    /// Connects when it is first asked.
    pub fn new(settings: Arc<Settings>) -> Result<Self, Fault> {
        Ok(Self { client: Mutex::new(client(&settings)?), settings, wrong: Mutex::default(), renewed: AtomicU64::new(0), signed_in: Mutex::default() })
    }

    /// How often its client was made anew.
    pub fn renewed(&self) -> u64 {
        self.renewed.load(Ordering::Relaxed)
    }

    fn ask<T>(&self, what: &str, question: impl FnOnce(&BaseConsumer<Logged>) -> KafkaResult<T>) -> Result<T, Fault> {
        let asked = Arc::clone(&self.client.lock());
        self.settings.credentials.renew(&mut self.signed_in.lock(), asked.client());
        let answer = question(&asked).map_err(|why| fault(what, why));
        let mut wrong = self.wrong.lock();
        let renews = match &answer {
            Ok(_) | Err(Fault::Fatal(_)) => {
                *wrong = None;
                false
            }
            Err(_) => wrong.get_or_insert_with(Instant::now).elapsed() > RENEW,
        };
        if renews && let Ok(new) = client(&self.settings) {
            let mut client = self.client.lock();
            if Arc::ptr_eq(&client, &asked) {
                tracing::info!(what, "a client whose answers stay wrong is made anew");
                *client = new;
                self.renewed.fetch_add(1, Ordering::Relaxed);
            }
            *wrong = None;
        }
        drop(wrong);
        if !Arc::ptr_eq(&self.client.lock(), &asked) {
            closing::later(asked);
        }
        answer
    }

    /// All topics, asked for by whoever does not know yet whether the broker knows this user: who is refused hears it at once, and in the
    /// broker's words. Calls only say that nobody answers.
    pub fn first(&self) -> Result<Metadata, Fault> {
        let (asked, deadline) = (Arc::clone(&self.client.lock()), Instant::now() + ASK);
        loop {
            let why = match asked.fetch_metadata(None, FIRST) {
                Ok(metadata) => return Ok(metadata),
                Err(why) => why,
            };
            // Errors are told when somebody listens, behind what is only logged, and there is no end of them.
            let listens = Instant::now();
            while listens.elapsed() < LISTEN {
                drop(asked.poll(LISTEN));
            }
            match asked.context().told() {
                Some((code, text)) if is_stranger(code) => {
                    return Err(Fault::Fatal(format!("Kafka at {} refuses the sign-in: {text}", self.settings.brokers)));
                }
                Some((Code::SSL, text)) if text.contains("certificate") => {
                    return Err(Fault::Fatal(format!("Kafka at {}: {text}", self.settings.brokers)));
                }
                told if Instant::now() > deadline => {
                    return Err(match (fault("the cluster's topics", why), told) {
                        (Fault::Retry(why), Some((_, text))) => Fault::Retry(format!("{why}; {text}")),
                        (fault, _) => fault,
                    });
                }
                _ => {}
            }
        }
    }

    /// All topics, with their partitions and leaders.
    pub fn metadata(&self) -> Result<Metadata, Fault> {
        self.ask("the cluster's topics", |client| client.fetch_metadata(None, ASK))
    }

    /// Who is in a group.
    pub fn groups(&self, name: &str, wait: Duration) -> Result<GroupList, Fault> {
        self.ask(&format!("members of group {name}"), |client| client.fetch_group_list(Some(name), wait))
    }

    /// The first kept offset of a partition, and its high watermark.
    pub fn marks(&self, topic: &Topic, partition: Partition) -> Result<(Offset, Offset), Fault> {
        let (name, what, deadline) = (self.settings.named(topic), format!("the ends of {topic}/{partition}"), Instant::now() + ASK);
        let (low, high) = loop {
            match self.ask(&what, |client| client.fetch_watermarks(&name, i32::from(partition.0), ATTEMPT)) {
                // A new topic, or a broker that has just gone, has a leader within moments; the client must hear of it.
                Err(Fault::Retry(_)) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(50));
                    let _heard = self.ask(&what, |client| client.fetch_metadata(Some(&name), ATTEMPT));
                }
                other => break other?,
            }
        };
        Ok((Offset(u64::try_from(low).unwrap_or_default()), Offset(u64::try_from(high).unwrap_or_default())))
    }

    /// The high watermarks of many partitions at once, as far as they can be had in a moment.
    pub fn ends(&self, places: impl Iterator<Item = (Topic, Partition)>) -> Result<Positions, Fault> {
        self.many(places, At::End, MOMENT)
    }

    /// The first kept offsets of many partitions at once, as far as they can be had.
    pub fn starts(&self, places: impl Iterator<Item = (Topic, Partition)>) -> Result<Positions, Fault> {
        self.many(places, At::Beginning, ASK)
    }

    fn many(&self, places: impl Iterator<Item = (Topic, Partition)>, which: At, wait: Duration) -> Result<Positions, Fault> {
        let mut all = TopicPartitionList::new();
        for (topic, partition) in places {
            all.add_partition_offset(&self.settings.named(&topic), i32::from(partition.0), which).map_err(|why| fault("ends", why))?;
        }
        if all.count() == 0 {
            return Ok(vec![]);
        }
        let found = self.ask("the ends of many partitions", |client| client.offsets_for_times(all, wait))?;
        let place = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
            At::Offset(next) if element.error().is_ok() => {
                Some((self.settings.topic(element.topic())?, Partition(u16::try_from(element.partition()).ok()?), Offset(u64::try_from(next).ok()?)))
            }
            _ => None,
        };
        Ok(found.elements().into_iter().filter_map(place).collect())
    }
}

/// Which of these readers lie behind the end and have not moved since the last look. A marker or two lie past the last record.
#[derive(Default)]
pub struct Watch {
    behind: Vec<(Topic, Partition, Offset)>,
}

impl Watch {
    /// Looks once more: where each reader stands, and where its partition ends.
    pub fn look(&mut self, stand: &[(Topic, Partition, Offset)], ends: &[(Topic, Partition, Offset)]) -> Vec<(Topic, Partition, Offset)> {
        let end = |topic: &Topic, partition: Partition| ends.iter().find(|(of, at, _)| of == topic && *at == partition).map(|(_, _, end)| *end);
        let behind = |(topic, partition, next): &&(Topic, Partition, Offset)| end(topic, *partition).is_some_and(|end| end.0 > next.0 + 2);
        let behind: Vec<_> = stand.iter().filter(behind).cloned().collect();
        let still = behind.iter().filter(|place| self.behind.contains(place)).cloned().collect();
        self.behind = behind;
        still
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn whoever_stands_still_behind_the_end_is_seen_at_the_second_look() {
        let at = |next| vec![(Topic::named("in"), Partition(1), Offset(next))];
        let mut watch = Watch::default();
        for (stands, end, seen) in [(5, 7, false), (5, 8, false), (5, 9, true), (6, 9, false), (6, 9, true), (9, 9, false), (9, 9, false)] {
            assert_eq!(!watch.look(&at(stands), &at(end)).is_empty(), seen, "at {stands} of {end}");
        }
        assert!(watch.look(&at(0), &[]).is_empty(), "without an end nothing is known");
    }
}
