//! A password, and whether it is one that people may choose, by NIST SP 800-63B. It must never show itself, nor ask for
//! signs and digits.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, de};
use zeroize::{Zeroize, Zeroizing};

use crate::identity::folding::{folded, normal};

/// Characters of a password at least, after normalising.
pub const CHARACTERS_MIN: usize = 12;
/// Characters of a password at most, after normalising.
pub const CHARACTERS_MAX: usize = 128;
/// Bytes of a text that is looked at as a password; 128 characters have at most 512, and some more before normalising.
const BYTES_MAX: usize = 4096;
/// Characters of something personal that is searched for inside a password; shorter ones are found everywhere.
const PERSONAL_CHARACTERS_MIN: usize = 6;

/// Passwords that everyone tries first, folded, of `CHARACTERS_MIN` characters or more. A test makes the file.
static DENIED: LazyLock<HashSet<&str>> = LazyLock::new(|| include_str!("denied.txt").lines().filter(|line| !line.starts_with("# ")).collect());

/// A password in its normal form. Gone from memory when dropped.
pub struct Password(Zeroizing<String>);

/// Why a password may not be chosen.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unacceptable {
    /// fewer than `CHARACTERS_MIN` characters
    #[error("the password has fewer than {CHARACTERS_MIN} characters: a few words in a row are easy to keep in mind")]
    TooShort,
    /// more than `CHARACTERS_MAX` characters
    #[error("the password has more than {CHARACTERS_MAX} characters")]
    TooLong,
    /// on the list of those that everyone tries first
    #[error("the password is one of those that are guessed first: choose another")]
    TooCommon,
    /// little more than the address or the name of the application
    #[error("the password is little more than your e-mail address or the name of this application: choose another")]
    TooPersonal,
}

impl Unacceptable {
    /// Its name in answers to programs; it never changes.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooShort => "too-short",
            Self::TooLong => "too-long",
            Self::TooCommon => "too-common",
            Self::TooPersonal => "too-personal",
        }
    }
}

impl Password {
    /// Of what someone typed.
    pub fn new(typed: String) -> Self {
        let typed = Zeroizing::new(typed);
        match normal(&typed) {
            Cow::Borrowed(_) => Self(typed),
            Cow::Owned(normal) => Self(Zeroizing::new(normal)),
        }
    }

    /// Whether it may be chosen by someone about whom this is known: the address and its part before the @, the name of
    /// the application.
    pub fn acceptable(&self, about: &[&str]) -> Result<(), Unacceptable> {
        match self.0.chars().count() {
            0..CHARACTERS_MIN => return Err(Unacceptable::TooShort),
            CHARACTERS_MIN..=CHARACTERS_MAX => {}
            _ => return Err(Unacceptable::TooLong),
        }
        let folded = Zeroizing::new(folded(&self.0));
        if DENIED.contains(folded.as_str()) {
            return Err(Unacceptable::TooCommon);
        }
        let personal = about.iter().any(|known| says_little_more(&folded, known));
        if personal { Err(Unacceptable::TooPersonal) } else { Ok(()) }
    }

    /// What is hashed.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Password(…)")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut typed = String::deserialize(deserializer)?;
        if typed.len() > BYTES_MAX {
            typed.zeroize();
            return Err(de::Error::custom(format_args!("a password has at most {BYTES_MAX} bytes")));
        }
        Ok(Self::new(typed))
    }
}

/// Whether most of a folded password is something known.
fn says_little_more(password: &str, known: &str) -> bool {
    let known = folded(known.trim());
    let characters = known.chars().count();
    if known == password {
        return true;
    }
    let found = password.matches(known.as_str()).count();
    characters >= PERSONAL_CHARACTERS_MIN && 2 * found * characters > password.chars().count()
}

#[cfg(test)]
mod tests;
