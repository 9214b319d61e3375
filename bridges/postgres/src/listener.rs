//! Hears that others have written: for speed. Whoever hears nothing looks by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::PgListener;

use crate::settings::Settings;

/// How often a thread looks whether it is still wanted.
const WANTED: Duration = Duration::from_millis(500);

/// Whether something was heard since somebody asked. Its thread ends when it is dropped.
pub struct Heard {
    heard: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl Heard {
    /// Begins to listen.
    pub fn new(settings: &Settings) -> std::io::Result<Self> {
        let own = Self { heard: Arc::default(), stop: Arc::default() };
        let (heard, stop, settings) = (Arc::clone(&own.heard), Arc::clone(&own.stop), settings.clone());
        let run = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            while !stop.load(Ordering::Acquire) {
                // A connection that breaks is made again, and until then nobody is told.
                let _broken = runtime.block_on(listen(&settings, &heard, &stop));
                std::thread::sleep(WANTED);
            }
        };
        std::thread::Builder::new().name("outbox".to_owned()).spawn(run)?;
        Ok(own)
    }

    /// Whether something was heard since this was asked last.
    pub fn taken(&self) -> bool {
        self.heard.swap(false, Ordering::AcqRel)
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

async fn listen(settings: &Settings, heard: &AtomicBool, stop: &AtomicBool) -> Result<(), sqlx::Error> {
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).acquire_timeout(crate::settings::CONNECT).connect_with(settings.connect.clone()).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen("daybook_outbox").await?;
    while !stop.load(Ordering::Acquire) {
        match tokio::time::timeout(WANTED, listener.try_recv()).await {
            Err(_) => {}
            Ok(Ok(Some(told))) if told.payload() != settings.schema => {}
            Ok(Ok(_)) => heard.store(true, Ordering::Release), // told, or connected anew: something may have been missed
            Ok(Err(why)) => return Err(why),
        }
    }
    Ok(())
}
