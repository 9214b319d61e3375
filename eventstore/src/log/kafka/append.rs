//! Appends outside groups: records that each stand for themselves, and transactions, whose end is looked for in the log where
//! nobody says what it was.

use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer;

use super::access::refused;
use super::fault::fault;
use super::probe::ASK;
use super::producer::{Producers, Reporting, Reports, TransactionEnd, hand_over};
use super::{closing, cluster::Cluster};
use crate::log::{Fault, Limits, Message, Offset, Record};

impl Cluster {
    /// Writes records, all of them or none.
    pub(super) fn append(&self, messages: &[Message]) -> Result<Vec<Offset>, Fault> {
        self.check(messages)?;
        if messages.len() == 1 {
            return self.send(messages);
        }
        let mut appender = self.appender.lock();
        match appender.run(messages, None) {
            TransactionEnd::Committed(offsets) => Ok(offsets),
            TransactionEnd::Not(fault) => Err(fault),
            TransactionEnd::Lost(why) => Err(Fault::Abort(why)), // of groups alone
            TransactionEnd::Fenced(why, places) if places.is_empty() => Err(Fault::Abort(format!("these records were not written: {why}"))),
            TransactionEnd::Unknown(why, places) | TransactionEnd::Fenced(why, places) => self.settle(&mut appender, messages, &places, &why),
        }
    }

    /// Writes records that each stand for themselves; an error if any was not written.
    fn send(&self, messages: &[Message]) -> Result<Vec<Offset>, Fault> {
        self.each(messages)?.into_iter().collect()
    }

    pub(super) fn each(&self, messages: &[Message]) -> Result<Vec<Result<Offset, Fault>>, Fault> {
        let mut sender = self.sender.lock();
        let producer = match sender.take() {
            Some(producer) => producer,
            None => Reporting::from_config_and_context(&self.settings.sender()?, Reports::default()).map_err(|why| fault("sender", why))?,
        };
        let reports: &Reports = producer.context();
        let handed = hand_over(&self.settings, &producer, reports, messages);
        let told = reports.all(ASK + ASK);
        let failed = |(code, message): (RDKafkaErrorCode, &Message)| match code {
            RDKafkaErrorCode::TopicAuthorizationFailed => refused("Write", &format!("topic {}", self.settings.named(&message.topic))),
            code => fault("writing", code),
        };
        // A producer that failed is not used again: it may have left a gap in its sequence.
        if handed.is_ok() && told.iter().all(Result::is_ok) {
            *sender = Some(producer);
        } else {
            closing::later(producer);
        }
        handed.map_err(|trouble| fault("writing", trouble))?;
        Ok(told.into_iter().zip(messages).map(|(told, message)| told.map_err(|code| failed((code, message)))).collect())
    }

    /// Looks what became of a transaction whose end is not known: its producers are made anew, which ends what is open
    /// and waits for it, and then the log has its records or has passed over their places.
    fn settle(&self, appender: &mut Producers, messages: &[Message], places: &[Option<Offset>], why: &str) -> Result<Vec<Offset>, Fault> {
        let not_known = |what: &str| Fault::Abort(format!("whether these records were written is not known: {why}; {what}"));
        let deadline = Instant::now() + ASK;
        while let Err(fault) = appender.mend() {
            if !matches!(fault, Fault::Retry(_)) || Instant::now() > deadline {
                return Err(not_known(&fault.to_string()));
            }
        }
        for (message, offset) in messages.iter().zip(places).filter_map(|(message, place)| Some((message, (*place)?))) {
            loop {
                match self.read(&message.topic, message.partition, offset, Limits { records: 1, ..Limits::default() }) {
                    Ok(page) if page.records.first().is_some_and(|record| record.offset == offset && is(record, message)) => break,
                    Ok(page) if page.next > offset => return Err(Fault::Abort(format!("these records were not written: {why}"))),
                    Err(fault) if Instant::now() > deadline => return Err(not_known(&fault.to_string())),
                    Ok(_) if Instant::now() > deadline => return Err(not_known("the log does not show their places")),
                    Ok(_) | Err(_) => std::thread::sleep(Duration::from_millis(50)),
                }
            }
        }
        let offsets: Option<Vec<Offset>> = places.iter().copied().collect();
        offsets.filter(|offsets| offsets.len() == messages.len()).ok_or_else(|| not_known("the broker did not say where they are"))
    }
}

/// Whether a record is this message.
fn is(record: &Record, message: &Message) -> bool {
    (&record.key, &record.headers, &record.value) == (&message.key, &message.headers, &message.value)
}
