//! A view of cqrs-es in PostgreSQL: what came in and what went out of an account.

use cqrs_es::{EventEnvelope, View};
use serde::{Deserialize, Serialize};

use crate::account::{BankAccount, BankAccountEvent};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    pub events: u64,
    pub balance: i64,
}

impl View<BankAccount> for Statement {
    fn update(&mut self, event: &EventEnvelope<BankAccount>) {
        self.events += 1;
        self.balance += match &event.payload {
            BankAccountEvent::AccountOpened { .. } => 0,
            BankAccountEvent::CustomerDepositedMoney { cents, .. } => *cents,
            BankAccountEvent::CustomerWithdrewCash { cents, .. } | BankAccountEvent::CustomerWroteCheck { cents, .. } => -cents,
        };
    }
}
