//! `keys`: the keys that access tokens are signed with, on the machine where their file is.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use kernel::Timestamp;

use super::KeysAt;
use crate::http::guard::now;
use crate::identity::signing::{STARTS_AFTER, SigningKeys};
use crate::out;

/// What is done.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    keys: KeysAt,
}

#[derive(Subcommand)]
enum What {
    /// Adds a key that signs from a moment ahead on, so that every instance has read it by then; makes the file where there is none
    Rotate {
        /// Seconds until it signs
        #[arg(long, value_name = "S", default_value_t = STARTS_AFTER.as_secs())]
        starts_after: u64,
    },
    /// Shows the public halves, as others check tokens with them (RFC 7517)
    Show,
}

/// Looks at the file.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let path = args.keys.path();
    match args.what {
        What::Rotate { .. } if !path.is_file() => {
            let keys = SigningKeys::open_or_make(&path)?;
            let name = keys.signs(now()).map(|key| key.kid().to_owned()).unwrap_or_default();
            out::line(format!("{} is made, with key {name}", path.display()));
        }
        What::Rotate { starts_after } => {
            let rotation = SigningKeys::rotate(&path, now(), Duration::from_secs(starts_after))?;
            let from = Timestamp(rotation.signs_from.saturating_mul(1_000_000));
            out::line(format!("key {} signs from {from}; tokens of the one before it are good until they expire", rotation.added));
            rotation.dropped.iter().for_each(|gone| out::line(format!("key {gone} is gone: no token depends on it any more")));
        }
        What::Show => out::line(format_args!("{:#}", SigningKeys::open_or_make(&path)?.jwks())),
    }
    Ok(ExitCode::SUCCESS)
}
