//! The cart service's own copy of a product, as far as a cart needs it. Follows the catalog's events in their
//! order, so it never shows a product older than one it has shown.

pub mod sample;

use serde::{Deserialize, Serialize};

use kernel::{Aggregate, Context, Money, Routing};

/// The copy's state. One stands in every partition of the cart service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProductCopy {
    /// what the catalog last said
    pub offer: Option<Offer>,
    /// no longer sold
    pub withdrawn: bool,
}

/// What a product costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// what buyers read
    pub name: String,
    /// for one
    pub price: Money,
    /// for shipping an order line of it
    pub freight: Money,
    /// of which version
    pub version: String,
}

/// What the catalog's events ask of the copy.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Show this version.
    Copy(Offer),
    /// Show this price.
    CopyPrice(Money),
    /// Show it as withdrawn.
    CopyWithdrawal,
}

/// What can have happened to the copy.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It shows this version.
    Copied(Offer),
    /// It shows this price.
    PriceCopied(Money),
    /// It shows the product as withdrawn.
    WithdrawalCopied,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// A price before its product: the catalog never says that.
    #[error("no such product")]
    Unknown,
}

impl Aggregate for ProductCopy {
    const NAME: &'static str = "replica";
    const STATE_VERSION: u8 = 1;
    const REFUSALS: &'static [&'static str] = &["unknown-product"];
    const ROUTING: Routing = Routing::EveryPartition;
    type Id = crate::ProductRef;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command, _: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        match (command, &self.offer) {
            (Command::Copy(offer), now) if Some(&offer) == now.as_ref() => Ok(vec![]),
            (Command::Copy(offer), _) => Ok(vec![Event::Copied(offer)]),
            (_, None) => Err(Refusal::Unknown),
            (Command::CopyPrice(price), Some(now)) if price == now.price => Ok(vec![]),
            (Command::CopyPrice(price), _) => Ok(vec![Event::PriceCopied(price)]),
            (Command::CopyWithdrawal, _) if self.withdrawn => Ok(vec![]),
            (Command::CopyWithdrawal, _) => Ok(vec![Event::WithdrawalCopied]),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Copied(offer) => self.offer = Some(offer.clone()),
            Event::PriceCopied(price) => {
                if let Some(offer) = &mut self.offer {
                    offer.price = *price;
                }
            }
            Event::WithdrawalCopied => self.withdrawn = true,
        }
    }

    fn refusal_code(_: &Refusal) -> &'static str {
        "unknown-product"
    }
}
