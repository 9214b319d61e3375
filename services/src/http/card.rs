//! Cards at the door: number, holder and security code are replaced before anything is written (decision 8).

use domain::customer::Card;
use domain::payment::REFUSED_TOKEN;
use serde::Deserialize;

use super::body::Text;

/// A number every payment refuses, for tests; a well-known test number that no issuer gives out.
const REFUSED_NUMBER: &str = "4000000000000002";

/// Makes tokens of card numbers under a key of this installation, so that a retry has the same body.
pub struct Cards {
    key: [u8; 32],
}

impl Cards {
    /// Under this key.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }
}

/// A card as a caller gives it. Neither `Debug` nor `Serialize`: it cannot be logged or stored by accident.
#[derive(Deserialize)]
pub struct CardGiven {
    card_number: Option<Text>,
    card_brand: Option<String>,
    card_type: Option<String>,
}

impl CardGiven {
    /// What may be kept; none where no number was given.
    pub fn kept(self, cards: &Cards) -> Option<Card> {
        let digits: String = self.card_number?.0.chars().filter(char::is_ascii_digit).collect();
        if digits.is_empty() {
            return None;
        }
        let token =
            if digits == REFUSED_NUMBER { REFUSED_TOKEN.to_owned() } else { blake3::keyed_hash(&cards.key, digits.as_bytes()).to_hex()[..32].to_owned() };
        let last4 = digits[digits.len().saturating_sub(4)..].to_owned();
        Some(Card { brand: self.card_brand.or(self.card_type).unwrap_or_default(), last4, token })
    }
}
