//! A transfer, `<from>-<number>`: a saga. Money is taken from the payer and credited to the receiver, or given back. Past its
//! deadline the receiver is asked to decline, and whichever it hears first holds: no money is made, and none is lost.

use daybook::{Aggregate, Context, Pair, Policy, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::account::{self, Account, CENTS_MAX};
use crate::shapes::{CustomerEvent, Customers};

/// How long a receiver may take.
pub const SECONDS: i64 = 10;

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    #[default]
    New,
    Asked,
    Funded,
    Late,
    Completed,
    Failed,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Transfer {
    pub status: Status,
    pub to: u64,
    pub cents: i64,
    #[schemars(with = "i64")]
    pub deadline: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Ask { to: u64, cents: i64 },
    RecordWithdrawn,
    RecordCredited,
    RecordDeclined,
    Expire,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Asked { to: u64, cents: i64, deadline: Timestamp },
    Funded { to: u64, cents: i64 },
    WentLate { to: u64 },
    Completed,
    Failed { give_back: i64 },
}

impl Aggregate for Transfer {
    const NAME: &'static str = "transfer";
    const STATE_VERSION: u8 = 1;
    const REFUSALS: &'static [&'static str] = &["already-asked", "same-account", "amount-out-of-range"];
    type Id = Pair;
    type Command = Command;
    type Event = Event;
    type Refusal = &'static str;

    fn decide(&self, command: Command, context: &Context<'_>) -> Result<Vec<Event>, &'static str> {
        let &Self { status, to, cents, .. } = self;
        Ok(match (command, status) {
            (Command::Ask { to, .. }, Status::New) if payer(context.subject) == to.to_string() => return Err("same-account"),
            (Command::Ask { cents, .. }, Status::New) if !(1..=CENTS_MAX).contains(&cents) => return Err("amount-out-of-range"),
            (Command::Ask { to, cents }, Status::New) => vec![Event::Asked { to, cents, deadline: context.now.plus_seconds(SECONDS) }],
            (Command::Ask { to: again, cents: same }, _) if (again, same) != (to, cents) => return Err("already-asked"),
            (Command::RecordWithdrawn, Status::Asked) => vec![Event::Funded { to, cents }],
            (Command::RecordDeclined, Status::Asked) => vec![Event::Failed { give_back: 0 }],
            (Command::Expire, Status::Funded) => vec![Event::WentLate { to }],
            (Command::RecordCredited, Status::Funded | Status::Late) => vec![Event::Completed],
            (Command::RecordDeclined, Status::Funded | Status::Late) => vec![Event::Failed { give_back: cents }],
            _ => vec![], // it is so already
        })
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Asked { to, cents, deadline } => *self = Self { status: Status::Asked, to: *to, cents: *cents, deadline: *deadline },
            Event::Funded { .. } => self.status = Status::Funded,
            Event::WentLate { .. } => self.status = Status::Late,
            Event::Completed => self.status = Status::Completed,
            Event::Failed { .. } => self.status = Status::Failed,
        }
    }

    fn deadline(&self) -> Option<(Timestamp, Command)> {
        (self.status == Status::Funded).then_some((self.deadline, Command::Expire))
    }

    fn refusal_code(refusal: &&'static str) -> &'static str {
        refusal
    }
}

fn payer(transfer: &str) -> String {
    transfer.split('-').next().unwrap_or_default().to_owned()
}

/// What a transfer asks of the two accounts.
pub struct MoveMoney;
impl Policy for MoveMoney {
    const NAME: &'static str = "move-money";
    type Source = Transfer;
    type Target = Account;
    fn react(subject: &str, event: &Event) -> Vec<(String, account::Command)> {
        let transfer = subject.to_owned();
        match event {
            Event::Asked { cents, .. } => vec![(payer(subject), account::Command::Withdraw { transfer, cents: *cents })],
            Event::Funded { to, cents } => vec![(to.to_string(), account::Command::Credit { transfer, cents: *cents })],
            Event::WentLate { to } => vec![(to.to_string(), account::Command::Decline { transfer })],
            Event::Failed { give_back: 0 } | Event::Completed => vec![],
            Event::Failed { give_back } => vec![(payer(subject), account::Command::Credit { transfer, cents: *give_back })],
        }
    }
}

/// What they answer.
pub struct RecordAnswer;
impl Policy for RecordAnswer {
    const NAME: &'static str = "record-answer";
    type Source = Account;
    type Target = Transfer;
    fn react(_: &str, event: &account::Event) -> Vec<(String, Command)> {
        match event {
            account::Event::Withdrawn { transfer, .. } => vec![(transfer.clone(), Command::RecordWithdrawn)],
            account::Event::Credited { transfer, .. } => vec![(transfer.clone(), Command::RecordCredited)],
            account::Event::Short { transfer } | account::Event::Declined { transfer } => vec![(transfer.clone(), Command::RecordDeclined)],
            account::Event::Opened { .. } | account::Event::Deposited { .. } => vec![],
        }
    }
}

/// Every customer of the shop has an account.
pub struct OpenForCustomers;
impl Policy for OpenForCustomers {
    const NAME: &'static str = "open-for-customers";
    type Source = Customers;
    type Target = Account;
    fn react(subject: &str, CustomerEvent::Registered(_): &CustomerEvent) -> Vec<(String, account::Command)> {
        vec![(subject.to_owned(), account::Command::Open { owner: format!("customer {subject}") })]
    }
}
