//! What a seller has of a product: available, reserved, sold. Never promises more than it received.

pub mod sample;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::product::TEXT_BYTES_MAX;
use crate::{ID_MAX, OrderId, ProductRef};
use kernel::{Aggregate, Context};

/// Most pieces an item ever receives.
pub const RECEIVED_MAX: u64 = 1_000_000_000_000;

/// A line of an order: what a reservation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OrderLine {
    /// whose
    pub order: OrderId,
    /// its place in the order, from 0
    pub line: u32,
}

/// Where an item's pieces are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    /// that ever came in
    pub received: u64,
    /// promised to orders that have not ended
    pub reserved: u64,
    /// that orders took
    pub sold: u64,
    /// that orders took and gave back
    pub returned: u64,
}

impl Pieces {
    /// Those that can be promised.
    pub fn available(&self) -> Option<u64> {
        self.received.checked_sub(self.reserved)?.checked_sub(self.sold)
    }

    /// After an event; none after one that these pieces cannot have had.
    pub fn after(self, event: &Event) -> Option<Self> {
        let Self { mut received, mut reserved, mut sold, mut returned } = self;
        match event {
            Event::Received { quantity, .. } => received = received.checked_add(*quantity)?,
            Event::Brought { quantity, .. } => received = received.checked_add((*quantity).into())?,
            Event::TakenBack { quantity, .. } => received = received.checked_sub((*quantity).into())?,
            Event::Reserved { quantity, .. } => reserved = reserved.checked_add((*quantity).into())?,
            Event::Released { quantity, .. } => reserved = reserved.checked_sub((*quantity).into())?,
            Event::Confirmed { quantity, .. } => {
                (reserved, sold) = (reserved.checked_sub((*quantity).into())?, sold.checked_add((*quantity).into())?);
            }
            Event::Returned { quantity, .. } => {
                (sold, returned) = (sold.checked_sub((*quantity).into())?, returned.checked_add((*quantity).into())?);
            }
            Event::Bound { .. } | Event::Withdrawn | Event::Short { .. } => {}
        }
        let after = Self { received, reserved, sold, returned };
        after.available().map(|_| after)
    }
}

/// A stock item's state. Its id is its product's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StockItem {
    /// The product version it is bound to; none until the catalog has published the product.
    pub version: Option<String>,
    /// versions that were replaced
    pub gone: BTreeSet<String>,
    /// the product is no longer sold
    pub withdrawn: bool,
    /// pieces that ever came in
    pub received: u64,
    /// pieces promised to orders that have not ended
    pub reserved: u64,
    /// pieces that orders took
    pub sold: u64,
    /// the promises
    pub reservations: BTreeMap<OrderLine, u32>,
    /// Receipts by their reference, so that one is not booked twice.
    pub receipts: BTreeMap<String, u64>,
    /// pieces that orders took and gave back; they are not counted as sold
    pub returned: u64,
    /// What was given back, by line and the order's refund, so that none is booked twice.
    pub returns: BTreeSet<(OrderLine, u32)>,
    /// The reservations whose pieces came in for them. No more than there are reservations: what an order took is its
    /// own, so nothing is kept of a receipt that came with it.
    pub brought: BTreeSet<OrderLine>,
}

/// What can be asked of a stock item.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// The catalog has this version of the product now.
    Bind {
        /// which
        version: String,
    },
    /// The catalog does not sell it any more.
    Withdraw,
    /// Pieces came in.
    Receive {
        /// how many
        quantity: u64,
        /// The caller's own name for the delivery; one booked already is not booked again.
        reference: String,
    },
    /// Promise pieces to an order's line.
    Reserve {
        /// for what
        of: OrderLine,
        /// how many
        quantity: u32,
        /// the version it was priced with, if known
        version: Option<String>,
        /// The pieces come in with the order, for it alone.
        brought: bool,
    },
    /// The order took them.
    Confirm {
        /// for what they were promised
        of: OrderLine,
    },
    /// The order will not take them.
    Release {
        /// for what they were promised
        of: OrderLine,
    },
    /// Pieces that the order took come back.
    Return {
        /// for what they were promised
        of: OrderLine,
        /// which of the order's refunds, from 1
        refund: u32,
        /// how many
        quantity: u32,
    },
}

