//! What keeps a process's knowledge of callers current: its signing keys, how new its accounts and sessions are, denials on their
//! way to the audit trail.

use std::time::{Duration, Instant};

use eventstore::{Fault, Positions};

use super::erased::Erased;
use crate::http::app::App;
use crate::identity::audit;
use crate::identity::trail::Entry;
use crate::identity::views::ACCOUNTS;

/// How often the keys and the ends of topics are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often denials are written down.
const WRITE: Duration = Duration::from_secs(10);

/// See the module.
pub struct Watch {
    app: App,
    looked: Instant,
    written: Instant,
    /// what there was to know at this instant
    asked: Option<(Instant, Positions)>,
    /// what the key store was told
    erased: Erased,
    /// what is wrong with the files, as it was said last
    said: Option<String>,
}

impl Watch {
    /// Nothing was looked at yet.
    pub fn new(app: App) -> Self {
        let now = Instant::now();
        Self { app, looked: now, written: now, asked: None, erased: Erased::default(), said: None }
    }

    /// One turn.
    pub fn turn(&mut self) -> Result<(), Fault> {
        let now = Instant::now();
        if now.duration_since(self.written) >= WRITE {
            self.written = now;
            write_down(&self.app)?;
        }
        if self.app.identity.required {
            self.learn(now)?;
        }
        self.erased.turn(&self.app)?;
        if now.duration_since(self.looked) >= LOOK {
            self.looked = now;
            let keys = self.app.identity.tokens.refresh();
            let tls = self.app.identity.tls.as_ref().map_or(Ok(false), |tls| tls.refresh());
            if let Ok(true) = tls {
                tracing::info!("another certificate serves");
            }
            self.wrong(keys.and(tls.map(|_| ())).err());
        }
        Ok(())
    }

    /// What was there when the topics' ends were asked for is known once the views have folded up to those.
    fn learn(&mut self, now: Instant) -> Result<(), Fault> {
        let Some(view) = self.app.views.get(ACCOUNTS) else { return Ok(()) };
        if self.asked.is_none() {
            self.asked = Some((now, view.ends()?));
        }
        if let Some((at, ends)) = &self.asked
            && view.has_folded(ends)
        {
            self.app.identity.knows(*at);
            self.asked = None;
        }
        Ok(())
    }

    /// Says what is wrong with the files, once for each thing that is.
    fn wrong(&mut self, why: Option<anyhow::Error>) {
        let why = why.map(|why| format!("{why:#}"));
        if why != self.said {
            why.iter().for_each(|why| tracing::error!(why, "files of keys and certificates"));
            self.app.metrics.standing.note("keys and certificates", why.as_deref());
            self.said = why;
        }
    }
}

/// Writes an entry down.
pub fn written_down(app: &App, entry: &Entry) -> Result<(), Fault> {
    app.log.append(vec![audit::message(app.log.as_ref(), entry)]).map(|_| ())
}

/// Writes denials down that were gathered.
pub fn write_down(app: &App) -> Result<(), Fault> {
    let messages: Vec<_> = app.identity.denials.take().iter().map(|entry| audit::message(app.log.as_ref(), entry)).collect();
    if !messages.is_empty() {
        // Each stands for itself: one that may not be written keeps no other back.
        app.log.send(messages).into_iter().try_for_each(|sent| sent.map(|_| ()))?;
    }
    Ok(())
}
