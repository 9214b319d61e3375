//! The router: turns foreign events into commands of its service, across routing keys. Decides nothing and keeps
//! no state: what it writes and where it stands commit together, so each event is routed exactly once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemas::Partition;

use crate::control::Control;
use crate::log::{Commit, Fault, Group, Limits, Log, Member, Message, Polled, Record, Rules, Stuck};
use crate::observer::{Note, Observer, oldest, router};
use crate::reactions::{Writer, anchors, reactions_to};
use crate::service::Service;
use crate::stop::Stop;
use crate::worker::Progress;

/// One service's router.
pub struct Router {
    service: Arc<Service>,
    member: Box<dyn Member>,
    observer: Arc<dyn Observer>,
    limits: Limits,
    anchors: Vec<String>,
    secret: [u8; 32],
    rules: Rules,
    stopped: BTreeMap<Partition, Stuck>,
    control: Option<Arc<Control>>,
    /// the orders that were heard of
    orders: u64,
}

impl Router {
    /// Joins the router's group; none if the service follows nothing across keys.
    pub fn join(service: Arc<Service>, log: &dyn Log, member: &str, limits: Limits, observer: Arc<dyn Observer>) -> Result<Option<Self>, Fault> {
        let inputs = service.reads(&service.routed);
        if inputs.is_empty() {
            return Ok(None);
        }
        // The command topic says who owns what; what is in it is the worker's to read.
        let group = log.join(Group { name: format!("{}.router", service.name), commands: service.commands(), inputs, member: member.to_owned() })?;
        let (anchors, secret, rules) = (anchors(log.partitions()), log.secret(), log.rules());
        Ok(Some(Self { service, member: group, observer, limits, anchors, secret, rules, stopped: BTreeMap::new(), control: None, orders: 0 }))
    }

    /// Obeys what operators settle: passes over what they say, and tries again what stopped.
    #[must_use]
    pub fn under(mut self, control: &Arc<Control>) -> Self {
        self.orders = control.orders();
        self.control = Some(Arc::clone(control));
        self
    }

    /// After a new order, what stopped is tried again.
    fn obey(&mut self) -> Result<(), Fault> {
        let Some(orders) = self.control.as_ref().map(|control| control.orders()).filter(|orders| *orders != self.orders) else { return Ok(()) };
        self.member.rewind()?;
        self.go_on();
        self.orders = orders;
        Ok(())
    }

    fn go_on(&mut self) {
        for partition in std::mem::take(&mut self.stopped).into_keys() {
            self.observer.goes_on(&router(self.service.name), partition);
        }
    }

    /// Why an operator has a record passed over, if so.
    fn passes_over(&self, record: &Record) -> Option<String> {
        self.control.as_ref()?.skips().of(&router(self.service.name), record)
    }

    /// One turn: at most `wait` for an event, then until its commands are committed.
    pub fn turn(&mut self, wait: Duration) -> Result<Progress, Fault> {
        self.obey()?;
        let batch = match self.member.poll(self.limits, wait)? {
            Polled::Assigned(assignment) => {
                self.go_on();
                self.observer.owns(self.service.name, true, Some(&assignment.partitions));
                return Ok(Progress::Worked);
            }
            Polled::Revoked { .. } => {
                self.observer.owns(self.service.name, true, None);
                return Ok(Progress::Worked);
            }
            Polled::Batch(batch) => batch,
        };
        let service = self.service.name;
        self.observer.began(service, true, &oldest(&batch));
        if self.observer.asks(service, true) {
            self.observer.behind(service, true, &self.member.behind());
        }
        let (mut outputs, mut notes) = (vec![], vec![]);
        for record in &batch.records {
            if self.stopped.contains_key(&record.partition) || self.passes_over(record).is_some() {
                continue;
            }
            match self.route(record, &mut notes) {
                Ok(commands) => outputs.extend(commands),
                Err(why) => {
                    let stuck = Stuck::at(record, why);
                    tracing::error!(router = self.service.name, partition = record.partition.0, why = %stuck, "partition stopped");
                    self.observer.stopped(&router(self.service.name), &stuck);
                    self.stopped.insert(record.partition, stuck);
                    // What was routed of this partition in this batch must not be written without its position.
                    outputs.retain(|(from, _)| *from != record.partition);
                }
            }
        }
        let positions = batch.positions.into_iter().filter(|(_, partition, _)| !self.stopped.contains_key(partition)).collect::<Vec<_>>();
        if positions.is_empty() {
            return Ok(Progress::Idle);
        }
        self.observer.decided(service, true, outputs.len());
        let ended = self.member.commit(outputs.into_iter().map(|(_, message)| message).collect(), &positions, &batch.assignment);
        self.observer.ended(service, true, &ended);
        match ended? {
            Commit::Committed(_) => {
                self.observer.noted(service, true, &notes);
                Ok(Progress::Worked)
            }
            lost @ (Commit::Lost | Commit::Unknown) => {
                self.observer.thrown_away(self.service.name, &format!("the router's commit ended {lost:?}"));
                Ok(Progress::ThrownAway)
            }
        }
    }

    /// Leaves the group, so that others take over at once.
    pub fn leave(self) -> Result<(), Fault> {
        self.member.leave()
    }

    /// What an event's policies ask for, as messages of the partition it came from.
    fn route(&self, record: &Record, notes: &mut Vec<Note>) -> Result<Vec<(Partition, Message)>, String> {
        let envelope = record.envelope().ok();
        if let Some(why) = self.control.as_ref().zip(envelope).and_then(|(control, envelope)| control.skips().misplaced(record, envelope)) {
            return Err(why);
        }
        let reactions = reactions_to(&self.service.routed, record, notes).map_err(|stop| match stop {
            Stop::Partition(stuck) => stuck.why,
            Stop::Worker(fault) => fault.to_string(),
        })?;
        let writer = Writer::new(&self.service, &self.anchors, self.secret, self.rules);
        let mut outputs = vec![];
        for reacted in reactions {
            outputs.extend(writer.write(record, reacted, notes)?.into_iter().map(|message| (record.partition, message)));
        }
        Ok(outputs)
    }
}
