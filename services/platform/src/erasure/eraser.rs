//! Does what erasures ask for: destroys keys, shuts accounts, looks for what is left. Each step is done again where a process died
//! before it was written down; none undoes another.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use eventstore::inside::sign;
use eventstore::keystore::Tombstone;
use eventstore::outcome::Outcome;
use eventstore::rows::Rows;
use eventstore::sealing::Sealer;
use eventstore::{Fault, Limits, Log, Message, Record};
use kernel::Aggregate;
use schemas::envelope::caused_id;
use schemas::{Codec, Envelope, Stream, topic};

use super::search::{InClosed, InFile, InRows, InTopic, Needles, Place};
use super::view::{ERASURES, ErasureRow, erasure_key, tombstones};
use super::{Command, DataSubject, DestroyedKey, Erasure, Event, Report, SERVICE, Status};
use crate::accounts::IDENTITY;
use crate::accounts::mailer::{Mailer, OUTBOX};
use crate::following::turn;
use crate::http::app::App;
use crate::identity::account::{self, Account};
use crate::identity::views::{ACCOUNT_PREFIX, ACCOUNTS, AccountRow};

/// Accounts that are looked at at once.
const PAGE: usize = 1_000;

/// See the module.
pub struct Eraser {
    app: App,
    sealer: Sealer,
    mailer: Arc<dyn Mailer>,
    rows: Arc<Rows>,
    data: PathBuf,
    /// where rows lie that were folded, each in a directory of its own
    folds: [PathBuf; 3],
    /// what was learnt before the keys went, for the erasure that is under way
    learnt: Option<(String, u64, Needles)>,
}

impl Eraser {
    /// Goes on from where `rows` say.
    pub fn new(app: App, sealer: Sealer, mailer: Arc<dyn Mailer>, rows: Rows, data: PathBuf, folds: [PathBuf; 3]) -> Self {
        Self { app, sealer, mailer, rows: Arc::new(rows), data, folds, learnt: None }
    }

    /// One turn: at most `wait` for something new, then until it is done.
    pub fn turn(&mut self, wait: Duration) -> Result<(), Fault> {
        // One at a time: what was learnt for one is of no use to the next.
        let (app, rows, limits) = (Arc::clone(&self.app), Arc::clone(&self.rows), Limits { records: 1, ..Limits::default() });
        turn(app.log.as_ref(), &rows, &topic(Stream::Events(SERVICE)), (limits, wait), |record| self.take(app.log.as_ref(), record))
    }

    fn take(&mut self, log: &dyn Log, record: &Record) -> Result<(), Fault> {
        let unreadable = |why: &schemas::envelope::Malformed| Fault::Retry(format!("erasure: {why}"));
        let envelope = record.envelope().map_err(unreadable)?;
        let ours = envelope.kind.aggregate == <Erasure as Aggregate>::NAME;
        if !ours || Outcome::of_marker(&envelope.kind, record.body()).map_err(|why| unreadable(&why))?.is_some() {
            return Ok(());
        }
        let who = envelope.subject.as_str();
        let event = Erasure::decode_event(&envelope.kind, record.body()).map_err(|why| unreadable(&why))?;
        let (Event::Requested { number, .. } | Event::Destroyed { number, .. } | Event::Completed { number, .. }) = &event;
        // Whoever reads the events anew must not erase what came after them.
        if self.status(record, who, *number)? != Some(event.leads_to()) {
            return Ok(());
        }
        match event {
            Event::Requested { number, .. } => {
                let keys = self.destroy(who, number)?;
                self.write(log, who, envelope, &Command::RecordDestroyed { number, keys })
            }
            Event::Destroyed { number, keys } => {
                let report = self.look(who, number, keys)?;
                tracing::info!(subject = who, number, found = report.found_in_all, "erased");
                self.write(log, who, envelope, &Command::Complete { number, report })
            }
            Event::Completed { .. } => Ok(()),
        }
    }