/// Why pieces could not be promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shortage {
    /// The catalog has published no such product.
    UnknownProduct,
    /// Fewer are available.
    OutOfStock,
    /// The product is no longer sold.
    Withdrawn,
    /// It was priced with a version that was replaced.
    VersionGone,
}

/// What can have happened to a stock item.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It belongs to this version of the product.
    Bound {
        /// which
        version: String,
    },
    /// Its product is no longer sold.
    Withdrawn,
    /// Pieces came in.
    Received {
        /// how many
        quantity: u64,
        /// the caller's own name for the delivery
        reference: String,
    },
    /// Pieces came in for an order's line, and are promised to it at once.
    Brought {
        /// for what
        of: OrderLine,
        /// how many
        quantity: u32,
    },
    /// Pieces that came in for an order's line went again, as the order did not take them.
    TakenBack {
        /// for what they came in
        of: OrderLine,
        /// how many
        quantity: u32,
    },
    /// Pieces are promised.
    Reserved {
        /// for what
        of: OrderLine,
        /// how many
        quantity: u32,
    },
    /// Pieces could not be promised. An event, since the order waits for the answer.
    Short {
        /// for what
        of: OrderLine,
        /// how many were asked
        quantity: u32,
        /// why
        why: Shortage,
    },
    /// Promised pieces were taken.
    Confirmed {
        /// for what they were promised
        of: OrderLine,
        /// how many
        quantity: u32,
    },
    /// Promised pieces are available again.
    Released {
        /// for what they were promised
        of: OrderLine,
        /// how many
        quantity: u32,
    },
    /// Pieces that an order took are available again.
    Returned {
        /// for what they were promised
        of: OrderLine,
        /// which of the order's refunds, from 1
        refund: u32,
        /// how many
        quantity: u32,
    },
}

/// Why not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The same delivery with another quantity.
    #[error("delivery '{reference}' was booked with {booked} pieces")]
    Booked {
        /// its name
        reference: String,
        /// how many were booked
        booked: u64,
    },
    /// More than orders took: an order returns no more than it took, so this is never met.
    #[error("{sold} pieces are sold, {quantity} cannot come back")]
    NotSold {
        /// by all orders
        sold: u64,
        /// how many would come back
        quantity: u32,
    },
    /// Numbers too high.
    #[error("a seller's and a product's number are at most {ID_MAX}")]
    Id,
    /// Too many, or a reference too long or empty.
    #[error("an item receives at most {RECEIVED_MAX} pieces, each delivery under a reference of 1 to {TEXT_BYTES_MAX} bytes")]
    Delivery,
}

impl StockItem {
    /// Pieces that can be promised.
    pub fn available(&self) -> u64 {
        self.pieces().available().unwrap_or_default()
    }

    fn pieces(&self) -> Pieces {
        let Self { received, reserved, sold, returned, .. } = *self;
        Pieces { received, reserved, sold, returned }
    }

    fn shortage(&self, quantity: u32, version: Option<&str>, brought: bool) -> Option<Shortage> {
        if self.withdrawn {
            Some(Shortage::Withdrawn)
        } else if self.version.is_none() {
            Some(Shortage::UnknownProduct)
        } else if version.is_some_and(|version| self.gone.contains(version)) {
            Some(Shortage::VersionGone)
        } else {
            let room = if brought { RECEIVED_MAX.checked_sub(self.received) } else { Some(self.available()) };
            room.is_none_or(|room| u64::from(quantity) > room).then_some(Shortage::OutOfStock)
        }
    }

    fn receive(&self, quantity: u64, reference: String, subject: &str) -> Result<Vec<Event>, Refusal> {
        // What was received before there was a bound is there.
        if self.receipts.is_empty() && subject.parse::<ProductRef>().is_ok_and(|id| !id.is_in_range()) {
            return Err(Refusal::Id);
        }
        match self.receipts.get(&reference) {
            Some(booked) if *booked == quantity => return Ok(vec![]),
            Some(booked) => return Err(Refusal::Booked { booked: *booked, reference }),
            None => {}
        }
        let fits = self.received.checked_add(quantity).is_some_and(|sum| sum <= RECEIVED_MAX);
        if !fits || reference.is_empty() || reference.len() > TEXT_BYTES_MAX {
            return Err(Refusal::Delivery);
        }
        Ok(vec![Event::Received { quantity, reference }])
    }
}

