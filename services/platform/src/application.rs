//! An application: what its binary gives to the platform.

use eventstore::log::Rules;

use crate::accounts;
use crate::capability::Capability;
use crate::erasure;
use crate::http::route::{Example, Routes};
use crate::identity::Role;

/// The services that every application has: those of accounts, and that of erasures.
pub fn of_all() -> Vec<Capability> {
    accounts::capabilities().into_iter().chain([erasure::routes::capability()]).collect()
}

/// A business on the platform.
#[derive(Clone, Copy)]
pub struct Application {
    /// the binary's name
    pub name: &'static str,
    /// its version, as `--version` says it
    pub version: &'static str,
    /// what documents are titled
    pub title: &'static str,
    /// what holds for all records of its log: how ids are routed, how large a record may be
    pub rules: Rules,
    /// the roles that its accounts may have, besides `operator` and `auditor`
    pub roles: &'static [Role],
    /// every service of its own
    pub capabilities: fn() -> Vec<Capability>,
    /// routes that are no one service's
    pub routes: fn() -> Routes,
    /// what the platform's own routes have as examples
    pub example: Example,
    /// What may be tried when it is ready, a line each; `{url}` and `{program}` stand for where it is reached and how it is run.
    pub try_next: &'static [&'static str],
}

impl Application {
    /// Every service there is: its own, and those that all have.
    pub fn services(&self) -> Vec<Capability> {
        (self.capabilities)().into_iter().chain(of_all()).collect()
    }
}
