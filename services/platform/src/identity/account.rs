//! An account: who somebody is, what they may do, and whose things are theirs. Its sign-up is a process that ends when all
//! values it needs for itself alone are its own. Holds no secret: its events are for all services to read.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{Aggregate, Context, Origin, Personal, Timestamp};
use serde::{Deserialize, Serialize};

use crate::hex::Hex;

/// How long a sign-up may take, in seconds of log time: longer than it takes another instance to come in for one that died.
pub const SIGN_UP_SECONDS: i64 = 5 * 60;
/// Most roles of an account, and longest reason or bound id.
const ROLES_MAX: usize = 20;
/// All roles of an account as an actor's text has them: with the account itself they fit into a command's envelope.
const BYTES_MAX: usize = 400;
const _: () = assert!(BYTES_MAX + 50 <= eventstore::bounds::ACTOR_BYTES_MAX);
const TEXT_BYTES_MAX: usize = 200;

/// Where an account stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// there is none
    #[default]
    New,
    /// it waits for the values that must be its own
    Beginning,
    /// it can be used
    Active,
    /// an operator has shut it
    Disabled,
    /// it never became one
    Rejected,
    /// whose it was is forgotten
    Erased,
}

/// A role, and whose things come with it: a customer's number, for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// its name
    pub role: String,
    /// the id that its owner's aggregates begin with; none of a role without things
    pub owns: Option<String>,
}

/// Where somebody gets mail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// as it was given
    pub email: String,
}

/// What a sign-up says.
#[derive(Clone, Debug, PartialEq)]
pub struct SignUp {
    /// under which it signs in
    pub address: Personal<Address>,
    /// the reservations of what must be its own alone, its address above all
    pub claims: Vec<String>,
    /// what it may do
    pub granted: Vec<Granted>,
}

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    status: Status,
    /// what it has reserved, and whether that is confirmed
    claims: BTreeMap<String, bool>,
    granted: BTreeMap<String, Option<String>>,
    origin: Origin,
    deadline: Timestamp,
    /// since when its sessions count: those from before are over
    renewed_at: Timestamp,
}

/// What can be asked of an account.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// it begins
    SignUp(SignUp),
    /// a value is held for it
    RecordClaimed {
        /// which
        claim: String,
    },
    /// a value is its own
    RecordConfirmed {
        /// which
        claim: String,
    },
    /// a value is another's
    RecordDenied {
        /// which
        claim: String,
    },
    /// the sign-up has taken too long
    Expire,
    /// it may do more
    Grant(Granted),
    /// it may do less
    Revoke {
        /// no longer this
        role: String,
    },
    /// it cannot be used
    Disable {
        /// why
        reason: String,
    },
    /// it can be used again
    Enable,
    /// whose it was is to be forgotten
    Erase,
    /// its password is another: its sessions are over
    RenewPassword,
}

/// What can have happened to an account.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// somebody wants it
    Begun {
        /// as what
        sign_up: SignUp,
        /// who waits
        origin: Origin,
        /// until when it may take
        deadline: Timestamp,
    },
    /// a value is held for it
    Claimed {
        /// which
        claim: String,
    },
    /// a value is its own
    Confirmed {
        /// which
        claim: String,
    },
    /// it can be used
    Activated {
        /// who waited
        origin: Origin,
    },
    /// it never will
    Rejected {
        /// `email-taken` or `timed-out`
        reason: String,
        /// what is given back
        claims: Vec<String>,
        /// who waited
        origin: Origin,
    },
    /// it may do more
    RoleGranted(Granted),
    /// it may do less
    RoleRevoked {
        /// no longer this
        role: String,
    },
    /// it cannot be used
    Disabled {
        /// why
        reason: String,
    },
    /// it can be used again
    Enabled,
    /// nobody's any more, for good
    Erased {
        /// what is given back
        claims: Vec<String>,
    },
    /// its password is another: sessions from before are over
    PasswordRenewed {
        /// when
        at: Timestamp,
    },
    /// sessions from before are over
    SessionsEnded {
        /// when
        at: Timestamp,
    },
}

/// Why an account says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// See `unknown-account`.
    #[error("there is no such account")]
    Unknown,
    /// See `account-exists`.
    #[error("this account exists already")]
    Exists,
    /// See `roles-out-of-range`.
    #[error("an account has 1 to {ROLES_MAX} roles, each once, {BYTES_MAX} bytes of them together, and an address of its own")]
    Roles,
    /// See `text-out-of-range`.
    #[error("a reason and the id that a role owns have 1 to {TEXT_BYTES_MAX} bytes, and the id is visible ASCII without spaces and =")]
    Text,
}

