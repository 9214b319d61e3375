//! The keys that a log's personal data is sealed under: found, or begun with the log. Never begins anew what was lost.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventstore::control::{Control, Settled};
use eventstore::keystore::{Error, KeyStore};
use eventstore::sealing::Sealer;

use crate::keys::{KeyOrigin, KeySpec};

/// The key that the keys of persons are encrypted with.
pub const SEALING_KEY: KeySpec = KeySpec { name: "sealing", makes: "keys of personal data" };

/// Of an object with personal data, for documents: once that is erased, nothing of it is there but that it was.
pub fn may_be_erased(schema: &mut schemars::Schema) {
    schema.remove("required");
    if let Some(properties) = schema.get_mut("properties").and_then(serde_json::Value::as_object_mut) {
        let erased = serde_json::json!({ "type": "boolean", "description": "whose it was is erased, and nothing of it is known any more" });
        properties.insert("erased".to_owned(), erased);
        let unreadable = serde_json::json!({ "type": "boolean", "description": "its key is lost: the key store is older than the log" });
        properties.insert("unreadable".to_owned(), unreadable);
    }
}

/// What a process knows of sealing when it starts.
pub struct SealingStart {
    /// whether it is wanted, if somebody said so
    pub wanted: Option<bool>,
    /// where keys are
    pub store: PathBuf,
    /// that is beside the data, where nobody puts another log's
    pub beside: bool,
    /// the key-encryption key
    pub key: KeyOrigin,
    /// this is one instance of several, and was not told where the keys are that they share
    pub incomplete: bool,
}

impl SealingStart {
    /// Of a process that seals nothing, unless its log does.
    pub fn off(data: &Path) -> Self {
        Self { wanted: Some(false), store: data.join("keys"), beside: true, key: KeyOrigin::Kept, incomplete: false }
    }

    /// Opens the keys of a log, or begins them with it: of one that was `used`, only if that is wanted. One that is
    /// `lossy` may have forgotten that it had some.
    pub(crate) fn open(&self, data: &Path, control: &Control, lossy: bool, used: impl FnOnce() -> anyhow::Result<bool>) -> anyhow::Result<Option<Sealer>> {
        let at = self.store.display();
        let sealed = control.sealed_under();
        let begins = match (&sealed, self.wanted) {
            (Some(_), Some(false)) => anyhow::bail!("this log's personal data is sealed, and goes on to be: leave --seal off away"),
            (Some(_), _) => false,
            (None, Some(false)) => return Ok(None),
            (None, Some(true)) => true,
            (None, None) if !(lossy && self.store.exists()) && used()? => return Ok(None),
            (None, None) => true,
        };
        let shared = "give each instance the same --key-store (a directory that they share) and the same --sealing-key (DAYBOOK_SEALING_KEY: 64 hex digits, \
                      as openssl rand -hex 32 gives them)";
        anyhow::ensure!(!self.incomplete, "this log seals personal data: {shared}; or begin a new log with --seal off");
        if !begins {
            anyhow::ensure!(self.store.exists(), "this log's personal data is sealed, and its key store is not at {at}: restore it there, or {shared}");
            let kept = data.join(format!("{}.key", SEALING_KEY.name));
            let lost = matches!(self.key, KeyOrigin::Kept) && !kept.exists();
            anyhow::ensure!(!lost, "{} is missing, and the key store {at} was made with it: restore it from a backup, or {shared}", kept.display());
        }
        let kek = match self.key {
            KeyOrigin::Given(kek) => kek, // the store knows its own from any other
            _ => self.key.key(SEALING_KEY, data, || Ok(!begins))?,
        };
        if begins {
            let foreign = || {
                anyhow::anyhow!(
                    "{at} holds the keys of another log, or this one has lost its beginning: name another directory with --key-store, or move that one away if \
                     its log is gone; a log that has lost records is restored from a backup"
                )
            };
            let store = KeyStore::open_or_make(&self.store, &kek).map_err(|why| match why {
                Error::WrongKek(_) => foreign(),
                why => why.into(),
            })?;
            // A log that lost its beginning, and goes on by its operator's word, has its keys still. Without that word whoever folded
            // it says what it has lost, and the store beside what was folded is no other log's.
            let own = lossy || self.beside && data.join("heads").exists();
            anyhow::ensure!(own || store.is_empty()?, foreign());
            control.settle(&Settled::Sealing { store: store.id().to_string() })?;
            return Self::belongs(control.sealed_under().as_deref(), store, &at).map(Some);
        }
        let store = KeyStore::open(&self.store, &kek)?;
        Self::belongs(sealed.as_deref(), store, &at).map(Some)
    }

    fn belongs(sealed: Option<&str>, store: KeyStore, at: &dyn std::fmt::Display) -> anyhow::Result<Sealer> {
        let id = store.id().to_string();
        anyhow::ensure!(
            sealed == Some(id.as_str()),
            "{at} is the key store of another log: this one's personal data is sealed under store {}. Name that one with --key-store, or restore it there",
            sealed.unwrap_or("(none)")
        );
        Ok(Sealer::new(Arc::new(store)).held())
    }
}
