//! What is sent to people: follows the events of credentials, and gives what is to be sent to a mailer. At least once: what was
//! given away just before a process died is given away again.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use eventstore::outcome::Outcome;
use eventstore::rows::Rows;
use eventstore::sealing::read;
use eventstore::{Fault, Limits, Log, Record};
use kernel::Timestamp;
use parking_lot::Mutex;
use schemas::{Codec, Stream, topic};
use serde::Serialize;

use super::SECRETS;
use crate::following::turn;
use crate::http::app::App;
use crate::identity::account::Address;
use crate::identity::credential::{Credential, Event};
use crate::identity::tokens::reset_token;
use crate::identity::views::{ACCOUNTS, AccountRow, account_key};

/// The file of the sink that serves until there is a mailer.
pub const OUTBOX: &str = "outbox.jsonl";

/// Something to be sent.
#[derive(Clone, Debug, Serialize)]
pub struct Mail {
    /// to whom
    pub to: String,
    /// the account's id
    pub account: String,
    /// `password-reset`
    pub kind: &'static str,
    /// what its reader shows to set another password
    pub token: String,
    /// until when that is good
    pub until: String,
}

/// Sends mail.
pub trait Mailer: Send + Sync {
    /// Sends it, or says why not: it is tried again.
    fn send(&self, mail: &Mail) -> anyhow::Result<()>;

    /// Forgets what it keeps of an account's mail, whose owner is erased.
    fn forget(&self, account: &str) -> anyhow::Result<()>;
}

/// Writes mail into a file that its owner alone reads, a line of JSON each.
pub struct FileSink(Mutex<PathBuf>);

impl FileSink {
    /// In this directory.
    pub fn new(dir: &Path) -> Self {
        Self(Mutex::new(dir.join(OUTBOX)))
    }
}

impl Mailer for FileSink {
    fn send(&self, mail: &Mail) -> anyhow::Result<()> {
        let file = self.0.lock();
        let mut line = serde_json::to_vec(mail)?;
        line.push(b'\n');
        let mut out = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&*file)?;
        out.write_all(&line)?;
        Ok(out.sync_data()?)
    }

    fn forget(&self, account: &str) -> anyhow::Result<()> {
        let file = self.0.lock();
        if !file.exists() {
            return Ok(());
        }
        let of = |line: &&str| serde_json::from_str::<serde_json::Value>(line).is_ok_and(|mail| mail["account"] == account);
        let kept: String = std::fs::read_to_string(&*file)?.lines().filter(|line| !of(line)).flat_map(|line| [line, "\n"]).collect();
        let new = file.with_extension("new");
        let mut out = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
        out.write_all(kept.as_bytes())?;
        out.sync_all()?;
        Ok(std::fs::rename(&new, &*file)?)
    }
}

/// Gives away what is to be sent.
pub struct Outgoing {
    app: App,
    mailer: Arc<dyn Mailer>,
    rows: Rows,
}

impl Outgoing {
    /// Goes on from where `rows` say.
    pub fn new(app: App, mailer: Arc<dyn Mailer>, rows: Rows) -> Self {
        Self { app, mailer, rows }
    }

    /// One turn: at most `wait` for something new, then until it is sent.
    pub fn turn(&self, wait: Duration) -> Result<(), Fault> {
        let log = self.app.log.as_ref();
        turn(log, &self.rows, &topic(Stream::Events(SECRETS)), (Limits::default(), wait), |record| {
            self.mail(log, record)?.iter().try_for_each(|mail| self.mailer.send(mail)).map_err(|why| Fault::Retry(format!("mail: {why}")))
        })
    }

    /// What is to be sent because of an event, if it is still worth sending.
    fn mail(&self, log: &dyn Log, record: &Record) -> Result<Option<Mail>, Fault> {
        let unreadable = |why: &schemas::envelope::Malformed| Fault::Retry(format!("mail: {why}"));
        let envelope = record.envelope().map_err(unreadable)?;
        let ours = envelope.kind.aggregate == <Credential as kernel::Aggregate>::NAME && ["reset-requested", "dropped"].contains(&envelope.kind.name.as_ref());
        if !ours || Outcome::of_marker(&envelope.kind, record.body()).map_err(|why| unreadable(&why))?.is_some() {
            return Ok(None);
        }
        let (number, until) = match Credential::decode_event(&envelope.kind, record.body()).map_err(|why| unreadable(&why))? {
            Event::ResetRequested { number, until } => (number, until),
            // Whose account it was is forgotten, or never had one: nothing waits for them any more.
            Event::Dropped => {
                self.mailer.forget(&envelope.subject).map_err(|why| Fault::Retry(format!("mail: {why}")))?;
                return Ok(None);
            }
            _ => return Ok(None),
        };
        let account = envelope.subject.clone();
        if until < Timestamp::max(log.now(), Timestamp(0)) {
            return Ok(None);
        }
        let view = self.app.views.get(ACCOUNTS).ok_or_else(|| Fault::Retry("mail: accounts are not known here".to_owned()))?;
        let row: Option<AccountRow> = view.get(&account_key(&account))?;
        // Who was erased meanwhile is not written to.
        let address = match row.map(|row| read(self.app.sealer.as_ref(), &row.address)).transpose() {
            Err(why) if why.is_of_the_data() => {
                tracing::error!(account, %why, "mail is not sent: its address cannot be read");
                None
            }
            read => read?.flatten(),
        };
        let Some(Address { email }) = address else { return Ok(None) };
        Ok(Some(Mail { to: email, kind: "password-reset", token: reset_token(&self.app.identity.key, &account, number), until: until.to_string(), account }))
    }
}
