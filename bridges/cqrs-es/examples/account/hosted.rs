//! The account on the log: what it says beside its own trait, and where it is found.

use std::sync::LazyLock;

use cqrs_es::persist::EventUpcaster;
use daybook::web::{Access, OPERATORS};
use daybook::{Context, Number};
use daybook_cqrs_es::{CONFLICT, Hosted, HostedStates, Hosting};

use crate::account::{BankAccount, BankAccountError, BankAccountServices, upcasters};

static UPCASTERS: LazyLock<Vec<Box<dyn EventUpcaster>>> = LazyLock::new(upcasters);

impl Hosted for BankAccount {
    const STATE_VERSION: u8 = 1;
    const REFUSALS: &'static [&'static str] = &["unknown-account", "funds-short", "amount-out-of-range", "machine-broken", CONFLICT];
    const EVENTS: &'static [(&'static str, &'static [&'static str])] =
        &[("AccountOpened", &["1.0"]), ("CustomerDepositedMoney", &["1.0", "2.0"]), ("CustomerWithdrewCash", &["1.0"]), ("CustomerWroteCheck", &["1.0"])];
    type Id = Number;

    fn services(_: &Context<'_>) -> BankAccountServices {
        BankAccountServices
    }

    fn refusal_code(error: &BankAccountError) -> &'static str {
        match error {
            BankAccountError::NotOpen => "unknown-account",
            BankAccountError::Short => "funds-short",
            BankAccountError::NoAmount => "amount-out-of-range",
            BankAccountError::Atm => "machine-broken",
        }
    }

    fn upcasters() -> &'static [Box<dyn EventUpcaster>] {
        &UPCASTERS
    }
}

/// Where accounts are found.
pub const ACCOUNTS: Hosting = Hosting {
    service: "accounts",
    access: Access::Owners(&["holder"]),
    commits: Some(OPERATORS),
    states: Some(HostedStates { view: "accounts", all: "/accounts", one: "/accounts/{id}" }),
    events: ("account-events", "/accounts/{id}/events"),
    example: ("7", "^[0-9]+$"),
};
