//! The payment of an order: captured, refused or cancelled, once; what was captured may be given back, part by part,
//! never more than it was. Its id is its order's.

pub mod sample;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::customer::Card;
use kernel::{Aggregate, Context, Currency, Money};

/// A card token that every payment refuses, so that the refusal's path can be tested.
pub const REFUSED_TOKEN: &str = "test-card-refused";

/// A way to pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// a credit card
    CreditCard,
    /// a debit card
    DebitCard,
    /// a bank slip
    Boleto,
}

impl Method {
    /// The most one payment may be, in minor units: what the (simulated) provider behind the method grants.
    pub const fn minor_max(self) -> i64 {
        match self {
            Self::CreditCard => 10_000_000,
            Self::DebitCard => 5_000_000,
            Self::Boleto => i64::MAX,
        }
    }
}

/// How an order is paid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Means {
    /// by what
    pub method: Method,
    /// with which card, for the card methods
    pub card: Option<Card>,
    /// in how many instalments
    pub installments: u32,
}

/// What an order asks to be paid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Demand {
    /// the invoice's total
    pub amount: Money,
    /// how
    pub means: Means,
    /// the discounts, one for each voucher that took effect
    pub vouchers: Vec<Money>,
}

/// How far a payment is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// nothing asked yet
    #[default]
    New,
    /// the money is here
    Captured,
    /// the provider said no
    Refused,
    /// the order gave up before anything was captured
    Cancelled,
}

/// A payment's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Payment {
    /// how far
    pub status: Status,
    /// what was captured
    pub captured: Option<Money>,
    /// what was given back, by the order's refund, from 1
    pub refunds: BTreeMap<u32, Money>,
}

impl Payment {
    /// Minor units given back so far: no more than was captured, as each refund was held against what was left.
    pub fn refunded(&self) -> i64 {
        self.refunds.values().fold(0, |sum, amount| sum.checked_add(amount.minor).unwrap_or(sum))
    }

    /// Minor units of this currency that can be given back.
    fn left(&self, currency: Currency) -> i64 {
        let captured = self.captured.filter(|captured| captured.currency == currency);
        captured.and_then(|captured| captured.minor.checked_sub(self.refunded())).unwrap_or_default()
    }
}

/// What can be asked of a payment.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Capture the money.
    Capture(Demand),
    /// Never capture it, unless it was.
    Cancel,
    /// Give some of it back.
    Refund {
        /// which of the order's refunds, from 1
        refund: u32,
        /// how much
        amount: Money,
    },
}

/// Why the provider said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decline {
    /// The amount is over the method's limit.
    Limit,
    /// The card was refused.
    Card,
    /// A card method without a card.
    NoCard,
}

/// What can have happened to a payment.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The money is here.
    Captured(Demand),
    /// The provider said no.
    Refused {
        /// why
        why: Decline,
        /// to what
        amount: Money,
    },
    /// Nothing was captured and nothing will be.
    Cancelled,
    /// Some of it was given back.
    Refunded {
        /// which of the order's refunds, from 1
        refund: u32,
        /// how much
        amount: Money,
    },
}

/// A payment refuses no order's command: the provider's no is an event, since the order waits for it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// An amount below zero.
    #[error("a payment's amount is at least 0")]
    Amount,
    /// More than there is, or of a payment that was not captured.
    #[error("{left} of what was captured can be given back, not {asked}")]
    Over {
        /// minor units
        left: i64,
        /// minor units
        asked: i64,
    },
}

fn decline(demand: &Demand) -> Option<Decline> {
    let Means { method, card, .. } = &demand.means;
    match card {
        _ if demand.amount.minor > method.minor_max() => Some(Decline::Limit),
        None if *method != Method::Boleto => Some(Decline::NoCard),
        Some(card) if card.token == REFUSED_TOKEN && *method != Method::Boleto => Some(Decline::Card),
        _ => None,
    }
}

impl Aggregate for Payment {
    const NAME: &'static str = "payment";
    const STATE_VERSION: u8 = 2;
    const REFUSALS: &'static [&'static str] = &["amount-out-of-range", "over-refunded"];
    type Id = crate::PaymentId;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command, _: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Refund { refund, .. } if self.refunds.contains_key(&refund) => Ok(vec![]),
            Command::Refund { refund, amount } => {
                let left = self.left(amount.currency);
                let fits = self.status == Status::Captured && (0..=left).contains(&amount.minor);
                if fits { Ok(vec![Event::Refunded { refund, amount }]) } else { Err(Refusal::Over { left, asked: amount.minor }) }
            }
            _ if self.status != Status::New => Ok(vec![]),
            Command::Cancel => Ok(vec![Event::Cancelled]),
            Command::Capture(demand) if demand.amount.minor < 0 => Err(Refusal::Amount),
            Command::Capture(demand) => Ok(vec![match decline(&demand) {
                Some(why) => Event::Refused { why, amount: demand.amount },
                None => Event::Captured(demand),
            }]),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Captured(demand) => (self.status, self.captured) = (Status::Captured, Some(demand.amount)),
            Event::Refused { .. } => self.status = Status::Refused,
            Event::Cancelled => self.status = Status::Cancelled,
            Event::Refunded { refund, amount } => drop(self.refunds.insert(*refund, *amount)),
        }
    }

    fn invariant(&self) -> Result<(), String> {
        let captured = self.captured.map_or(0, |captured| captured.minor);
        if (self.status == Status::Captured) != self.captured.is_some() {
            return Err(format!("it is {:?}, and {captured} minor units are captured", self.status));
        }
        let currency = self.captured.map(|captured| captured.currency);
        if let Some((refund, amount)) = self.refunds.iter().find(|(_, amount)| amount.minor < 0 || Some(amount.currency) != currency) {
            return Err(format!("refund {refund} gives back {} {}", amount.minor, amount.currency));
        }
        let refunded: i128 = self.refunds.values().map(|amount| i128::from(amount.minor)).sum();
        if captured < 0 || refunded > captured.into() { Err(format!("of {captured} minor units captured {refunded} are given back")) } else { Ok(()) }
    }

    fn money(event: &Event) -> Option<Money> {
        match event {
            Event::Captured(demand) => Some(demand.amount),
            Event::Refunded { amount, .. } => Some(*amount),
            Event::Refused { .. } | Event::Cancelled => None,
        }
    }

    fn refusal_code(refusal: &Refusal) -> &'static str {
        match refusal {
            Refusal::Amount => "amount-out-of-range",
            Refusal::Over { .. } => "over-refunded",
        }
    }
}
