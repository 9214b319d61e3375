//! What accounts ask of reservations and credentials, and what they hear back.

use kernel::Policy;

use super::{account, credential};
use crate::reservation::{self, Reservation, Unique};

/// What must be one account's alone: an e-mail address, the number of a new customer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claim;

impl Unique for Claim {
    const NAME: &'static str = "account-claim";
}

/// An account claims what must be its own, confirms it, and gives it back if it comes to nothing.
pub struct ReserveClaims;

impl Policy for ReserveClaims {
    const NAME: &'static str = "reserve-claims";
    type Source = account::Account;
    type Target = Reservation<Claim>;

    fn react(subject: &str, event: &account::Event) -> Vec<(String, reservation::Command)> {
        let owner = || subject.to_owned();
        match event {
            account::Event::Begun { sign_up, .. } => {
                sign_up.claims.iter().map(|claim| (claim.clone(), reservation::Command::Claim { owner: owner() })).collect()
            }
            account::Event::Claimed { claim } => vec![(claim.clone(), reservation::Command::Confirm { owner: owner() })],
            account::Event::Rejected { claims, .. } | account::Event::Erased { claims } => {
                claims.iter().map(|claim| (claim.clone(), reservation::Command::Release { owner: owner() })).collect()
            }
            _ => vec![],
        }
    }
}

/// An account hears what became of its claims.
pub struct HearClaims;

impl Policy for HearClaims {
    const NAME: &'static str = "hear-claims";
    type Source = Reservation<Claim>;
    type Target = account::Account;

    fn react(subject: &str, event: &reservation::Event) -> Vec<(String, account::Command)> {
        let claim = subject.to_owned();
        match event {
            reservation::Event::Claimed { owner, .. } => vec![(owner.clone(), account::Command::RecordClaimed { claim })],
            reservation::Event::Confirmed { owner } => vec![(owner.clone(), account::Command::RecordConfirmed { claim })],
            reservation::Event::Denied { owner } => vec![(owner.clone(), account::Command::RecordDenied { claim })],
            reservation::Event::Released { .. } | reservation::Event::Expired => vec![],
        }
    }
}

/// Whoever never came to have an account, or is forgotten, has no password either.
pub struct DropCredential;

impl Policy for DropCredential {
    const NAME: &'static str = "drop-credential";
    type Source = account::Account;
    type Target = credential::Credential;

    fn react(subject: &str, event: &account::Event) -> Vec<(String, credential::Command)> {
        if matches!(event, account::Event::Rejected { .. } | account::Event::Erased { .. }) {
            vec![(subject.to_owned(), credential::Command::Drop)]
        } else {
            vec![]
        }
    }
}
