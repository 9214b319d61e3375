//! Secrets among the settings: keys, and texts that are never printed.

use std::fmt;

use crate::keys::{KeyOrigin, KeySpec};
use crate::misuse::misused;

/// What is said of a key of the application.
#[derive(Clone, Debug)]
pub struct KeySetting {
    /// which
    pub spec: KeySpec,
    /// itself, if it is not kept in the data directory
    pub given: Option<Secret>,
    /// a lost one is replaced
    pub renew: bool,
}

impl KeySetting {
    /// From a flag, or else from the settings file.
    pub fn of(spec: KeySpec, flag: Option<Secret>, renew: bool, file: &mut toml::Table) -> anyhow::Result<Self> {
        let setting = format!("{}_key", spec.name);
        let of_file = match file.remove(&setting) {
            None => None,
            Some(toml::Value::String(text)) => Some(Secret(text)),
            Some(_) => misused!("{setting} in the settings file must be a text of 64 hex digits"),
        };
        Ok(Self { spec, given: flag.or(of_file), renew })
    }

    /// Where the key comes from.
    pub fn origin(&self) -> anyhow::Result<KeyOrigin> {
        let given = self.given.as_ref().map(|secret| secret.key(self.spec)).transpose()?;
        Ok(match given {
            _ if self.renew => KeyOrigin::New(given),
            Some(key) => KeyOrigin::Given(key),
            None => KeyOrigin::Kept,
        })
    }
}

/// A text that is never printed.
#[derive(Clone)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(redacted)")
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Secret {
    /// Itself, for whoever must know it and prints nothing of it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// As a key of 32 bytes.
    fn key(&self, spec: KeySpec) -> anyhow::Result<[u8; 32]> {
        let digits: Option<Vec<u8>> = self.0.chars().map(|digit| u8::try_from(digit.to_digit(16)?).ok()).collect();
        let bytes = digits.map(|digits| digits.chunks(2).map(|pair| pair.iter().fold(0, |sum, digit| (sum << 4) | digit)).collect::<Vec<u8>>());
        match bytes.and_then(|bytes| bytes.try_into().ok()).filter(|_| self.0.len() == 64) {
            Some(key) => Ok(key),
            None => misused!("{}_key must be 64 hex digits", spec.name),
        }
    }
}
