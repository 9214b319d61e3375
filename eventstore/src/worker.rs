//! The worker: one service's loop from poll to fold. Reads like the data-flow diagram; never sleeps, never sends
//! anything that was not committed. A thread turns it in production, a simulation turns it step by step.
//!
//! ```text
//! poll ─ decode ─ decide on an overlay over heads ─ commit (events, replies, dead letters, offsets) ─ fold heads
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kernel::Timestamp;
use schemas::Partition;

use crate::control::Control;
use crate::fold::{belongs, replay};
use crate::heads::Heads;
use crate::log::{Assignment, Batch, Commit, Fault, Group, Limits, Log, Member, Offset, Polled, Stuck};
use crate::observer::{Observer, oldest, worker};
use crate::rows::Rows;
use crate::sealing::Sealer;
use crate::service::{Service, inputs};
use crate::stop::Stop;
use crate::turn::{Decision, End, Turn, Written};

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
    /// partitions that the member gives nothing of, as they were told
    withheld: Vec<Stuck>,
    control: Option<Arc<Control>>,
    sealer: Option<Sealer>,
    /// the orders that were heard of
    orders: u64,
    /// what was folded was held against the log
    proven: BTreeSet<Partition>,
    /// where the own events of each partition go on, if nobody else writes there
    ends: BTreeMap<Partition, End>,
}

impl Worker {
    /// Joins the service's group.
    pub fn join(service: Arc<Service>, log: Arc<dyn Log>, rows: Arc<Rows>, member: &str, limits: Limits, observer: Arc<dyn Observer>) -> Result<Self, Fault> {
        let commands = service.commands();
        let mut inputs = service.reads(&service.direct);
        inputs.push(commands.clone().into());
        let group = log.join(Group { name: service.name.to_owned(), commands, inputs, member: member.to_owned() })?;
        let group = match service.store.clone() {
            Some(store) => store.keeping(&service, &log, group)?,
            None => group,
        };
        let heads = Heads::new(Arc::clone(&service), rows);
        Ok(Self {
            service,
            log,
            member: group,
            heads,
            observer,
            limits,
            cold: true,
            stopped: BTreeMap::new(),
            withheld: vec![],
            control: None,
            sealer: None,
            orders: 0,
            proven: BTreeSet::new(),
            ends: BTreeMap::new(),
        })
    }

    /// Obeys what operators settle: passes over what they say, and tries again what stopped.
    #[must_use]
    pub fn under(mut self, control: &Arc<Control>) -> Self {
        self.orders = control.orders();
        self.heads = self.heads.honouring(Arc::clone(control.skips()));
        self.control = Some(Arc::clone(control));
        self
    }

    /// Keeps about so many bytes of states in memory.
    #[must_use]
    pub fn keeping(mut self, bytes: usize) -> Self {
        self.heads = self.heads.keeping(bytes);
        self
    }

    /// Seals personal data in what it writes, and opens what was sealed for its commands.
    #[must_use]
    pub fn sealing(self, sealer: Option<Sealer>) -> Self {
        Self { sealer, ..self }
    }

