//! An account: money comes in, and goes out by transfers. Cents of one currency.

use std::collections::BTreeSet;

use daybook::{Aggregate, Context, Number};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most that can be paid in.
pub const CENTS_MAX: i64 = 100_000_000_000;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    pub owner: Option<String>,
    pub cents: i64,
    /// transfers whose money came in, or was declined: whichever was first holds
    pub answered: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Open { owner: String },
    Deposit { cents: i64 },
    Withdraw { transfer: String, cents: i64 },
    Credit { transfer: String, cents: i64 },
    Decline { transfer: String },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Opened { owner: String },
    Deposited { cents: i64 },
    Withdrawn { transfer: String, cents: i64 },
    Short { transfer: String },
    Credited { transfer: String, cents: i64 },
    Declined { transfer: String },
}

impl Aggregate for Account {
    const NAME: &'static str = "account";
    const STATE_VERSION: u8 = 1;
    const REFUSALS: &'static [&'static str] = &["unknown-account", "owner-out-of-range", "amount-out-of-range"];
    type Id = Number;
    type Command = Command;
    type Event = Event;
    type Refusal = &'static str;

    fn decide(&self, command: Command, _: &Context<'_>) -> Result<Vec<Event>, &'static str> {
        let is_open = self.owner.is_some();
        Ok(match command {
            Command::Open { owner } if owner.is_empty() || owner.len() > 100 => return Err("owner-out-of-range"),
            Command::Open { .. } if is_open => vec![],
            Command::Open { owner } => vec![Event::Opened { owner }],
            Command::Deposit { .. } if !is_open => return Err("unknown-account"),
            Command::Deposit { cents } if !(1..=CENTS_MAX - self.cents.max(0)).contains(&cents) => return Err("amount-out-of-range"),
            Command::Deposit { cents } => vec![Event::Deposited { cents }],
            Command::Withdraw { transfer, cents } if cents > self.cents => vec![Event::Short { transfer }],
            Command::Withdraw { transfer, cents } => vec![Event::Withdrawn { transfer, cents }],
            Command::Credit { transfer, .. } | Command::Decline { transfer } if self.answered.contains(&transfer) => vec![],
            Command::Credit { transfer, cents } if is_open => vec![Event::Credited { transfer, cents }],
            Command::Credit { transfer, .. } | Command::Decline { transfer } => vec![Event::Declined { transfer }],
        })
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Opened { owner } => self.owner = Some(owner.clone()),
            Event::Deposited { cents } => self.cents += cents,
            Event::Withdrawn { cents, .. } => self.cents -= cents,
            Event::Credited { transfer, cents } => {
                self.cents += cents;
                self.answered.insert(transfer.clone());
            }
            Event::Declined { transfer } => drop(self.answered.insert(transfer.clone())),
            Event::Short { .. } => {}
        }
    }

    fn refusal_code(refusal: &&'static str) -> &'static str {
        refusal
    }
}
