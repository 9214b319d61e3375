//! `daybook`: the one binary.

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    services::cli::run(services::cli::Daybook::parse(), services::capabilities::all)
}
