//! What a decision may do, and what is made of one that does otherwise.

use std::panic::{AssertUnwindSafe, catch_unwind};

use daybook::Number;
use daybook::testing::given;
use daybook_cqrs_es::{CONFLICT, Command, Hosted, OnLog, Recorded};

use crate::account::{BankAccount, BankAccountCommand, BankAccountEvent};

type Account = OnLog<BankAccount>;

pub fn recorded(event: BankAccountEvent) -> Recorded<BankAccountEvent> {
    Recorded::of(event)
}

pub fn opened() -> Recorded<BankAccountEvent> {
    recorded(BankAccountEvent::AccountOpened { account_id: "7".into() })
}

pub fn deposited(cents: i64, balance: i64) -> Recorded<BankAccountEvent> {
    recorded(BankAccountEvent::CustomerDepositedMoney { cents, balance })
}

fn handle(command: &BankAccountCommand) -> Command<BankAccountEvent> {
    Account::handle(command).unwrap()
}

#[test]
fn it_decides_as_it_does_in_cqrs_es() {
    let state = given::<Account>("7", [opened()]).when(handle(&BankAccountCommand::DepositMoney { cents: 50 })).then(&[deposited(50, 50)]);
    assert_eq!((state.version, state.state.cents), (2, 50));
    given::<Account>("7", []).when(handle(&BankAccountCommand::DepositMoney { cents: 50 })).refused("unknown-account");
    given::<Account>("7", [opened()]).when(handle(&BankAccountCommand::DepositMoney { cents: 0 })).refused("amount-out-of-range");
    let withdraw = |cents, atm_id: &str| handle(&BankAccountCommand::WithdrawMoney { cents, atm_id: atm_id.into() });
    given::<Account>("7", [opened(), deposited(50, 50)]).when(withdraw(51, "A1")).refused("funds-short");
    given::<Account>("7", [opened(), deposited(50, 50)]).when(withdraw(50, "broken")).refused("machine-broken");
}

#[test]
fn an_append_is_done_where_it_was_loaded_and_nowhere_else() {
    let append = |expected| Command::Append { expected, events: vec![deposited(50, 50)] };
    given::<Account>("7", [opened()]).when(append(1)).then(&[deposited(50, 50)]);
    for elsewhere in [0, 2, u64::MAX] {
        given::<Account>("7", [opened()]).when(append(elsewhere)).refused(CONFLICT);
    }
    given::<Account>("7", [opened()]).when(Command::Append { expected: 1, events: vec![] }).then(&[]);
}

#[test]
fn a_decision_that_waits_or_changes_is_none() {
    let said = |command: BankAccountCommand| {
        let panic = catch_unwind(AssertUnwindSafe(|| given::<Account>("7", [opened()]).when(handle(&command)))).map(|_| ()).unwrap_err();
        panic.downcast_ref::<String>().unwrap().clone()
    };
    assert_eq!(said(BankAccountCommand::WaitForMoney), "account waits for something while it decides: effects follow from events, by policies");
    let stamped = said(BankAccountCommand::StampMoney);
    assert!(stamped.starts_with("account is not deterministic: it decided Ok([CustomerDepositedMoney { cents: "), "{stamped}");
}

/// What `handle` does to itself beside its events is nobody's.
#[test]
fn a_state_is_its_events_and_a_copy_is_the_state() {
    let account = given::<Account>("7", [opened(), deposited(50, 50)]).when(handle(&BankAccountCommand::DepositMoney { cents: 1 })).then(&[deposited(1, 51)]);
    let copy = account.clone();
    assert_eq!(copy, account);
    assert_eq!(account.state.copy().cents, 51);
    assert_eq!(format!("{account:?}"), r#"account at 3: {"account_id":"7","cents":51,"checks":[]}"#);
    assert_ne!(given::<Account>("7", [opened()]).when(handle(&BankAccountCommand::DepositMoney { cents: 1 })).then(&[deposited(1, 1)]), account);
    // Saved heads are bincode, which cannot hold all that JSON can: the state is JSON within.
    let saved = daybook::schemas::codec::save(1, &account).unwrap();
    assert_eq!(daybook::schemas::codec::load::<Account>(1, &saved), Ok(Some(copy)));
    assert_eq!("7".parse::<<Account as daybook::Aggregate>::Id>(), Ok(Number(7)));
}
