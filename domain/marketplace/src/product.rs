//! A seller's product: its price, its versions, its end. Knows nothing of stock or carts.

pub mod sample;

use serde::{Deserialize, Serialize};

use crate::{ID_MAX, ProductRef};
use kernel::{Aggregate, Context, Money};

/// Highest price, in minor units: with [`crate::cart::QUANTITY_MAX`] and [`crate::cart::LINES_MAX`] every order's total fits 64 bits.
pub const PRICE_MINOR_MAX: i64 = 10_000_000_000;
/// Longest text field, in bytes.
pub const TEXT_BYTES_MAX: usize = 2_000;

/// What a seller says of a product.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// what buyers read first
    pub name: String,
    /// the seller's own code
    pub sku: String,
    /// its shelf
    pub category: String,
    /// its text
    pub description: String,
    /// for one
    pub price: Money,
    /// for shipping an order line of it
    pub freight: Money,
    /// the seller's word for its state, passed on unread
    pub status: String,
    /// Names this version; carts and stock refer to it.
    pub version: String,
}

/// A product's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Product {
    /// what it is, once registered
    pub details: Option<Details>,
    /// no longer sold
    pub withdrawn: bool,
}

/// What can be asked of a product.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Offer it.
    Register(Details),
    /// Ask another price of its current version.
    ChangePrice {
        /// the new one
        price: Money,
        /// refused unless this is the current version, if given
        version: Option<String>,
    },
    /// Offer a new version in the old one's place.
    Replace(Details),
    /// Stop selling it.
    Withdraw,
}

/// What can have happened to a product.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It is offered.
    Registered(Details),
    /// It has another price.
    PriceChanged {
        /// the new one
        price: Money,
        /// of which version
        version: String,
    },
    /// A new version stands in the old one's place.
    Replaced(Details),
    /// It is no longer sold.
    Withdrawn {
        /// the last version
        version: String,
    },
}

/// Why not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Nobody registered it.
    #[error("no such product")]
    Unknown,
    /// It is registered with other details.
    #[error("already registered, as version {version}, with other details: replace it to change them")]
    Registered {
        /// its version
        version: String,
    },
    /// It is no longer sold.
    #[error("the product is withdrawn")]
    Withdrawn,
    /// Another version stands.
    #[error("the product's version is {is}, not {asked}")]
    OtherVersion {
        /// the current one
        is: String,
        /// the one asked for
        asked: String,
    },
    /// A replacement needs a version of its own.
    #[error("version {version} stands already: a replacement needs a new one")]
    SameVersion {
        /// the current one
        version: String,
    },
    /// A price that cannot be asked.
    #[error("a price and a freight value lie between 0 and {PRICE_MINOR_MAX} minor units of one currency")]
    Price,
    /// A price in another currency than before.
    #[error("the product is sold in {is}")]
    Currency {
        /// its currency's code
        is: &'static str,
    },
    /// Numbers too high.
    #[error("a seller's and a product's number are at most {ID_MAX}")]
    Id,
    /// A text too long, or a version or name left empty.
    #[error("name and version must be given, and each text is at most {TEXT_BYTES_MAX} bytes")]
    Text,
}

fn priced(amounts: &[Money]) -> Result<(), Refusal> {
    let fits = |money: &Money| (0..=PRICE_MINOR_MAX).contains(&money.minor) && money.currency == amounts[0].currency;
    if amounts.iter().all(fits) { Ok(()) } else { Err(Refusal::Price) }
}

fn checked(details: Details) -> Result<Details, Refusal> {
    priced(&[details.price, details.freight])?;
    let texts = [&details.name, &details.sku, &details.category, &details.description, &details.status, &details.version];
    if details.name.is_empty() || details.version.is_empty() || texts.iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(Refusal::Text);
    }
    Ok(details)
}

impl Aggregate for Product {
    const NAME: &'static str = "product";
    const STATE_VERSION: u8 = 1;
    const REFUSALS: &'static [&'static str] = &[
        "unknown-product",
        "already-registered",
        "withdrawn",
        "other-version",
        "same-version",
        "id-out-of-range",
        "price-out-of-range",
        "other-currency",
        "text-out-of-range",
    ];
    type Id = crate::ProductRef;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command, context: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        use Command::{ChangePrice, Register, Replace, Withdraw};
        let Some(now) = &self.details else {
            return match command {
                // What was registered before there was a bound goes on.
                Register(_) if context.subject.parse::<ProductRef>().is_ok_and(|id| !id.is_in_range()) => Err(Refusal::Id),
                Register(details) => Ok(vec![Event::Registered(checked(details)?)]),
                _ => Err(Refusal::Unknown),
            };
        };
        match command {
            Register(details) if details == *now && !self.withdrawn => Ok(vec![]),
            Register(_) => Err(Refusal::Registered { version: now.version.clone() }),
            Withdraw if self.withdrawn => Ok(vec![]),
            _ if self.withdrawn => Err(Refusal::Withdrawn),
            Withdraw => Ok(vec![Event::Withdrawn { version: now.version.clone() }]),
            ChangePrice { version: Some(asked), .. } if asked != now.version => Err(Refusal::OtherVersion { is: now.version.clone(), asked }),
            ChangePrice { price, .. } if price == now.price => Ok(vec![]),
            ChangePrice { price, .. } if price.currency != now.price.currency => Err(Refusal::Currency { is: now.price.currency.code() }),
            ChangePrice { price, .. } => priced(&[price]).map(|()| vec![Event::PriceChanged { price, version: now.version.clone() }]),
            Replace(details) if details == *now => Ok(vec![]),
            Replace(details) if details.version == now.version => Err(Refusal::SameVersion { version: details.version }),
            Replace(details) if details.price.currency != now.price.currency => Err(Refusal::Currency { is: now.price.currency.code() }),
            Replace(details) => Ok(vec![Event::Replaced(checked(details)?)]),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Registered(details) | Event::Replaced(details) => self.details = Some(details.clone()),
            Event::PriceChanged { price, .. } => {
                if let Some(details) = &mut self.details {
                    details.price = *price;
                }
            }
            Event::Withdrawn { .. } => self.withdrawn = true,
        }
    }

    fn refusal_code(refusal: &Refusal) -> &'static str {
        match refusal {
            Refusal::Unknown => "unknown-product",
            Refusal::Registered { .. } => "already-registered",
            Refusal::Withdrawn => "withdrawn",
            Refusal::OtherVersion { .. } => "other-version",
            Refusal::SameVersion { .. } => "same-version",
            Refusal::Id => "id-out-of-range",
            Refusal::Price => "price-out-of-range",
            Refusal::Currency { .. } => "other-currency",
            Refusal::Text => "text-out-of-range",
        }
    }
}
