//! How a process stands: what readiness goes by, and what operators should know beside it.

use std::collections::BTreeMap;

use eventstore::clock::{Clock, SystemClock};
use eventstore::log::Stuck;
use kernel::Timestamp;
use parking_lot::Mutex;
use schemas::Partition;

/// See the module.
#[derive(Default)]
pub struct Standing(Mutex<State>);

#[derive(Default)]
struct State {
    /// the partitions a service owns here, possibly none; nothing while its group has not decided
    owned: BTreeMap<&'static str, Option<Vec<Partition>>>,
    failed: BTreeMap<String, String>,
    /// partitions of readers that stand still, and since when
    stops: BTreeMap<(String, Partition), (Stuck, Timestamp)>,
    /// what operators should know, although the process is ready
    notes: BTreeMap<String, String>,
    /// what is wrong with topics
    topics: Vec<String>,
    /// parts whose turns fail by now
    troubled: BTreeMap<String, String>,
    /// services that need what no other does
    apart: Vec<&'static str>,
}

impl State {
    /// What is wrong with each service that knows nothing of its partitions yet, and each part whose turns fail; those of services
    /// that stand apart, or all others.
    fn waits(&self, apart: bool) -> impl Iterator<Item = (String, Option<String>)> {
        let owned = self.owned.iter().filter(move |(service, _)| self.apart.contains(service) == apart);
        let owned =
            owned.map(|(service, owned)| (format!("{service} knows its partitions and its heads are current"), owned.is_none().then(|| "not yet".to_owned())));
        let of = |part: &str| part.strip_suffix(" worker").is_some_and(|service| self.apart.contains(&service));
        let troubled = self.troubled.iter().filter(move |(part, _)| of(part) == apart);
        owned.chain(troubled.map(|(part, why)| (format!("{part}'s turns"), Some(why.clone()))))
    }
}

impl Standing {
    /// Of these services, none of which knows its partitions yet.
    pub fn of(services: Vec<&'static str>) -> Self {
        Self(Mutex::new(State { owned: services.into_iter().map(|service| (service, None)).collect(), ..State::default() }))
    }

    /// A service has its events in a store of its own: while that is away it stands still, and the process serves all others.
    pub fn apart(&self, service: &'static str) {
        self.0.lock().apart.push(service);
    }

    /// A part cannot go on.
    pub fn fail(&self, part: &str, why: &str) {
        self.0.lock().failed.insert(part.to_owned(), why.to_owned());
    }

    /// Each check of readiness with what is wrong, if anything.
    pub fn checks(&self) -> Vec<(String, Option<String>)> {
        let state = self.0.lock();
        let failed = state.failed.iter().map(|(part, why)| (part.clone(), Some(why.clone())));
        let topics = ("topics are as they were made".to_owned(), Some(state.topics.join("; ")).filter(|wrong| !wrong.is_empty()));
        state.waits(false).chain(failed).chain(std::iter::once(topics)).collect()
    }

    /// What does not take the process out, and must not pass unseen: stopped partitions above all.
    pub fn notes(&self) -> Vec<(String, String)> {
        let state = self.0.lock();
        let stops = state.stops.iter().map(|((reader, _), (stuck, _))| (reader.clone(), stuck.to_string()));
        let apart = state.waits(true).filter_map(|(part, wrong)| Some((part, wrong?)));
        stops.chain(apart).chain(state.notes.iter().map(|(part, why)| (part.clone(), why.clone()))).collect()
    }

    /// Something of a part that operators should know; none once it is over.
    pub fn note(&self, part: &str, what: Option<&str>) {
        let notes = &mut self.0.lock().notes;
        match what {
            Some(what) => drop(notes.insert(part.to_owned(), what.to_owned())),
            None => drop(notes.remove(part)),
        }
    }

    /// What is wrong with topics by now.
    pub fn reviewed(&self, wrong: Vec<String>) {
        let state = &mut self.0.lock();
        if state.topics != wrong {
            wrong.iter().for_each(|wrong| tracing::error!("{wrong}"));
            state.topics = wrong;
        }
    }

    /// The readers' partitions that stand still, and since when.
    pub fn stops(&self) -> Vec<(String, Stuck, Timestamp)> {
        self.0.lock().stops.iter().map(|((reader, _), (stuck, since))| (reader.clone(), stuck.clone(), *since)).collect()
    }

    /// The partitions whose commands a service decides here, and whose heads are current here.
    pub fn owned(&self, service: &str) -> Vec<Partition> {
        self.0.lock().owned.get(service).cloned().flatten().unwrap_or_default()
    }

    /// Whether every check passes.
    pub fn ready(&self) -> bool {
        self.checks().iter().all(|(_, wrong)| wrong.is_none())
    }

    pub(super) fn owns(&self, service: &'static str, partitions: Option<&[Partition]>) {
        self.0.lock().owned.insert(service, partitions.map(<[Partition]>::to_vec));
    }

    pub(super) fn stopped(&self, reader: &str, stuck: &Stuck) {
        self.0.lock().stops.insert((reader.to_owned(), stuck.partition), (stuck.clone(), SystemClock::default().wall()));
    }

    pub(super) fn goes_on(&self, reader: &str, partition: Partition) {
        self.0.lock().stops.remove(&(reader.to_owned(), partition));
    }

    pub(super) fn troubled(&self, part: &str, why: Option<&str>) {
        let troubled = &mut self.0.lock().troubled;
        match why {
            Some(why) => drop(troubled.insert(part.to_owned(), why.to_owned())),
            None => drop(troubled.remove(part)),
        }
    }
}
