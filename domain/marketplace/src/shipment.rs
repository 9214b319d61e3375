//! The shipment of a paid order: one package for each line. Its id is its order's.
//! Every package ends delivered or cancelled, once.

pub mod sample;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ProductRef;
use kernel::{Aggregate, Context};

/// How far a shipment is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// nothing paid yet
    #[default]
    New,
    /// its packages are on their way
    Approved,
    /// some package has been delivered
    InProgress,
    /// no package is on its way any more
    Concluded,
}

/// How far a package is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Package {
    /// on its way
    Shipped,
    /// there
    Delivered,
    /// called back before it was delivered: its line was returned whole
    Cancelled,
}

/// A shipment's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shipment {
    /// its packages by the order's line, from 0
    pub packages: BTreeMap<u32, (ProductRef, Package)>,
    /// how many are on their way
    pub open: usize,
}

/// What can be asked of a shipment. All of it comes from policies.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Send a package for each of these lines.
    Create {
        /// place in the order, product
        lines: Vec<(u32, ProductRef)>,
    },
    /// These packages are there.
    Deliver {
        /// of which lines
        lines: Vec<u32>,
    },
    /// Call these back, if they are still on their way.
    Cancel {
        /// of which lines
        lines: Vec<u32>,
    },
}

/// What can have happened to a shipment.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Its packages are on their way.
    Created {
        /// place in the order, product
        lines: Vec<(u32, ProductRef)>,
    },
    /// A package is there.
    Delivered {
        /// of which line
        line: u32,
        /// what is in it
        product: ProductRef,
    },
    /// A package was called back.
    Cancelled {
        /// of which line
        line: u32,
        /// what is in it
        product: ProductRef,
    },
}

/// Why not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Nothing was sent under this number.
    #[error("no such shipment")]
    Unknown,
}

impl Package {
    /// A paid line's, as its order knows it: one that is not there was called back if its line was returned whole.
    pub fn of(delivered: bool, kept: u32) -> Self {
        match (delivered, kept) {
            (true, _) => Self::Delivered,
            (false, 0) => Self::Cancelled,
            (false, _) => Self::Shipped,
        }
    }
}

impl Status {
    /// How far a shipment of these packages is.
    pub fn of(packages: impl IntoIterator<Item = Package>) -> Self {
        let (mut any, mut open, mut delivered) = (false, false, false);
        for package in packages {
            (any, open, delivered) = (true, open | (package == Package::Shipped), delivered | (package == Package::Delivered));
        }
        match (any, open, delivered) {
            (false, ..) => Self::New,
            (_, false, _) => Self::Concluded,
            (_, true, true) => Self::InProgress,
            (_, true, false) => Self::Approved,
        }
    }
}

impl Shipment {
    /// How far it is.
    pub fn status(&self) -> Status {
        Status::of(self.packages.values().map(|(_, package)| *package))
    }

    /// What happens to those of the lines whose packages are on their way; the rest have ended already.
    fn each(&self, mut lines: Vec<u32>, event: fn(u32, ProductRef) -> Event) -> Vec<Event> {
        lines.sort_unstable();
        lines.dedup();
        let open = |line: u32| self.packages.get(&line).filter(|(_, package)| *package == Package::Shipped).map(|(product, _)| event(line, *product));
        lines.into_iter().filter_map(open).collect()
    }

    fn end(&mut self, line: u32, how: Package) {
        if let Some((_, package)) = self.packages.get_mut(&line) {
            *package = how;
            self.open = self.open.saturating_sub(1);
        }
    }
}

impl Aggregate for Shipment {
    const NAME: &'static str = "shipment";
    const STATE_VERSION: u8 = 1;
    const REFUSALS: &'static [&'static str] = &["unknown-shipment"];
    type Id = crate::OrderId;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command, _: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Create { .. } if !self.packages.is_empty() => Ok(vec![]),
            Command::Create { lines } => Ok(vec![Event::Created { lines }]),
            _ if self.packages.is_empty() => Err(Refusal::Unknown),
            Command::Deliver { lines } => Ok(self.each(lines, |line, product| Event::Delivered { line, product })),
            Command::Cancel { lines } => Ok(self.each(lines, |line, product| Event::Cancelled { line, product })),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Created { lines } => {
                self.packages = lines.iter().map(|(line, product)| (*line, (*product, Package::Shipped))).collect();
                self.open = self.packages.len();
            }
            Event::Delivered { line, .. } => self.end(*line, Package::Delivered),
            Event::Cancelled { line, .. } => self.end(*line, Package::Cancelled),
        }
    }

    fn invariant(&self) -> Result<(), String> {
        let open = self.packages.values().filter(|(_, package)| *package == Package::Shipped).count();
        if open == self.open { Ok(()) } else { Err(format!("{} packages are counted as on their way, {open} are", self.open)) }
    }

    fn refusal_code(_: &Refusal) -> &'static str {
        "unknown-shipment"
    }
}
