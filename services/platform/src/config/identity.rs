//! Whether routes ask who calls, and by what that is known.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::secret::{KeySetting, Secret};
use crate::identity::IDENTITY_KEY;
use crate::misuse::misused;

/// Requests a second that an account may make in the long run, and an address that has not signed in.
const RATE_LIMIT: u32 = 200;
/// The latter.
const RATE_LIMIT_UNKNOWN: u32 = 50;

/// Whether routes ask who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// everyone may do everything
    Open,
    /// each route asks
    Required,
}

/// What `up` and `serve` can be told of callers.
#[derive(Args, Clone, Debug)]
pub struct IdentityFlags {
    /// Whether routes ask who calls [default: open on loopback, required on every other address]
    #[arg(long, env = "DAYBOOK_AUTH", value_name = "AUTH")]
    auth: Option<Auth>,
    /// A proxy in front ends TLS, and tells callers' addresses in X-Forwarded-For
    #[arg(long, env = "DAYBOOK_BEHIND_PROXY")]
    behind_proxy: bool,
    /// The installation's key for e-mail addresses and refresh tokens, as 64 hex digits, the same at every instance [default: kept in the data directory]
    #[arg(long, env = "DAYBOOK_IDENTITY_KEY", value_name = "HEX", hide_env_values = true)]
    identity_key: Option<Secret>,
    /// Replaces a lost key of e-mail addresses: nobody can sign in with an address that was reserved under the other one
    #[arg(long)]
    new_identity_key: bool,
    /// The keys that access tokens are signed with, a file that all instances read [default: signing-keys.json in the data directory]
    #[arg(long, env = "DAYBOOK_SIGNING_KEYS", value_name = "FILE")]
    signing_keys: Option<PathBuf>,
    /// Requests a second that an account may make in the long run, and five times as many at once; 0 for no limit [default: 200]
    #[arg(long, env = "DAYBOOK_RATE_LIMIT", value_name = "N")]
    rate_limit: Option<u32>,
    /// The same for each address that has not signed in [default: 50]
    #[arg(long, env = "DAYBOOK_RATE_LIMIT_UNKNOWN", value_name = "N")]
    rate_limit_unknown: Option<u32>,
}

/// The same in a settings file.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct File {
    auth: Option<Auth>,
    behind_proxy: Option<bool>,
    signing_keys: Option<PathBuf>,
    rate_limit: Option<u32>,
    rate_limit_unknown: Option<u32>,
}

/// What holds.
#[derive(Clone, Debug)]
pub struct IdentityConfig {
    /// routes ask who calls
    pub required: bool,
    /// a proxy in front tells callers' addresses
    pub behind_proxy: bool,
    /// the installation's key
    pub key: KeySetting,
    /// the keys of access tokens, if not in the data directory
    pub signing_keys: Option<PathBuf>,
    /// requests a second of an account
    pub rate_limit: u32,
    /// requests a second of an address that has not signed in
    pub rate_limit_unknown: u32,
}

impl IdentityFlags {
    pub(super) fn or(self, file: File, rest: &mut toml::Table, listen: SocketAddr) -> anyhow::Result<IdentityConfig> {
        let auth = self.auth.or(file.auth).unwrap_or(if listen.ip().is_loopback() { Auth::Open } else { Auth::Required });
        Ok(IdentityConfig {
            required: auth == Auth::Required,
            behind_proxy: self.behind_proxy || file.behind_proxy == Some(true),
            key: KeySetting::of(IDENTITY_KEY, self.identity_key, self.new_identity_key, rest)?,
            signing_keys: self.signing_keys.or(file.signing_keys),
            rate_limit: self.rate_limit.or(file.rate_limit).unwrap_or(RATE_LIMIT),
            rate_limit_unknown: self.rate_limit_unknown.or(file.rate_limit_unknown).unwrap_or(RATE_LIMIT_UNKNOWN),
        })
    }
}

impl IdentityConfig {
    pub(super) fn check(&self, listen: SocketAddr, tls: bool) -> anyhow::Result<()> {
        self.key.origin()?;
        if listen.ip().is_loopback() {
            return Ok(());
        }
        if !self.required {
            misused!("{listen} is reachable by others, and everyone could do everything there: leave --auth open away, or listen on 127.0.0.1");
        }
        if !tls && !self.behind_proxy {
            misused!(
                "{listen} is reachable by others, and tokens would go there in the clear: add --tls-cert and --tls-key, or --behind-proxy if a proxy in front ends TLS"
            );
        }
        Ok(())
    }

    pub(super) fn lines(&self, quoted: impl Fn(&str) -> String) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("auth", Some(quoted(if self.required { "required" } else { "open" }))),
            ("behind_proxy", Some(self.behind_proxy.to_string())),
            ("# identity_key", self.key.given.as_ref().map(|_| quoted("(redacted)"))),
            ("signing_keys", self.signing_keys.as_ref().map(|path| quoted(&path.to_string_lossy()))),
            ("rate_limit", Some(self.rate_limit.to_string())),
            ("rate_limit_unknown", Some(self.rate_limit_unknown.to_string())),
        ]
    }
}
