//! The keys that an installation signs its access tokens with, in one file that all its instances read. It must never
//! show a private part, and never take a key away while a token made with it may still be good.

mod file;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use base64ct::{Base64UrlUnpadded, Encoding};
use chrono::{DateTime, SecondsFormat, Utc};
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde_json::json;
use zeroize::Zeroizing;

use crate::identity::eddsa;
pub(crate) use file::Stamp;
use file::{Kept, KeptKey};

/// How long a token is good.
pub const LIFE_SECONDS: i64 = 600;
/// By how much the clock of who made a token may differ from that of who verifies it.
pub const LEEWAY_SECONDS: i64 = 5;
/// How long after a rotation its key begins to sign, unless told otherwise: all instances have read the file by then.
pub const STARTS_AFTER: Duration = Duration::from_secs(60);
/// How long a key is kept after the next one began to sign. The last token made with it is good for its life and the
/// leeway of whoever verifies it, by a clock that may be behind by as much again.
pub const KEPT_SECONDS: i64 = LIFE_SECONDS + 2 * LEEWAY_SECONDS;
/// Keys of an installation at most. Each rotation within `KEPT_SECONDS` adds one.
pub const KEYS_MAX: usize = 16;

/// The keys of an installation, oldest first; of two that begin together, the later one in the file is the newer.
pub struct SigningKeys(Vec<Key>);

/// A pair of keys.
pub struct Key {
    kid: String,
    signs_from: i64,
    x: String,
    signs: EncodingKey,
    verifies: DecodingKey,
}

/// What a rotation did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rotation {
    /// name of the new key
    pub added: String,
    /// when it begins to sign, in seconds since 1970
    pub signs_from: i64,
    /// names of the keys that no token depends on any more
    pub dropped: Vec<String>,
}

impl SigningKeys {
    /// The keys in this file. One that is not there is made, with one key that signs at once.
    pub fn open_or_make(path: &Path) -> anyhow::Result<Self> {
        file::make_if_missing(path, || Ok(Kept { keys: vec![new_key(0)?] }))?;
        Self::read(path).map(|(keys, _)| keys)
    }

    /// The keys in this file, and the stamp that it had.
    pub(crate) fn read(path: &Path) -> anyhow::Result<(Self, Stamp)> {
        let (kept, stamp) = file::read(path)?;
        Ok((Self::of(&kept).with_context(|| file::about(path))?, stamp))
    }

    /// Adds a key to the file, which signs from `starts_after` after `now`, and drops those that no token depends on any
    /// more. Fails if another rotation of it is under way.
    pub fn rotate(path: &Path, now: i64, starts_after: Duration) -> anyhow::Result<Rotation> {
        let _locked = file::lock(path)?;
        let (mut kept, _) = file::read(path)?;
        let before = Self::of(&kept).with_context(|| file::about(path))?;
        let signs_from = i64::try_from(starts_after.as_secs()).ok().and_then(|after| now.checked_add(after)).context("a key cannot begin so late")?;
        if let Some(newest) = before.0.last()
            && newest.signs_from >= signs_from
        {
            let waits = written(newest.signs_from)?;
            anyhow::bail!("key {} of {} signs from {waits}, and no key can come before it: rotate after that", newest.kid, path.display());
        }
        let dropped = before.needless(now);
        kept.keys.retain(|key| !dropped.contains(&key.kid));
        anyhow::ensure!(kept.keys.len() < KEYS_MAX, "{} has {KEYS_MAX} keys that tokens may depend on: rotate again in {KEPT_SECONDS} seconds", path.display());
        let new = new_key(signs_from)?;
        let added = new.kid.clone();
        kept.keys.push(new);
        file::replace(path, &kept)?;
        Ok(Rotation { added, signs_from, dropped })
    }

    /// The key that signs at this time: the newest that has begun to.
    pub fn signs(&self, now: i64) -> Option<&Key> {
        self.0.iter().rev().find(|key| key.signs_from <= now)
    }

    /// The key of this name.
    pub fn of_name(&self, kid: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.kid == kid)
    }

    /// The public halves of all keys, those to come among them, as the JSON web keys of RFC 7517 and 8037.
    pub fn jwks(&self) -> serde_json::Value {
        let public = |key: &Key| json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": key.kid, "x": key.x});
        json!({ "keys": self.0.iter().map(public).collect::<Vec<_>>() })
    }

    /// The keys of a file, each checked.
    fn of(kept: &Kept) -> anyhow::Result<Self> {
        eddsa::install()?;
        let mut keys = kept.keys.iter().map(Key::of).collect::<anyhow::Result<Vec<_>>>()?;
        anyhow::ensure!((1..=KEYS_MAX).contains(&keys.len()), "there must be 1 to {KEYS_MAX} keys, and there are {}", keys.len());
        keys.sort_by_key(|key| key.signs_from);
        for (at, key) in keys.iter().enumerate() {
            anyhow::ensure!(keys[..at].iter().all(|before| before.kid != key.kid), "key {} is there twice", key.kid);
        }
        Ok(Self(keys))
    }

    /// Names of the keys whose successor has been signing for so long that no token of theirs is good any more.
    fn needless(&self, now: i64) -> Vec<String> {
        let pairs = self.0.iter().zip(self.0.iter().skip(1));
        pairs.filter(|(_, next)| next.signs_from.saturating_add(KEPT_SECONDS) < now).map(|(key, _)| key.kid.clone()).collect()
    }
}

impl Key {
    /// Its name: the first 16 hexadecimal digits of the BLAKE3 of its public half.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// When it begins to sign, in seconds since 1970.
    pub fn signs_from(&self) -> i64 {
        self.signs_from
    }

    /// What it signs with.
    pub(crate) fn signing(&self) -> &EncodingKey {
        &self.signs
    }

    /// What its signatures are verified with.
    pub(crate) fn verifying(&self) -> &DecodingKey {
        &self.verifies
    }

    fn of(kept: &KeptKey) -> anyhow::Result<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        let length = Base64UrlUnpadded::decode(&kept.seed, seed.as_mut()).map(<[u8]>::len);
        anyhow::ensure!(length == Ok(32), "the seed of key {} must be 32 bytes in base64url without padding", kept.kid);
        let public = eddsa::public(&seed);
        let kid = kid(&public);
        anyhow::ensure!(kept.kid == kid, "key {} is not the one of its seed, which is {kid}: restore the file from a backup", kept.kid);
        let signs_from = DateTime::parse_from_rfc3339(&kept.signs_from).map_err(|why| anyhow::anyhow!("signs_from of key {kid}: {why}"))?.timestamp();
        let x = Base64UrlUnpadded::encode_string(&public);
        Ok(Self { kid, signs_from, x, signs: eddsa::signs(&seed), verifies: eddsa::verifies(&public) })
    }
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|key| (&key.kid, key.signs_from))).finish()
    }
}

/// A key of random bytes of the system.
fn new_key(signs_from: i64) -> anyhow::Result<KeptKey> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).context("random bytes of the system")?;
    Ok(KeptKey { kid: kid(&eddsa::public(&seed)), seed: Zeroizing::new(Base64UrlUnpadded::encode_string(seed.as_ref())), signs_from: written(signs_from)? })
}

fn kid(public: &[u8; 32]) -> String {
    blake3::hash(public).to_hex()[..16].to_owned()
}

fn written(seconds: i64) -> anyhow::Result<String> {
    let time: DateTime<Utc> = DateTime::from_timestamp(seconds, 0).context("a time beyond all calendars")?;
    Ok(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

#[cfg(test)]
mod tests;
