//! Points in time as numbers. Reads no clock.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The last that RFC 3339 can write: whoever wrote a later one could not read it back.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// This instant and `seconds` more, or the last there is.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)).min(Self::MAX.0))
    }

    /// The date in UTC as `yyyymmdd`.
    pub fn yyyymmdd(self) -> String {
        self.utc().format("%Y%m%d").to_string()
    }

    fn utc(self) -> DateTime<Utc> {
        // Out of chrono's 262,000 years only by a broken number: shown as the nearest end.
        DateTime::from_timestamp_micros(self.0).unwrap_or(if self.0 < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC })
    }
}

/// RFC 3339 in UTC, microseconds only where they are not zero.
impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.utc().to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

/// Reads RFC 3339 with any offset.
impl FromStr for Timestamp {
    type Err = chrono::ParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        DateTime::parse_from_rfc3339(text).map(|time| Self(time.timestamp_micros()))
    }
}
