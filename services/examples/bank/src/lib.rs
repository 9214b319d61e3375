//! A small bank on Daybook: another team's business, whole. Accounts, transfers between them as a saga with a deadline, one view
//! across all of them, and an account for each customer of a shop whose types it does not have.
#![allow(missing_docs, reason = "an example, read from top to bottom")]

pub mod account;
pub mod service;
pub mod shapes;
pub mod transfer;

use daybook::http::route::{Example, Routes};
use daybook::{Application, Capability, Role, Rules, Service, states};

/// The bank.
pub const BANK: Application = Application {
    name: "bank",
    version: env!("CARGO_PKG_VERSION"),
    title: "Bank",
    rules: Rules::DEFAULT,
    roles: &[Role { name: "holder", owns: true, at_sign_up: true }],
    capabilities,
    routes: Routes::default,
    example: Example { service: "accounts", aggregate: "account", id: "7", command: "accounts.0.nobodys" },
    try_next: &["curl -X PUT {url}/accounts/7 -H 'content-type: application/json' -d '{\"owner\":\"Anna\"}'"],
};

fn capabilities() -> Vec<Capability> {
    let accounts = Service::new("accounts")
        .owns::<account::Account, _>()
        .belongs_to("holder")
        .follows::<transfer::OpenForCustomers, _>("customer")
        .follows_across::<transfer::MoveMoney, _>("transfers");
    let transfers = Service::new("transfers").owns::<transfer::Transfer, _>().belongs_to("holder").follows_across::<transfer::RecordAnswer, _>("accounts");
    vec![
        Capability::of(accounts).view("accounts", 1, states::<account::Account, _>).view("totals", 1, service::fold_totals).routes(service::account_routes()),
        Capability::of(transfers).view("transfers", 1, states::<transfer::Transfer, _>).routes(service::transfer_routes()),
    ]
}
