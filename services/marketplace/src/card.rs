//! Cards at the door: number, holder and security code are replaced before anything is written.

use domain::customer::Card;
use domain::payment::REFUSED_TOKEN;
use schemars::JsonSchema;
use serde::Deserialize;

use daybook::config::{KeySetting, Secret, Table};
use daybook::http::body::Text;
use daybook::http::failure::Failure;
use daybook::http::given::Unused;
use daybook::keys::{KeySpec, Keys};

/// A number every payment refuses, for tests; a well-known test number that no issuer gives out.
const REFUSED_NUMBER: &str = "4000000000000002";

/// The key of card tokens: the same number is the same token within an installation, so that a retry has the same body.
pub const KEY: KeySpec = KeySpec { name: "card", makes: "card tokens" };

/// The settings of that key.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct CardSettings {
    /// Key of card tokens, 64 hex digits; made and kept in the data directory if not given
    #[arg(long, env = "DAYBOOK_CARD_KEY", value_name = "HEX", hide_env_values = true)]
    card_key: Option<Secret>,
    /// Makes a new key of card tokens where the one of the data directory is lost; the tokens that are stored will not match
    #[arg(long)]
    new_card_key: bool,
}

impl CardSettings {
    /// It, from flags, or else from the settings file.
    pub fn keys(&self, file: &mut Table) -> anyhow::Result<Vec<KeySetting>> {
        Ok(vec![KeySetting::of(KEY, self.card_key.clone(), self.new_card_key, file)?])
    }
}

/// A card as a caller gives it. Neither `Debug` nor `Serialize`: it cannot be logged or stored by accident.
#[derive(Deserialize, JsonSchema)]
pub struct CardGiven {
    card_number: Option<Text>,
    card_brand: Option<String>,
    card_type: Option<String>,
    #[serde(default)]
    card_holder_name: Unused,
    #[serde(default)]
    card_expiration: Unused,
    #[serde(default)]
    card_security_number: Unused,
}

/// Longest name of a brand.
const BRAND_BYTES_MAX: usize = 40;

impl CardGiven {
    /// What may be kept; none where no number was given. Holder, end and security code never are.
    pub fn kept(self, keys: &Keys) -> Result<Option<Card>, Failure> {
        let Self { card_holder_name: Unused, card_expiration: Unused, card_security_number: Unused, .. } = self;
        for (name, brand) in [("card_brand", &self.card_brand), ("card_type", &self.card_type)] {
            let brand = brand.as_deref().unwrap_or_default();
            if brand.len() > BRAND_BYTES_MAX || brand.chars().any(|sign| sign.is_numeric() || sign.is_control()) {
                return Err(Failure::bad(&format!("/{name}"), format!("'{name}' is the name of a brand, without digits, of at most {BRAND_BYTES_MAX} bytes")));
            }
        }
        let digits: String = self.card_number.map(|number| number.0).unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
        if digits.is_empty() {
            return Ok(None);
        }
        let token = if digits == REFUSED_NUMBER {
            REFUSED_TOKEN.to_owned()
        } else {
            blake3::keyed_hash(keys.get(KEY.name), digits.as_bytes()).to_hex()[..32].to_owned()
        };
        let last4 = digits[digits.len().saturating_sub(4)..].to_owned();
        Ok(Some(Card { brand: self.card_brand.or(self.card_type).unwrap_or_default(), last4, token }))
    }
}