impl Aggregate for Account {
    const NAME: &'static str = "user-account";
    const STATE_VERSION: u8 = 2;
    const REFUSALS: &'static [&'static str] = &["unknown-account", "account-exists", "roles-out-of-range", "text-out-of-range"];
    type Id = Hex;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: Command, context: &Context<'_>) -> Result<Vec<Event>, Refusal> {
        let begun = !matches!(self.status, Status::New | Status::Rejected);
        Ok(match command {
            Command::SignUp(_) if self.status != Status::New => return Err(Refusal::Exists),
            Command::SignUp(sign_up) => {
                check(&sign_up)?;
                vec![Event::Begun { sign_up, origin: context.origin.clone(), deadline: context.now.plus_seconds(SIGN_UP_SECONDS) }]
            }
            Command::RecordClaimed { claim } if self.waits_for(&claim) => vec![Event::Claimed { claim }],
            Command::RecordConfirmed { claim } if self.waits_for(&claim) => {
                let last = self.claims.iter().all(|(other, confirmed)| *confirmed || *other == claim);
                let activated = last.then(|| Event::Activated { origin: self.origin.clone() });
                [Event::Confirmed { claim }].into_iter().chain(activated).collect()
            }
            Command::RecordDenied { claim } if self.waits_for(&claim) => vec![self.rejected("email-taken")],
            Command::Expire if self.status == Status::Beginning => vec![self.rejected("timed-out")],
            Command::RecordClaimed { .. } | Command::RecordConfirmed { .. } | Command::RecordDenied { .. } | Command::Expire => vec![],
            Command::Erase if begun && self.status != Status::Erased => vec![Event::Erased { claims: self.claims.keys().cloned().collect() }],
            Command::Erase => vec![],
            _ if !begun || self.status == Status::Erased => return Err(Refusal::Unknown),
            Command::Grant(granted) if self.granted.get(&granted.role) == Some(&granted.owns) => vec![],
            Command::Grant(granted) if self.granted.len() >= ROLES_MAX || self.bytes() + bytes(&granted.role, granted.owns.as_ref()) > BYTES_MAX => {
                return Err(Refusal::Roles);
            }
            Command::Grant(granted) => {
                word(&granted.role)?;
                granted.owns.as_deref().map_or(Ok(()), word)?;
                vec![Event::RoleGranted(granted)]
            }
            Command::Revoke { role } if self.granted.contains_key(&role) => vec![Event::RoleRevoked { role }],
            Command::Disable { reason } if self.status != Status::Disabled => {
                text(&reason)?;
                vec![Event::Disabled { reason }]
            }
            // Whoever had a session when it was shut must sign in again. Said here, and not where it is shut, so that it holds of
            // accounts that an earlier version has shut.
            Command::Enable if self.status == Status::Disabled => vec![Event::Enabled, Event::SessionsEnded { at: context.now }],
            Command::RenewPassword => vec![Event::PasswordRenewed { at: context.now }],
            Command::Revoke { .. } | Command::Disable { .. } | Command::Enable => vec![],
        })
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Begun { sign_up, origin, deadline } => {
                (self.status, self.deadline, self.origin) = (Status::Beginning, *deadline, origin.clone());
                self.claims = sign_up.claims.iter().map(|claim| (claim.clone(), false)).collect();
                self.granted = sign_up.granted.iter().map(|granted| (granted.role.clone(), granted.owns.clone())).collect();
            }
            Event::Claimed { .. } => {}
            Event::Confirmed { claim } => drop(self.claims.insert(claim.clone(), true)),
            Event::Activated { .. } | Event::Enabled => self.status = Status::Active,
            Event::Rejected { .. } => self.status = Status::Rejected,
            Event::RoleGranted(granted) => drop(self.granted.insert(granted.role.clone(), granted.owns.clone())),
            Event::RoleRevoked { role } => drop(self.granted.remove(role)),
            Event::Disabled { .. } => self.status = Status::Disabled,
            Event::Erased { .. } => self.status = Status::Erased,
            Event::PasswordRenewed { at } | Event::SessionsEnded { at } => self.renewed_at = *at,
        }
    }

    fn refusal_code(refusal: &Refusal) -> &'static str {
        match refusal {
            Refusal::Unknown => "unknown-account",
            Refusal::Exists => "account-exists",
            Refusal::Roles => "roles-out-of-range",
            Refusal::Text => "text-out-of-range",
        }
    }

    fn answers(event: &Event) -> Option<&Origin> {
        match event {
            Event::Activated { origin } | Event::Rejected { origin, .. } => Some(origin),
            _ => None,
        }
    }

    fn made_inside(command: &Command) -> bool {
        matches!(command, Command::RecordClaimed { .. } | Command::RecordConfirmed { .. } | Command::RecordDenied { .. } | Command::Erase)
    }

    fn answered_later(command: &Command) -> bool {
        matches!(command, Command::SignUp(_))
    }

    fn deadline(&self) -> Option<(Timestamp, Command)> {
        (self.status == Status::Beginning).then_some((self.deadline, Command::Expire))
    }

    fn awaits(&self) -> Option<String> {
        (self.status == Status::Beginning).then(|| "the reservation of its e-mail address".to_owned())
    }

    fn abandon() -> Option<Command> {
        Some(Command::Expire)
    }
}

