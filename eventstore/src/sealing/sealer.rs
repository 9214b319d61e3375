//! Personal data, sealed under its subject's key, so that it is gone for good when the key is. Never opens what was sealed
//! for another record, and never tells a length to the byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64ct::{Base64UrlUnpadded, Encoding};
use kernel::{Personal, Sealed, SealedFor};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::fingerprint::Fingerprints;
use crate::keystore::wrap::{NONCE_BYTES, TAG_BYTES, decrypt, encrypt};
use crate::keystore::{self, DataKey, KeyStore, Lookup};
use crate::log::Fault;

/// Lengths are told in steps of this many bytes.
pub const STEP_BYTES: usize = 32;
/// What sealed data is told by from all else that is encrypted with the same key.
const SEALING: &str = "daybook sealed data 1";
/// What follows the clear bytes, before zeros up to the next step.
const END: u8 = 0x80;

/// What is in a sealed piece of data.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// what was sealed; wiped from memory when dropped
    Clear(Zeroizing<Vec<u8>>),
    /// nothing any more: its key was erased
    Erased,
}

/// Why something was not sealed, or did not open.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// the key
    #[error(transparent)]
    Keys(#[from] keystore::Error),
    /// it is not what was sealed there
    #[error("field '{field}' of record {event} does not open under key {key}: it was changed, or sealed for another person, record or field")]
    Refused {
        /// the record's id
        event: String,
        /// the field's place
        field: String,
        /// the key's id
        key: String,
    },
    /// what was erased is not known yet
    #[error("the keys that were erased are not known yet: this process has just started")]
    Starting,
    /// it does not say what it was sealed for
    #[error("sealed data does not say for which record it was sealed")]
    Homeless,
    /// there are no keys
    #[error("it is sealed, and this log seals nothing")]
    Keyless,
    /// what was sealed is not of the type that is asked for
    #[error("what was sealed is of another shape: {0}")]
    Shape(String),
}

impl Error {
    /// Whether it is this piece of data's alone: its key is lost, or it is not what was sealed. All else concerns every piece.
    pub fn is_of_the_data(&self) -> bool {
        match self {
            Self::Keys(keystore::Error::Lost { .. } | keystore::Error::NoId(_)) | Self::Refused { .. } | Self::Homeless | Self::Shape(_) => true,
            Self::Keys(_) | Self::Starting | Self::Keyless => false,
        }
    }
}

impl From<Error> for Fault {
    /// What the disk does may pass; another key, or a lost one, does not.
    fn from(why: Error) -> Self {
        match why {
            Error::Starting | Error::Keys(keystore::Error::Io { .. } | keystore::Error::Busy(_)) => Self::Retry(format!("personal data: {why}")),
            _ => Self::Fatal(format!("personal data: {why}")),
        }
    }
}

/// Seals and opens.
#[derive(Clone)]
pub struct Sealer {
    keys: Arc<KeyStore>,
    held: Arc<AtomicBool>,
}

impl Sealer {
    /// Under the keys of this store.
    pub fn new(keys: Arc<KeyStore>) -> Self {
        Self { keys, held: Arc::default() }
    }

    /// Does nothing until it is released: the store may be a copy from before an erasure, and has to be told first.
    #[must_use]
    pub fn held(self) -> Self {
        self.held.store(true, Ordering::Release);
        self
    }

    /// From now on it seals and opens.
    pub fn release(&self) {
        self.held.store(false, Ordering::Release);
    }

    /// The keys.
    pub fn keys(&self) -> &KeyStore {
        &self.keys
    }

    fn key_of(&self, subject: &str) -> Result<Arc<DataKey>, Error> {
        self.released()?;
        Ok(self.keys.get_or_make(subject)?)
    }

    fn released(&self) -> Result<(), Error> {
        if self.held.load(Ordering::Acquire) { Err(Error::Starting) } else { Ok(()) }
    }

