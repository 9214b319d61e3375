//! The limits: raw rdkafka with the settings of the log, opaque payloads, and nothing decided or folded.

use std::time::{Duration, Instant};

use eventstore::Message;
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// Counts reports, as every producer whose commit shall be quick must.
#[derive(Default)]
pub struct Counted(Mutex<u64>);
impl ClientContext for Counted {}
impl ProducerContext for Counted {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        assert!(result.is_ok(), "{:?}", result.as_ref().err().map(|(error, _)| error.clone()));
        *self.0.lock() += 1;
    }
}

pub type Raw = ThreadedProducer<Counted>;

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("linger.ms", "0").set("compression.type", "lz4").set("enable.idempotence", "true").set("acks", "all");
    config.set("queue.buffering.max.messages", "50000").set("queue.buffering.max.kbytes", "65536");
    config
}

/// An idempotent producer.
pub fn sender(brokers: &str) -> Raw {
    config(brokers).create_with_context(Counted::default()).unwrap()
}

/// Hands over one record with its headers.
pub fn fire(producer: &Raw, namespace: &str, message: &Message) {
    let headers = message.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
    let topic = format!("{namespace}{}", message.topic);
    let mut record =
        BaseRecord::to(&topic).partition(i32::from(message.partition.0)).key(&message.key).payload(message.value.as_ref().unwrap()).headers(headers);
    while let Err((error, back)) = producer.send(record) {
        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull));
        std::thread::sleep(Duration::from_micros(200));
        record = back;
    }
}

/// Waits until everything is acknowledged, without the 100 ms slices of rdkafka's flush.
pub fn settle(producer: &Raw) {
    while producer.in_flight_count() > 0 {
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// A reader of committed records from given places.
pub fn reader(brokers: &str, topic: &str, from: impl Fn(u16) -> i64) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "bench").set("enable.auto.commit", "false").set("fetch.queue.backoff.ms", "5");
    config.set("isolation.level", "read_committed").set("queued.max.messages.kbytes", "16384").set("fetch.message.max.bytes", "4194304");
    let reader: BaseConsumer = config.create().unwrap();
    let mut all = TopicPartitionList::new();
    (0..8_u16).for_each(|partition| all.add_partition_offset(topic, i32::from(partition), Offset::Offset(from(partition))).unwrap());
    reader.assign(&all).unwrap();
    reader
}

/// How the loop commits.
#[derive(Clone, Copy)]
pub struct Shape {
    pub producers: usize,
    pub offsets: bool,
    pub partitions: u16,
    pub backoff_ms: u32,
    /// rdkafka's own commit, which flushes in slices of 100 ms
    pub stock: bool,
    /// opaque payloads: an event's and a reply's
    pub bytes: [usize; 2],
}

impl Default for Shape {
    fn default() -> Self {
        Self { producers: 2, offsets: true, partitions: 8, backoff_ms: 100, stock: false, bytes: [150, 60] }
    }
}

/// Consumes commands and writes an event and a reply for each, in transactions.
pub struct Bare {
    shape: Shape,
    namespace: String,
    consumer: BaseConsumer,
    producers: Vec<Raw>,
    turn: usize,
}

impl Bare {
    pub fn new(brokers: &str, namespace: &str, shape: Shape) -> Self {
        let mut consuming = ClientConfig::new();
        consuming.set("bootstrap.servers", brokers).set("group.id", format!("{namespace}bare")).set("enable.auto.commit", "false");
        consuming.set("auto.offset.reset", "earliest").set("isolation.level", "read_committed").set("partition.assignment.strategy", "range");
        let consumer: BaseConsumer = consuming.create().unwrap();
        consumer.subscribe(&[&format!("{namespace}stock.commands")]).unwrap();
        let producer = |number: usize| {
            let mut config = config(brokers);
            config.set("transactional.id", format!("{namespace}bare.{number}")).set("retry.backoff.ms", shape.backoff_ms.to_string());
            let producer: Raw = config.create_with_context(Counted::default()).unwrap();
            producer.init_transactions(Duration::from_secs(30)).unwrap();
            producer
        };
        Self { shape, namespace: namespace.to_owned(), consumer, producers: (0..shape.producers).map(producer).collect(), turn: 0 }
    }

    /// One transaction over what is there, at most `most` commands; says how many.
    pub fn turn(&mut self, most: usize) -> u64 {
        let (count, positions) = self.take(most);
        if count > 0 {
            self.commit(count, &positions);
        }
        count
    }

    /// One transaction of exactly `count` commands; how long it took from its beginning.
    pub fn transaction(&mut self, count: usize) -> Duration {
        let (mut done, mut all) = (0, TopicPartitionList::new());
        while done < count as u64 {
            let (more, positions) = self.take(count - usize::try_from(done).unwrap());
            done += more;
            for element in positions.elements() {
                let known = all.find_partition(element.topic(), element.partition()).map(|mut known| known.set_offset(element.offset()).unwrap());
                if known.is_none() {
                    all.add_partition_offset(element.topic(), element.partition(), element.offset()).unwrap();
                }
            }
        }
        let began = Instant::now();
        self.commit(done, &all);
        began.elapsed()
    }

    fn take(&self, most: usize) -> (u64, TopicPartitionList) {
        let (mut count, mut positions, mut wait) = (0, std::collections::BTreeMap::new(), Duration::from_millis(200));
        while count < most as u64 {
            let Some(message) = self.consumer.poll(wait) else { break };
            let message = message.unwrap();
            positions.insert(message.partition(), message.offset() + 1);
            (count, wait) = (count + 1, Duration::ZERO);
        }
        let (topic, mut list) = (format!("{}stock.commands", self.namespace), TopicPartitionList::new());
        positions.into_iter().for_each(|(partition, next)| list.add_partition_offset(&topic, partition, Offset::Offset(next)).unwrap());
        (count, list)
    }

    fn commit(&mut self, count: u64, positions: &TopicPartitionList) {
        self.turn = (self.turn + 1) % self.producers.len();
        let producer = &self.producers[self.turn];
        producer.begin_transaction().unwrap();
        let [event, reply] = self.shape.bytes.map(|bytes| vec![b'x'; bytes]);
        for n in 0..count {
            let partition = i32::try_from(n % u64::from(self.shape.partitions)).unwrap();
            for (topic, partition, payload) in [("stock.events", partition, &event[..]), ("daybook.replies", 0, &reply[..])] {
                let topic = format!("{}{topic}", self.namespace);
                let mut record = BaseRecord::<[u8], [u8]>::to(&topic).partition(partition).key(b"key").payload(payload);
                while let Err((error, back)) = producer.send(record) {
                    assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
                    record = back;
                }
            }
        }
        if self.shape.offsets {
            producer.send_offsets_to_transaction(positions, &self.consumer.group_metadata().unwrap(), Duration::from_secs(10)).unwrap();
        }
        if !self.shape.stock {
            settle(producer); // then rdkafka's flush finds nothing to wait for
        }
        producer.commit_transaction(Timeout::Never).unwrap();
    }
}
