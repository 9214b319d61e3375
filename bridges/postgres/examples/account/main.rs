//! The bank account of `bridges/cqrs-es`, living in PostgreSQL: `ACCOUNT_POSTGRES=… cargo run --release --example account-in-postgres -- up`.
#![allow(missing_docs, dead_code, clippy::print_stderr, reason = "an example, read from top to bottom")]

#[path = "../../../cqrs-es/examples/account/account.rs"]
mod account;
#[path = "../../../cqrs-es/examples/account/hosted.rs"]
mod hosted;
mod statement;

use std::sync::Arc;

use account::{BankAccount, BankAccountCommand, BankAccountEvent};
use daybook::web::{Example, Routes};
use daybook::{Application, Capability, Policy, Role, Rules, Service};
use daybook_cqrs_es::{Command, OnLog, Recorded};
use daybook_postgres::{PostgresStore, Settings, TableView};
use statement::Statement;

/// A check of a book that costs something costs a cent: an effect of an event, and so a policy.
struct ChargeChecks;

impl Policy for ChargeChecks {
    const NAME: &'static str = "charge-checks";
    type Source = OnLog<BankAccount>;
    type Target = OnLog<BankAccount>;
    fn react(subject: &str, recorded: &Recorded<BankAccountEvent>) -> Vec<(String, Command<BankAccountEvent>)> {
        let BankAccountEvent::CustomerWroteCheck { check_number, .. } = &recorded.event else { return vec![] };
        let charge = BankAccountCommand::WithdrawMoney { cents: 1, atm_id: check_number.clone() };
        let costs = check_number.starts_with("fee-");
        OnLog::<BankAccount>::handle(&charge).ok().filter(|_| costs).map(|charge| (subject.to_owned(), charge)).into_iter().collect()
    }
}

/// Where PostgreSQL is.
const VARIABLE: &str = "ACCOUNT_POSTGRES";

fn store() -> Result<PostgresStore, String> {
    let url =
        std::env::var(VARIABLE).map_err(|_| format!("{VARIABLE} is not set: infra/postgres/postgres start, then {VARIABLE}=$(infra/postgres/postgres url)"))?;
    let settings = Settings::new(&url, "accounts").map_err(|why| format!("{VARIABLE}: {why}"))?;
    let store = PostgresStore::new(settings).migrated(daybook_postgres::sqlx::migrate!("examples/account/migrations"));
    Ok(store.holds::<BankAccount>(vec![Box::new(TableView::<Statement, BankAccount>::new("statements"))]))
}

fn capabilities() -> Vec<Capability> {
    // Without a database the program has no services: `main` has said so.
    let own = |store| {
        let service = Service::new("accounts").owns::<OnLog<BankAccount>, _>().belongs_to("holder");
        service.follows_across::<ChargeChecks, _>("accounts").kept_in(Arc::new(store))
    };
    store().map(|store| hosted::ACCOUNTS.of::<BankAccount>(Capability::of(own(store)))).into_iter().collect()
}

const BANK: Application = Application {
    name: "account",
    version: env!("CARGO_PKG_VERSION"),
    title: "Accounts of cqrs-es, in PostgreSQL",
    rules: Rules::DEFAULT,
    roles: &[Role { name: "holder", owns: true, at_sign_up: true }],
    capabilities,
    routes: Routes::default,
    example: Example { service: "accounts", aggregate: "account", id: "7", command: "accounts.0.nobodys" },
    try_next: &["curl -X POST {url}/accounts/7 -H 'content-type: application/json' -d '{\"OpenAccount\":{\"account_id\":\"7\"}}'"],
};

/// The platform's commands, and one more.
#[derive(clap::Parser)]
#[command(propagate_version = true)]
struct Program {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    #[command(flatten)]
    Platform(daybook::cli::Verb),
    /// Brings a history of postgres-es here, and proves that all of it is
    ImportEvents(daybook_postgres::import::Args),
}

fn main() -> std::process::ExitCode {
    if let Err(why) = store() {
        eprintln!("{why}");
        return std::process::ExitCode::from(2);
    }
    daybook::cli::main(&BANK, |program: Program, command| match program.verb {
        Verb::Platform(verb) => verb.run(&BANK, command),
        Verb::ImportEvents(args) => daybook_postgres::import::run(&args),
    })
}
