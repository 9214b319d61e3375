//! An application whose one aggregate was written for cqrs-es: `cargo run --release --example account -- up`.
#![allow(missing_docs, reason = "an example, read from top to bottom")]

mod account;
mod hosted;

use account::BankAccount;
use daybook::web::{Example, Routes};
use daybook::{Application, Capability, Role, Rules, Service};
use daybook_cqrs_es::OnLog;

fn capabilities() -> Vec<Capability> {
    vec![hosted::ACCOUNTS.of::<BankAccount>(Capability::of(Service::new("accounts").owns::<OnLog<BankAccount>, _>().belongs_to("holder")))]
}

const BANK: Application = Application {
    name: "account",
    version: env!("CARGO_PKG_VERSION"),
    title: "Accounts of cqrs-es",
    rules: Rules::DEFAULT,
    roles: &[Role { name: "holder", owns: true, at_sign_up: true }],
    capabilities,
    routes: Routes::default,
    example: Example { service: "accounts", aggregate: "account", id: "7", command: "accounts.0.nobodys" },
    try_next: &["curl -X POST {url}/accounts/7 -H 'content-type: application/json' -d '{\"OpenAccount\":{\"account_id\":\"7\"}}'"],
};

fn main() -> std::process::ExitCode {
    daybook::cli::run(&BANK)
}
