//! Ids that nobody counts up or guesses: 128 bits in lower-case hexadecimal. Knows no aggregate.

use std::fmt;
use std::str::FromStr;

/// 32 hexadecimal digits, in their one spelling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hex(String);

/// Two of them, `<first>-<second>`: routed by the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HexPair(pub Hex, pub Hex);

impl Hex {
    /// A new one, which nobody else has.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }
}

impl fmt::Display for Hex {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for Hex {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_one = text.len() == 32 && text.bytes().all(digit);
        if is_one { Ok(Self(text.to_owned())) } else { Err(format!("'{text}' is no id: 32 lower-case hexadecimal digits")) }
    }
}

impl fmt::Display for HexPair {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.0, self.1)
    }
}

impl FromStr for HexPair {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no id: two of 32 lower-case hexadecimal digits, with a - between");
        let (first, second) = text.split_once('-').ok_or_else(wrong)?;
        Ok(Self(first.parse().map_err(|_| wrong())?, second.parse().map_err(|_| wrong())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_spelling() {
        let id = Hex::random().to_string();
        assert_eq!(id.parse::<Hex>().map(|id| id.to_string()), Ok(id.clone()));
        assert!(format!("{id}-{id}").parse::<HexPair>().is_ok());
        for wrong in
            [String::new(), id.to_uppercase() + "F", id[1..].to_owned(), format!("{id}0"), format!("{id}-"), format!("-{id}"), format!("{id}-{id}-{id}")]
        {
            assert!(wrong.parse::<Hex>().is_err() && wrong.parse::<HexPair>().is_err(), "{wrong}");
        }
    }
}
