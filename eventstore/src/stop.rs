//! Why deciding cannot go on, and how much of it stops.

use crate::log::{Fault, Stuck};

/// Why a batch cannot be decided.
pub enum Stop {
    /// This partition cannot go on; the others can.
    Partition(Box<Stuck>),
    /// The worker cannot.
    Worker(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Stop(stuck) => Self::Partition(stuck),
            fault => Self::Worker(fault),
        }
    }
}
