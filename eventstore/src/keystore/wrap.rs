//! Data keys, and how they are wrapped by the key-encryption key. Never shows a key, and never leaves one in memory that is
//! given up.

use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::Error;
use super::ids::KeyId;

/// Bytes of a key of either kind.
pub const KEY_BYTES: usize = 32;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 24;
/// Bytes by which what is encrypted is longer.
pub const TAG_BYTES: usize = 16;
/// Bytes of a wrapped key: nonce, key, tag.
pub const WRAPPED_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;
/// What wrapped keys are told by from all else that is encrypted with the same key.
const WRAPPING: &[u8] = b"daybook data key 1";

/// Whose key it is: a digest of the name, so that the store holds no names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(pub [u8; 20]);

impl Subject {
    /// Of this name.
    pub fn of(name: &str) -> Self {
        let digest = blake3::derive_key("daybook 2026-11-28 subject of a data key", name.as_bytes());
        let mut subject = [0; 20];
        subject.copy_from_slice(&digest[..20]);
        Self(subject)
    }
}

/// The key that one subject's data is sealed with.
pub struct DataKey {
    /// which one
    pub id: KeyId,
    secret: Zeroizing<[u8; KEY_BYTES]>,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DataKey({})", self.id)
    }
}

impl DataKey {
    fn empty(id: KeyId) -> Self {
        Self { id, secret: Zeroizing::new([0; KEY_BYTES]) }
    }

    /// A new one.
    pub(super) fn new() -> Result<Self, Error> {
        let mut key = Self::empty(KeyId::new()?);
        getrandom::fill(key.secret.as_mut_slice())?;
        Ok(key)
    }

    /// Another secret, for another use: always the same for this key and this context, and gone when this key is. Nothing of
    /// this key follows from it. The context is a constant of the program, such as `"daybook 2026-11-28 pseudonyms"`.
    #[must_use]
    pub fn derive(&self, context: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut derived = Zeroizing::new([0; KEY_BYTES]);
        let mut hasher = Zeroizing::new(blake3::Hasher::new_derive_key(context)); // it has the secret in its buffer
        let mut reader = Zeroizing::new(hasher.update(self.secret.as_slice()).finalize_xof()); // and so has this
        reader.fill(derived.as_mut_slice());
        derived
    }

    /// What encrypts with it.
    pub(crate) fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.secret).into())
    }
}

/// The key-encryption key.
pub struct Kek(Box<Zeroizing<[u8; KEY_BYTES]>>);

impl Kek {
    /// Of these bytes, which stay the caller's to forget.
    pub fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        let mut kek = Box::new(Zeroizing::new([0; KEY_BYTES]));
        kek.copy_from_slice(bytes);
        Self(kek)
    }

    /// What tells it from every other, and nothing of itself.
    pub fn check(&self) -> [u8; 32] {
        blake3::derive_key("daybook 2026-11-28 which key-encryption key", self.0.as_slice())
    }

    /// Wraps a subject's key.
    pub fn wrap(&self, subject: Subject, key: &DataKey) -> Result<[u8; WRAPPED_BYTES], Error> {
        let mut wrapped = [0; WRAPPED_BYTES];
        wrapped[NONCE_BYTES..NONCE_BYTES + KEY_BYTES].copy_from_slice(key.secret.as_slice());
        encrypt(&self.cipher(), &about(subject, key.id), &mut wrapped)?;
        Ok(wrapped)
    }

    /// Takes a subject's key out again; nothing if it is another's, or was changed.
    pub fn unwrap(&self, subject: Subject, id: KeyId, wrapped: &[u8; WRAPPED_BYTES]) -> Option<Arc<DataKey>> {
        let mut bytes = Zeroizing::new(*wrapped);
        let clear = decrypt(&self.cipher(), &about(subject, id), bytes.as_mut_slice())?;
        let mut key = DataKey::empty(id);
        key.secret.copy_from_slice(clear);
        Some(Arc::new(key))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&**self.0).into())
    }
}

fn about(subject: Subject, id: KeyId) -> Vec<u8> {
    [WRAPPING, &subject.0, &id.0].concat() // each has always the same length
}

/// Encrypts what lies between room for a nonce and room for a tag, and fills both.
pub(crate) fn encrypt(cipher: &XChaCha20Poly1305, about: &[u8], bytes: &mut [u8]) -> Result<(), Error> {
    let (nonce, rest) = bytes.split_at_mut(NONCE_BYTES);
    let (clear, tag) = rest.split_at_mut(rest.len() - TAG_BYTES);
    getrandom::fill(nonce)?;
    let nonce = XNonce::try_from(&*nonce).map_err(|_| Error::TooLong)?;
    let made = cipher.encrypt_inout_detached(&nonce, about, clear.into()).map_err(|_| Error::TooLong)?;
    tag.copy_from_slice(&made);
    Ok(())
}

/// The clear bytes between nonce and tag; nothing if any bit is another than it was, or it is about something else.
pub(crate) fn decrypt<'a>(cipher: &XChaCha20Poly1305, about: &[u8], bytes: &'a mut [u8]) -> Option<&'a mut [u8]> {
    let (nonce, rest) = bytes.split_at_mut_checked(NONCE_BYTES)?;
    let (clear, tag) = rest.split_at_mut_checked(rest.len().checked_sub(TAG_BYTES)?)?;
    let (nonce, tag) = (XNonce::try_from(&*nonce).ok()?, Tag::try_from(&*tag).ok()?);
    cipher.decrypt_inout_detached(&nonce, about, (&mut *clear).into(), &tag).ok()?;
    Some(clear)
}
