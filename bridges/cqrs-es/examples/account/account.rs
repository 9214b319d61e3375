//! The bank account of cqrs-es' documentation, in cents: nothing here knows where it is kept.

use std::fmt;

use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{EventUpcaster, SemanticVersionEventUpcaster};
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// An account, and the checks that were written on it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct BankAccount {
    pub account_id: String,
    pub cents: i64,
    pub checks: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum BankAccountCommand {
    OpenAccount {
        account_id: String,
    },
    DepositMoney {
        cents: i64,
    },
    WithdrawMoney {
        cents: i64,
        atm_id: String,
    },
    WriteCheck {
        check_number: String,
        cents: i64,
    },
    /// what nobody should write: it asks the clock
    StampMoney,
    /// nor this: it waits
    WaitForMoney,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum BankAccountEvent {
    AccountOpened { account_id: String },
    CustomerDepositedMoney { cents: i64, balance: i64 },
    CustomerWithdrewCash { cents: i64, balance: i64 },
    CustomerWroteCheck { check_number: String, cents: i64, balance: i64 },
}

/// What the newest payloads are called. 1.0 had `amount`, in units of the currency.
pub const NEWEST: &str = "2.0";

impl DomainEvent for BankAccountEvent {
    fn event_type(&self) -> String {
        match self {
            Self::AccountOpened { .. } => "AccountOpened",
            Self::CustomerDepositedMoney { .. } => "CustomerDepositedMoney",
            Self::CustomerWithdrewCash { .. } => "CustomerWithdrewCash",
            Self::CustomerWroteCheck { .. } => "CustomerWroteCheck",
        }
        .to_owned()
    }
    fn event_version(&self) -> String {
        if matches!(self, Self::CustomerDepositedMoney { .. }) { NEWEST.to_owned() } else { "1.0".to_owned() }
    }
}

#[derive(Debug, PartialEq)]
pub enum BankAccountError {
    NotOpen,
    Short,
    NoAmount,
    Atm,
}

impl fmt::Display for BankAccountError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NotOpen => "the account is not open",
            Self::Short => "funds not available",
            Self::NoAmount => "an amount is more than nothing",
            Self::Atm => "this machine gives no money",
        })
    }
}

impl std::error::Error for BankAccountError {}

/// What the account asks of others. Here it knows the answers.
pub struct BankAccountServices;

impl BankAccountServices {
    async fn atm_withdrawal(&self, atm_id: &str, _: i64) -> Result<(), BankAccountError> {
        if atm_id == "broken" { Err(BankAccountError::Atm) } else { Ok(()) }
    }
}

impl Aggregate for BankAccount {
    const TYPE: &'static str = "account";
    type Command = BankAccountCommand;
    type Event = BankAccountEvent;
    type Error = BankAccountError;
    type Services = BankAccountServices;

    async fn handle(&mut self, command: BankAccountCommand, services: &BankAccountServices, sink: &EventSink<Self>) -> Result<(), BankAccountError> {
        let amount = |cents: i64| if cents > 0 { Ok(cents) } else { Err(BankAccountError::NoAmount) };
        let is_open = || if self.account_id.is_empty() { Err(BankAccountError::NotOpen) } else { Ok(()) };
        let after = |cents: i64| if self.cents < cents { Err(BankAccountError::Short) } else { Ok(self.cents - cents) };
        match command {
            BankAccountCommand::OpenAccount { account_id } => sink.write(BankAccountEvent::AccountOpened { account_id }, self).await,
            BankAccountCommand::DepositMoney { cents } => {
                is_open()?;
                let balance = self.cents + amount(cents)?;
                sink.write(BankAccountEvent::CustomerDepositedMoney { cents, balance }, self).await;
            }
            BankAccountCommand::WithdrawMoney { cents, atm_id } => {
                is_open()?;
                let balance = after(amount(cents)?)?;
                services.atm_withdrawal(&atm_id, cents).await?;
                sink.write(BankAccountEvent::CustomerWithdrewCash { cents, balance }, self).await;
            }
            BankAccountCommand::WriteCheck { check_number, cents } => {
                is_open()?;
                let balance = after(amount(cents)?)?;
                sink.write(BankAccountEvent::CustomerWroteCheck { check_number, cents, balance }, self).await;
            }
            BankAccountCommand::StampMoney => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
                let event = BankAccountEvent::CustomerDepositedMoney { cents: i64::from(now), balance: self.cents + i64::from(now) };
                sink.write(event, self).await;
            }
            BankAccountCommand::WaitForMoney => std::future::pending().await,
        }
        Ok(())
    }

    fn apply(&mut self, event: BankAccountEvent) {
        match event {
            BankAccountEvent::AccountOpened { account_id } => self.account_id = account_id,
            // By the amount, and not to the balance: an event that is applied twice is seen.
            BankAccountEvent::CustomerDepositedMoney { cents, .. } => self.cents += cents,
            BankAccountEvent::CustomerWithdrewCash { cents, .. } => self.cents -= cents,
            BankAccountEvent::CustomerWroteCheck { check_number, cents, .. } => {
                self.checks.push(check_number);
                self.cents -= cents;
            }
        }
    }
}

/// From deposits of 1.0, which have whole units.
pub fn upcasters() -> Vec<Box<dyn EventUpcaster>> {
    let to_cents = |payload: serde_json::Value| {
        let old = &payload["CustomerDepositedMoney"];
        let cents = |name: &str| {
            assert!(old[name].is_i64(), "{name} is a whole number");
            old[name].as_i64().unwrap_or_default() * 100
        };
        json!({ "CustomerDepositedMoney": { "cents": cents("amount"), "balance": cents("balance") } })
    };
    vec![Box::new(SemanticVersionEventUpcaster::new("CustomerDepositedMoney", NEWEST, Box::new(to_cents)))]
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    fn given(events: Vec<BankAccountEvent>) -> cqrs_es::test::AggregateTestExecutor<BankAccount> {
        TestFramework::<BankAccount>::with(BankAccountServices).given(events)
    }

    fn opened() -> BankAccountEvent {
        BankAccountEvent::AccountOpened { account_id: "7".into() }
    }

    fn deposited(cents: i64) -> BankAccountEvent {
        BankAccountEvent::CustomerDepositedMoney { cents, balance: cents }
    }

    #[test]
    fn money_comes_in() {
        given(vec![opened()]).when(BankAccountCommand::DepositMoney { cents: 200 }).then_expect_events(vec![deposited(200)]);
        given(vec![]).when(BankAccountCommand::DepositMoney { cents: 200 }).then_expect_error(BankAccountError::NotOpen);
    }

    #[test]
    fn no_more_goes_out_than_is_there() {
        let withdraw = |cents, atm_id: &str| BankAccountCommand::WithdrawMoney { cents, atm_id: atm_id.into() };
        let withdrawn = BankAccountEvent::CustomerWithdrewCash { cents: 100, balance: 100 };
        given(vec![opened(), deposited(200)]).when(withdraw(100, "A1")).then_expect_events(vec![withdrawn]);
        given(vec![opened(), deposited(200)]).when(withdraw(201, "A1")).then_expect_error_message("funds not available");
        given(vec![opened(), deposited(200)]).when(withdraw(100, "broken")).then_expect_error(BankAccountError::Atm);
    }
}