impl Aggregate for StockItem {
    const NAME: &'static str = "stock-item";
    const STATE_VERSION: u8 = 3;
    const REFUSALS: &'static [&'static str] = &["delivery-booked", "not-sold", "id-out-of-range", "delivery-out-of-range"];
    type Id = crate::ProductRef;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command, context: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        Ok(match command {
            // A version that is gone never comes back: the catalog's events arrive in order, so this is a repeat.
            Command::Bind { version } if self.version.as_ref() == Some(&version) || self.gone.contains(&version) => vec![],
            Command::Bind { version } => vec![Event::Bound { version }],
            Command::Withdraw if self.withdrawn => vec![],
            Command::Withdraw => vec![Event::Withdrawn],
            Command::Receive { quantity, reference } => self.receive(quantity, reference, context.subject)?,
            Command::Reserve { of, .. } if self.reservations.contains_key(&of) => vec![],
            Command::Reserve { of, quantity, version, brought } => match self.shortage(quantity, version.as_deref(), brought) {
                Some(why) => vec![Event::Short { of, quantity, why }],
                None if brought => vec![Event::Brought { of, quantity }, Event::Reserved { of, quantity }],
                None => vec![Event::Reserved { of, quantity }],
            },
            Command::Confirm { of } => self.reservations.get(&of).map(|&quantity| Event::Confirmed { of, quantity }).into_iter().collect(),
            Command::Return { of, refund, .. } if self.returns.contains(&(of, refund)) => vec![],
            Command::Return { quantity, .. } if u64::from(quantity) > self.sold => return Err(Refusal::NotSold { sold: self.sold, quantity }),
            Command::Return { of, refund, quantity } => vec![Event::Returned { of, refund, quantity }],
            Command::Release { of } => match self.reservations.get(&of) {
                Some(&quantity) if self.brought.contains(&of) => vec![Event::Released { of, quantity }, Event::TakenBack { of, quantity }],
                Some(&quantity) => vec![Event::Released { of, quantity }],
                None => vec![],
            },
        })
    }

    fn evolve(&mut self, event: &Event) {
        // Every event that was decided fits: a decision looks at these pieces.
        if let Some(Pieces { received, reserved, sold, returned }) = self.pieces().after(event) {
            (self.received, self.reserved, self.sold, self.returned) = (received, reserved, sold, returned);
        }
        match event {
            Event::Bound { version } => {
                if let Some(old) = self.version.replace(version.clone()) {
                    self.gone.insert(old);
                }
            }
            Event::Withdrawn => self.withdrawn = true,
            Event::Received { quantity, reference } => drop(self.receipts.insert(reference.clone(), *quantity)),
            Event::Reserved { of, quantity } => drop(self.reservations.insert(*of, *quantity)),
            Event::Brought { of, .. } => drop(self.brought.insert(*of)),
            Event::TakenBack { of, .. } => drop(self.brought.remove(of)),
            Event::Short { .. } => {}
            Event::Confirmed { of, .. } => {
                self.reservations.remove(of);
                self.brought.remove(of);
            }
            Event::Released { of, .. } => drop(self.reservations.remove(of)),
            Event::Returned { of, refund, .. } => drop(self.returns.insert((*of, *refund))),
        }
    }

    fn invariant(&self) -> Result<(), String> {
        let Self { received, reserved, sold, .. } = *self;
        if self.pieces().available().is_none() {
            return Err(format!("of {received} pieces received {reserved} are reserved and {sold} sold"));
        }
        let promised: u64 = self.reservations.values().map(|quantity| u64::from(*quantity)).sum();
        if promised != reserved {
            return Err(format!("{reserved} pieces are reserved, the reservations are of {promised}"));
        }
        let delivered: u128 = self.receipts.values().map(|quantity| u128::from(*quantity)).sum();
        if delivered > received.into() { Err(format!("{received} pieces were received, the deliveries are of {delivered}")) } else { Ok(()) }
    }

    fn refusal_code(refusal: &Refusal) -> &'static str {
        match refusal {
            Refusal::Booked { .. } => "delivery-booked",
            Refusal::NotSold { .. } => "not-sold",
            Refusal::Id => "id-out-of-range",
            Refusal::Delivery => "delivery-out-of-range",
        }
    }
}
