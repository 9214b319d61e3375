//! One run of "update delivery", by its caller's transaction id: the packages it chose. They are recorded first and
//! marked delivered after, each idempotently, so that a repeat delivers the same ones and no others.

pub mod sample;

use serde::{Deserialize, Serialize};

use crate::{OrderId, SellerId};
use kernel::{Aggregate, Context};

/// Most sellers that one run delivers for.
pub const SELLERS_MAX: usize = 10;
/// Most packages of one run: of each seller the packages of one shipment.
pub const PACKAGES_MAX: usize = SELLERS_MAX * crate::cart::LINES_MAX;

/// A seller's packages of one shipment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// of whose packages
    pub seller: SellerId,
    /// in which shipment
    pub order: OrderId,
    /// of which of its lines
    pub lines: Vec<u32>,
}

/// A run's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeliveryRun {
    /// what it chose, once it did
    pub chosen: Option<Vec<Chosen>>,
}

/// What can be asked of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Deliver these. What an earlier call under this id chose stands.
    Choose {
        /// which
        packages: Vec<Chosen>,
    },
}

/// What can have happened to a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// These are delivered.
    Chosen {
        /// which
        packages: Vec<Chosen>,
    },
}

/// Why not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// More than a run delivers.
    #[error("a run delivers for at most {SELLERS_MAX} sellers, at most {PACKAGES_MAX} packages")]
    Full,
}

impl Aggregate for DeliveryRun {
    const NAME: &'static str = "delivery";
    const STATE_VERSION: u8 = 1;
    const REFUSALS: &'static [&'static str] = &["too-many-packages"];
    type Id = crate::TransactionId;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, Command::Choose { packages }: Command, _: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        if self.chosen.is_some() {
            return Ok(vec![]);
        }
        if packages.len() > SELLERS_MAX || packages.iter().map(|chosen| chosen.lines.len()).sum::<usize>() > PACKAGES_MAX {
            return Err(Refusal::Full);
        }
        Ok(vec![Event::Chosen { packages }])
    }

    fn evolve(&mut self, Event::Chosen { packages }: &Event) {
        self.chosen = Some(packages.clone());
    }

    fn refusal_code(_: &Refusal) -> &'static str {
        "too-many-packages"
    }
}