    /// One turn: at most `wait` for a record, then all the way to the fold.
    pub fn turn(&mut self, wait: Duration) -> Result<Progress, Fault> {
        self.obey()?;
        let polled = self.member.poll(self.limits, wait);
        self.withhold();
        let batch = match polled? {
            Polled::Assigned(assignment) => return self.take_over(&assignment),
            Polled::Revoked { .. } => return self.give_back(),
            Polled::Batch(batch) if batch.assignment.partitions.is_empty() => return Ok(Progress::Idle), // still cold, if it was
            Polled::Batch(batch) => batch,
        };
        if self.cold
            && let Err(fault) = self.fold_to_head(&batch.assignment)
        {
            self.member.rewind()?; // or the next commit would pass over this batch
            return Err(fault);
        }
        let (service, now) = (self.service.name, self.log.now());
        self.observer.began(service, false, &oldest(&batch));
        if self.observer.asks(service, false) {
            self.observer.behind(service, false, &self.member.behind());
        }
        let Decision { outputs, written, notes } = self.decide(&batch, now)?;
        let positions = batch.positions.into_iter().filter(|(_, partition, _)| !self.stopped.contains_key(partition)).collect::<Vec<_>>();
        if outputs.is_empty() && positions.is_empty() {
            return Ok(Progress::Idle);
        }
        self.observer.decided(service, false, outputs.len());
        let ended = self.member.commit(outputs, &positions, &batch.assignment);
        self.observer.ended(service, false, &ended);
        match ended {
            Ok(Commit::Committed(offsets)) if self.others_wrote(&written, &offsets) => {
                // What they wrote is folded before these, or stops the partition there, as in a fold from zero.
                self.heads.forget();
                self.cold = true;
                self.observer.noted(service, false, &notes);
                Ok(Progress::Worked)
            }
            Ok(Commit::Committed(offsets)) => {
                written.lasts(&offsets).into_iter().for_each(|(partition, last)| self.heads.ends_with(partition, last));
                if let Err(fault) = self.heads.save(&offsets, &written.next(&offsets)) {
                    self.throw_away(&fault.to_string()); // what is committed is folded from the log
                    // A record that cannot be saved stops its partition there, and no other.
                    return if matches!(fault, Fault::Stop(_)) { Ok(Progress::ThrownAway) } else { Err(fault) };
                }
                self.observer.noted(service, false, &notes);
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

    /// Whether, among or before what was just committed, the own events hold records that were not written here. Who alone
    /// may write there is for the broker to say, and where it lets others they are met now, not at the next start.
    fn others_wrote(&mut self, written: &Written, offsets: &[Offset]) -> bool {
        let (events, one) = (self.service.events(), Limits { records: 1, ..REPLAY });
        let strange = written.between(offsets, &self.ends).into_iter().any(|(partition, from, to)| {
            // Aborted records and markers are nobody's.
            let page = self.log.read(&events, partition, from, one);
            page.map_or(true, |page| page.records.first().map_or(page.next < to, |record| record.offset < to))
        });
        let markers = self.log.markers();
        self.ends.extend(written.next(offsets).into_iter().map(|(partition, next)| (partition, End { next, markers })));
        strange
    }

    /// Leaves the group, so that others take over at once.
    pub fn leave(self) -> Result<(), Fault> {
        self.member.leave()
    }

    fn take_over(&mut self, assignment: &Assignment) -> Result<Progress, Fault> {
        self.heads.forget();
        self.heads.timers().keep(&assignment.partitions);
        self.go_on();
        self.cold = true; // should the fold fail now, the next turn begins with it
        self.fold_to_head(assignment)?;
        tracing::debug!(service = self.service.name, epoch = assignment.epoch, partitions = assignment.partitions.len(), "owns partitions");
        Ok(Progress::Worked)
    }

    fn give_back(&mut self) -> Result<Progress, Fault> {
        self.heads.forget();
        self.cold = true;
        self.observer.owns(self.service.name, false, None);
        Ok(Progress::Worked)
    }

    /// Tells of partitions that the member gives nothing of, when that changes.
    fn withhold(&mut self) {
        let withheld = self.member.stopped();
        if withheld == self.withheld {
            return;
        }
        let reader = worker(self.service.name);
        for gone in self.withheld.iter().filter(|stuck| !withheld.contains(stuck)) {
            self.observer.goes_on(&reader, gone.partition);
        }
        for stuck in withheld.iter().filter(|stuck| !self.withheld.contains(stuck)) {
            tracing::error!(service = self.service.name, partition = stuck.partition.0, why = %stuck, "partition stopped");
            self.observer.stopped(&reader, stuck);
        }
        self.withheld = withheld;
    }

    /// After a new order: what stopped is tried again, with its batch; what is passed over now and was folded goes.
    fn obey(&mut self) -> Result<(), Fault> {
        let Some(orders) = self.control.as_ref().map(|control| control.orders()).filter(|orders| *orders != self.orders) else { return Ok(()) };
        self.member.rewind()?;
        self.heads.forget();
        self.cold = true;
        self.go_on();
        self.orders = orders;
        Ok(())
    }

    fn go_on(&mut self) {
        for partition in std::mem::take(&mut self.stopped).into_keys() {
            self.observer.goes_on(&worker(self.service.name), partition);
        }
    }

    /// Folds all that was committed, by whomever, before anything is decided.
    fn fold_to_head(&mut self, assignment: &Assignment) -> Result<(), Fault> {
        let events = self.service.events();
        self.heads.drop_unskipped()?;
        self.not_past_the_end(assignment)?;
        for partition in &assignment.partitions {
            if self.stopped.contains_key(partition) {
                continue;
            }
            if !self.proven.contains(partition) {
                belongs(self.log.as_ref(), &events, *partition, &self.heads)?;
                self.proven.insert(*partition);
            }
            match replay(self.log.as_ref(), &events, *partition, &mut self.heads, REPLAY) {
                Ok(end) => {
                    let next = end.max(self.heads.rows().position(&events, *partition)?);
                    self.ends.insert(*partition, End { next, markers: 0 });
                }
                Err(Fault::Stop(stuck)) => self.stop(*stuck),
                Err(fault) => return Err(fault),
            }
        }
        self.cold = false;
        self.observer.owns(self.service.name, false, Some(&assignment.partitions)); // whenever the fold succeeds, at first or later
        Ok(())
    }

    /// That the group has not committed past the end of what it reads: such a log is older than its own positions.
    fn not_past_the_end(&self, assignment: &Assignment) -> Result<(), Fault> {
        if assignment.partitions.iter().all(|partition| self.proven.contains(partition)) {
            return Ok(());
        }
        let mut read = inputs(&self.service.direct);
        read.push(self.service.commands());
        for (topic, partition, next) in self.log.committed(self.service.name)? {
            if read.contains(&topic) && assignment.partitions.contains(&partition) && next > self.log.end(&topic, partition)? {
                return Err(Fault::Fatal(format!(
                    "group {} has committed {topic}/{partition} up to offset {next}, past its end: records are missing there (the topic was made anew, or \
                     restored from an older copy); bring them back, or set the group's position by hand once you know what is lost",
                    self.service.name
                )));
            }
        }
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
        for partition in batch.assignment.partitions.iter().filter(|partition| !self.stopped.contains_key(partition)) {
            let now = self.heads.now(*partition, now)?;
            due.extend(self.heads.due(*partition, now, DUE_MAX)?);
        }
        let mut turn = Turn::new(&self.service, &mut self.heads, self.log.as_ref(), now).sealing(self.sealer.as_ref());
        for record in batch.records.iter().filter(|record| !self.stopped.contains_key(&record.partition)) {
            if record.topic == commands { turn.take_command(record)? } else { turn.take_event(record)? }
        }
        let mut woken = Vec::with_capacity(due.len());
        for timer in due {
            woken.push((turn.wake(&timer)?, timer));
        }
        let decision = turn.done();
        woken.into_iter().for_each(|(woken, timer)| self.heads.timers().woke(woken, timer));
        Ok(decision)
    }
}
