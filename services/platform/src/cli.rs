//! The commands. Exit codes: 0 done, 1 failed, 2 used wrongly, 3 a check found something.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::application::Application;
use crate::args::asynchronous;
use crate::client::operator;
use crate::config::{AppSettings, Config, Flags, NoSettings, check_variables};
#[cfg(feature = "kafka")]
use crate::kafka;
use crate::misuse::{Misuse, misused};
use crate::{documents, out, people, replay, up, verify};

/// The platform's commands; an application adds its own beside them.
#[derive(Subcommand)]
pub enum Verb<S: AppSettings = NoSettings> {
    /// Runs all services, the log and HTTP in this process
    Up(Flags<S>),
    /// Runs some services in this process, on a log on Kafka that other processes share
    #[command(after_help = "Example:\n  {program} serve {service} --brokers 127.0.0.1:9092 --listen 127.0.0.1:8081 --data ./one")]
    Serve(up::Args<S>),
    /// Shows the settings that hold, secrets redacted
    Config(Flags<S>),
    /// Folds every projection again from offset 0 beside the live one and compares
    Verify(verify::Args),
    /// Folds a log with this program's code and says what it finds, before a release; writes nothing there
    #[command(after_help = "Example:\n  {program} replay --dry-run --data ./copy-of-production")]
    Replay(replay::Args),
    /// Prints the AsyncAPI document of every topic
    Asyncapi,
    /// Prints the OpenAPI document of every route
    Openapi,
    /// Lists, shows, retries and discards what could not be processed
    DeadLetters(operator::dead_letters::Args),
    /// Shows one aggregate's state, now or at a version, its history, its owner and what it waits for
    #[command(after_help = "Example:\n  {program} inspect {aggregate}/{id} --version 2")]
    Inspect(operator::inspect::Args),
    /// Shows the records of a topic
    #[command(after_help = "Example:\n  {program} tail {service}.events --from -5 --follow -o json")]
    Tail(operator::tail::Args),
    /// Lists the processes that have not ended, and ends one by hand
    #[command(after_help = "Example:\n  {program} sagas list --stuck 30\n  {program} sagas end {aggregate}/{id} --refuse --reason 'payment is away'")]
    Sagas(operator::sagas::Args),
    /// Lists the readers that stand still at a record, shows it, and lets them try it again or pass over it
    #[command(after_help = "Example:\n  {program} partitions list\n  {program} partitions skip {service}.events/5/17 --reason 'written by a script'")]
    Partitions(operator::partitions::Args),
    /// Lists projections, pauses them, folds them anew beside what they serve, compares, and swaps them in and back
    #[command(
        after_help = "Examples:\n  {program} projections list\n  {program} projections rebuild audit-trail --yes\n  {program} projections diff audit-trail --at 2026-11-27T10:00:00Z"
    )]
    Projections(operator::projections::Args),
    /// Shows every topic's length, its readers' lag, and what is kept on disk
    Topics(operator::topics::Args),
    /// Shows what followed from a command, as a tree, from the log itself
    #[command(after_help = "Example:\n  {program} trace checkout-1")]
    Trace(operator::trace::Args),
    /// Deletes commands that are decided, when told --yes; events are never deleted
    #[command(after_help = "Examples:\n  {program} trim --all\n  {program} trim --all --yes")]
    Trim(operator::trim::Args),
    /// Makes all topics of a log on Kafka, and its identity, for services that may make none
    #[cfg(feature = "kafka")]
    #[command(after_help = "Example:\n  {program} provision --brokers 127.0.0.1:9092 --kafka-file administrator")]
    Provision(Flags<S>),
    /// Prints what each service must be allowed on a Kafka that knows its clients
    #[cfg(feature = "kafka")]
    #[command(
        after_help = "Examples:\n  {program} kafka-acls > acls && infra/kafka/kafka acls acls\n  {program} kafka-acls {service} --http {service} --operator olga --format kafka-acls.sh"
    )]
    KafkaAcls(kafka::acls::Args),
    /// Prints topics and users as Strimzi's operators take them on Kubernetes
    #[cfg(feature = "kafka")]
    #[command(after_help = "Example:\n  {program} strimzi --cluster daybook --principal User:daybook --http all | kubectl apply -f -")]
    Strimzi(kafka::strimzi::Args),
    /// Destroys the keys of somebody's personal data, for good, and reports what is left of it
    #[command(after_help = "Example:\n  {program} erase account/5f3a0c1d2e4b69788796a5b4c3d2e1f0 --reason 'asked by letter' --yes")]
    Erase(operator::erase::Args),
    /// Signs in: the commands that follow show who asks
    #[command(after_help = "Example:\n  {program} login --email anna@example.com")]
    Login(people::login::Login),
    /// Signs out
    Logout(people::login::Logout),
    /// Makes accounts, lists them, gives them roles, shuts and opens them
    #[command(after_help = "Examples:\n  {program} accounts create --email olga@example.com --role operator\n  {program} accounts list")]
    Accounts(people::accounts::Args),
    /// Shows and renews the keys that access tokens are signed with
    #[command(after_help = "Example:\n  {program} keys rotate")]
    Keys(people::keys::Args),
    /// Shows what operators did and who was refused, and proves that nothing of it was changed
    AuditLog(people::audit_log::Args),
    /// Prints what lets a shell complete commands and flags
    #[command(after_help = "Example:\n  {program} completions bash > ~/.local/share/bash-completion/completions/{program}")]
    Completions {
        /// of this shell
        shell: clap_complete::Shell,
    },
    /// Prints the manual page of daybook, or of a command
    #[command(after_help = "Examples:\n  {program} man | man -l -\n  {program} man dead-letters discard > {program}-dead-letters-discard.1")]
    Man {
        /// of this command
        #[arg(value_name = "COMMAND")]
        of: Vec<String>,
    },
}

