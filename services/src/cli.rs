//! The commands. Exit codes: 0 done, 1 failed, 2 used wrongly, 3 a check found something.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::capabilities::Capability;
use crate::config::{Config, Flags};
use crate::{asyncapi, dead_letters, import, out, up, verify};

/// Event-sourced services on a message log: an online marketplace, durable, in one process.
#[derive(Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "Examples:\n  daybook up\n  daybook import shared/data/online-retail.csv\n  daybook verify --url http://127.0.0.1:8080"
)]
pub struct Daybook {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Runs all services, the log and HTTP in this process
    Up(Flags),
    /// Runs some services in this process, on a log on Kafka that other processes share
    #[command(
        after_help = "Example:\n  daybook serve cart ordering --brokers 127.0.0.1:9092 --listen 127.0.0.1:8081 --data ./one --card-key $(openssl rand -hex 32)"
    )]
    Serve(up::Order),
    /// Shows the settings that hold, secrets redacted
    Config(Flags),
    /// Turns a shop's order history (CSV) into commands of a running marketplace
    #[command(
        after_help = "Every line is accepted, or refused with its number and reason in the report.\nAn interrupted import is resumed by running it again; a second import changes nothing."
    )]
    Import(import::Order),
    /// Folds every projection again from offset 0 beside the live one and compares
    Verify(verify::Order),
    /// Prints the AsyncAPI document of every topic
    Asyncapi,
    /// Lists, shows and retries what could not be processed
    DeadLetters(dead_letters::Order),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// for people
    #[default]
    Table,
    /// for programs
    Json,
}

/// Where a running marketplace is.
#[derive(clap::Args, Clone, Debug)]
pub struct Target {
    /// The marketplace's address
    #[arg(long, global = true, env = "DAYBOOK_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub url: String,
}

/// Runs what was asked, with these capabilities.
pub fn run(daybook: Daybook, capabilities: fn() -> Vec<Capability>) -> ExitCode {
    let done = match daybook.verb {
        Verb::Up(flags) => Config::from(flags).and_then(|config| up::run(&config, None, capabilities())),
        Verb::Serve(order) => up::some(order, capabilities()),
        Verb::Config(flags) => Config::from(flags).map(|config| out::line(format!("{config:#?}"))).map(|()| ExitCode::SUCCESS),
        Verb::Import(order) => asynchronous(import::run(order)),
        Verb::Verify(order) => verify::run(order, capabilities),
        Verb::Asyncapi => {
            out::line(format!("{:#}", asyncapi::document(&capabilities())));
            Ok(ExitCode::SUCCESS)
        }
        Verb::DeadLetters(order) => asynchronous(dead_letters::run(order)),
    };
    done.unwrap_or_else(|why| {
        out::note(format!("daybook: {why:#}"));
        ExitCode::FAILURE
    })
}

/// Runs a client's future on a runtime of its own.
pub fn asynchronous(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// The data directory that `up` uses unless told otherwise.
pub fn default_data() -> PathBuf {
    PathBuf::from("./daybook-data")
}
