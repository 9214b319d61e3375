//! Accounts, credentials, sessions and the audit trail on the wire: frozen shapes, held to golden records.

/// Accounts.
pub mod account {
    use kernel::{Origin, Timestamp};
    use schemas::wire::{Instant, List, Personal, text};
    use serde::{Deserialize, Serialize};

    use super::super::account::{Account, Address, Command, Event, Granted, SignUp};

    schemas::shape! {
        /// A role, and whose things come with it.
        GrantedV1 of Granted {
            role: String,
            #[serde(default)]
            owns: Option<String>,
        }
    }

    schemas::shape! {
        /// The client command at the root of a process, and where its answer is awaited.
        OriginV1 of Origin {
            command_id: String,
            #[serde(default)]
            reply_to: Option<String>,
        }
    }

    schemas::shape! {
        /// Under which address somebody signs in.
        #[serde(default)]
        #[derive(Default)]
        AddressV1 of Address {
            email: String,
        }
    }

    /// What a sign-up says.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
    #[allow(missing_docs, reason = "fields are named as in the domain, which documents them")]
    pub struct SignUpV1 {
        pub personal: Personal<AddressV1>,
        pub claims: Vec<String>,
        pub granted: List<GrantedV1>,
    }

    impl From<SignUp> for SignUpV1 {
        fn from(SignUp { address, claims, granted }: SignUp) -> Self {
            Self { personal: address.into(), claims, granted: granted.into() }
        }
    }

    impl From<SignUpV1> for SignUp {
        fn from(SignUpV1 { personal, claims, granted }: SignUpV1) -> Self {
            Self { address: personal.into(), claims, granted: granted.into() }
        }
    }

