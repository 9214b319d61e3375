//! Access tokens as this process issues and believes them. Looks at no account and no session.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::token::{Claims, Issuer, Refused};
use super::watched::Watched;

/// Tokens whose signatures need not be checked again, most of them at once. All are forgotten when there are more.
const KNOWN_MAX: usize = 20_000;
/// The subject of tokens that are made on the machine itself, by whoever may read its signing keys.
pub const MACHINE: &str = "machine";

/// Issues and believes tokens.
pub struct Tokens {
    issuer: Issuer,
    keys: Watched,
    /// by a hash of the token; what is in it was true when its signature was checked, and time goes on
    known: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

impl Tokens {
    /// Of the application of this name, with the keys in this file, which is made where there is none.
    pub fn open(application: &str, keys: &Path) -> anyhow::Result<Self> {
        Ok(Self { issuer: issuer(application), keys: Watched::open_or_make(keys)?, known: Mutex::default() })
    }

    /// A token for a session of an account.
    pub fn issue(&self, account: &str, session: &str, now: i64) -> anyhow::Result<String> {
        self.issuer.issue(&self.keys.keys(), account, session, now)
    }

    /// What a token says, if it is to be believed.
    pub fn verify(&self, token: &str, now: i64) -> Result<Arc<Claims>, Refused> {
        let hash = *blake3::hash(token.as_bytes()).as_bytes();
        if let Some(claims) = self.known.lock().get(&hash)
            && claims.exp > now
        {
            return Ok(Arc::clone(claims));
        }
        let claims = Arc::new(self.issuer.verify(&self.keys.keys(), token, now)?);
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(hash, Arc::clone(&claims));
        Ok(claims)
    }

    /// The keys that others check tokens with, as RFC 7517 writes them.
    pub fn jwks(&self) -> serde_json::Value {
        self.keys.keys().jwks()
    }

    /// Reads the keys again if their file changed. A key that is gone believes no token any more.
    pub fn refresh(&self) -> anyhow::Result<()> {
        if self.keys.refresh()? {
            self.known.lock().clear();
            tracing::info!("the signing keys were read again");
        }
        Ok(())
    }
}

/// Who issues an application's tokens, and for whom: itself.
pub fn issuer(application: &str) -> Issuer {
    Issuer::new(format!("daybook/{application}"), format!("daybook/{application}"))
}

/// What goes over the wire to whoever renews a session: `<session>.<number>.<code>`. The code needs the installation's key, so
/// that a token that was never given out says nothing of a session.
pub fn refresh_token(key: &[u8; 32], session: &str, number: u64) -> String {
    format!("{session}.{number}.{}", code(key, "refresh", session, number))
}

/// The session and the number of a refresh token, if it was given out by this installation.
pub fn read_refresh_token(key: &[u8; 32], token: &str) -> Option<(String, u64)> {
    numbered(key, "refresh", token)
}

/// What is sent to whoever has forgotten a password: `<account>.<number>.<code>`.
pub fn reset_token(key: &[u8; 32], account: &str, number: u64) -> String {
    format!("{account}.{number}.{}", code(key, "reset", account, number))
}

/// The account and the number of a reset token, if it was given out by this installation.
pub fn read_reset_token(key: &[u8; 32], token: &str) -> Option<(String, u64)> {
    numbered(key, "reset", token)
}

fn numbered(key: &[u8; 32], what: &str, token: &str) -> Option<(String, u64)> {
    let mut parts = token.split('.');
    let (Some(of), Some(number), Some(given), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else { return None };
    let number: u64 = number.parse().ok().filter(|known: &u64| known.to_string() == number)?;
    // A `Hash` is compared in constant time.
    let given = blake3::Hash::from_hex(given).ok().filter(|hash| hash.to_hex().as_str() == given)?;
    (given == code(key, what, of, number)).then(|| (of.to_owned(), number))
}

fn code(key: &[u8; 32], what: &str, of: &str, number: u64) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(&blake3::derive_key("daybook 2026-11-26 numbered tokens", key));
    for part in [what.as_bytes(), of.as_bytes(), &number.to_be_bytes()] {
        hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_tokens_are_of_one_kind_one_number_and_one_installation() {
        let (key, other) = ([1; 32], [2; 32]);
        let token = refresh_token(&key, "5f3a-0011", 7);
        assert_eq!(read_refresh_token(&key, &token), Some(("5f3a-0011".to_owned(), 7)));
        let (body, code) = token.rsplit_once('.').unwrap();
        for wrong in [
            String::new(),
            token.replace(".7.", ".8."),
            token.replace(".7.", ".07."),
            token.replace(".7.", ".+7."),
            token.replace("0011", "0012"),
            format!("{token}."),
            format!("{token}.x"),
            format!("{body}.{}", code.to_uppercase()),
            format!("{body}.{}", &code[1..]),
            reset_token(&key, "5f3a-0011", 7),
        ] {
            assert_eq!(read_refresh_token(&key, &wrong), None, "{wrong}");
        }
        assert_eq!((read_refresh_token(&other, &token), read_reset_token(&key, &token)), (None, None));
    }
}
