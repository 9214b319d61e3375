//! What an order knows of itself. Decides nothing.

use serde::{Deserialize, Serialize};

use crate::cart::PricedLine;
use crate::customer::Person;
use crate::payment::Means;
use crate::stock::Shortage;
use crate::{Charge, ProductRef};
use kernel::{Money, Origin, Personal, Timestamp};

/// Most refunds of one order.
pub const REFUNDS_MAX: usize = 1_000;

/// Pieces of a line that come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// the line's place in the order, from 0
    pub line: u32,
    /// of what
    pub product: ProductRef,
    /// how many come back
    pub quantity: u32,
    /// how many the buyer still has
    pub kept: u32,
    /// what that came to; none of what an older rule settled
    pub settled: Option<Settled>,
}

/// What pieces that come back come to, in minor units of their line's currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// what is given back for them
    pub amount: i64,
    /// the freight of those that are kept
    pub freight: i64,
    /// the discount on those that are kept
    pub discount: i64,
}

/// A refund that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refund {
    /// the caller's own name for it
    pub reference: String,
    /// what comes back
    pub lines: Vec<Returned>,
    /// what is given back for it
    pub amount: Money,
    /// the money is back
    pub done: bool,
}

/// How far an order is. Never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// nothing asked yet
    #[default]
    New,
    /// stock is asked
    Reserving,
    /// payment is asked
    Invoiced,
    /// its deadline passed: payment is asked to cancel
    Cancelling,
    /// paid; its goods are taken
    Paid,
    /// the payment was refused; its reservations are given back
    PaymentFailed,
    /// nothing of it could be reserved
    Refused,
    /// not paid by its deadline; its reservations are given back
    Expired,
}

impl Status {
    /// Whether the order has ended.
    pub fn ended(self) -> bool {
        self >= Self::Paid
    }
}

/// What stock has said of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// nothing yet
    Awaited,
    /// the pieces are promised
    Reserved,
    /// they are not
    Short(Shortage),
}

/// A line of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// what, and for how much
    pub sold: PricedLine,
    /// whether stock has it
    pub reply: Reply,
    /// pieces that were returned, or are being
    pub returned: u32,
    /// What the last refund by the older rule left of it, if there was one: later ones share this.
    pub left: Option<Charge>,
    /// its package is there
    pub delivered: bool,
}

/// What an order adds up to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invoice {
    /// `<customer>-<yyyymmdd>-<n>`
    pub number: String,
    /// prices of the reserved lines
    pub items: Money,
    /// their freight
    pub freight: Money,
    /// their discounts, one for each voucher that took effect
    pub discounts: Vec<Money>,
    /// items + freight - discounts
    pub total: Money,
}

/// An order's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// how far
    pub status: Status,
    /// what was ordered
    pub lines: Vec<Line>,
    /// how many lines stock has not answered for
    pub awaited: u32,
    /// who receives it
    pub buyer: Personal<Person>,
    /// how it is paid
    pub means: Option<Means>,
    /// when it was ordered, in business time
    pub placed_at: Timestamp,
    /// when it gives up, in log time
    pub deadline: Timestamp,
    /// whose command it answers
    pub origin: Origin,
    /// once stock has answered
    pub invoice: Option<Invoice>,
    /// its packages were sent
    pub shipped: bool,
    /// what was asked back, in order; the place counts from 1
    pub refunds: Vec<Refund>,
}
