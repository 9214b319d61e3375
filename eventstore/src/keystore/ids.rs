//! Names of keys and of stores: random, so that none tells anything and none comes twice. Never has a key in it.

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64UrlUnpadded, Encoding};

/// A text that is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not the id of a key or a key store")]
pub struct NoId(String);

/// Which data key. Random, so that no subject's name is in it, and none comes twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub(super) [u8; 16]);

/// Which key store: the same through all that happens to it, in its copies and backups too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub(super) [u8; 16]);

impl KeyId {
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        Ok(Self(random()?))
    }
}

impl StoreId {
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        Ok(Self(random()?))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&Base64UrlUnpadded::encode_string(&self.0))
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&Base64UrlUnpadded::encode_string(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyId({self})")
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StoreId({self})")
    }
}

impl FromStr for KeyId {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        parsed(text).map(Self).ok_or_else(|| NoId(text.to_owned()))
    }
}

impl FromStr for StoreId {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        parsed(text).map(Self).ok_or_else(|| NoId(text.to_owned()))
    }
}

fn parsed(text: &str) -> Option<[u8; 16]> {
    Base64UrlUnpadded::decode_vec(text).ok()?.try_into().ok()
}

/// Bytes that nobody had before.
pub fn random() -> Result<[u8; 16], getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
