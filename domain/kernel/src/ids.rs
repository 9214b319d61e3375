//! Ids of numbers, each in its one spelling: digits, without a zero before others. Two spellings would be two aggregates.

use std::fmt;
use std::str::FromStr;

/// A number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(pub u64);

impl fmt::Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl FromStr for Number {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().map(Self).filter(|number| number.to_string() == text);
        number.ok_or_else(|| format!("'{text}' is no id: a whole number in its shortest spelling"))
    }
}

/// Two numbers, `<first>-<second>`: routed by the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair(pub u64, pub u64);

impl fmt::Display for Pair {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.0, self.1)
    }
}

impl FromStr for Pair {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let pair = text.split_once('-').and_then(|(first, second)| Some(Self(first.parse().ok()?, second.parse().ok()?)));
        pair.filter(|pair| pair.to_string() == text).ok_or_else(|| format!("'{text}' is no id of the form <number>-<number>"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Number, Pair};

    #[test]
    fn ids_have_one_spelling() {
        assert_eq!("17".parse(), Ok(Number(17)));
        for wrong in ["", "017", "+17", "-1", "1.0", "18446744073709551616"] {
            assert!(wrong.parse::<Number>().is_err(), "{wrong}");
        }
        assert_eq!("17-3".parse(), Ok(Pair(17, 3)));
        for wrong in ["", "17", "17-", "-3", "017-3", "+17-3", "17-3-1", "17-18446744073709551616", " 17-3"] {
            assert!(wrong.parse::<Pair>().is_err(), "{wrong}");
        }
    }
}
