//! A member of a group on the embedded log: reads what it owns, commits while its assignment holds.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use parking_lot::MutexGuard;
use schemas::Topic;

use super::request::{Request, ask};
use super::shared::Shared;
use super::state::{State, TopicPartition};
use crate::log::group::summed;
use crate::log::{Assignment, Batch, Commit, Fault, Group, Limits, Member, Message, Offset, Polled, Positions};

/// See [`Member`].
pub struct EmbeddedMember {
    shared: Arc<Shared>,
    requests: Sender<Request>,
    group: Group,
    serial: u64,
    assignment: Assignment,
    /// what it reads next of all it owns, in the order it is served
    at: Vec<(Topic, TopicPartition, Offset)>,
    left: bool,
}

impl EmbeddedMember {
    pub(super) fn new(shared: Arc<Shared>, requests: Sender<Request>, group: Group, serial: u64) -> Self {
        Self { shared, requests, group, serial, assignment: Assignment { epoch: 0, partitions: vec![] }, at: vec![], left: false }
    }

    fn epoch(&self, state: &State) -> u64 {
        state.groups.get(&self.group.name).map_or(0, |owners| owners.epoch)
    }

    /// Stands at the committed positions of what it owns now.
    fn stand(&mut self) -> Result<(), Fault> {
        let state = self.shared.state.lock();
        let Some(owners) = state.groups.get(&self.group.name) else { return Ok(()) };
        self.assignment = Assignment { epoch: owners.epoch, partitions: owners.owned(self.serial, self.shared.partitions) };
        self.at.clear();
        for topic in self.group.inputs.iter().map(|input| &input.topic) {
            let number = state.known(topic)?.number;
            for partition in &self.assignment.partitions {
                let place = (number, *partition);
                let next = owners.committed.get(&place).copied().unwrap_or_else(|| state.extent(place).start);
                self.at.push((topic.clone(), place, next));
            }
        }
        Ok(())
    }
}

impl Member for EmbeddedMember {
    fn behind(&self) -> Vec<(Topic, u64)> {
        let state = self.shared.state.lock();
        let committed = state.groups.get(&self.group.name).map(|owners| &owners.committed);
        let behind = |(topic, place, next): &(Topic, TopicPartition, Offset)| {
            let next = committed.and_then(|committed| committed.get(place)).copied().unwrap_or(*next);
            (topic.clone(), state.extent(*place).end.0.saturating_sub(next.0))
        };
        summed(self.at.iter().map(behind))
    }

    fn poll(&mut self, limits: Limits, wait: Duration) -> Result<Polled, Fault> {
        let seen = self.assignment.epoch;
        let beyond: Vec<_> = self.at.iter().map(|(_, place, next)| (*place, *next)).collect();
        let (shared, name) = (Arc::clone(&self.shared), self.group.name.clone());
        shared.wait(beyond, wait, |state| state.groups.get(&name).is_some_and(|owners| owners.epoch != seen))?;
        let changed = self.epoch(&self.shared.state.lock()) != seen;
        if changed {
            self.stand()?;
            return Ok(Polled::Assigned(self.assignment.clone()));
        }
        let (mut records, mut positions, mut bytes) = (vec![], Positions::new(), 0);
        let mut state = self.shared.state.lock();
        for (topic, place, next) in &mut self.at {
            let end = state.extent(*place).end;
            if *next >= end || records.len() >= limits.records || bytes >= limits.bytes {
                continue;
            }
            let left = Limits { records: limits.records - records.len(), bytes: limits.bytes - bytes };
            let page = match state.page(*place, *next, left) {
                Some(page) => page,
                None => MutexGuard::unlocked(&mut state, || self.shared.older(topic, *place, *next, end, left))?,
            };
            bytes += page.records.iter().map(|record| record.bytes()).sum::<usize>();
            records.extend(page.records);
            *next = page.next;
            positions.push((topic.clone(), place.1, page.next));
        }
        drop(state);
        if !self.at.is_empty() {
            self.at.rotate_left(1); // so that a busy partition cannot starve the others
        }
        Ok(Polled::Batch(Batch { assignment: self.assignment.clone(), records, positions }))
    }

    fn commit(&mut self, outputs: Vec<Message>, positions: &Positions, assignment: &Assignment) -> Result<Commit, Fault> {
        let ended = self.shared.kept(outputs).and_then(|outputs| {
            let (group, positions, assignment) = (self.group.name.clone(), positions.clone(), assignment.clone());
            ask(&self.requests, |answer| Request::Commit { group, serial: self.serial, outputs, positions, assignment, answer })?
        });
        if !matches!(ended, Ok(Commit::Committed(_))) {
            Member::rewind(self)?;
        }
        ended
    }

    fn rewind(&mut self) -> Result<(), Fault> {
        let epoch = self.assignment.epoch;
        self.stand()?;
        self.assignment.epoch = epoch; // the next poll still tells of new owners
        Ok(())
    }

    fn leave(mut self: Box<Self>) -> Result<(), Fault> {
        self.left = true;
        ask(&self.requests, |answer| Request::Leave { group: self.group.name.clone(), serial: self.serial, answer: Some(answer) })
    }
}

impl Drop for EmbeddedMember {
    fn drop(&mut self) {
        if !self.left {
            let _closed = self.requests.send(Request::Leave { group: self.group.name.clone(), serial: self.serial, answer: None });
        }
    }
}
