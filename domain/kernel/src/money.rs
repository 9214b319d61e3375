//! Money in integer minor units. No float ever, and no arithmetic across currencies.

use std::fmt;

use iso_currency::Currency;
use serde::{Deserialize, Serialize};

/// An amount in the currency's minor units (cents, pence).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// Minor units; negative only in differences.
    pub minor: i64,
    /// ISO 4217.
    pub currency: Currency,
}

/// Why an amount could not be computed or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Two currencies in one sum.
    #[error("{0} and {1} do not add up: one currency a sum")]
    Currencies(Currency, Currency),
    /// More than 64 bits of minor units.
    #[error("the amount does not fit: at most 9,223,372,036,854,775,807 minor units")]
    TooLarge,
    /// No decimal number, or more decimals than the currency has.
    #[error("'{text}' is no amount in {currency}: digits with at most {digits} decimals")]
    NotAnAmount {
        /// what was given
        text: String,
        /// in which currency
        currency: Currency,
        /// the decimals it has
        digits: u16,
    },
}

impl Money {
    /// `minor` units of `currency`.
    pub fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Nothing, in `currency`.
    pub fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// Reads a decimal such as `2.55`; trailing zeros past the currency's decimals are allowed.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let digits = decimals(currency);
        let wrong = || MoneyError::NotAnAmount { text: text.to_owned(), currency, digits };
        let (negative, body) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return Err(wrong());
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > usize::from(digits) {
            return Err(wrong());
        }
        let minor: i64 = format!("{whole}{fraction:0<width$}", width = usize::from(digits)).parse().map_err(|_| MoneyError::TooLarge)?;
        Ok(Self::new(if negative { -minor } else { minor }, currency))
    }

    /// The sum of both.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.checked(other, i64::checked_add)
    }

    /// This less `other`.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        self.checked(other, i64::checked_sub)
    }

    /// This, `quantity` times.
    pub fn times(self, quantity: u32) -> Result<Self, MoneyError> {
        self.minor.checked_mul(i64::from(quantity)).map(|minor| Self::new(minor, self.currency)).ok_or(MoneyError::TooLarge)
    }

    fn checked(self, other: Self, op: fn(i64, i64) -> Option<i64>) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Currencies(self.currency, other.currency));
        }
        op(self.minor, other.minor).map(|minor| Self::new(minor, self.currency)).ok_or(MoneyError::TooLarge)
    }
}

/// The decimals of a currency; 2 where ISO 4217 names none (precious metals, test codes).
fn decimals(currency: Currency) -> u16 {
    currency.exponent().unwrap_or(2)
}

/// The decimal number with the currency's decimals, without its code: `2.55`.
impl fmt::Display for Money {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = usize::from(decimals(self.currency));
        let sign = if self.minor < 0 { "-" } else { "" };
        let text = format!("{:0>width$}", self.minor.unsigned_abs(), width = digits + 1);
        let (whole, fraction) = text.split_at(text.len() - digits);
        if digits == 0 { write!(out, "{sign}{whole}") } else { write!(out, "{sign}{whole}.{fraction}") }
    }
}