impl Account {
    /// Whether sessions of it may be opened and used.
    pub fn is_active(&self) -> bool {
        self.status == Status::Active
    }

    /// Since when its sessions count.
    pub fn renewed_at(&self) -> Timestamp {
        self.renewed_at
    }

    fn bytes(&self) -> usize {
        self.granted.iter().map(|(role, owns)| bytes(role, owns.as_ref())).sum()
    }

    fn waits_for(&self, claim: &str) -> bool {
        self.status == Status::Beginning && self.claims.get(claim) == Some(&false)
    }

    fn rejected(&self, reason: &str) -> Event {
        Event::Rejected { reason: reason.to_owned(), claims: self.claims.keys().cloned().collect(), origin: self.origin.clone() }
    }
}

fn check(sign_up: &SignUp) -> Result<(), Refusal> {
    let all: usize = sign_up.granted.iter().map(|granted| bytes(&granted.role, granted.owns.as_ref())).sum();
    let names: BTreeSet<&str> = sign_up.granted.iter().map(|granted| granted.role.as_str()).collect();
    if !(1..=ROLES_MAX).contains(&names.len()) || names.len() != sign_up.granted.len() || sign_up.claims.is_empty() || all > BYTES_MAX {
        return Err(Refusal::Roles);
    }
    sign_up.granted.iter().try_for_each(|granted| word(&granted.role).and_then(|()| granted.owns.as_deref().map_or(Ok(()), word)))
}

/// What a role takes of an actor's text, with the signs around it.
fn bytes(role: &str, owns: Option<&String>) -> usize {
    role.len() + owns.map_or(0, String::len) + 2
}

/// What stands in an actor's text, whose words are separated by spaces: one with a space in it would be two roles.
fn word(word: &str) -> Result<(), Refusal> {
    if word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'=') { text(word) } else { Err(Refusal::Text) }
}

fn text(text: &str) -> Result<(), Refusal> {
    if (1..=TEXT_BYTES_MAX).contains(&text.len()) { Ok(()) } else { Err(Refusal::Text) }
}

#[cfg(test)]
mod tests {
    use kernel::testing::given;

    use super::*;

    const ID: &str = "5f3a0c1d2e4b69788796a5b4c3d2e1f0";
    const EMAIL: &str = "00112233445566778899aabbccddeeff";
    const NUMBER: &str = "ffeeddccbbaa99887766554433221100";

    fn granted(role: &str, owns: Option<&str>) -> Granted {
        Granted { role: role.to_owned(), owns: owns.map(str::to_owned) }
    }
    fn sign_up() -> SignUp {
        SignUp {
            address: Personal::Clear(Address { email: "anna@example.com".into() }),
            claims: vec![EMAIL.into(), NUMBER.into()],
            granted: vec![granted("customer", Some("17"))],
        }
    }
    fn origin() -> Origin {
        Origin { command_id: "test".into(), reply_to: None }
    }
    fn begun() -> Event {
        Event::Begun { sign_up: sign_up(), origin: origin(), deadline: Timestamp(0).plus_seconds(SIGN_UP_SECONDS) }
    }
    fn confirmed(claim: &str) -> Event {
        Event::Confirmed { claim: claim.into() }
    }
    fn activated() -> Event {
        Event::Activated { origin: origin() }
    }
    fn rejected(reason: &str) -> Event {
        Event::Rejected { reason: reason.into(), claims: vec![EMAIL.into(), NUMBER.into()], origin: origin() }
    }
    fn account(events: &[Event]) -> kernel::testing::Given<Account> {
        given::<Account>(ID, events.to_vec())
    }
    fn active() -> Vec<Event> {
        vec![begun(), confirmed(EMAIL), confirmed(NUMBER), activated()]
    }

