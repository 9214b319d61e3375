//! What is written: frozen shapes, held to golden records. And what is read of the shop's customers, whose types are not here.

pub mod account {
    use crate::account::{Account, Command, Event};

    daybook::codec! { Account;
        events {
            Opened { owner: String } as OpenedV1 = "opened" 1;
            Deposited { cents: i64 } as DepositedV1 = "deposited" 1;
            Withdrawn { transfer: String, cents: i64 } as WithdrawnV1 = "withdrawn" 1;
            Short { transfer: String } as ShortV1 = "short" 1;
            Credited { transfer: String, cents: i64 } as CreditedV1 = "credited" 1;
            Declined { transfer: String } as DeclinedV1 = "declined" 1;
        }
        commands {
            Open { owner: String } as OpenV1 = "open" 1;
            Deposit { cents: i64 } as DepositV1 = "deposit" 1;
            Withdraw { transfer: String, cents: i64 } as WithdrawV1 = "withdraw" 1;
            Credit { transfer: String, cents: i64 } as CreditV1 = "credit" 1;
            Decline { transfer: String } as DeclineV1 = "decline" 1;
        }
    }
}

pub mod transfer {
    use daybook::Timestamp;
    use daybook::schemas::wire::{Instant, text};

    use crate::transfer::{Command, Event, Transfer};

    daybook::codec! { Transfer;
        events {
            Asked { to: u64, cents: i64, #[serde(with = "text")] #[schemars(with = "Instant")] deadline: Timestamp } as AskedV1 = "asked" 1;
            Funded { to: u64, cents: i64 } as FundedV1 = "funded" 1;
            WentLate { to: u64 } as WentLateV1 = "went-late" 1;
            Completed = "completed" 1;
            Failed { give_back: i64 } as FailedV1 = "failed" 1;
        }
        commands {
            Ask { to: u64, cents: i64 } as AskV1 = "ask" 1;
            RecordWithdrawn = "record-withdrawn" 1;
            RecordCredited = "record-credited" 1;
            RecordDeclined = "record-declined" 1;
            Expire = "expire" 1;
        }
    }
}

daybook::source! {
    /// The shop's customers.
    Customers: CustomerEvent = "customer" {
        Registered { data: String } as RegisteredSeen = "registered" 1;
    }
}
