//! Rows as they were: a view's own fold over an aggregate's own events, up to a version or a time. The owner of their partition
//! answers: nobody else's index of streams is current. Keeps nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use axum::response::Response;
use eventstore::inspect::Aggregate;
use eventstore::rows::Rows;
use eventstore::service::Service;
use eventstore::{Log, Offset, Positions};
use kernel::Timestamp;
use projections::{Overlay, Projection};
use schemars::JsonSchema;
use schemas::Partition;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::app::{App, blocking};
use super::elsewhere::{Elsewhere, FORWARDED};
use super::failure::Failure;
use super::read::{answered, nothing, row, view_of};
use super::{scope, token};

/// Most events that one answer folds: a state of long ago is cheap, one in the middle of a very long stream is not.
const FOLDED_MAX: u64 = 10_000;
/// Events that are in memory at once.
const PART: usize = 200;
/// How long the heads may be behind a view of the same events: both follow the log, each at its own pace.
const HEADS_WAIT: Duration = Duration::from_secs(2);
/// Pause before they are looked at again.
const AGAIN: Duration = Duration::from_millis(2);

/// When: now, if nothing is said.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct AsOf {
    /// as it was after this event of its history; now if neither is given
    version: Option<u64>,
    /// as it was at this time, by the times that its history shows
    #[schemars(extend("format" = "date-time"))]
    at: Option<String>,
}

/// A version, or a time.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// after this event
    Version(u64),
    /// after the last event of before
    Time(Timestamp),
}

impl AsOf {
    /// The moment that is asked for; none if that is now.
    pub fn moment(&self) -> Result<Option<Moment>, Failure> {
        match (self.version, &self.at) {
            (None, None) => Ok(None),
            (Some(version), None) => Ok(Some(Moment::Version(version))),
            (None, Some(at)) => at.parse().map(|at| Some(Moment::Time(at))).map_err(|_| {
                Failure::bad("/query/at", format!("'{at}' is no time as RFC 3339 has it, like 2026-07-01T09:30:00Z; a + in a URL is written %2B"))
            }),
            (Some(_), Some(_)) => Err(Failure::bad("/query/at", "'version' and 'at' each say when: give one of them")),
        }
    }
}

impl Moment {
    /// Which version of an aggregate this is, of so many.
    pub fn version(self, one: &Aggregate<'_>, rows: &Rows, log: &dyn Log, newest: u64) -> Result<u64, Failure> {
        let name = format!("{} {}", one.handler.name(), one.id);
        match self {
            Self::Version(version) if version == 0 || version > newest => {
                Err(Failure::not_found(format!("{name} has no version {version}: its versions are 1 to {newest}")).at("/query/version"))
            }
            Self::Version(version) => Ok(version),
            Self::Time(time) => match one.by(rows, log, newest, time)? {
                Some(version) => Ok(version),
                None => Err(Failure::not_found(format!("nothing had happened to {name} by {time}: its first event was at {}", one.happened(rows, log, 1)?))
                    .at("/query/at")),
            },
        }
    }

    /// That an answer may fold as much as that.
    pub fn folds(self, version: u64) -> Result<(), Failure> {
        let field = if matches!(self, Self::Version(_)) { "/query/version" } else { "/query/at" };
        let too_many = || Failure::bad(field, format!("an answer folds at most {FOLDED_MAX} events: ask for an earlier version, or for the state now"));
        (version <= FOLDED_MAX).then_some(()).ok_or_else(too_many)
    }
}

/// The heads of a service's partition, if they are current here; if not, who has them.
pub fn heads_of(app: &App, service: &'static str, partition: Partition, headers: &HeaderMap) -> Result<Arc<Rows>, Failure> {
    let owned = || app.metrics.standing.owned(service).contains(&partition);
    if let Some(rows) = app.operator.heads.get(service).filter(|_| owned()) {
        return Ok(Arc::clone(rows));
    }
    app.is_somewhere(service)?;
    Err(if headers.contains_key(FORWARDED) {
        Failure::unavailable(format!("partition {partition} of {service} changes its owner"))
    } else {
        Failure::elsewhere(Elsewhere::of(service).owning(partition))
    })
}

/// What an aggregate's partition was at a moment of that aggregate.
pub struct Past {
    app: App,
    view: Arc<Projection>,
    /// where the view stands
    standing: Positions,
    /// past the newest event that is shown: the view may not have come to it yet
    shown: AtomicU64,
    service: Arc<Service>,
    rows: Arc<Rows>,
    /// where all of it lies
    pub partition: Partition,
    moment: Moment,
}

impl Past {
    /// Of what lies beside `subject`, one of `A`'s, for who may read that now; as a view of its service shows it.
    pub async fn of<A: kernel::Aggregate>(app: &App, name: &'static str, subject: &str, moment: Moment, headers: &HeaderMap) -> Result<Self, Failure> {
        scope::owned(Some((app.log.rules().routing_key)(subject)))?;
        let (service, partition) = (Arc::clone(app.operator.owner_of(A::NAME)?), app.log.partition_of(subject));
        let rows = heads_of(app, service.name, partition, headers)?;
        let view = Arc::clone(view_of(app, name, Some(partition), headers).await?);
        let standing = view.positions();
        Ok(Self { app: Arc::clone(app), view, standing, shown: AtomicU64::default(), service, rows, partition, moment })
    }

