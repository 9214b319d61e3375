//! The program `daybook`: the platform's commands and the marketplace's.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use daybook::Application;
use daybook::Role;
use daybook::args::asynchronous;
use daybook::cli::Verb as Platform;
use daybook::eventstore::log::Rules;
use daybook::http::route::Example;

use crate::settings::MarketplaceSettings;
use crate::{audit, benchmark, capabilities, import, load};

/// The marketplace.
pub const APPLICATION: Application = Application {
    name: "daybook",
    version: concat!(env!("CARGO_PKG_VERSION"), " (", env!("COMMIT_OF_BUILD"), ")"),
    title: "Daybook marketplace",
    rules: Rules::DEFAULT,
    roles: &[Role { name: "customer", owns: true, at_sign_up: true }, Role { name: "seller", owns: true, at_sign_up: true }],
    capabilities: capabilities::all,
    routes: benchmark::routes,
    example: Example { service: "catalog", aggregate: "product", id: "42-1", command: "catalog.0.nobodys" },
    try_next: &["curl -s {url}/products?limit=3", "{program} import services/marketplace/tests/data/online-retail.csv --url {url}"],
};

/// Event-sourced services on a message log: an online marketplace, durable, in one process.
#[derive(Parser)]
#[command(
    propagate_version = true,
    after_help = "Examples:\n  daybook up\n  daybook import services/marketplace/tests/data/online-retail.csv\n  daybook verify --url http://127.0.0.1:8080"
)]
struct Daybook {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    #[command(flatten)]
    Platform(Platform<MarketplaceSettings>),
    /// Turns a shop's order history (CSV) into commands of a running marketplace
    #[command(
        after_help = "Every line is accepted, or refused with its number and reason in the report.\nAn interrupted import is resumed by running it again; a second import changes nothing.\n\nExit code 3 if a line was refused that should have been a sale, which is for any reason but not_goods, quantity_not_positive,\nprice_not_positive and cancellation_unmatched, if not one line was a sale, or if orders or refunds are not what the file says."
    )]
    Import(import::Args),
    /// Plays a marketplace's customers and sellers, measures every transaction, and audits what is left
    #[command(
        after_help = "Closed loop: so many clients, each waits for its answer. Open loop (--rate): so many transactions a second are begun whatever\nthe answers take, and a latency counts from the moment its transaction was meant to begin.\n\nExamples:\n  daybook load --duration 60s --clients 16\n  daybook load --duration 10m --rate 200 --skew zipf --acknowledged acknowledged.json -o json"
    )]
    Load(load::Args),
    /// Checks what must hold between stock, orders, payments, shipments and views, when all processes have ended
    Audit(audit::Args),
    /// Brings a history of postgres-es into the log, and proves that all of it is there and folds to what cqrs-es loads
    #[command(
        after_help = "What is there already is compared: it may be ended anywhere and run again. Exit code 3 if an aggregate could not be brought.\n\nExample:\n  daybook import-events --from-postgres postgres://anna@db/shop --mapping mapping.toml"
    )]
    ImportEvents(daybook_postgres::import::Args),
}

/// The whole program.
pub fn main() -> ExitCode {
    daybook::cli::main(&APPLICATION, |Daybook { verb }, command| match verb {
        Verb::Platform(verb) => verb.run(&APPLICATION, command),
        Verb::Import(args) => asynchronous(import::run(args)),
        Verb::Load(args) => asynchronous(load::run(args)),
        Verb::Audit(args) => asynchronous(audit::run(args)),
        Verb::ImportEvents(args) => daybook_postgres::import::run(&args),
    })
}