/// A program that has the platform's commands and no others.
#[derive(Parser)]
#[command(propagate_version = true)]
struct Program {
    #[command(subcommand)]
    verb: Verb,
}

/// The whole program of an application that adds no commands and no settings.
pub fn run(application: &Application) -> ExitCode {
    let command = Program::command().name(application.name).version(application.version).about(application.title);
    main_of(exemplified(command, application), |program: Program, command| program.verb.run(application, command))
}

/// The whole program of an application with commands of its own, which `run` runs.
pub fn main<P: Parser>(application: &Application, run: impl FnOnce(P, clap::Command) -> anyhow::Result<ExitCode>) -> ExitCode {
    main_of(exemplified(P::command().name(application.name).version(application.version), application), run)
}

/// The examples of its commands, in the application's own words.
fn exemplified(mut command: clap::Command, application: &Application) -> clap::Command {
    let words = [
        ("{program}", application.name),
        ("{service}", application.example.service),
        ("{aggregate}", application.example.aggregate),
        ("{id}", application.example.id),
    ];
    for sub in command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect::<Vec<_>>() {
        command = command.mut_subcommand(sub, |sub| {
            let sub = sub.mut_args(heard);
            match sub.get_after_help().map(ToString::to_string) {
                Some(help) => sub.after_help(words.iter().fold(help, |help, (word, own)| help.replace(word, own))),
                None => sub,
            }
        });
    }
    command
}

/// OpenTelemetry's variables are as if they were not there where they are empty: its specification has it so.
fn heard(arg: clap::Arg) -> clap::Arg {
    let is_empty = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("OTEL_") && std::env::var_os(name).is_some_and(|value| value.is_empty());
    if arg.get_env().is_some_and(is_empty) { arg.env(clap::builder::Resettable::Reset) } else { arg }
}

