//! A service's own events, folded into its heads.

use schemas::envelope::Malformed;
use schemas::{Envelope, Partition, Topic};

use super::{CommandRecord, Heads, Unevolved};
use crate::caught::caught;
use crate::fingerprint::Fingerprints;
use crate::fold::{Fold, unreadable};
use crate::log::{Fault, Offset, Page, Record, Stuck, Wrong};
use crate::outcome::Outcome;
use crate::rows::Last;
use crate::service::{Handler, Service};

/// How far an own record's time is believed where it is ahead of the log's: a clock of ours may be wrong by as much, and
/// what others wrote into the events must not move time, and with it deadlines and what is remembered, by more.
const AHEAD_SECONDS_MAX: i64 = 24 * 60 * 60;

/// A service's own events become heads, marks, timers and the stream index.
impl Fold for Heads {
    fn next(&self, topic: &Topic, partition: Partition) -> Result<Offset, Fault> {
        self.rows().position(topic, partition)
    }

    fn fold(&mut self, _: &Topic, partition: Partition, page: Page) -> Result<(), Fault> {
        let offsets: Vec<Offset> = page.records.iter().map(|record| record.offset).collect();
        page.records.last().into_iter().for_each(|record| self.ends_with(partition, Last::of(record)));
        for (place, record) in page.records.iter().enumerate() {
            if let Err(fault) = self.fold_one(record, place) {
                self.abort();
                return Err(fault);
            }
        }
        self.save(&offsets, &[(partition, page.next)])?;
        self.invariants.iter().for_each(|invariants| invariants.saved(&offsets));
        Ok(())
    }

    fn last(&self, topic: &Topic, partition: Partition) -> Result<Option<Last>, Fault> {
        self.rows().last(topic, partition)
    }
}

impl Heads {
    fn fold_one(&mut self, record: &Record, place: usize) -> Result<(), Fault> {
        if let Some(why) = self.passes_over(record) {
            return self.pass_over(record, &why);
        }
        let stop = |why: Malformed| unreadable(record, &why);
        let panicked = |panic: String| Fault::Stop(Box::new(Stuck::at(record, format!("it panics where it is folded: {panic}")).being(Wrong::Panicked)));
        let (envelope, body) = (record.envelope().map_err(|why| unreadable(record, why))?, record.body());
        if let Some(why) = self.misplaced(record, envelope) {
            return Err(Fault::Stop(Box::new(Stuck::at(record, why))));
        }
        // Both times lie in the log, so every fold bounds it alike.
        let at = envelope.time.unwrap_or(record.recorded_at).min(record.recorded_at.plus_seconds(AHEAD_SECONDS_MAX));
        let outcome = match Outcome::of_marker(&envelope.kind, body).map_err(stop)? {
            Some(outcome) => outcome,
            None => {
                let version = envelope.version.ok_or(Malformed::Missing("ce_sequence")).map_err(stop)?;
                let service = self.service();
                let handler = handler(&service, envelope).map_err(stop)?;
                let event = caught(|| handler.decode_event(&envelope.kind, body)).map_err(panicked)?.map_err(stop)?;
                if self.closed(record.partition, handler.name(), &envelope.subject)?.is_none() {
                    self.evolve(record.partition, handler, &envelope.subject, (version, at, place), &event).map_err(|why| match why {
                        Unevolved::Panicked(panic) => panicked(panic),
                        Unevolved::Gap(why) => Fault::Stop(Box::new(Stuck::at(record, why).being(Wrong::Version))),
                        Unevolved::Fault(fault) => fault,
                    })?;
                }
                Outcome::Accepted { version }
            }
        };
        self.passed(record.partition, at);
        if let (Some(prints), Some(command_id)) = (Fingerprints::behind(envelope), &envelope.causation) {
            let unscoped = prints.meaning.is_none().then(|| (envelope.kind.aggregate.to_string(), envelope.subject.clone()));
            self.remember(record.partition, command_id, CommandRecord { prints, outcome, at, unscoped })?;
        }
        Ok(())
    }
}

fn handler<'s>(service: &'s Service, envelope: &Envelope) -> Result<&'s dyn Handler, Malformed> {
    service.handler(&envelope.kind.aggregate).ok_or_else(|| Malformed::UnknownKind(envelope.kind.to_string()))
}
