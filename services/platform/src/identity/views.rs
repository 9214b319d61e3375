//! What every instance knows of accounts, credentials and sessions: rows that the guard goes by. Writes nothing of its own.

use std::collections::BTreeMap;

use kernel::Personal;
use projections::{FoldError, Overlay, Seen};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::{self, Account, Address, Granted, Status};
use super::credential::{self, Credential};
use super::session::{self, Session};
use crate::sealing::may_be_erased;

/// The view of accounts and sessions, which every instance folds.
pub const ACCOUNTS: &str = "identity";
/// The view of credentials, which those alone fold that run their service.
pub const CREDENTIALS: &str = "credentials";
/// Before the keys of accounts.
pub const ACCOUNT_PREFIX: &str = "a/";

/// What readers see of an account.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct AccountRow {
    /// its id
    pub id: String,
    /// under which it signs in
    #[serde(flatten)]
    #[schemars(with = "AddressShown")]
    pub address: Personal<Address>,
    /// where it stands
    pub status: Status,
    /// its roles, and for each the id that its own things begin with
    pub roles: BTreeMap<String, Option<String>>,
    /// what it asked to have for itself alone, its address above all: hashes under a key of the system's
    pub claims: Vec<String>,
    /// since when, in log time
    pub since: String,
    /// why it is shut, if it is
    pub reason: Option<String>,
    /// since when its sessions count, in log time: those from before are over, since its password is another or it was shut
    pub renewed_at: Option<String>,
    /// the aggregate's version
    pub revision: u64,
}

/// [`Address`], for documents.
#[derive(JsonSchema)]
#[schemars(rename = "Address", transform = may_be_erased)]
#[allow(dead_code, reason = "only described")]
struct AddressShown {
    /// under which it signs in
    email: String,
}

/// What is known of a session.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct SessionRow {
    /// `<account>-<session>`
    pub id: String,
    /// where it stands
    pub status: session::Status,
    /// since when, in log time
    pub opened_at: String,
    /// until when, if it is not used
    pub until: String,
    /// when it was last renewed, in log time
    pub renewed_at: String,
    /// how often it was renewed
    pub renewals: u64,
    /// why it is over, if it is
    pub reason: Option<String>,
    /// the aggregate's version
    pub revision: u64,
}

/// What is known of a credential. Never shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CredentialRow {
    /// of the password
    pub hash: Option<String>,
}

/// The key of an account's row.
pub fn account_key(account: &str) -> String {
    format!("{ACCOUNT_PREFIX}{account}")
}

/// The key of whose a claimed value is: the account's id.
pub fn claim_key(claim: &str) -> String {
    format!("c/{claim}")
}

/// The key of a credential's row.
pub fn credential_key(account: &str) -> String {
    format!("c/{account}")
}

/// The key of a session's row; of all of an account's, what it begins with.
pub fn session_key(session: &str) -> String {
    format!("s/{session}")
}

/// Folds accounts and sessions.
pub fn fold_accounts(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    fold_sessions(seen, rows)?;
    let Some(event) = seen.event::<Account, _>()? else { return Ok(()) };
    let (id, at) = (&seen.envelope.subject, seen.envelope.time.unwrap_or(seen.record.recorded_at).to_string());
    match &event {
        account::Event::Confirmed { claim } => rows.put(claim_key(claim), id.clone()),
        // What it has confirmed it gives back; what was denied is another's.
        account::Event::Rejected { claims, .. } | account::Event::Erased { claims } => {
            for claim in claims {
                rows.update::<String>(&claim_key(claim), |whose| {
                    if whose == id {
                        whose.clear()
                    }
                })?;
            }
        }
        _ => {}
    }
    rows.update::<AccountRow>(&account_key(id), |row| {
        row.revision = seen.envelope.version.unwrap_or_default();
        match event {
            account::Event::Begun { sign_up, .. } => {
                (row.id, row.address, row.status, row.since) = (id.clone(), sign_up.address, Status::Beginning, at);
                row.claims = sign_up.claims;
                row.roles = sign_up.granted.into_iter().map(|Granted { role, owns }| (role, owns)).collect();
            }
            account::Event::Claimed { .. } | account::Event::Confirmed { .. } => {}
            account::Event::Activated { .. } | account::Event::Enabled => (row.status, row.reason) = (Status::Active, None),
            account::Event::Rejected { reason, .. } => (row.status, row.reason) = (Status::Rejected, Some(reason)),
            account::Event::RoleGranted(Granted { role, owns }) => drop(row.roles.insert(role, owns)),
            account::Event::RoleRevoked { role } => drop(row.roles.remove(&role)),
            account::Event::Disabled { reason } => (row.status, row.reason) = (Status::Disabled, Some(reason)),
            account::Event::Erased { .. } => (row.status, row.reason) = (Status::Erased, None),
            account::Event::PasswordRenewed { at } | account::Event::SessionsEnded { at } => row.renewed_at = Some(at.to_string()),
        }
    })?;
    Ok(())
}

/// Folds credentials.
pub fn fold_credentials(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let Some(event) = seen.event::<Credential, _>()? else { return Ok(()) };
    rows.update::<CredentialRow>(&credential_key(&seen.envelope.subject), |row| match event {
        credential::Event::PasswordSet { hash } | credential::Event::PasswordChanged { hash } | credential::Event::PasswordRehashed { hash } => {
            row.hash = Some(hash);
        }
        credential::Event::ResetRequested { .. } => {}
        credential::Event::Dropped => row.hash = None,
    })?;
    Ok(())
}

fn fold_sessions(seen: &Seen<'_>, rows: &mut Overlay) -> Result<(), FoldError> {
    let Some(event) = seen.event::<Session, _>()? else { return Ok(()) };
    let (id, now) = (&seen.envelope.subject, seen.envelope.time.unwrap_or(seen.record.recorded_at).to_string());
    rows.update::<SessionRow>(&session_key(id), |row| {
        row.revision = seen.envelope.version.unwrap_or_default();
        match event {
            session::Event::Opened { at, until } => {
                (row.id, row.status) = (id.clone(), session::Status::Open);
                (row.opened_at, row.until, row.renewed_at) = (at.to_string(), until.to_string(), now);
            }
            session::Event::Refreshed { until, number } => (row.until, row.renewed_at, row.renewals) = (until.to_string(), now, number),
            session::Event::Revoked { reason } => (row.status, row.reason) = (session::Status::Over, Some(reason)),
            session::Event::Expired => (row.status, row.reason) = (session::Status::Over, Some("expired".to_owned())),
        }
    })?;
    Ok(())
}