    /// Where this erasure stands now; nothing if another has come after it.
    fn status(&self, record: &Record, who: &str, number: u64) -> Result<Option<Status>, Fault> {
        let view = self.app.views.get(ERASURES).ok_or_else(|| Fault::Retry("erasure: erasures are not known here".to_owned()))?;
        let stands = view.positions().into_iter().any(|(_, partition, next)| partition == record.partition && next > record.offset);
        if !stands {
            return Err(Fault::Retry("erasure: the view of erasures is behind".to_owned()));
        }
        let row: Option<ErasureRow> = view.get(&erasure_key(who))?;
        Ok(row.filter(|row| row.number == number).map(|row| row.status))
    }

    /// Destroys the keys of somebody and of their accounts: the ones that there are, and all that anything of theirs in the log
    /// was sealed under, known here or not. A store that comes back from a backup may have them.
    fn destroy(&mut self, who: &str, number: u64) -> Result<Vec<DestroyedKey>, Fault> {
        let accounts = self.accounts(who)?;
        let subjects: Vec<String> =
            std::iter::once(who.to_owned()).chain(accounts.iter().map(|account| format!("{}/{account}", eventstore::actor::SELF))).collect();
        let store = |why: eventstore::keystore::Error| Fault::from(eventstore::sealing::Error::from(why));
        let keys = self.sealer.keys();
        let mut needles = Needles::of(subjects.clone());
        needles.learn(&self.sealer, &self.topics())?;
        for account in &accounts {
            self.mailer.forget(account).map_err(|why| Fault::Retry(format!("mail of who is erased: {why}")))?;
            self.forget_account(account, who, number)?;
        }
        let now = self.app.log.now();
        let at_ms = u64::try_from(now.0 / 1_000).unwrap_or_default();
        let mut gone = needles.keys();
        for subject in &subjects {
            gone.extend(keys.erase(subject, at_ms).map_err(store)?.into_iter().map(|gone| gone.key.to_string()));
        }
        let known = self.app.views.get(ERASURES).map(|view| tombstones(view)).transpose()?.unwrap_or_default();
        gone.retain(|key| known.iter().all(|known| known.key.to_string() != *key));
        let buried: Vec<Tombstone> = gone.iter().filter_map(|key| Some(Tombstone { key: key.parse().ok()?, at_ms })).collect();
        keys.absorb_tombstones(&buried).map_err(store)?;
        self.learnt = Some((who.to_owned(), number, needles));
        Ok(gone.into_iter().map(|key| DestroyedKey { key, at: now }).collect())
    }

    /// The accounts that are somebody's, the one itself or all that own what is asked about; and the sign-ups that came to nothing,
    /// or have not ended yet, under an address that is theirs: those hold it too.
    fn accounts(&self, who: &str) -> Result<Vec<String>, Fault> {
        let subject: DataSubject = who.parse().map_err(|why| Fault::Retry(format!("erasure: {why}")))?;
        let itself = subject.role == eventstore::actor::SELF;
        let theirs = |row: &AccountRow| match itself {
            true => row.id == subject.key,
            false => row.roles.get(&subject.role).is_some_and(|owns| owns.as_deref() == Some(&subject.key)),
        };
        let (mut claims, mut found) = (BTreeSet::new(), BTreeSet::from_iter(itself.then(|| subject.key.clone())));
        self.each_account(|row| {
            if theirs(&row) {
                claims.extend(row.claims);
                found.insert(row.id);
            }
        })?;
        self.each_account(|row| {
            if matches!(row.status, account::Status::Beginning | account::Status::Rejected) && row.claims.iter().any(|claim| claims.contains(claim)) {
                found.insert(row.id);
            }
        })?;
        Ok(found.into_iter().collect())
    }