    /// Seals a subject's data, under a new key if it has none.
    ///
    /// # Errors
    /// If there is no key, or none can be made.
    pub fn seal(&self, about: &SealedFor, clear: &[u8]) -> Result<Sealed, Error> {
        let key = self.key_of(&about.subject)?;
        let padded = (clear.len() / STEP_BYTES + 1) * STEP_BYTES;
        let mut bytes = Zeroizing::new(vec![0; NONCE_BYTES + padded + TAG_BYTES]);
        bytes[NONCE_BYTES..NONCE_BYTES + clear.len()].copy_from_slice(clear);
        bytes[NONCE_BYTES + clear.len()] = END;
        encrypt(&key.cipher(), &encoded(about), &mut bytes)?;
        Ok(Sealed { key: key.id.to_string(), data: Base64UrlUnpadded::encode_string(&bytes), about: Some(about.clone()) })
    }

    /// Opens what says for which record it was sealed.
    ///
    /// # Errors
    /// If it is not what was sealed there, or its key is lost.
    pub fn open(&self, sealed: &Sealed) -> Result<Opened, Error> {
        self.released()?;
        let about = sealed.about.as_ref().ok_or(Error::Homeless)?;
        let key = match self.keys.look_up(sealed.key.parse().map_err(keystore::Error::from)?)? {
            Lookup::Erased(_) => return Ok(Opened::Erased),
            Lookup::Key(key) => key,
        };
        let refused = || Error::Refused { event: about.event.clone(), field: about.field.clone(), key: sealed.key.clone() };
        let mut bytes = Zeroizing::new(Base64UrlUnpadded::decode_vec(&sealed.data).map_err(|_| refused())?);
        let padded = decrypt(&key.cipher(), &encoded(about), &mut bytes).ok_or_else(refused)?;
        let end = padded.iter().rposition(|byte| *byte != 0).filter(|end| padded[*end] == END).ok_or_else(refused)?;
        bytes.truncate(NONCE_BYTES + end);
        bytes.drain(..NONCE_BYTES);
        Ok(Opened::Clear(bytes))
    }

    /// The fingerprints of a command that holds this subject's data: of no use to whoever guesses at the data, who has not
    /// its key, and to nobody once that is erased.
    ///
    /// # Errors
    /// If there is no key, or none can be made.
    pub fn blind(&self, subject: &str, id: &str, prints: Fingerprints) -> Result<Fingerprints, Error> {
        let Fingerprints { sent, meaning, request, kept } = prints;
        let meaning = meaning.map(|print| self.blinded(subject, id, &print)).transpose()?;
        Ok(Fingerprints { sent: self.blinded(subject, id, &sent)?, meaning, request, kept })
    }

    /// One of them.
    ///
    /// # Errors
    /// As above.
    pub fn blinded(&self, subject: &str, id: &str, print: &str) -> Result<String, Error> {
        let key = self.key_of(subject)?.derive("daybook 2026-11-26 fingerprints of commands");
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(&(id.len() as u64).to_le_bytes()).update(id.as_bytes()).update(print.as_bytes());
        Ok(hasher.finalize().to_hex()[..32].to_owned())
    }
}

/// What somebody's data is; nothing if it was erased.
///
/// # Errors
/// If it is sealed and there is no sealer, it is not what was sealed there, its key is lost, or it is of another type.
pub fn read<P: DeserializeOwned + Clone>(sealer: Option<&Sealer>, personal: &Personal<P>) -> Result<Option<P>, Error> {
    match personal {
        Personal::Clear(clear) => Ok(Some(clear.clone())),
        Personal::Sealed(sealed) => match sealer.ok_or(Error::Keyless)?.open(sealed)? {
            Opened::Clear(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|why| Error::Shape(why.to_string())),
            Opened::Erased => Ok(None),
        },
    }
}

/// What data is bound to: each part after its length, so that no two ways to belong look alike.
fn encoded(SealedFor { event, kind, subject, field }: &SealedFor) -> Vec<u8> {
    let parts = [SEALING, event, kind, subject, field];
    let mut encoded = Vec::with_capacity(parts.iter().map(|part| 8 + part.len()).sum());
    for part in parts {
        encoded.extend_from_slice(&(part.len() as u64).to_le_bytes());
        encoded.extend_from_slice(part.as_bytes());
    }
    encoded
}