    schemas::codec! { Account;
        events {
            Begun { sign_up: SignUpV1, origin: OriginV1, #[serde(with = "text")] #[schemars(with = "Instant")] deadline: Timestamp } as BegunV1 = "begun" 1;
            Claimed { claim: String } as ClaimedV1 = "claimed" 1;
            Confirmed { claim: String } as ConfirmedV1 = "confirmed" 1;
            Activated { origin: OriginV1 } as ActivatedV1 = "activated" 1;
            Rejected { reason: String, claims: Vec<String>, origin: OriginV1 } as RejectedV1 = "rejected" 1;
            RoleGranted(granted: GrantedV1) = "role-granted" 1;
            RoleRevoked { role: String } as RoleRevokedV1 = "role-revoked" 1;
            Disabled { reason: String } as DisabledV1 = "disabled" 1;
            Enabled = "enabled" 1;
            Erased { claims: Vec<String> } as ErasedV1 = "erased" 1;
            PasswordRenewed { #[serde(with = "text")] #[schemars(with = "Instant")] at: Timestamp } as PasswordRenewedV1 = "password-renewed" 1;
            SessionsEnded { #[serde(with = "text")] #[schemars(with = "Instant")] at: Timestamp } as SessionsEndedV1 = "sessions-ended" 1;
        }
        commands {
            SignUp(sign_up: SignUpV1) = "sign-up" 1;
            RecordClaimed { claim: String } as RecordClaimedV1 = "record-claimed" 1;
            RecordConfirmed { claim: String } as RecordConfirmedV1 = "record-confirmed" 1;
            RecordDenied { claim: String } as RecordDeniedV1 = "record-denied" 1;
            Expire = "expire" 1;
            Grant(granted: GrantedV1) = "grant" 1;
            Revoke { role: String } as RevokeV1 = "revoke" 1;
            Disable { reason: String } as DisableV1 = "disable" 1;
            Enable = "enable" 1;
            Erase = "erase" 1;
            RenewPassword = "renew-password" 1;
        }
    }
}

/// Credentials.
pub mod credential {
    use kernel::Timestamp;
    use schemas::wire::{Instant, text};

    use super::super::credential::{Command, Credential, Event};

    schemas::codec! { Credential;
        events {
            PasswordSet { hash: String } as PasswordSetV1 = "password-set" 1;
            PasswordRehashed { hash: String } as PasswordRehashedV1 = "password-rehashed" 1;
            PasswordChanged { hash: String } as PasswordChangedV1 = "password-changed" 1;
            ResetRequested { number: u64, #[serde(with = "text")] #[schemars(with = "Instant")] until: Timestamp } as ResetRequestedV1 = "reset-requested" 1;
            Dropped = "dropped" 1;
        }
        commands {
            Set { hash: String } as SetV1 = "set" 1;
            Rehash { hash: String, of: String } as RehashV1 = "rehash" 1;
            Change { hash: String, of: String } as ChangeV1 = "change" 1;
            BeginReset = "begin-reset" 1;
            Reset { number: u64, hash: String } as ResetV1 = "reset" 1;
            Drop = "drop" 1;
        }
    }
}

/// Sessions.
pub mod session {
    use kernel::Timestamp;
    use schemas::wire::{Instant, text};

    use super::super::session::{Command, Event, Session};

    schemas::codec! { Session;
        events {
            Opened {
                #[serde(with = "text")] #[schemars(with = "Instant")] at: Timestamp,
                #[serde(with = "text")] #[schemars(with = "Instant")] until: Timestamp,
            } as OpenedV1 = "opened" 1;
            Refreshed { number: u64, #[serde(with = "text")] #[schemars(with = "Instant")] until: Timestamp } as RefreshedV1 = "refreshed" 1;
            Revoked { reason: String } as RevokedV1 = "revoked" 1;
            Expired = "expired" 1;
        }
        commands {
            Open = "open" 1;
            Refresh { number: u64 } as RefreshV1 = "refresh" 1;
            Revoke { reason: String } as RevokeV1 = "revoke" 1;
            Expire = "expire" 1;
        }
    }
}

/// The audit trail.
pub mod trail {
    use kernel::Timestamp;
    use schemas::wire::{Instant, text};

    use super::super::trail::{Command, Entry, Event, Link, Trail};

    schemas::shape! {
        /// What is written down.
        EntryV1 of Entry {
            kind: String,
            actor: String,
            act: String,
            outcome: String,
            times: u64,
        }
    }

    schemas::shape! {
        /// An entry in its place.
        LinkV1 of Link {
            number: u64,
            #[serde(with = "text")]
            #[schemars(with = "Instant")]
            at: Timestamp,
            entry: EntryV1,
            previous: String,
            hash: String,
        }
    }

    schemas::codec! { Trail;
        events {
            Recorded(link: LinkV1) = "recorded" 1;
        }
        commands {
            Record(entry: EntryV1) = "record" 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kernel::{Origin, Timestamp};
    use schemas::golden::check;

    use crate::identity::policies::Claim;
    use crate::identity::{account, credential, session, trail};
    use crate::reservation::{self, Reservation};

    const AT: Timestamp = Timestamp(1_795_700_000_123_456);

    fn text(text: &str) -> String {
        text.to_owned()
    }

    /// `UPDATE=1 cargo test -p daybook golden` writes the records that are missing, and never one that is there.
    #[test]
    fn every_kind_has_its_golden_record() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
        let granted = account::Granted { role: text("customer"), owns: Some(text("17")) };
        let claims = vec![text("00112233445566778899aabbccddeeff")];
        let sign_up = account::SignUp {
            address: kernel::Personal::Clear(account::Address { email: text("anna@example.com") }),
            claims: claims.clone(),
            granted: vec![granted.clone()],
        };
        let origin = Origin { command_id: text("sign-up 1"), reply_to: Some(text("here@3")) };
        let (claim, reason, role) = (claims[0].clone(), text("a test"), text("customer"));
        check::<account::Account, _>(
            &dir,
            &[
                account::Event::Begun { sign_up: sign_up.clone(), origin: origin.clone(), deadline: AT },
                account::Event::Claimed { claim: claim.clone() },
                account::Event::Confirmed { claim: claim.clone() },
                account::Event::Activated { origin: origin.clone() },
                account::Event::Rejected { reason: text("email-taken"), claims: claims.clone(), origin },
                account::Event::RoleGranted(granted.clone()),
                account::Event::RoleRevoked { role: role.clone() },
                account::Event::Disabled { reason: reason.clone() },
                account::Event::Enabled,
                account::Event::Erased { claims },
                account::Event::PasswordRenewed { at: AT },
                account::Event::SessionsEnded { at: AT },
            ],
            &[
                account::Command::SignUp(sign_up),
                account::Command::RecordClaimed { claim: claim.clone() },
                account::Command::RecordConfirmed { claim: claim.clone() },
                account::Command::RecordDenied { claim },
                account::Command::Expire,
                account::Command::Grant(granted),
                account::Command::Revoke { role },
                account::Command::Disable { reason: reason.clone() },
                account::Command::Enable,
                account::Command::Erase,
                account::Command::RenewPassword,
            ],
        )
        .unwrap();
        let (hash, of) = (text("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA"), text("$argon2id$v=19$m=19456,t=2,p=1$b3RoZXJzYWx0$aGFzaA"));
        check::<credential::Credential, _>(
            &dir,
            &[
                credential::Event::PasswordSet { hash: hash.clone() },
                credential::Event::PasswordRehashed { hash: hash.clone() },
                credential::Event::PasswordChanged { hash: hash.clone() },
                credential::Event::ResetRequested { number: 3, until: AT },
                credential::Event::Dropped,
            ],
            &[
                credential::Command::Set { hash: hash.clone() },
                credential::Command::Rehash { hash: hash.clone(), of: of.clone() },
                credential::Command::Change { hash: hash.clone(), of },
                credential::Command::BeginReset,
                credential::Command::Reset { number: 3, hash },
                credential::Command::Drop,
            ],
        )
        .unwrap();
        check::<session::Session, _>(
            &dir,
            &[
                session::Event::Opened { at: AT, until: AT },
                session::Event::Refreshed { number: 4, until: AT },
                session::Event::Revoked { reason: reason.clone() },
                session::Event::Expired,
            ],
            &[session::Command::Open, session::Command::Refresh { number: 4 }, session::Command::Revoke { reason }, session::Command::Expire],
        )
        .unwrap();
        let entry = trail::Entry { kind: text("act"), actor: text("machine"), act: text("POST /verify"), outcome: text("begun"), times: 1 };
        let link = trail::Link { number: 2, at: AT, entry: entry.clone(), previous: text("aa"), hash: text("bb") };
        check::<trail::Trail, _>(&dir, &[trail::Event::Recorded(link)], &[trail::Command::Record(entry)]).unwrap();
        let owner = text("5f3a0c1d2e4b69788796a5b4c3d2e1f0");
        check::<Reservation<Claim>, _>(
            &dir,
            &[
                reservation::Event::Claimed { owner: owner.clone(), until: AT },
                reservation::Event::Denied { owner: owner.clone() },
                reservation::Event::Confirmed { owner: owner.clone() },
                reservation::Event::Released { owner: owner.clone() },
                reservation::Event::Expired,
            ],
            &[
                reservation::Command::Claim { owner: owner.clone() },
                reservation::Command::Confirm { owner: owner.clone() },
                reservation::Command::Release { owner },
                reservation::Command::Expire,
            ],
        )
        .unwrap();
    }
}
