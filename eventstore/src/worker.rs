//! The worker: one service's loop from poll to fold. Reads like the data-flow diagram; never sleeps, never sends
//! anything that was not committed. A thread turns it in production, a simulation turns it step by step.
//!
//! ```text
//! poll ─ decode ─ decide on an overlay over heads ─ commit (events, replies, dead letters, offsets) ─ fold heads
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use schemas::Partition;

use crate::fold::replay;
use crate::heads::Heads;
use crate::log::{Batch, Claim, Commit, Fault, Group, Limits, Log, Member, Polled, Stuck};
use crate::observer::{Observer, worker};
use crate::rows::Rows;
use crate::service::{Service, inputs};
use crate::turn::{Decision, Stop, Turn};

/// Deadlines that one turn looks at in one partition.
const DUE_MAX: usize = 200;
/// Pages of a fold to the head of the log.
const REPLAY: Limits = Limits { records: 2_000, bytes: crate::log::BATCH_BYTES_MAX };

/// What a turn did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing was there.
    Idle,
    /// Something was done; there may be more.
    Worked,
    /// The batch was thrown away and will be polled again.
    ThrownAway,
}

/// One service's worker. There is one for a service in a process: it alone writes the service's heads there.
pub struct Worker {
    service: Arc<Service>,
    log: Arc<dyn Log>,
    member: Box<dyn Member>,
    heads: Heads,
    observer: Arc<dyn Observer>,
    limits: Limits,
    /// the last batch's fate is not known here: fold before deciding
    cold: bool,
    stopped: BTreeMap<Partition, Stuck>,
}

impl Worker {
    /// Joins the service's group.
    pub fn join(service: Arc<Service>, log: Arc<dyn Log>, rows: Arc<Rows>, member: &str, limits: Limits, observer: Arc<dyn Observer>) -> Result<Self, Fault> {
        let mut topics = inputs(&service.direct);
        topics.push(service.commands());
        let group = log.join(Group { name: service.name.to_owned(), topics, member: member.to_owned() })?;
        let heads = Heads::new(Arc::clone(&service), rows);
        Ok(Self { service, log, member: group, heads, observer, limits, cold: true, stopped: BTreeMap::new() })
    }

    /// One turn: at most `wait` for a record, then all the way to the fold.
    pub fn turn(&mut self, wait: Duration) -> Result<Progress, Fault> {
        let batch = match self.member.poll(self.limits, wait)? {
            Polled::Assigned(claim) => return self.take_over(&claim),
            Polled::Revoked { .. } => return self.give_back(),
            Polled::Batch(batch) => batch,
        };
        if self.cold
            && let Err(fault) = self.fold_to_head(&batch.claim)
        {
            self.member.rewind()?; // or the next commit would pass over this batch
            return Err(fault);
        }
        let now = self.log.now();
        let turn = self.decide(&batch, now)?;
        let positions = batch.positions.into_iter().filter(|(_, partition, _)| !self.stopped.contains_key(partition)).collect::<Vec<_>>();
        if turn.outputs.is_empty() && positions.is_empty() {
            return Ok(Progress::Idle);
        }
        let (written, notes) = (turn.written(&self.service), turn.notes);
        match self.member.commit(turn.outputs, &positions, &batch.claim) {
            Ok(Commit::Committed(offsets)) => {
                if let Err(fault) = self.heads.save(&offsets, &written.next(&offsets)) {
                    self.throw_away(&fault.to_string()); // what is committed is folded from the log
                    // A record that cannot be saved stops its partition there, and no other.
                    return if matches!(fault, Fault::Stop(_)) { Ok(Progress::ThrownAway) } else { Err(fault) };
                }
                self.observer.noted(self.service.name, &notes);
                Ok(Progress::Worked)
            }
            Ok(Commit::Lost) => Ok(self.throw_away("ownership was lost")),
            Ok(Commit::Unknown) => Ok(self.throw_away("the commit's outcome is unknown")),
            Err(fault) => {
                self.throw_away(&fault.to_string());
                Err(fault)
            }
        }
    }

    /// Leaves the group, so that others take over at once.
    pub fn leave(self) -> Result<(), Fault> {
        self.member.leave()
    }

    fn take_over(&mut self, claim: &Claim) -> Result<Progress, Fault> {
        self.heads.forget();
        self.heads.timers().keep(&claim.partitions);
        self.stopped.clear();
        self.cold = true; // should the fold fail now, the next turn begins with it
        self.fold_to_head(claim)?;
        tracing::debug!(service = self.service.name, epoch = claim.epoch, partitions = claim.partitions.len(), "owns partitions");
        Ok(Progress::Worked)
    }

    fn give_back(&mut self) -> Result<Progress, Fault> {
        self.heads.forget();
        self.cold = true;
        self.observer.owns(self.service.name, false, None);
        Ok(Progress::Worked)
    }

    /// Folds all that was committed, by whomever, before anything is decided.
    fn fold_to_head(&mut self, claim: &Claim) -> Result<(), Fault> {
        let events = self.service.events();
        for partition in &claim.partitions {
            match replay(self.log.as_ref(), &events, *partition, &mut self.heads, REPLAY) {
                Ok(_) => {}
                Err(Fault::Stop(stuck)) => self.stop(*stuck),
                Err(fault) => return Err(fault),
            }
        }
        self.cold = false;
        self.observer.owns(self.service.name, false, Some(&claim.partitions)); // whenever the fold succeeds, at first or later
        Ok(())
    }

    fn throw_away(&mut self, why: &str) -> Progress {
        tracing::warn!(service = self.service.name, why, "batch thrown away");
        self.heads.forget();
        self.cold = true;
        self.observer.thrown_away(self.service.name, why);
        Progress::ThrownAway
    }

    /// Nothing of the partition is decided or committed any more, until the next owner tries.
    fn stop(&mut self, stuck: Stuck) {
        tracing::error!(service = self.service.name, partition = stuck.partition.0, why = %stuck, "partition stopped");
        self.heads.abort();
        self.observer.stopped(&worker(self.service.name), &stuck);
        self.stopped.insert(stuck.partition, stuck);
    }

    /// Decides the batch; where one partition cannot go on, decides it again without that one.
    fn decide(&mut self, batch: &Batch, now: Timestamp) -> Result<Decision, Fault> {
        loop {
            match self.try_decide(batch, now) {
                Ok(decision) => return Ok(decision),
                Err(Stop::Worker(fault)) => {
                    self.throw_away(&fault.to_string());
                    self.member.rewind()?;
                    return Err(fault);
                }
                Err(Stop::Partition(stuck)) => self.stop(*stuck),
            }
        }
    }

    fn try_decide(&mut self, batch: &Batch, now: Timestamp) -> Result<Decision, Stop> {
        let commands = self.service.commands();
        let mut due = vec![];
        for partition in batch.claim.partitions.iter().filter(|partition| !self.stopped.contains_key(partition)) {
            let now = self.heads.now(*partition, now)?;
            due.extend(self.heads.due(*partition, now, DUE_MAX)?);
        }
        let mut turn = Turn::new(&self.service, &mut self.heads, self.log.as_ref(), now);
        for record in batch.records.iter().filter(|record| !self.stopped.contains_key(&record.partition)) {
            if record.topic == commands { turn.take_command(record)? } else { turn.take_event(record)? }
        }
        let mut woken = Vec::with_capacity(due.len());
        for timer in due {
            woken.push((turn.wake(&timer)?, timer));
        }
        let decision = turn.done();
        woken.into_iter().for_each(|(woken, timer)| self.heads.timers().told(woken, timer));
        Ok(decision)
    }
}