    /// Where a reader must stand to see no less than what was shown.
    pub fn positions(&self) -> String {
        let (mut all, topic) = (self.standing.clone(), &self.view.view().topic);
        let own = all.iter_mut().find(|(of, partition, _)| of == topic && *partition == self.partition);
        own.into_iter().for_each(|(.., next)| next.0 = next.0.max(self.shown.load(Ordering::Relaxed)));
        token::write(&all)
    }

    /// The row as it is now. What is there no more is shown as it was to operators alone: whoever took it away hid it.
    pub fn now<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Failure> {
        let now = self.view.get(key)?;
        if now.is_none() && scope::operators_only("/query").is_err() { Err(nothing(self.view.name())) } else { Ok(now) }
    }

    /// The row that an aggregate's own events made, and the moment for what lies beside it. May block.
    pub fn row<A: kernel::Aggregate, T: DeserializeOwned>(&self, id: &str, key: &str, now: Option<T>, revision: fn(&T) -> u64) -> Result<(T, Until), Failure> {
        let (one, log) = (self.one::<A>(id)?, self.app.log.as_ref());
        let newest = self.newest(&one, now.as_ref().map_or(0, revision))?;
        let version = self.moment.version(&one, &self.rows, log, newest)?;
        let stream = one.stream(&self.rows, version, 1)?;
        let until = match self.moment {
            Moment::Version(_) => Until::Offset(stream.first().map(|(_, offset)| *offset).unwrap_or_default()),
            Moment::Time(time) => Until::Time(time),
        };
        let found = match now.filter(|now| version > FOLDED_MAX && revision(now) == version) {
            Some(now) => Some(now),
            None => {
                self.moment.folds(version)?;
                self.folded(&one, key, version)?
            }
        };
        let was_nothing = || Failure::not_found(format!("{} had nothing under this id at version {version} of it", self.view.name()));
        Ok((found.ok_or_else(was_nothing)?, until))
    }

    /// The row that another aggregate's events of the same partition had made by then. May block.
    pub fn beside<A: kernel::Aggregate, T: DeserializeOwned>(&self, id: &str, key: &str, until: Until) -> Result<Option<T>, Failure> {
        let (one, log) = (self.one::<A>(id)?, self.app.log.as_ref());
        let Some((newest, _)) = one.head(&self.rows)? else { return Ok(None) };
        let version = match until {
            Until::Time(time) => one.by(&self.rows, log, newest, time)?,
            Until::Offset(last) => {
                let most = usize::try_from(newest.min(FOLDED_MAX + 1)).unwrap_or(usize::MAX);
                one.stream(&self.rows, 1, most)?.iter().take_while(|(_, offset)| *offset <= last).map(|(version, _)| *version).last()
            }
        };
        let Some(version) = version else { return Ok(None) };
        self.moment.folds(version)?;
        self.folded(&one, key, version)
    }

    fn one<'a, A: kernel::Aggregate>(&'a self, id: &'a str) -> Result<Aggregate<'a>, Failure> {
        let handler = self.service.handler(A::NAME).ok_or_else(|| Failure::internal("the aggregate's service has gone"))?;
        Ok(Aggregate { service: &self.service, handler, partition: self.partition, id })
    }

    /// Its newest version, which is no older than what the view shows.
    fn newest(&self, one: &Aggregate<'_>, shown: u64) -> Result<u64, Failure> {
        let began = Instant::now();
        loop {
            let newest = one.head(&self.rows)?.map_or(0, |(version, _)| version);
            if newest >= shown && newest > 0 {
                return Ok(newest);
            }
            if shown == 0 {
                return Err(nothing(self.view.name()));
            }
            if began.elapsed() > HEADS_WAIT {
                return Err(Failure::unavailable(format!("the heads of {} are behind its views: ask again", self.service.name)));
            }
            std::thread::sleep(AGAIN);
        }
    }

    fn folded<T: DeserializeOwned>(&self, one: &Aggregate<'_>, key: &str, version: u64) -> Result<Option<T>, Failure> {
        let stream = one.stream(&self.rows, 1, usize::try_from(version).unwrap_or(usize::MAX))?;
        stream.last().into_iter().for_each(|(_, offset)| _ = self.shown.fetch_max(offset.next().0, Ordering::Relaxed));
        let (view, skips, mut rows) = (self.view.view(), self.app.operator.control.skips(), Overlay::default());
        for part in stream.chunks(PART) {
            for (_, record) in one.records(self.app.log.as_ref(), part)? {
                view.change(&record, skips, &mut rows)?;
            }
        }
        Ok(rows.changed(key)?)
    }
}

/// How far what lies beside an aggregate is folded.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// to this record
    Offset(Offset),
    /// to this time
    Time(Timestamp),
}

/// The answer with the row of one aggregate, which its own events alone make: as it is, or as it was. See [`row`].
pub async fn row_of<A, T>(
    app: &App,
    name: &'static str,
    (subject, key): (&str, &str),
    asked: &AsOf,
    headers: &HeaderMap,
    revision: fn(&T) -> u64,
) -> Result<Response, Failure>
where
    A: kernel::Aggregate,
    T: Serialize + DeserializeOwned + Send + 'static,
{
    let Some(moment) = asked.moment()? else { return row::<T>(app, name, (subject, key), headers, revision).await };
    let past = Past::of::<A>(app, name, subject, moment, headers).await?;
    let (now, id, key) = (past.now::<T>(key)?, subject.to_owned(), key.to_owned());
    let (found, positions) = blocking(move || past.row::<A, T>(&id, &key, now, revision).map(|(found, _)| (found, past.positions()))).await?;
    answered(app, &found, revision(&found), &positions, headers)
}
