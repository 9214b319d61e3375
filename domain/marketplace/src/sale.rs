//! A seller's part of an order, `<seller>-<order>`: the order's lines, keyed by seller so that a dashboard reads one
//! topic in one order. Follows the order's events exactly once; decides nothing of its own.

pub mod sample;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cart::{ORDER_MINOR_MAX, PricedLine, amounts_fit};
use crate::order::Settled;
use crate::{Charge, ProductRef};
use kernel::{Aggregate, Context, Money, MoneyError};

/// A line as the seller sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// its place in the order, from 0
    pub line: u32,
    /// of what
    pub product: ProductRef,
    /// its name
    pub name: String,
    /// how many
    pub quantity: u32,
    /// of one
    pub unit_price: Money,
    /// for shipping the line
    pub freight: Money,
    /// a discount on the line, at most its total
    pub voucher: Money,
}

impl Line {
    /// A line of an order.
    pub fn of(line: u32, sold: &PricedLine) -> Self {
        let PricedLine { product, name, quantity, unit_price, freight, voucher, .. } = sold.clone();
        Self { line, product, name, quantity, unit_price, freight, voucher }
    }

    /// What it costs.
    pub fn charge(&self) -> Result<Charge, MoneyError> {
        Charge::of(self.quantity, self.unit_price, self.freight, self.voucher)
    }
}

/// How far a sale is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// nothing ordered yet
    #[default]
    New,
    /// ordered
    Placed,
    /// paid
    Paid,
    /// its packages are on their way
    Shipped,
    /// not paid, and never will be
    Closed,
}

/// A sale's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sale {
    /// how far
    pub status: Status,
    /// what was ordered and not returned or delivered, by its place in the order
    pub open: BTreeMap<u32, Line>,
}

/// What an order's events ask of the sale.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// The order was placed.
    Open {
        /// with these lines of the seller
        lines: Vec<Line>,
    },
    /// It was paid.
    Pay {
        /// These of its lines could be reserved.
        lines: Vec<u32>,
    },
    /// Its packages are on their way.
    Ship,
    /// A package of it is there.
    Deliver {
        /// of which line
        line: u32,
    },
    /// Pieces came back.
    Return {
        /// from which line
        line: u32,
        /// how many the buyer keeps
        kept: u32,
        /// what that came to; none of what an older rule settled
        settled: Option<Settled>,
    },
    /// It ended unpaid.
    Close,
}

/// What can have happened to a sale.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The order was placed.
    Opened {
        /// with these lines of the seller
        lines: Vec<Line>,
    },
    /// It was paid, and is in progress now.
    Paid {
        /// with these
        lines: Vec<Line>,
    },
    /// Its packages are on their way.
    Shipped,
    /// A package is there: its line is in progress no longer.
    Delivered {
        /// which line
        line: u32,
    },
    /// Pieces of a line in progress came back.
    Returned {
        /// of which line
        line: u32,
        /// how many the buyer keeps; of none, the line is in progress no longer
        kept: u32,
        /// what that came to; none of what an older rule settled
        settled: Option<Settled>,
    },
    /// It ended unpaid.
    Closed,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Its order has not been placed: the order's events come in order, so this is never met.
    #[error("no such sale")]
    Unknown,
    /// More than an order may cost: no order sends that.
    #[error("a sale costs at most {ORDER_MINOR_MAX} minor units")]
    Amounts,
}

/// Whether these lines cost what an order may, so that a seller's totals have room for very many.
fn fits(lines: &[Line]) -> bool {
    let bounded = |line: &&Line| amounts_fit(line.quantity, &[line.unit_price, line.freight, line.voucher], line.unit_price.currency);
    let cost = |line: &Line| Some(line).filter(bounded)?.charge().and_then(|charge| charge.items.plus(charge.freight)).ok();
    let total = lines.iter().try_fold(0_i64, |sum, line| sum.checked_add(cost(line)?.minor));
    total.is_some_and(|total| total <= ORDER_MINOR_MAX)
}

impl Sale {
    /// Its lines in progress: those that are paid, not delivered and not returned.
    pub fn in_progress(&self) -> impl Iterator<Item = &Line> {
        self.open.values().filter(|_| self.status >= Status::Paid)
    }
}

impl Aggregate for Sale {
    const NAME: &'static str = "sale";
    const STATE_VERSION: u8 = 1;
    const REFUSALS: &'static [&'static str] = &["unknown-sale", "amounts-out-of-range"];
    type Id = crate::SaleId;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command, _: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        let is_open = |line: u32| self.open.contains_key(&line) && self.status >= Status::Paid;
        Ok(match command {
            Command::Open { lines } if self.status == Status::New && !fits(&lines) => return Err(Refusal::Amounts),
            Command::Open { lines } if self.status == Status::New => vec![Event::Opened { lines }],
            Command::Open { .. } => vec![],
            _ if self.status == Status::New => return Err(Refusal::Unknown),
            Command::Pay { lines } if self.status == Status::Placed => {
                vec![Event::Paid { lines: lines.iter().filter_map(|line| self.open.get(line)).cloned().collect() }]
            }
            Command::Ship if self.status == Status::Paid => vec![Event::Shipped],
            Command::Close if self.status == Status::Placed => vec![Event::Closed],
            Command::Deliver { line } if is_open(line) => vec![Event::Delivered { line }],
            Command::Return { line, kept, settled } if is_open(line) => vec![Event::Returned { line, kept, settled }],
            _ => vec![],
        })
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Opened { lines } => {
                self.status = Status::Placed;
                self.open = lines.iter().map(|line| (line.line, line.clone())).collect();
            }
            Event::Paid { lines } => {
                self.status = Status::Paid;
                self.open = lines.iter().map(|line| (line.line, line.clone())).collect();
            }
            Event::Shipped => self.status = Status::Shipped,
            Event::Delivered { line } | Event::Returned { line, kept: 0, .. } => drop(self.open.remove(line)),
            Event::Returned { line, kept, settled } => {
                if let Some(line) = self.open.get_mut(line) {
                    line.quantity = *kept;
                    if let Some(settled) = settled {
                        (line.freight.minor, line.voucher.minor) = (settled.freight, settled.discount);
                    }
                }
            }
            Event::Closed => {
                self.status = Status::Closed;
                self.open.clear();
            }
        }
    }

    fn invariant(&self) -> Result<(), String> {
        if matches!(self.status, Status::New | Status::Closed) && !self.open.is_empty() {
            return Err(format!("it is {:?}, and {} of its lines are open", self.status, self.open.len()));
        }
        let wrong = |line: &&Line| line.quantity == 0 || [line.unit_price, line.freight, line.voucher].iter().any(|amount| amount.minor < 0);
        match self.open.values().find(wrong) {
            Some(line) => {
                let Line { line, quantity, unit_price, freight, voucher, .. } = line;
                let [price, freight, voucher] = [unit_price, freight, voucher].map(|amount| amount.minor);
                Err(format!("line {line}: {quantity} pieces are open at {price}, for {freight} of freight and less {voucher}"))
            }
            None => Ok(()),
        }
    }

    fn refusal_code(refusal: &Refusal) -> &'static str {
        match refusal {
            Refusal::Unknown => "unknown-sale",
            Refusal::Amounts => "amounts-out-of-range",
        }
    }
}
