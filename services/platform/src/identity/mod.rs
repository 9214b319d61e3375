//! Who somebody is and what they may do: accounts, credentials, sessions, the audit trail, and the tokens that show it. Knows no
//! HTTP; routes and services made of it stand in `accounts`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::actors::Actors;
use self::attempts::Attempts;
use self::audit::Denials;
use self::hashing::Passwords;
use self::limits::Limits;
use self::tokens::Tokens;
use crate::keys::KeySpec;
use crate::tls::Tls;

pub mod access;
pub mod account;
pub mod actors;
pub mod attempts;
pub mod audit;
pub mod credential;
mod eddsa;
pub mod email;
mod folding;
pub mod hashing;
pub mod limits;
pub mod password;
pub mod policies;
pub mod session;
pub mod shapes;
pub mod signing;
pub mod token;
pub mod tokens;
pub mod trail;
pub mod views;
pub mod watched;

/// A revoked session is refused, and an account that was shut, within this time on every instance: what is known of them is no
/// older, or nobody is let in.
pub const KNOWN_WITHIN: Duration = Duration::from_secs(5);

/// The installation's key, by which an e-mail address is found again without being written down.
pub const IDENTITY_KEY: KeySpec = KeySpec { name: "identity", makes: "reservations of e-mail addresses and refresh tokens" };
/// The file of the keys that access tokens are signed with, in the data directory.
pub const SIGNING_KEYS: &str = "signing-keys.json";

/// A role that an application declares.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    /// its name, one lower-case word
    pub name: &'static str,
    /// Whether accounts own something in it: ids of things that begin with theirs, as a customer's orders do.
    pub owns: bool,
    /// Whether people may take it themselves when they sign up. They own what is new then: the platform draws the number.
    pub at_sign_up: bool,
}

/// The roles that every application has.
pub const ROLES: [Role; 2] =
    [Role { name: eventstore::actor::OPERATOR, owns: false, at_sign_up: false }, Role { name: eventstore::actor::AUDITOR, owns: false, at_sign_up: false }];

/// What a process has to know callers by.
pub struct Identity {
    /// whether routes ask who calls
    pub required: bool,
    /// the application's name
    pub application: &'static str,
    /// the roles there are
    pub roles: Vec<Role>,
    /// access tokens
    pub tokens: Tokens,
    /// passwords
    pub passwords: Passwords,
    /// The installation's key: of reservations, of numbered tokens, of fingerprints of secrets.
    pub key: [u8; 32],
    /// who stands behind sessions
    pub actors: Actors,
    /// failed sign-ins
    pub attempts: Attempts,
    /// how often a caller may ask
    pub limits: Limits,
    /// denials on their way to the trail
    pub denials: Denials,
    /// whether callers' addresses are those that a proxy in front tells
    pub behind_proxy: bool,
    /// what the listener speaks, if it is TLS
    pub tls: Option<Arc<Tls>>,
    /// when what is known of accounts and sessions was all there was
    known: Mutex<Option<Instant>>,
}

impl Identity {
    /// Of an application, with these keys; nothing is known of accounts yet.
    pub fn open(application: &'static str, roles: &[Role], signing_keys: &Path, key: [u8; 32], limits: Limits) -> anyhow::Result<Self> {
        Ok(Self {
            required: false,
            application,
            roles: roles.iter().chain(&ROLES).copied().collect(),
            tokens: Tokens::open(application, signing_keys)?,
            passwords: Passwords::new(None)?,
            key,
            actors: Actors::default(),
            attempts: Attempts::default(),
            limits,
            denials: Denials::default(),
            behind_proxy: false,
            tls: None,
            known: Mutex::default(),
        })
    }

    /// The role of this name.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.name == name)
    }

    /// What is known of accounts and sessions was all there was at this instant.
    pub fn knows(&self, at: Instant) {
        *self.known.lock() = Some(at);
    }

    /// Whether what is known is new enough to let anybody in by.
    pub fn is_current(&self) -> bool {
        self.known.lock().is_some_and(|at| at.elapsed() < KNOWN_WITHIN)
    }
}
