//! Amounts as the API shows them, exact and without their currency: sums are only ever made within one.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Sub};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Decimals kept: ISO 4217 has no currency with more.
const DECIMALS: usize = 4;

/// An amount, in ten-thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i128);

impl Amount {
    /// A decimal number; nothing at all is zero, as of an order that was never priced.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, body) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
        if fraction.len() > DECIMALS || !body.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return None;
        }
        let digits = format!("0{whole}{fraction:0<DECIMALS$}");
        digits.parse().ok().map(|parts: i128| Self(if negative { -parts } else { parts }))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let text = format!("{:0>width$}", self.0.unsigned_abs(), width = DECIMALS + 1);
        let (whole, fraction) = text.split_at(text.len() - DECIMALS);
        write!(out, "{sign}{whole}.{:0<2}", fraction.trim_end_matches('0'))
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("'{text}' is no amount")))
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Add for Amount {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for Amount {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Mul<i64> for Amount {
    type Output = Self;
    fn mul(self, times: i64) -> Self {
        Self(self.0 * i128::from(times))
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Self::add)
    }
}

#[cfg(test)]
mod tests {
    use super::Amount;

    #[test]
    fn amounts_are_read_and_shown_exactly() {
        let shown = |text: &str| Amount::parse(text).map(|amount| amount.to_string());
        for text in ["0.00", "5.60", "-1.50", "12.345", "1000000000000.01"] {
            assert_eq!(shown(text).as_deref(), Some(text));
        }
        assert_eq!(Amount::parse(""), Some(Amount::default()));
        assert_eq!(shown("7").as_deref(), Some("7.00"));
        for wrong in ["x", "1,5", "1.2.3", "1.00001", "--1"] {
            assert_eq!(Amount::parse(wrong), None, "{wrong}");
        }
    }
}
