//! The commands. Exit codes: 0 done, 1 failed, 2 used wrongly, 3 a check found something.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::args::asynchronous;
use crate::capability::Capability;
use crate::config::{Config, Flags};
use crate::misuse::{Misuse, misused};
use crate::{asyncapi, audit, dead_letters, import, load, operate, out, up, verify};

/// The version, and the commit it was built of.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("COMMIT_OF_BUILD"), ")");
/// Event-sourced services on a message log: an online marketplace, durable, in one process.
#[derive(Parser)]
#[command(
    name = "daybook",
    version = VERSION,
    propagate_version = true,
    after_help = "Examples:\n  daybook up\n  daybook import services/tests/data/online-retail.csv\n  daybook verify --url http://127.0.0.1:8080"
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
        after_help = "Every line is accepted, or refused with its number and reason in the report.\nAn interrupted import is resumed by running it again; a second import changes nothing.\n\nExit code 3 if a line was refused that should have been a sale, which is for any reason but not_goods, quantity_not_positive,\nprice_not_positive and cancellation_unmatched, if not one line was a sale, or if orders or refunds are not what the file says."
    )]
    Import(import::Order),
    /// Folds every projection again from offset 0 beside the live one and compares
    Verify(verify::Order),
    /// Plays a marketplace's customers and sellers, measures every transaction, and audits what is left
    #[command(
        after_help = "Closed loop: so many clients, each waits for its answer. Open loop (--rate): so many transactions a second are begun whatever\nthe answers take, and a latency counts from the moment its transaction was meant to begin.\n\nExamples:\n  daybook load --duration 60s --clients 16\n  daybook load --duration 10m --rate 200 --skew zipf --acknowledged acknowledged.json -o json"
    )]
    Load(load::Order),
    /// Checks what must hold between stock, orders, payments, shipments and views, when all processes have ended
    Audit(audit::Order),
    /// Prints the AsyncAPI document of every topic
    Asyncapi,
    /// Lists, shows, retries and discards what could not be processed
    DeadLetters(dead_letters::Order),
    /// Shows one aggregate's state, now or at a version, its history, its owner and what it waits for
    #[command(after_help = "Example:\n  daybook inspect order/17-3 --version 2")]
    Inspect(operate::inspect::Order),
    /// Shows the records of a topic
    #[command(after_help = "Example:\n  daybook tail ordering.events --from -5 --follow -o json")]
    Tail(operate::tail::Order),
    /// Lists the processes that have not ended, and ends one by hand
    #[command(after_help = "Example:\n  daybook sagas list --stuck 30\n  daybook sagas end order/17-3 --refuse --reason 'payment is away'")]
    Sagas(operate::sagas::Order),
    /// Lists the readers that stand still at a record, shows it, and lets them try it again or pass over it
    #[command(after_help = "Example:\n  daybook partitions list\n  daybook partitions skip catalog.events/5/17 --reason 'written by a script'")]
    Partitions(operate::partitions::Order),
    /// Shows every topic's length, its readers' lag, and what is kept on disk
    Topics(operate::topics::Order),
    /// Deletes commands that are decided, when told --yes; events are never deleted
    #[command(after_help = "Examples:\n  daybook trim --all\n  daybook trim --all --yes")]
    Trim(operate::trim::Order),
    /// Prints what lets a shell complete commands and flags
    #[command(after_help = "Example:\n  daybook completions bash > ~/.local/share/bash-completion/completions/daybook")]
    Completions {
        /// of this shell
        shell: clap_complete::Shell,
    },
    /// Prints the manual page of daybook, or of a command
    #[command(after_help = "Examples:\n  daybook man | man -l -\n  daybook man dead-letters discard > daybook-dead-letters-discard.1")]
    Man {
        /// of this command
        #[arg(value_name = "COMMAND")]
        of: Vec<String>,
    },
}

/// The whole program, with these capabilities.
pub fn main(capabilities: fn() -> Vec<Capability>) -> ExitCode {
    match Daybook::try_parse() {
        Ok(daybook) => run(daybook, capabilities),
        // Help and version are printed, and can fail at it as everything can.
        Err(said) => match said.print() {
            Ok(()) => ExitCode::from(u8::try_from(said.exit_code()).unwrap_or(2)),
            Err(why) => unprinted(&why),
        },
    }
}

/// Runs what was asked, with these capabilities.
pub fn run(daybook: Daybook, capabilities: fn() -> Vec<Capability>) -> ExitCode {
    let done = match daybook.verb {
        Verb::Up(flags) => Config::from(flags).and_then(|config| up::run(&config, None, capabilities())),
        Verb::Serve(order) => up::some(order, capabilities()),
        Verb::Config(flags) => Config::from(flags).map(|config| out::line(config.as_file())).map(|()| ExitCode::SUCCESS),
        Verb::Import(order) => asynchronous(import::run(order)),
        Verb::Verify(order) => verify::run(order, capabilities),
        Verb::Load(order) => asynchronous(load::run(order)),
        Verb::Audit(order) => asynchronous(audit::run(order)),
        Verb::Asyncapi => {
            out::line(format!("{:#}", asyncapi::document(&capabilities())));
            Ok(ExitCode::SUCCESS)
        }
        Verb::DeadLetters(order) => asynchronous(dead_letters::run(order)),
        Verb::Inspect(order) => asynchronous(operate::inspect::run(order)),
        Verb::Tail(order) => asynchronous(operate::tail::run(order)),
        Verb::Sagas(order) => asynchronous(operate::sagas::run(order)),
        Verb::Partitions(order) => asynchronous(operate::partitions::run(order)),
        Verb::Topics(order) => asynchronous(operate::topics::run(order)),
        Verb::Trim(order) => asynchronous(operate::trim::run(order)),
        Verb::Completions { shell } => completions(shell),
        Verb::Man { of } => manual(&of),
    };
    let code = done.unwrap_or_else(|why| {
        out::note(format!("daybook: {why:#}"));
        if Misuse::is_cause_of(&why) { ExitCode::from(2) } else { ExitCode::FAILURE }
    });
    // What a check found is worth more than that it could not be printed.
    match out::broken() {
        Some(why) if code == ExitCode::SUCCESS => unprinted(why),
        _ => code,
    }
}

/// What was asked for was not printed, or not all of it. Whoever closed the pipe knows.
fn unprinted(why: &std::io::Error) -> ExitCode {
    if why.kind() != std::io::ErrorKind::BrokenPipe {
        out::note(format!("daybook: standard output: {why}"));
    }
    ExitCode::FAILURE
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut text = vec![];
    clap_complete::generate(shell, &mut Daybook::command(), "daybook", &mut text);
    out::line(String::from_utf8(text)?.trim_end());
    Ok(ExitCode::SUCCESS)
}

fn manual(of: &[String]) -> anyhow::Result<ExitCode> {
    let mut command = Daybook::command();
    command.build();
    for name in of {
        command = match command.find_subcommand(name) {
            Some(found) => found.clone(),
            None => misused!("there is no command '{}': daybook --help lists them", of.join(" ")),
        };
    }
    let mut text = vec![];
    clap_mangen::Man::new(command).render(&mut text)?;
    out::line(String::from_utf8(text)?.trim_end());
    Ok(ExitCode::SUCCESS)
}
