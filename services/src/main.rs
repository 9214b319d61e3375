//! `daybook`: the one binary.

use clap::Parser;

fn main() -> std::process::ExitCode {
    services::cli::run(services::cli::Daybook::parse(), services::capabilities::all)
}