    #[test]
    fn a_sign_up_ends_when_all_that_must_be_its_own_is() {
        let (claim, other) = (EMAIL.to_owned(), NUMBER.to_owned());
        account(&[]).when(Command::SignUp(sign_up())).then(&[begun()]);
        account(&[begun()]).when(Command::SignUp(sign_up())).refused("account-exists");
        account(&[begun()]).when(Command::RecordClaimed { claim: claim.clone() }).then(&[Event::Claimed { claim: claim.clone() }]);
        account(&[begun()]).when(Command::RecordConfirmed { claim: claim.clone() }).then(&[confirmed(EMAIL)]);
        account(&[begun(), confirmed(EMAIL)]).when(Command::RecordConfirmed { claim: other }).then(&[confirmed(NUMBER), activated()]);
        account(&[begun()]).when(Command::RecordDenied { claim: claim.clone() }).then(&[rejected("email-taken")]);
        account(&[begun(), confirmed(EMAIL)]).when_due().then(&[rejected("timed-out")]);
        // What comes late, twice, or is another's changes nothing.
        for late in [
            Command::RecordClaimed { claim: claim.clone() },
            Command::RecordConfirmed { claim: claim.clone() },
            Command::RecordDenied { claim },
            Command::Expire,
        ] {
            account(&[begun(), rejected("timed-out")]).when(late.clone()).then(&[]);
            account(&active()).when(late.clone()).then(&[]);
        }
        account(&[begun()]).when(Command::RecordConfirmed { claim: ID.to_owned() }).then(&[]);
    }

    #[test]
    fn roles_come_and_go() {
        let active = active();
        let seller = granted("seller", Some("42"));
        account(&active).when(Command::Grant(seller.clone())).then(&[Event::RoleGranted(seller.clone())]);
        account(&active).when(Command::Grant(granted("customer", Some("17")))).then(&[]);
        account(&active).when(Command::Grant(granted("", None))).refused("text-out-of-range");
        // What an account may do fits into the envelope of whatever it commands.
        let long = |at: usize| granted(&format!("role{at}"), Some(&"1".repeat(190)));
        let two = [active.clone(), vec![Event::RoleGranted(long(1))]].concat();
        account(&active).when(Command::Grant(long(1))).then(&[Event::RoleGranted(long(1))]);
        account(&two).when(Command::Grant(long(2))).refused("roles-out-of-range");
        let sign_up_of = |granted| Command::SignUp(SignUp { granted, ..sign_up() });
        account(&[]).when(sign_up_of(vec![long(1), long(2), long(3)])).refused("roles-out-of-range");
        // Nobody becomes an operator by what stands behind a role.
        for owns in ["17 operator", "17\toperator", "17=operator", "17\u{a0}operator", ""] {
            account(&active).when(Command::Grant(granted("seller", Some(owns)))).refused("text-out-of-range");
            let sign_up = SignUp { granted: vec![granted("seller", Some(owns))], ..sign_up() };
            account(&[]).when(Command::SignUp(sign_up)).refused("text-out-of-range");
        }
        account(&active).when(Command::Revoke { role: "customer".into() }).then(&[Event::RoleRevoked { role: "customer".into() }]);
        account(&active).when(Command::Revoke { role: "seller".into() }).then(&[]);
        account(&[]).when(Command::Grant(seller)).refused("unknown-account");
        let nobody = SignUp { granted: vec![], ..sign_up() };
        account(&[]).when(Command::SignUp(nobody)).refused("roles-out-of-range");
        let twice = SignUp { granted: vec![granted("customer", Some("1")), granted("customer", Some("2"))], ..sign_up() };
        account(&[]).when(Command::SignUp(twice)).refused("roles-out-of-range");
    }

    #[test]
    fn a_new_password_is_known_by_its_time() {
        let renewed = Event::PasswordRenewed { at: Timestamp(7) };
        let after = account(&active()).at(Timestamp(7)).when(Command::RenewPassword).then(&[renewed]);
        assert!(after.is_active() && after.renewed_at() == Timestamp(7));
        account(&[]).when(Command::RenewPassword).refused("unknown-account");
    }

    #[test]
    fn it_is_shut_and_opened() {
        let active = active();
        let disabled = Event::Disabled { reason: "a test".into() };
        let shut = [active.clone(), vec![disabled.clone()]].concat();
        account(&active).when(Command::Disable { reason: "a test".into() }).then(&[disabled]);
        account(&shut).when(Command::Disable { reason: "once more".into() }).then(&[]);
        let opened = [Event::Enabled, Event::SessionsEnded { at: Timestamp(7) }];
        let after = account(&shut).at(Timestamp(7)).when(Command::Enable).then(&opened);
        assert!(after.is_active() && after.renewed_at() == Timestamp(7), "sessions from before are over");
        account(&active).when(Command::Enable).then(&[]);
        account(&[begun(), rejected("timed-out")]).when(Command::Enable).refused("unknown-account");
    }
}