    fn each_account(&self, mut take: impl FnMut(AccountRow)) -> Result<(), Fault> {
        let view = self.app.views.get(ACCOUNTS).ok_or_else(|| Fault::Retry("erasure: accounts are not known here".to_owned()))?;
        let mut from = None;
        loop {
            let (page, next) = view.page::<AccountRow>(ACCOUNT_PREFIX, from.as_deref(), PAGE, usize::MAX)?;
            page.into_iter().for_each(&mut take);
            match next {
                Some(next) => from = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn forget_account(&self, account: &str, who: &str, number: u64) -> Result<(), Fault> {
        let (kind, body) = Account::encode_command(&account::Command::Erase);
        let cause = format!("{who}/{number}/{account}");
        let envelope = Envelope::new(caused_id(&cause, "erase-account", 0), format!("/{SERVICE}/eraser"), kind, account);
        self.app.log.append(vec![self.signed(IDENTITY, &envelope, body)]).map(|_| ())
    }

    /// Looks for what is left, once the keys are gone.
    fn look(&mut self, who: &str, number: u64, keys: Vec<DestroyedKey>) -> Result<Report, Fault> {
        let known = self.learnt.take().filter(|(subject, of, _)| (subject.as_str(), *of) == (who, number)).map(|(.., needles)| needles);
        let mut needles = match known {
            Some(needles) => needles,
            // A process that died in between has forgotten the values, as it should; what was never sealed is there still.
            None => {
                let mut needles = Needles::of(vec![who.to_owned()]);
                needles.learn(&self.sealer, &self.topics())?;
                needles
            }
        };
        needles.sealed_under(keys.into_iter().map(|key| key.key));
        let mut places = self.topics();
        let open: Vec<Arc<Rows>> = self.app.operator.heads.values().cloned().chain(self.app.views.all().flat_map(|view| view.all_rows())).collect();
        for dir in self.folds.iter().filter(|folds| folds.is_dir()).map(std::fs::read_dir) {
            let unread = |why: std::io::Error| Fault::Retry(format!("erasure: {why}"));
            for entry in dir.map_err(unread)? {
                let dir = entry.map_err(unread)?.path();
                if dir.is_dir() && open.iter().all(|rows| rows.dir() != dir) {
                    places.push(Box::new(InClosed(dir)));
                }
            }
        }
        places.extend(open.into_iter().map(|rows| Box::new(InRows(rows)) as Box<dyn Place>));
        places.push(Box::new(InFile(self.data.join(OUTBOX))));
        needles.look(&places)
    }

    fn topics(&self) -> Vec<Box<dyn Place + '_>> {
        // What a service shows to nobody holds nobody's data.
        let services = self.app.operator.services.values().filter(|service| !service.private);
        let of = |service: &'_ Arc<eventstore::service::Service>| [service.commands(), service.events(), service.dead_letters()];
        let all = services.flat_map(|service| of(service).map(|topic| InTopic { log: self.app.log.as_ref(), topic, service }));
        all.map(|topic| Box::new(topic) as Box<dyn Place>).collect()
    }

    fn write(&self, log: &dyn Log, who: &str, cause: &Envelope, command: &Command) -> Result<(), Fault> {
        let (kind, body) = Erasure::encode_command(command);
        let mut envelope = Envelope::new(caused_id(&cause.id, "eraser", 0), format!("/{SERVICE}/eraser"), kind, who);
        (envelope.causation, envelope.correlation) = (Some(cause.id.clone()), cause.correlation.clone());
        log.append(vec![self.signed(SERVICE, &envelope, body)]).map(|_| ())
    }

    fn signed(&self, service: &str, envelope: &Envelope, body: Vec<u8>) -> Message {
        let log = self.app.log.as_ref();
        let key = (log.rules().routing_key)(&envelope.subject).as_bytes().to_vec();
        let mut headers = envelope.headers();
        sign(&log.secret(), &key, &mut headers, &body);
        Message { topic: topic(Stream::Commands(service)), partition: log.partition_of(&envelope.subject), key, headers, value: Some(body) }
    }
}