fn main_of<P: FromArgMatches>(command: clap::Command, run: impl FnOnce(P, clap::Command) -> anyhow::Result<ExitCode>) -> ExitCode {
    crate::budget::in_small_pages();
    let parsed = command.clone().try_get_matches().and_then(|found| P::from_arg_matches(&found));
    let done = match parsed {
        Ok(program) => run(program, command),
        // Help and version are printed, and can fail at it as everything can.
        Err(said) => {
            return match said.print() {
                Ok(()) => ExitCode::from(u8::try_from(said.exit_code()).unwrap_or(2)),
                Err(why) => unprinted(&why),
            };
        }
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

impl<S: AppSettings> Verb<S> {
    /// Runs what was asked of an application; `command` is its whole command line.
    pub fn run(self, application: &Application, command: clap::Command) -> anyhow::Result<ExitCode> {
        #[cfg(feature = "kafka")]
        let settles = matches!(self, Self::Provision(_));
        #[cfg(not(feature = "kafka"))]
        let settles = false;
        if settles || matches!(self, Self::Up(_) | Self::Serve(_) | Self::Config(_)) {
            check_variables(&command)?;
        }
        match self {
            Self::Up(flags) => up::run(&Config::from(flags)?, None, application),
            Self::Serve(args) => up::some(args, application),
            Self::Config(flags) => Config::from(flags).map(|config| out::line(config.as_file())).map(|()| ExitCode::SUCCESS),
            Self::Verify(args) => verify::run(args, application),
            Self::Replay(args) => replay::run(args, application),
            Self::Asyncapi => {
                out::line(format!("{:#}", documents::asyncapi::document(application)));
                Ok(ExitCode::SUCCESS)
            }
            Self::Openapi => {
                out::line(format!("{:#}", documents::openapi(application)));
                Ok(ExitCode::SUCCESS)
            }
            Self::DeadLetters(args) => asynchronous(operator::dead_letters::run(args)),
            Self::Inspect(args) => asynchronous(operator::inspect::run(args)),
            Self::Tail(args) => asynchronous(operator::tail::run(args)),
            Self::Sagas(args) => asynchronous(operator::sagas::run(args)),
            Self::Partitions(args) => asynchronous(operator::partitions::run(args)),
            Self::Projections(args) => asynchronous(operator::projections::run(args)),
            Self::Trace(args) => asynchronous(operator::trace::run(args)),
            Self::Topics(args) => asynchronous(operator::topics::run(args)),
            Self::Trim(args) => asynchronous(operator::trim::run(args)),
            #[cfg(feature = "kafka")]
            Self::Provision(flags) => kafka::provision::run(&Config::from(flags)?, application),
            #[cfg(feature = "kafka")]
            Self::KafkaAcls(args) => kafka::acls::run(&args, application),
            #[cfg(feature = "kafka")]
            Self::Strimzi(args) => kafka::strimzi::run(&args, application),
            Self::Erase(args) => asynchronous(operator::erase::run(args)),
            Self::Login(args) => asynchronous(people::login::login(args)),
            Self::Logout(args) => asynchronous(people::login::logout(args)),
            Self::Accounts(args) => asynchronous(people::accounts::run(args, application)),
            Self::Keys(args) => people::keys::run(args),
            Self::AuditLog(args) => asynchronous(people::audit_log::run(args)),
            Self::Completions { shell } => completions(shell, command, application.name),
            Self::Man { of } => manual(command, &of),
        }
    }
}

/// What was asked for was not printed, or not all of it. Whoever closed the pipe knows.
fn unprinted(why: &std::io::Error) -> ExitCode {
    if why.kind() != std::io::ErrorKind::BrokenPipe {
        out::note(format!("daybook: standard output: {why}"));
    }
    ExitCode::FAILURE
}

fn completions(shell: clap_complete::Shell, mut command: clap::Command, name: &str) -> anyhow::Result<ExitCode> {
    let mut text = vec![];
    clap_complete::generate(shell, &mut command, name, &mut text);
    out::line(String::from_utf8(text)?.trim_end());
    Ok(ExitCode::SUCCESS)
}

fn manual(mut command: clap::Command, of: &[String]) -> anyhow::Result<ExitCode> {
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
