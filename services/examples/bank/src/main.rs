//! `bank`: the program.

fn main() -> std::process::ExitCode {
    daybook::cli::run(&bank::BANK)
}
