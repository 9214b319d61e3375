//! Commands about who calls: signing in and out, accounts, the keys of tokens, the audit trail. All but the keys are clients of a
//! running system.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::client::signed_in::SignedIn;
use crate::http::guard::now;
use crate::identity::SIGNING_KEYS;
use crate::identity::signing::SigningKeys;
use crate::identity::tokens::{MACHINE, issuer};

pub mod accounts;
pub mod audit_log;
pub mod keys;
pub mod login;

/// Where the keys of tokens are.
#[derive(clap::Args, Clone, Debug)]
pub struct KeysAt {
    /// The data directory of the system, on this machine [default: ./daybook-data]
    #[arg(long, global = true, env = "DAYBOOK_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// The file of the keys that access tokens are signed with, if it is not in the data directory
    #[arg(long, global = true, env = "DAYBOOK_SIGNING_KEYS", value_name = "FILE")]
    signing_keys: Option<PathBuf>,
}

impl KeysAt {
    fn path(&self) -> PathBuf {
        let data = self.data.as_deref().unwrap_or(Path::new("./daybook-data"));
        self.signing_keys.clone().unwrap_or_else(|| data.join(SIGNING_KEYS))
    }

    /// A token of the machine itself: whoever may read its keys may do everything.
    fn machine(&self, application: &str) -> anyhow::Result<SignedIn> {
        let path = self.path();
        let there = path.is_file();
        anyhow::ensure!(there, "there are no signing keys at {}: name the data directory of the system (--data), and run this on its machine", path.display());
        let keys = SigningKeys::open_or_make(&path)?;
        let token = issuer(application).issue(&keys, MACHINE, MACHINE, now()).with_context(|| format!("a token by {}", path.display()))?;
        Ok(SignedIn::Token(token.into()))
    }
}

/// A password: typed at the terminal, or the first line of standard input.
fn password(what: &str) -> anyhow::Result<String> {
    use std::io::{BufRead, IsTerminal};
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password(format!("{what}: ")).context("a password from the terminal");
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("a password from standard input")?;
    let typed = line.trim_end_matches(['\r', '\n']).to_owned();
    anyhow::ensure!(!typed.is_empty(), "no password: give it on standard input, or run this at a terminal");
    Ok(typed)
}
