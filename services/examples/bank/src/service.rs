//! What readers see, and how the bank is reached.

use daybook::web::{Access, Amount, Failure, Method, OPERATORS, Operation, Routes};
use daybook::{Currency, FoldError, Overlay, Seen, StateRow};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::account::{self, Account};
use crate::transfer::{self, Transfer};

/// What all accounts hold together. Money on its way is in none of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct TotalRow {
    pub cents: i64,
    /// what ever came in from outside
    pub deposited: i64,
}

pub fn fold_totals(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let (cents, deposited) = match seen.event::<Account, _>()? {
        Some(account::Event::Deposited { cents }) => (cents, cents),
        Some(account::Event::Credited { cents, .. }) => (cents, 0),
        Some(account::Event::Withdrawn { cents, .. }) => (-cents, 0),
        _ => return Ok(()),
    };
    rows.update::<TotalRow>("total", |total| (total.cents, total.deposited) = (total.cents + cents, total.deposited + deposited))?;
    Ok(())
}

#[derive(Deserialize, JsonSchema)]
struct Opening {
    owner: String,
}

#[derive(Deserialize, JsonSchema)]
struct Deposit {
    amount: Amount,
}

#[derive(Deserialize, JsonSchema)]
struct Asked {
    to: u64,
    amount: Amount,
}

fn cents(amount: &Amount) -> Result<i64, Failure> {
    Ok(amount.money(Currency::EUR, "/amount")?.minor)
}

pub fn account_routes() -> Routes {
    let account = |operation: Operation| operation.text_part("id", "7", "^[0-9]+$");
    let opening = account(Operation::command::<Account>("Opens an account")).example(json!({ "owner": "Anna" }));
    let deposit = account(Operation::command::<Account>("Pays money in")).example(json!({ "amount": "100.00" }));
    let open = |given: Opening| Ok(account::Command::Open { owner: given.owner });
    let pay_in = |given: Deposit| Ok(account::Command::Deposit { cents: cents(&given.amount)? });
    let shown = account(Operation::new("Shows an account"));
    Routes::of("accounts", Access::Owners(&["holder"]))
        .command::<Account, _, _>(Method::PUT, "/accounts/{id}", open, opening)
        .command::<Account, _, _>(Method::POST, "/accounts/{id}/deposits", pay_in, deposit)
        .row::<StateRow<Account>, Account>("/accounts/{id}", "accounts", str::to_owned, |row| row.revision, shown)
        .page::<StateRow<Account>>("/accounts", "accounts", "", Operation::new("Lists accounts"))
        .page::<TotalRow>("/totals", "totals", "", Operation::new("Shows what all accounts hold").by(OPERATORS))
}

pub fn transfer_routes() -> Routes {
    let transfer = |operation: Operation| operation.text_part("id", "7-1", "^[0-9]+-[0-9]+$");
    let asked = transfer(Operation::command::<Transfer>("Asks for a transfer")).example(json!({ "to": 8, "amount": "12.50" }));
    let ask = |given: Asked| Ok(transfer::Command::Ask { to: given.to, cents: cents(&given.amount)? });
    let shown = transfer(Operation::new("Shows a transfer"));
    Routes::of("transfers", Access::Owners(&["holder"]))
        .command::<Transfer, _, _>(Method::POST, "/transfers/{id}", ask, asked)
        .row::<StateRow<Transfer>, Transfer>("/transfers/{id}", "transfers", str::to_owned, |row| row.revision, shown)
        .page::<StateRow<Transfer>>("/transfers", "transfers", "", Operation::new("Lists transfers"))
}
